"""Every task against Gymnasium's own environment: the same starts and actions, step by step, bit for bit.

Two things are not bit-equal, and enter no later step. NumPy squares a scalar by `pow`, which is not
always the rounded square, and BLAS may fuse the multiply-adds of a norm: the rewards of Pendulum-v1,
InvertedDoublePendulum-v5 and Reacher-v5 may differ in their last bits. And on some processors NumPy
takes sines and cosines from a vector library instead of libm: their observations may then differ likewise.
"""

import math

import gymnasium
import numpy as np
import pytest

from septet import sampler
from septet.seeding import stream

EXACT = ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5", "Ant-v5", "Humanoid-v5", "InvertedPendulum-v5"]
NEARLY = ["InvertedDoublePendulum-v5", "Reacher-v5", "Pendulum-v1"]
FALLING = ["Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5"]
OPTIONS = {
    "HalfCheetah-v5": {"exclude_current_positions_from_observation": False, "forward_reward_weight": 0.7},
    "Hopper-v5": {"terminate_when_unhealthy": False, "ctrl_cost_weight": 0.3, "frame_skip": 2},
    "Walker2d-v5": {"healthy_angle_range": (-0.1, 0.1), "healthy_reward": 2.0},
    "Swimmer-v5": {"exclude_current_positions_from_observation": False, "reset_noise_scale": 0.3},
    "Ant-v5": {"include_cfrc_ext_in_observation": False, "contact_force_range": (-9.0, 9.0)},
    "Humanoid-v5": {"include_cinert_in_observation": False, "include_cfrc_ext_in_observation": False},
    "Reacher-v5": {"reward_dist_weight": 3, "reward_control_weight": 0.5},
    "InvertedPendulum-v5": {"reset_noise_scale": 0.1},
    "InvertedDoublePendulum-v5": {"healthy_reward": 3.0},
    "Pendulum-v1": {"g": 9.81},
}


class Reference:
    """Environment b of one seed, by Gymnasium."""

    def __init__(self, task, root, seed, environment, options):
        self.env = gymnasium.make(task, **options)
        self.name = ("reset", task, seed, environment)
        self.root, self.episode = root, 0

    def reset(self):
        self.env.unwrapped.np_random = stream(self.root, *self.name, self.episode)
        self.episode += 1
        return self.env.reset()[0]


def play(task, steps, close, action_of, options=None):
    """Step a batch and its references; returns how many episodes were terminated and truncated."""
    batch = sampler.make(task, seeds=[7, 1], environments=2, root=11, **(options or {}))
    references = [Reference(task, 11, seed, b, options or {}) for seed in (7, 1) for b in range(2)]
    first = batch.reset()
    for e, reference in enumerate(references):
        np.testing.assert_array_equal(first[e], reference.reset())
    counts = np.zeros(2, dtype=int)
    for t in range(steps):
        action = action_of(t, batch)
        step = batch.step(action)
        for e, reference in enumerate(references):
            observation, reward, terminated, truncated, _ = reference.env.step(action[e])
            close(step.next_observation[e], observation)
            close(step.reward[e], reward)
            assert (step.terminated[e], step.truncated[e]) == (terminated, truncated)
            counts += terminated, truncated
            expected = reference.reset() if terminated or truncated else step.next_observation[e]
            np.testing.assert_array_equal(step.observation[e], expected)
    batch.close()
    return counts


def wild(scale):
    """Random actions, beyond the bounds now and then."""
    rng = np.random.default_rng(5)
    return lambda t, batch: scale * rng.uniform(batch.action_low, batch.action_high, (batch.size, batch.action_size))


def exactly(ours, theirs):
    np.testing.assert_array_equal(ours, theirs)


