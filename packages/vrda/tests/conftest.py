"""The dense version that reads like the paper, and small problems to compare on."""

import numpy as np
import pytest

from septet.vrda.vrda import loss_slope, prox_update


def naive(X, y, orders, regulariser, loss):
    """The algorithm as the paper prints it: dense, every predictor kept. Returns (predictors, votes, subgradients)."""
    k, s, w, c = 0, np.zeros(X.shape[1]), np.zeros(X.shape[1]), 0
    store, gradients = [], []
    for order in orders:
        for i in order:
            # s has the sign of w and no scale: ties must not hang on rounding
            margin = y[i] * (-np.sign(s) * np.maximum(np.abs(s) - regulariser.threshold(k), 0) @ X[i])
            if margin > 0:
                c += 1
            else:
                store.append((w, c))
                g = -loss_slope(y[i] * (w @ X[i]), loss) * y[i] * X[i]
                gradients.append(g)
                k += 1
                s = s + g
                w = prox_update(s, k, regulariser)
                c = 1
    store.append((w, c))
    return np.array([w for w, _ in store]), np.array([c for _, c in store]), np.array(gradients)


def problem(seed, m=80, n=30, whole=True):
    random = np.random.default_rng(seed)
    X = random.integers(-2, 3, (m, n)).astype(float) if whole else random.normal(size=(m, n))
    X[random.random((m, n)) < 0.7] = 0.0
    y = np.where(X @ random.normal(size=n) + 0.5 * random.normal(size=m) > 0, 1.0, -1.0)
    return X, y


@pytest.fixture(scope="session", name="naive")
def naive_fixture():
    return naive


@pytest.fixture(scope="session", name="problem")
def problem_fixture():
    return problem
