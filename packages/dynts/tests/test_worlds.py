"""The simulated worlds move as their dynamics say."""

import numpy as np
import pytest

from septet.dynts.config import Simulation
from septet.dynts.worlds import CONTEXT_SCALE, initial_weights, joint_features, simulate


def world(drift, period=1000, **settings):
    return Simulation(kind="simulation", name="w", drift=drift, period=period, **settings)


def path(task, rounds, seeds=(0,)):
    """Weights after every round, ``(S, T, groups, D)``, and the rounds themselves."""
    seeds = list(seeds)
    stretch, end = simulate(task, 1, seeds, initial_weights(task, 1, seeds), 0, rounds, np.arange(1, rounds + 1))
    assert np.array_equal(stretch.weights[:, -1], end)
    return stretch.weights, stretch


def test_a_static_world_stands_still():
    weights, _ = path(world("static"), 50)
    assert np.array_equal(weights[0, 0], weights[0, -1])


def test_a_mean_reverting_world_keeps_its_variance_and_forgets_after_tau():
    weights, _ = path(world("mean_reverting", period=50), 4000, seeds=range(4))
    assert weights.var() == pytest.approx(1.0, abs=0.1)
    lag = 50
    correlation = np.mean(weights[:, lag:] * weights[:, :-lag])
    assert correlation == pytest.approx((1 - 1 / 50) ** lag, abs=0.1)


def test_a_random_walk_spreads_by_one_variance_in_a_period():
    weights, _ = path(world("random_walk", period=400, arms=30), 400, seeds=range(6))
    moved = weights[:, -1] - weights[:, 0]
    assert moved.var() == pytest.approx(1.0, abs=0.12)


def test_resets_happen_at_the_period_and_nowhere_else():
    weights, _ = path(world("reset", period=30), 100)
    jumps = np.flatnonzero(np.any(weights[0, 1:] != weights[0, :-1], axis=(1, 2))) + 1
    assert jumps.tolist() == [30, 60, 90]  # index 30 is round 31, the first of the second period


@pytest.mark.parametrize("shared", [False, True])
def test_probabilities_are_those_of_the_weights(shared):
    task = world("mean_reverting", shared=shared, arms=3, context_dim=4, ad_dim=2)
    weights, stretch = path(task, 20)
    for t in range(20):
        if shared:
            phi = stretch.features[0, 3 * t : 3 * t + 3]
            logits, p = phi @ weights[0, t, 0], stretch.probabilities[0, 3 * t : 3 * t + 3]
        else:
            logits, p = weights[0, t] @ stretch.features[0, t], stretch.probabilities[0, t]
        assert p == pytest.approx(1 / (1 + np.exp(-logits)))


def test_contexts_have_an_intercept_and_the_norm_of_the_brief():
    _, stretch = path(world("static", context_dim=10), 5000)
    x = stretch.features[0]
    assert np.all(x[:, 0] == CONTEXT_SCALE)
    assert np.mean(np.sum(x**2, axis=1)) == pytest.approx(10 / 1.5**2, rel=0.03)


def test_joint_features_are_user_ad_and_products():
    users, ads = np.array([[1.0, 2.0, 3.0]]), np.array([[5.0, 7.0]])
    assert joint_features(users, ads)[0, 0].tolist() == [1, 2, 3, 5, 7, 10, 14, 15, 21]
    assert world("static", shared=True, context_dim=3, ad_dim=2).dim == 9


def test_a_seed_is_the_same_alone_and_in_a_batch():
    task = world("mean_reverting")
    batch, _ = path(task, 30, seeds=[3, 5])
    alone, _ = path(task, 30, seeds=[5])
    assert np.array_equal(batch[1], alone[0])