def nearly(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("task", EXACT + NEARLY)
def test_steps_rewards_ends_and_resets_are_gymnasiums(task):
    steps = 60 if task == "Humanoid-v5" else 210
    terminated, truncated = play(task, steps, exactly if task in EXACT else nearly, wild(1.2))
    assert (terminated > 0) == (task in FALLING)
    assert (truncated > 0) == (task in ("Reacher-v5", "Pendulum-v1"))


@pytest.mark.parametrize("task", OPTIONS)
def test_options_are_gymnasiums(task):
    play(task, 40, exactly if task in EXACT else nearly, wild(1.0), OPTIONS[task])


def test_the_time_limit_truncates_as_gymnasiums():
    counts = play("HalfCheetah-v5", 1001, exactly, lambda t, batch: np.zeros((batch.size, 6)))
    assert counts.tolist() == [0, 4]


def test_a_simulation_that_explodes_goes_on_as_gymnasiums():
    batch = sampler.make("Humanoid-v5", seeds=[0], environments=1)
    reference = Reference("Humanoid-v5", 0, 0, 0, {})
    batch.reset()
    reference.reset()
    physics, env = batch.state, reference.env.unwrapped
    physics["state"][0, env.model.nq + 10] = env.data.qvel[10] = 1e15
    batch.state = physics
    action = np.full((1, 17), 0.3)
    step = batch.step(action)
    observation, reward, terminated, *_ = env.step(action[0])
    exactly(step.next_observation[0], observation)
    exactly(step.reward[0], reward)
    assert step.terminated[0] == terminated


def cart_pole(state, action):
    """Barto, Sutton and Anderson's equations, by the book."""
    x, x_dot, theta, theta_dot = state
    force = 10 * float(np.clip(action, -1, 1))
    inertia = 0.1 * 0.5 * theta_dot**2 * math.sin(theta)
    theta_acc = (9.8 * math.sin(theta) - math.cos(theta) * (force + inertia) / 1.1) / (
        0.5 * (4 / 3 - 0.1 * math.cos(theta) ** 2 / 1.1)
    )
    x_acc = (force + inertia) / 1.1 - 0.1 * 0.5 * theta_acc * math.cos(theta) / 1.1
    return np.array([x + 0.02 * x_dot, x_dot + 0.02 * x_acc, theta + 0.02 * theta_dot, theta_dot + 0.02 * theta_acc])


def test_cart_pole_follows_the_equations_and_ends_where_it_falls():
    batch = sampler.make("ContinuousCartPole", seeds=[2], environments=3, root=4)
    state = batch.reset().copy()
    for b in range(3):
        start = stream(4, "reset", "ContinuousCartPole", 2, b, 0).uniform(-0.05, 0.05, 4)
        np.testing.assert_array_equal(state[b], start.astype(np.float32))
    state = batch.state["state"]
    rng = np.random.default_rng(0)
    fallen = 0
    for _ in range(150):
        action = rng.normal(0.3, 1.0, (3, 1))
        step = batch.step(action)
        expected = np.array([cart_pole(*both) for both in zip(state, action[:, 0], strict=True)])
        np.testing.assert_allclose(step.next_observation, expected, rtol=1e-6, atol=1e-7)  # single precision
        over = (np.abs(expected[:, 0]) > 2.4) | (np.abs(expected[:, 2]) > 12 * math.pi / 180)
        np.testing.assert_array_equal(step.terminated, over)
        assert (step.reward == 1).all()
        fallen += over.sum()
        state = batch.state["state"]
    assert fallen > 3


def test_cart_pole_is_gymnasiums_at_full_force():
    batch = sampler.make("ContinuousCartPole", seeds=[2], environments=1)
    batch.reset()
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset()
    env.state = batch.state["state"][0]
    for t in range(9):
        left = t % 3 == 0
        step = batch.step(np.array([[-1.5 if left else 1.0]]))
        observation, reward, terminated, *_ = env.step(0 if left else 1)
        nearly(step.next_observation[0], observation)
        assert (step.reward[0], step.terminated[0]) == (reward, terminated)


def test_cart_pole_is_truncated_after_200_steps():
    batch = sampler.make("ContinuousCartPole", seeds=[2], environments=1)
    observation = batch.reset()
    for t in range(200):
        lean = observation[:, 2:3] + 0.5 * observation[:, 3:] + 0.02 * observation[:, :1] + 0.1 * observation[:, 1:2]
        step = batch.step(5 * lean)
        assert not step.terminated[0]
        assert step.truncated[0] == (t == 199)
        observation = step.observation
    assert batch.elapsed.tolist() == [0]
