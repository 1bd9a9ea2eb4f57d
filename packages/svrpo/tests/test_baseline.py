"""Baseline, returns, and whole trajectories, against naive loops and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.rl import baseline as linear
from septet.rl import gaussian
from septet.rl.networks import Network
from septet.svrpo import experience, first_order, problem, trajectories
from septet.svrpo.svrpo import control_variate

NETWORK = Network((3, 4, 2), "tanh", free=2)


def test_features_by_hand():
    found = linear.features(np.array([[2.0, -30.0]]), np.array([50]))
    assert found.tolist() == [[2.0, -10.0, 4.0, 100.0, 0.5, 0.25, 0.125, 1.0]]


def test_the_fit_is_ridge_regression():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 30, 5)), rng.standard_normal((2, 30))
    beta = linear.fit(x, y, ridge=0.3)
    for s in range(2):
        augmented = np.r_[x[s], np.sqrt(0.3) * np.eye(5)]
        expected = np.linalg.lstsq(augmented, np.r_[y[s], np.zeros(5)], rcond=None)[0]
        assert np.allclose(beta[s], expected)


def test_steps_since_reset():
    ended = np.array([[False, True], [True, False], [False, False]])
    assert experience.steps_since_reset(np.array([3, 7]), ended).tolist() == [[3, 7], [4, 0], [0, 1], [1, 2]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_returns_end_with_episodes_and_go_on_where_the_batch_cuts(seed):
    rng = np.random.default_rng(seed)
    steps, size, gamma = 7, 3, 0.9
    reward, last = rng.standard_normal((steps, size)), rng.standard_normal(size)
    terminated, truncated = rng.random((2, steps, size)) < 0.2
    final = rng.standard_normal((steps, size))
    for values in (None, final):
        found = experience.returns(reward, terminated, truncated, last, values, gamma)
        for e in range(size):
            running = last[e]
            for t in reversed(range(steps)):
                if terminated[t, e]:
                    running = 0.0
                elif truncated[t, e]:
                    running = 0.0 if values is None else final[t, e]
                running = reward[t, e] + gamma * running
                assert np.isclose(found[t, e], running)


def test_standardised_advantages():
    for advantage, spread in (([1.0, 2.0, 3.0, 4.0], 1.0), ([5.0, 5.0, 5.0, 5.0], 0.0)):
        out = problem.standardise(np.array(advantage))
        assert np.isclose(out.mean(), 0.0) and np.isclose(out.std(), spread)


@pytest.fixture
def case():
    torch.manual_seed(0)
    row, old = 0.5 * torch.randn(2, NETWORK.size, dtype=torch.float64)
    observation = torch.randn(8, 3, dtype=torch.float64)
    action = torch.randn(8, 2, dtype=torch.float64)
    rng = np.random.default_rng(0)
    return row, old, observation, action, rng.standard_normal((2, 4)), rng.standard_normal((2, 4))


def log_probs(row, observation, action):
    mean = NETWORK(row[None], observation[None])
    return gaussian.log_prob(mean, row[None, -2:], action[None])[0].reshape(2, 4)


def test_importance_weights_are_products_of_ratios(case):
    row, old, observation, action, *_ = case
    found = trajectories.log_weights(NETWORK, old, row, observation, action, 4)
    ratio = (log_probs(old, observation, action) - log_probs(row, observation, action)).exp()
    expected = np.log(np.cumprod(ratio.numpy(), axis=1)).clip(-10, 10)
    assert np.allclose(found, expected)


def test_the_gradient_of_trajectories_by_its_definition(case):
    row, _, observation, action, reward, value = case
    weight = np.abs(value) + 0.5
    factor = trajectories.coefficients(reward, value, 0.9, weight)
    for b in range(2):
        for t in range(4):
            later = sum(0.9**h * weight[b, h] * reward[b, h] for h in range(t, 4))
            assert np.isclose(factor[b, t], later - 0.9**t * weight[b, t] * value[b, t])
    leaf = row.clone().requires_grad_()
    objective = (torch.from_numpy(factor.copy()) * log_probs(leaf, observation, action)).sum() / 2
    objective.backward()
    assert torch.allclose(trajectories.gradient(NETWORK, row, observation, action, factor), leaf.grad)


def test_at_the_reference_itself_the_correction_vanishes(case):
    row, _, observation, action, reward, value = case
    weight = np.exp(trajectories.log_weights(NETWORK, row, row, observation, action, 4))
    plain, weighted = (trajectories.coefficients(reward, value, 0.9, w) for w in (None, weight))
    g, h = (trajectories.gradient(NETWORK, row, observation, action, c) for c in (plain, weighted))
    base = torch.randn_like(g)
    assert torch.allclose(control_variate(g, h, base), base)


def test_epochs_end_when_a_snapshot_brings_more_per_trajectory():
    assert first_order.epoch_ends(snapshot_rate=11.0, inner_rate=1.0, snapshot=100, trajectories=10)
    assert not first_order.epoch_ends(snapshot_rate=9.0, inner_rate=1.0, snapshot=100, trajectories=10)
