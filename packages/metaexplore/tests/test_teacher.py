"""The score-function gradient: closed forms, and the net's derivative against finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.metaexplore import student, teacher
from septet.metaexplore.teacher import (
    Lesson,
    Spread,
    meta_gradient,
    score_of_log_sigma,
    score_of_mean,
    shuffled,
    standardised,
    taught,
)
from septet.rl.shapes import initial, net


def lesson(inputs, action, mean):
    return Lesson(inputs, action, mean, np.zeros(len(mean)), np.zeros((len(mean), 0, 1)))


def test_one_step_gaussian_teacher_with_a_quadratic_meta_reward():
    r"""E[-(a - c)^2] for a ~ N(f, s^2): the gradient in f is -2 (f - c), the one in log s is -2 s^2."""
    rng = np.random.default_rng(0)
    f, c, s = 0.3, -0.4, 0.5
    a = f + s * rng.standard_normal(2_000_000)
    reward = -((a - c) ** 2)
    mean, sigma = np.full((a.size, 1), f), np.array(s)
    of_mean = (reward - reward.mean()) * score_of_mean(a[:, None], mean, sigma)[:, 0]
    of_sigma = (reward - reward.mean()) * score_of_log_sigma(a[:, None], mean, sigma)
    for estimate, exact in ((of_mean, -2 * (f - c)), (of_sigma, -2 * s**2)):
        error = estimate.std() / np.sqrt(estimate.size)
        assert abs(estimate.mean() - exact) < 4 * error < 0.02


def test_scores_by_hand():
    action, mean = np.array([[1.0, -1.0]]), np.array([[0.5, 0.0]])
    np.testing.assert_allclose(score_of_mean(action, mean, np.array(0.5)), [[2.0, -4.0]])
    np.testing.assert_allclose(score_of_log_sigma(action, mean, np.array(0.5)), [(0.25 + 1.0) / 0.25 - 2])


def log_density(weights, log_sigma, shape, inputs, action):
    """log pi_e of each trial, averaged over its steps; float64 but for the net."""
    f = student.actions(weights[None].repeat(len(inputs), 0), shape, inputs).astype(np.float64)
    square = ((action - f) ** 2).sum(axis=-1) / np.exp(2 * log_sigma)
    return (-0.5 * square - action.shape[-1] * log_sigma).mean(axis=1)


def test_the_meta_gradient_is_the_derivative_of_the_weighted_log_density():
    rng = np.random.default_rng(1)
    shape = net((3, 8, 6, 2), normalised=True)
    weights = initial(shape, 0, ("t",), [1], last=0.5)[0]
    inputs = rng.standard_normal((4, 5, 3)).astype(np.float32)
    action, advantage, log_sigma = rng.standard_normal((4, 5, 2)), rng.standard_normal(4), np.log(0.7)
    mean = student.actions(weights[None].repeat(4, 0), shape, inputs).astype(np.float64)
    of_mean, of_sigma = meta_gradient(weights, shape, inputs, action, mean, 0.7, advantage)

    def value(w, log_s):
        return float(advantage @ log_density(w, log_s, shape, inputs, action)) / 4

    direction = rng.standard_normal(len(weights)).astype(np.float32)
    step = np.float32(1e-3)
    ahead, behind = (value(weights + sign * step * direction, log_sigma) for sign in (1, -1))
    assert float(of_mean @ direction) == pytest.approx((ahead - behind) / 2e-3, rel=0.02)
    up, down = (value(weights, log_sigma + h) for h in (1e-5, -1e-5))
    assert of_sigma == pytest.approx((up - down) / 2e-5, rel=1e-4)


def test_a_teacher_finds_the_best_data_when_the_reward_tells():
    """The one-step task of the closed form, through the class: the mean goes to c, sigma shrinks."""
    shape, seeds = net((1, 16, 16, 1), normalised=True), [1, 2]
    one = teacher.initial("independent", shape, 0, "t", seeds, sigma=0.5)
    spread = Spread(*np.zeros((3, 2)))
    rng, inputs = np.random.default_rng(0), np.ones((2, 16, 1, 1), np.float32)
    for _ in range(150):
        f = student.actions(one.weights, shape, inputs[:, :, 0])[:, :, None].astype(np.float64)
        action = f + one.sigma[:, None, None, None] * rng.standard_normal((2, 16, 1, 1))
        reward = -((action[..., 0, 0] - 0.6) ** 2)
        advantage, spread = standardised(reward, spread)
        before = one
        one, _ = taught(before, shape, lesson(inputs, action, f), advantage, 1e-2, (0.05, 1.0))
    assert (abs(f[:, 0, 0, 0] - 0.6) < 0.15).all()
    assert (one.sigma < 0.4).all()
    again, _ = taught(before, shape, lesson(inputs, action, f), advantage, 1e-2, (0.05, 1.0))
    assert all((a == b).all() for a, b in zip(one[:3], again[:3], strict=True))  # what is given stays as it is


def test_sigma_keeps_its_bounds_and_a_local_teacher_learns_nothing_else():
    shape = net((1, 4, 4, 1), normalised=True)
    one = teacher.initial("local", shape, 0, "t", [1], sigma=0.5)
    given = lesson(np.zeros((1, 2, 3, 1), np.float32), np.full((1, 2, 3, 1), 9.0), np.zeros((1, 2, 3, 1)))
    assert one.flat.shape == (1, 1)
    one, _ = taught(one, shape, given, np.ones((1, 2)), 0.5, (0.4, 0.6))
    assert one.sigma == pytest.approx(0.6)
    for _ in range(9):
        one, _ = taught(one, shape, given, -np.ones((1, 2)), 0.5, (0.4, 0.6))
    assert one.sigma == pytest.approx(0.4)


def test_advantages_of_one_trial_are_drawn_from_those_so_far():
    def generators():
        return [np.random.default_rng(seed) for seed in (1, 2)]

    past = []
    for value in (1.0, 2.0, 3.0):
        found, past = shuffled(np.array([[value], [-value]]), past, generators())
    assert [row.tolist() for row in past] == [[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]]
    drawn = [int(g.integers(3)) for g in generators()]
    assert found.tolist() == [[drawn[0] + 1.0], [-drawn[1] - 1.0]]
    group, kept = shuffled(np.array([[1.0, 2.0, 3.0]] * 2), past, generators())
    assert kept is past and (np.sort(group) == [1.0, 2.0, 3.0]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.floats(-5, 5), st.floats(0.1, 10))
def test_group_advantages_have_no_mean_and_know_no_shift(trials, shift, scale):
    reward = np.random.default_rng(trials).standard_normal((3, trials))
    fresh = Spread(*np.zeros((3, 3)))
    first, second = standardised(reward, fresh)[0], standardised(scale * reward + shift, fresh)[0]
    np.testing.assert_allclose(first.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_one_trial_is_held_against_the_rewards_before_it():
    spread, found = Spread(*np.zeros((3, 1))), []
    for reward in (2.0, 4.0, 9.0, 1.0):
        advantage, spread = standardised(np.array([[reward]]), spread)
        found.append(float(advantage[0, 0]))
    np.testing.assert_allclose(found, [0, 0, (9 - 3) / 1.0, (1 - 5) / np.std([2, 4, 9])])


def test_a_gradient_is_clipped_to_its_limit():
    np.testing.assert_allclose(teacher.clipped(np.array([3.0, 4.0], np.float32), 1.0), [0.6, 0.8])
    np.testing.assert_allclose(teacher.clipped(np.array([0.3, 0.4], np.float32), 1.0), [0.3, 0.4])
