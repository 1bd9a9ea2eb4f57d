"""The kernels against a dense version that reads like the paper."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from septet.vrda import VRDAClassifier, kernels
from septet.vrda.vrda import (
    Regulariser,
    fitted_bound,
    mistake_bound,
    prox_update,
    regret_constant,
)


def run_kernel(X, y, orders, regulariser, loss, plain=0.0):
    matrix = csr_matrix(X)
    rows = matrix.data, matrix.indices, matrix.indptr
    form = np.append(regulariser.weights(), plain)
    state = kernels.new_state(X.shape[1], len(orders) * len(y), True)
    for order in orders:
        kernels.classify_pass(rows, y, np.empty(0), 0.0, order, state, form, loss == "log", np.empty((0, 3)))
    return state, form


REGULARISERS = [
    Regulariser(),
    Regulariser(l1=1 / 16),
    Regulariser(l1=1 / 64, gamma=3.0),
    Regulariser(l2=0.1),
    Regulariser(l1=1 / 32, l2=0.2),
    Regulariser(l1=1 / 32, l2=0.2, gamma=0.0),
    Regulariser(l1=0.02, rho=0.1),
    Regulariser(rho=0.2),
]


@pytest.mark.parametrize("loss", ["hinge", "log"])
@pytest.mark.parametrize("regulariser", REGULARISERS, ids=str)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_lazy_kernel_equals_the_dense_paper_version(regulariser, loss, seed, naive, problem):
    # Whole numbers and binary fractions make exact ties; elsewhere rounding would decide them.
    X, y = problem(seed, whole=loss == "hinge" and regulariser.rho == 0)
    orders = [np.random.default_rng(seed + e).permutation(len(y)) for e in range(3)]
    W, c, g = naive(X, y, orders, regulariser, loss)
    state, form = run_kernel(X, y, orders, regulariser, loss)
    assert state[-1][kernels.MISTAKES] == len(g)
    scale = max(1.0, np.abs(W).max() * c.sum())
    np.testing.assert_allclose(kernels.last_weights(state, form)[0], W[-1], rtol=0, atol=1e-10)
    averaged = kernels.averaged_weights(state, form)[0]
    np.testing.assert_allclose(averaged, c @ W, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(kernels.summed_l1(state, form), np.abs(W[:-1]).sum(), rtol=1e-9, atol=1e-9)


def plain(X, y, order, l1, epochs):
    """Hinge loss with l1 and gamma 1 in plain floats, one row at a time: sums of subgradients, predictors and votes."""
    rows = [[(j, x) for j, x in enumerate(row) if x] for row in X.tolist()]
    s, k, store, votes = [0.0] * X.shape[1], 0, [], 0

    def shrunk(j):
        return s[j] - min(max(s[j], -l1 * k), l1 * k)

    for i in [*order] * epochs:
        score = 0.0
        for j, x in rows[i]:
            score -= shrunk(j) * x
        if y[i] * score > 0:
            votes += 1
            continue
        store.append(([-shrunk(j) / math.sqrt(max(k, 1)) for j in range(len(s))], votes))
        for j, x in rows[i]:
            s[j] -= y[i] * x
        k, votes = k + 1, 1
    return s, [*store, ([-(1.0 / math.sqrt(k)) * shrunk(j) for j in range(len(s))], votes)]


@pytest.mark.parametrize("l1", [0.0, 3e-3, 3e-2])
@pytest.mark.parametrize("seed", range(3))
def test_the_fast_kernel_has_the_weights_of_the_plain_loop_to_the_last_bit(l1, seed, problem):
    X, y = problem(seed, m=300, whole=False)
    order = np.random.default_rng(seed).permutation(len(y))
    state, form = run_kernel(X, y, [order] * 4, Regulariser(l1=l1), "hinge")
    s, store = plain(X, y, order.tolist(), l1, 4)
    assert state[-1][kernels.MISTAKES] == len(store) - 1 > 100
    np.testing.assert_array_equal(state[0], s)
    np.testing.assert_array_equal(kernels.last_weights(state, form)[0], store[-1][0])
    # The average adds up differences of prefix sums, in another order than one predictor after the other.
    summed = [math.fsum(w[j] * votes for w, votes in store) for j in range(X.shape[1])]
    np.testing.assert_allclose(kernels.averaged_weights(state, form)[0], summed, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("regulariser", REGULARISERS, ids=str)
def test_update_minimises_its_objective(regulariser):
    """The closed form beats 2,000 points around it: it is the argmin of the paper's equation."""
    random = np.random.default_rng(1)
    s, k = random.normal(size=6), 7
    w = prox_update(s, k, regulariser)

    def objective(w):
        h = 0.5 * (w**2).sum(-1) + regulariser.rho * np.abs(w).sum(-1)
        psi = regulariser.l1 * np.abs(w).sum(-1) + 0.5 * regulariser.l2 * (w**2).sum(-1)
        return w @ s / k + psi + regulariser.gamma / np.sqrt(k) * h

    near = w + random.normal(size=(2000, 6)) * 10.0 ** random.uniform(-4, 0, (2000, 1))
    assert objective(w) <= objective(near).min() + 1e-12


