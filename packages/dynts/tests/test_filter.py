"""The Laplace filter against exact posteriors, a general optimiser, the Kalman filter and hand numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from septet.dynts.filter import (
    assimilate,
    click_probability,
    gaussian_update,
    laplace_logit,
    laplace_update,
    laplace_update_batch,
    restoration_due,
    restore,
    sigmoid,
)


def random_prior(rng, d):
    a = rng.standard_normal((d, d))
    return rng.standard_normal(d), a @ a.T + 0.1 * np.eye(d)


def negative_log_posterior(w, mu, sigma, phis, clicks, trials):
    """Straight from section 2.2: Gaussian prior, binomial likelihood."""
    away = w - mu
    p = 1.0 / (1.0 + np.exp(-(phis @ w)))
    return 0.5 * away @ np.linalg.solve(sigma, away) - np.sum(clicks * np.log(p) + (trials - clicks) * np.log(1 - p))


def test_a_click_with_unit_variance_by_hand():
    # s = 1 - sigma(s): at s = 0.4010581 the right side is 1 - 0.5989419.
    assert laplace_logit(0.0, 1.0, 1.0, 1.0) == pytest.approx(0.4010581375, abs=1e-9)
    # mu = R phi (1 - sigma), variance 1 / (1 + sigma (1 - sigma)), in one dimension
    mu, sigma = laplace_update(np.zeros(1), np.eye(1), np.ones(1), 1.0, 1.0)
    assert mu[0] == pytest.approx(0.4010581375, abs=1e-9)
    assert sigma[0, 0] == pytest.approx(1.0 / (1.0 + 0.5989418625 * 0.4010581375), abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(
    m=st.floats(-40, 40), v=st.floats(1e-8, 1e4), trials=st.integers(1, 1000), share=st.floats(0, 1)
)  # fmt: skip
def test_the_scalar_equation_is_solved_inside_its_bracket(m, v, trials, share):
    clicks = float(round(share * trials))
    s = laplace_logit(m, v, clicks, float(trials))
    assert m - v * (trials - clicks) <= s <= m + v * clicks
    residual = s - m - v * (clicks - trials * sigmoid(s))
    slope = 1.0 + v * trials * sigmoid(s) * (1 - sigmoid(s))
    # the distance to the root, not the residual: the slope reaches 1e6 here
    assert abs(residual) / slope < 1e-6 * (1.0 + abs(s))


@pytest.mark.parametrize("seed", range(5))
def test_one_scalar_root_equals_the_full_dimensional_optimum(seed):
    rng = np.random.default_rng(seed)
    mu, R = random_prior(rng, 6)
    phi = rng.standard_normal(6)
    clicks, trials = float(rng.integers(0, 4)), 3.0
    mean, sigma = laplace_update(mu, R, phi, clicks, trials)
    best = minimize(
        negative_log_posterior, mu, (mu, R, phi[None], np.array([clicks]), np.array([trials])), tol=1e-14
    )  # fmt: skip
    assert np.allclose(mean, best.x, atol=1e-5)  # the optimiser's own finite differences
    p = sigmoid(phi @ mean)
    gradient = np.linalg.solve(R, mean - mu) - (clicks - trials * p) * phi
    assert np.abs(gradient).max() < 1e-8
    hessian = np.linalg.inv(R) + trials * p * (1 - p) * np.outer(phi, phi)
    assert np.allclose(np.linalg.inv(sigma), hessian, rtol=1e-8)


def exact_moments(axes, logs):
    """Mean and covariance of an unnormalised log density on a grid."""
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    weight = np.exp(logs - logs.max()).ravel()
    weight /= weight.sum()
    mean = weight @ grid
    away = grid - mean
    return mean, (weight[:, None] * away).T @ away


@pytest.mark.parametrize("d", [1, 2])
def test_close_to_the_exact_posterior_by_integration(d):
    rng = np.random.default_rng(d)
    w, n = rng.standard_normal(d), 60
    phis = np.concatenate([np.ones((n, 1)), rng.standard_normal((n, d - 1))], axis=1)
    clicks = (rng.random(n) < sigmoid_array(phis @ w)).astype(float)
    axes = [np.linspace(-5, 5, 401)] * d
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
    logits = grid @ phis.T
    logs = -0.5 * (grid**2).sum(1) + (clicks * logits - np.logaddexp(0, logits)).sum(1)
    mean, cov = exact_moments(axes, logs)

    mu, sigma = np.zeros(d), np.eye(d)
    for phi, y in zip(phis, clicks, strict=True):
        mu, sigma = laplace_update(mu, sigma, phi, y, 1.0)
    sd = np.sqrt(np.diag(cov))
    # one Laplace step a click drifts from the joint posterior; a quarter of an sd and 10 % of the sd bound it here
    assert np.all(np.abs(mu - mean) < 0.25 * sd)
    assert np.allclose(np.sqrt(np.diag(sigma)), sd, rtol=0.10)

    mu, sigma = laplace_update_batch(np.zeros(d), np.eye(d), phis, clicks, np.ones(n))
    best = grid[np.argmax(logs)]
    assert np.all(np.abs(mu - best) <= 0.026)  # the mode, to the grid's step
    assert np.all(np.abs(mu - mean) < 0.25 * sd)
    assert np.allclose(np.sqrt(np.diag(sigma)), sd, rtol=0.10)


def sigmoid_array(s):
    return 1.0 / (1.0 + np.exp(-s))


@pytest.mark.parametrize("seed", range(4))
def test_the_batch_update_is_the_mode_of_the_batch(seed):
    rng = np.random.default_rng(seed)
    mu, R = random_prior(rng, 5)
    phis = rng.standard_normal((30, 5))
    trials = rng.integers(1, 50, 30).astype(float)
    clicks = rng.binomial(trials.astype(int), 0.3).astype(float)
    w, sigma = laplace_update_batch(mu, R, phis, clicks, trials)
    p = sigmoid_array(phis @ w)
    gradient = np.linalg.solve(R, w - mu) - phis.T @ (clicks - trials * p)
    assert np.abs(gradient).max() < 1e-7
    hessian = np.linalg.inv(R) + (phis.T * (trials * p * (1 - p))) @ phis
    assert np.allclose(sigma, np.linalg.inv(hessian), rtol=1e-8, atol=1e-12)


def test_a_batch_of_one_and_counts_of_one_feature_agree_with_the_scalar_update():
    rng = np.random.default_rng(3)
    mu, R = random_prior(rng, 4)
    phi = rng.standard_normal(4)
    scalar = laplace_update(mu, R, phi, 2.0, 7.0)
    batch = laplace_update_batch(mu, R, phi[None], np.array([2.0]), np.array([7.0]))
    each = laplace_update_batch(mu, R, np.tile(phi, (7, 1)), np.array([1.0, 1, 0, 0, 0, 0, 0]), np.ones(7))
    for other in (batch, each):
        assert np.allclose(scalar[0], other[0], atol=1e-8)
        assert np.allclose(scalar[1], other[1], atol=1e-8)


def test_a_linear_likelihood_gives_the_kalman_filter():
    rng = np.random.default_rng(1)
    d, noise, q = 3, 0.4, 0.01
    mu, sigma = np.zeros(d), np.eye(d)
    m, P = np.zeros(d), np.eye(d)
    for _ in range(50):
        phi, y = rng.standard_normal(d), rng.standard_normal()
        mu, sigma = gaussian_update(mu, sigma + q * np.eye(d), phi, y, noise)
        # textbook form, with gain and Joseph update
        P = P + q * np.eye(d)
        K = P @ phi / (phi @ P @ phi + noise)
        m = m + K * (y - phi @ m)
        keep = np.eye(d) - np.outer(K, phi)
        P = keep @ P @ keep.T + noise * np.outer(K, K)
    assert np.allclose(mu, m, atol=1e-12)
    assert np.allclose(sigma, P, atol=1e-12)


def test_without_decay_the_precision_is_the_prior_plus_the_sum_of_hessians():
    rng = np.random.default_rng(2)
    d = 4
    mu, sigma, precision = np.zeros(d), np.eye(d), np.eye(d)
    for _ in range(200):
        phi, y = rng.standard_normal(d), float(rng.random() < 0.4)
        mu, sigma = laplace_update(mu, sigma, phi, y, 1.0)
        p = sigmoid(phi @ mu)
        precision += p * (1 - p) * np.outer(phi, phi)
    assert np.allclose(np.linalg.inv(sigma), precision, rtol=1e-8)


def test_restoring_adds_the_lost_precision_of_the_prior_by_hand():
    # variance 4 is precision 0.25; the prior of variance 2 lost half of its 0.5: 0.25 comes back at the prior's mean 1
    mu, sigma = restore(np.array([3.0]), np.array([[4.0]]), np.ones(1), np.array([2.0]), 0.5)
    assert sigma[0, 0] == pytest.approx(1.0 / (0.25 + 0.25))
    assert mu[0] == pytest.approx((0.25 * 3.0 + 0.25 * 1.0) / 0.5)


def test_discounting_and_restoring_weighs_samples_and_not_the_prior():
    """Linear rewards: the recursion is ridge regression with weight gamma^age on each sample and 1 on the prior."""
    rng = np.random.default_rng(4)
    d, gamma, noise = 3, 0.8, 0.5
    prior_mean, prior_variance = rng.standard_normal(d), np.array([1.0, 0.5, 2.0])
    mu, sigma = prior_mean, np.diag(prior_variance)
    phis, ys = rng.standard_normal((12, d)), rng.standard_normal(12)
    for phi, y in zip(phis, ys, strict=True):
        mu, sigma = restore(mu, sigma / gamma, prior_mean, prior_variance, gamma)
        mu, sigma = gaussian_update(mu, sigma, phi, y, noise)
    weight = gamma ** np.arange(11, -1, -1) / noise
    precision = np.diag(1.0 / prior_variance) + (phis.T * weight) @ phis
    assert np.allclose(sigma, np.linalg.inv(precision), rtol=1e-10)
    assert np.allclose(mu, np.linalg.solve(precision, prior_mean / prior_variance + phis.T @ (weight * ys)))


def test_the_prior_is_restored_each_d_rounds_but_never_falls_below_half():
    def rounds(gamma, d):
        kept, count = 1.0, 0
        while not restoration_due(kept, gamma, d):
            kept, count = kept * gamma, count + 1
        return kept, count

    assert rounds(1.0 - 1e-4, 10)[0] == pytest.approx(0.8, abs=1e-3)
    assert rounds(0.99, 30)[1] == 30
    assert rounds(0.5, 30) == (0.5, 1)


def test_the_inputs_are_left_alone():
    mu, R, phi = np.zeros(2), np.eye(2), np.ones(2)
    assimilate(mu, R, phi, 0.5, 0.2)
    laplace_update(mu, R, phi, 1.0, 1.0)
    assert np.array_equal(mu, np.zeros(2)) and np.array_equal(R, np.eye(2))


@settings(max_examples=30, deadline=None)
@given(m=st.floats(-3, 3), v=st.floats(0.01, 4))
def test_the_predictive_probability_is_near_the_integral(m, v):
    s = m + np.sqrt(v) * np.linspace(-8, 8, 4001)
    weight = np.exp(-0.5 * ((s - m) ** 2) / v)
    exact = np.sum(weight * sigmoid_array(s)) / np.sum(weight)
    assert click_probability(m, v) == pytest.approx(exact, abs=0.02)