def test_update_by_hand():
    """s = (-4, 1, -0.5), k = 4, lambda = 0.5, gamma = 2: w = -(2/2) soft(s/4, 0.5)."""
    np.testing.assert_allclose(prox_update(np.array([-4.0, 1.0, -0.5]), 4, Regulariser(l1=0.5, gamma=2.0)), [0.5, 0, 0])


def test_gamma_does_nothing_for_hinge_and_l1(problem):
    X, y = problem(5)
    fits = [VRDAClassifier(l1=0.01, gamma=gamma, random_state=0).fit(X, y) for gamma in (0.125, 1.0, 64.0)]
    assert len({fit.mistakes_ for fit in fits}) == 1
    for fit in fits:
        np.testing.assert_allclose(fit.coef_ * fit.gamma, fits[1].coef_, rtol=1e-12)


def test_without_regulariser_the_mistakes_are_the_perceptrons(problem):
    X, y = problem(6)
    orders = [np.arange(len(y))] * 4
    w, mistakes = np.zeros(X.shape[1]), 0
    for order in orders:
        for i in order:
            if y[i] * (w @ X[i]) <= 0:
                w, mistakes = w + y[i] * X[i], mistakes + 1
    state, _ = run_kernel(X, y, orders, Regulariser(), "hinge")
    plain, plain_form = run_kernel(X, y, orders, Regulariser(), "hinge", plain=1.0)
    assert state[-1][kernels.MISTAKES] == plain[-1][kernels.MISTAKES] == mistakes
    np.testing.assert_array_equal(kernels.last_weights(plain, plain_form)[0], w)


def test_zero_margin_is_a_mistake():
    X, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 1.0])
    state, _ = run_kernel(X, y, [np.array([0, 1])], Regulariser(), "hinge")
    assert state[-1][kernels.MISTAKES] == 2


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_mistakes_stay_within_the_bound(seed, naive, problem):
    random = np.random.default_rng(seed)
    X, y = problem(seed, m=int(random.integers(1, 120)), n=int(random.integers(1, 40)), whole=False)
    regulariser = Regulariser(l1=10 ** random.uniform(-4, 0), gamma=10 ** random.uniform(-2, 2))
    W, _, g = naive(X, y, [random.permutation(len(y))], regulariser, "hinge")
    M, g_max = len(g), np.sqrt((g**2).sum(1).max())
    l1_of = [regulariser.l1 * np.abs(w).sum() for w in W[:M]]
    for u in [*random.normal(size=(5, X.shape[1])), W[-1], 10 * W.mean(0)]:
        losses = np.maximum(0.0, 1.0 + g @ u).sum()
        strength = regulariser.l1 * np.abs(u).sum() - np.mean(l1_of)
        bound = mistake_bound(losses, regret_constant(np.linalg.norm(u), g_max, regulariser.gamma), strength)
        assert bound * (1 + 1e-9) >= M
    u, at_one = W[-1], np.abs(W[:M]).sum() / M * regulariser.gamma
    best, _ = fitted_bound(-(g @ u), np.linalg.norm(u), np.abs(u).sum(), g_max, at_one, regulariser.l1)
    assert best * (1 + 1e-9) >= M


def test_bound_by_hand():
    assert mistake_bound(0.0, 3.0, 0.5) == pytest.approx(36.0)  # C^2 / (1 - Lambda)^2
    assert mistake_bound(4.0, 3.0, 0.0) == pytest.approx(16.0)
    assert mistake_bound(4.0, 3.0, 1.0) == np.inf


@pytest.mark.parametrize("bad", [{"l1": -1.0}, {"l1": float("nan")}, {"gamma": 0.0}, {"rho": float("inf")}])
def test_impossible_regulariser_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Regulariser(**bad)
