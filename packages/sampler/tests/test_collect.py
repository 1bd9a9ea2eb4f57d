"""The collecting loop: against a toy worked out by hand, and against a loop over single environments."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet import sampler
from septet.errors import InputError
from septet.sampler.collect import Collection, Collector
from septet.sampler.policy import GaussianPolicy
from septet.sampler.rollout import merge_moments, moments
from septet.seeding import stream


class Counter:
    """Environment e ends after `lengths[e]` steps; observations count steps, rewards are the controls."""

    observation_size = action_size = 1
    action_low, action_high = np.array([-1.0]), np.array([3.0])
    time_limit = 4

    def __init__(self, lengths):
        self.lengths = np.array(lengths)
        self.at = np.zeros(len(lengths))
        self.controls = []

    def reset(self):
        self.at[:] = 0
        return self.at[:, None].copy()

    def step(self, control, active=None):
        active = np.ones(len(self.at), bool) if active is None else active
        self.controls.append(control[:, 0].copy())
        self.at += active
        following = self.at[:, None].copy()
        ended = active & (self.at == self.lengths)
        self.at[ended] = 0
        return SimpleNamespace(
            observation=self.at[:, None].copy(),
            reward=np.where(active, control[:, 0], 0.0),
            terminated=ended & (self.lengths < 4),
            truncated=ended & (self.lengths == 4),
            next_observation=following,
        )

    state = property(lambda self: {"at": self.at.copy()}, lambda self, state: self.at.__setitem__(..., state["at"]))


def counting(lengths, inputs=1, **change):
    """A collector of the toy whose policy's action is the observation itself (plus noise times 0)."""
    policy = GaussianPolicy(inputs, 1, hidden=())
    weights = np.zeros((1, policy.size), np.float32)
    weights[0, 0] = 1.0
    plan = {"task": "toy", "policy": policy, "seeds": (7,), "environments": len(lengths), "steps": 5, **change}
    collector = Collector(Collection(**plan), batch=Counter(lengths))
    collector.reset()
    return collector, weights


def test_a_toy_by_hand():
    collector, w = counting([2, 4])
    rollout = collector.collect(w, iteration=0, noise=np.zeros((5, 2, 1)))
    np.testing.assert_array_equal(rollout.observation[:, :, 0], [[0, 0], [1, 1], [0, 2], [1, 3], [0, 0]])
    np.testing.assert_array_equal(rollout.action[:, 1, 0], [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(rollout.final_step, [1, 3, 3])
    np.testing.assert_array_equal(rollout.final_environment, [0, 0, 1])
    np.testing.assert_array_equal(rollout.final_observation[:, 0], [2, 2, 4])
    np.testing.assert_array_equal(rollout.terminated.nonzero(), [[1, 3], [0, 0]])
    np.testing.assert_array_equal(rollout.truncated.nonzero(), [[3], [1]])
    np.testing.assert_array_equal(rollout.episode_return, [1, 1, 0 + 1 + 2 + 3])
    np.testing.assert_array_equal(rollout.episode_length, [2, 2, 4])
    np.testing.assert_array_equal(rollout.last_observation[:, 0], [1, 1])
    np.testing.assert_array_equal(rollout.count, [5, 5])
    np.testing.assert_allclose(rollout.moment_mean[:, 0], [2 / 5, 6 / 5])
    np.testing.assert_allclose(rollout.moment_m2[1, 0], 14 - 5 * 1.2**2)
    assert rollout.valid.all()
    # an episode goes on over the end of an iteration
    rollout = collector.collect(w, iteration=1, noise=np.zeros((5, 2, 1)))
    np.testing.assert_array_equal(rollout.observation[:, 1, 0], [1, 2, 3, 0, 1])
    np.testing.assert_array_equal(rollout.episode_return[rollout.final_environment == 1], [0 + 1 + 2 + 3])
    np.testing.assert_array_equal(rollout.episode_length[rollout.final_environment == 1], [4])


def test_whole_episodes_by_hand():
    collector, w = counting([2, 4], whole_episodes=True)
    for iteration in range(2):
        rollout = collector.collect(w, iteration=iteration, noise=np.zeros((8, 2, 1)))
        np.testing.assert_array_equal(rollout.valid.sum(0), [6, 8])  # at least 5, to the end of an episode
        np.testing.assert_array_equal(rollout.observation[:, 0, 0], [0, 1, 0, 1, 0, 1, 0, 0])
        np.testing.assert_array_equal(rollout.reward[6:, 0], 0)
        np.testing.assert_array_equal(rollout.episode_length, [2, 2, 4, 2, 4])
        np.testing.assert_array_equal(rollout.count, [6, 8])
        assert rollout.valid.sum() == 14 and len(rollout.reward) == 8


def test_actions_are_clipped_or_scaled_for_the_environment_and_kept_as_sampled():
    noise = np.array([[[-5.0]], [[-0.5]], [[5.0]]])
    for bounds, want in (("clip", [-1, -0.5, 3]), ("scale", [-1, 0, 3])):
        collector, w = counting([4], steps=3, bounds=bounds)
        rollout = collector.collect(0 * w, iteration=0, noise=noise)  # sigma is 1
        np.testing.assert_array_equal(rollout.action[:, 0, 0], noise[:, 0, 0])
        np.testing.assert_allclose(np.concatenate(collector.batch.controls), want)


def test_the_time_feature_counts_steps_since_the_reset():
    collector, w = counting([2, 4], inputs=2, time_feature=True)
    rollout = collector.collect(w, iteration=0)
    np.testing.assert_allclose(rollout.observation[..., 1], 0.001 * rollout.observation[..., 0])
    np.testing.assert_allclose(rollout.final_observation, [[2, 0.002], [2, 0.002], [4, 0.004]])
    np.testing.assert_allclose(rollout.last_observation, [[1, 0.001], [1, 0.001]])


def test_per_sampler_scaling_is_that_of_the_paper():
    collector, w = counting([2, 4], inputs=2, time_feature=True, scalers=1)
    first = collector.collect(w, iteration=0)
    np.testing.assert_array_equal([first.mean[0], first.scale[0]], [[0, 0], [1, 1]])
    seen = first.observation[..., 0].copy()
    second = collector.collect(w, iteration=1, noise=np.zeros((5, 2, 1)))
    np.testing.assert_allclose(second.mean, [[seen.mean(), 0]] * 2)
    np.testing.assert_allclose(second.scale, [[1 / (3 * (seen.std() + 0.1)), 1]] * 2)
    seen = np.concatenate([seen, second.observation[..., 0]])
    third = collector.collect(w, iteration=2, noise=np.zeros((5, 2, 1)))
    np.testing.assert_allclose(third.scale[0, 0], 1 / (3 * (seen.std() + 0.1)))
    # the policy saw them scaled
    want = (third.observation - third.mean) * third.scale
    np.testing.assert_allclose(third.action[..., 0], want[..., 0], atol=1e-6)


def one_by_one(plan, weights, mean, scale, iterations):
    """Each environment alone, one step at a time."""
    everything = []
    for e in range(plan.size):
        member, b = divmod(e, plan.environments)
        batch = sampler.make(plan.task, seeds=plan.seeds, environments=plan.environments, members=(e, e + 1))
        observation = batch.reset()
        steps = []
        for iteration in range(iterations):
            rng = stream(plan.root, "act", plan.task, plan.seeds[member], b, iteration)
            noise = rng.standard_normal((plan.steps, plan.policy.action_size))
            for t in range(plan.steps):
                action = plan.policy.act(weights, np.array([member]), observation, noise[t : t + 1], mean, scale)
                result = batch.step(np.clip(action.astype(float), batch.action_low, batch.action_high))
                steps.append((observation[0], action[0], result.reward[0], result.terminated[0], result.truncated[0]))
                observation = result.observation
        everything.append([np.array(column) for column in zip(*steps, strict=True)])
    return [np.stack(column, axis=1) for column in zip(*everything, strict=True)]


@pytest.mark.parametrize("task", ["ContinuousCartPole", "Pendulum-v1", "HalfCheetah-v5"])
def test_the_loop_against_single_environments(task):
    probe = sampler.make(task, seeds=[0], environments=1)
    policy = GaussianPolicy(probe.observation_size, probe.action_size, hidden=(16,))
    plan = Collection(task=task, policy=policy, seeds=(5, 9), environments=2, steps=110)
    rng = np.random.default_rng(0)
    weights = (0.3 * rng.standard_normal((2, policy.size))).astype(np.float32)
    mean, scale = rng.standard_normal((2, policy.observation_size)), rng.uniform(0.5, 2, (2, policy.observation_size))
    want = one_by_one(plan, weights, mean, scale, 2)
    collector = Collector(plan)
    collector.reset()
    found = []
    for iteration in range(2):
        state = collector.state
        one = collector.collect(weights, iteration=iteration, mean=mean, scale=scale)
        found.append([one.observation, one.action, one.reward, one.terminated, one.truncated])
        found[-1] = [array.copy() for array in found[-1]]
        collector.state = state  # and again from the state before
        again = collector.collect(weights, iteration=iteration, mean=mean, scale=scale)
        np.testing.assert_array_equal(again.observation, found[-1][0])
    for mine, naive in zip((np.concatenate(pair) for pair in zip(*found, strict=True)), want, strict=True):
        np.testing.assert_array_equal(mine, naive)


def test_whole_episodes_do_not_depend_on_the_company():
    policy = GaussianPolicy(4, 1, hidden=())
    plan = Collection(task="ContinuousCartPole", policy=policy, seeds=(1, 2), environments=3, steps=60,
                      whole_episodes=True)  # fmt: skip
    weights = np.full((2, policy.size), 0.1, np.float32)
    together, alone = Collector(plan), [Collector(plan, first=e, last=e + 1) for e in range(6)]
    for collector in (together, *alone):
        collector.reset()
    for iteration in range(3):
        whole = together.collect(weights, iteration=iteration)
        assert (whole.valid.sum(0) >= 60).all() and len(set(whole.valid.sum(0))) > 1
        for e, collector in enumerate(alone):
            part = collector.collect(weights, iteration=iteration)
            steps = len(part.reward)
            assert whole.valid[:, e].sum() == steps
            np.testing.assert_array_equal(part.observation[:, 0], whole.observation[:steps, e])
            np.testing.assert_array_equal(part.moment_m2[0], whole.moment_m2[e])
            lengths = whole.episode_length[whole.final_environment == e]
            np.testing.assert_array_equal(part.episode_length, lengths)
            assert lengths.sum() == steps


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(1, 20), environments=st.integers(1, 5), size=st.integers(1, 4), seed=st.integers(0, 99))
def test_moments_and_their_merge(steps, environments, size, seed):
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((steps, environments, size)) + 10.0 * rng.standard_normal(size)
    valid = rng.random((steps, environments)) < 0.7
    count, mean, m2 = np.empty(environments), np.empty((environments, size)), np.empty((environments, size))
    moments(observation, valid, count, mean, m2)
    for e in range(environments):
        rows = observation[valid[:, e], e]
        assert count[e] == len(rows)
        if len(rows):
            np.testing.assert_allclose(mean[e], rows.mean(0), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(m2[e], rows.var(0) * len(rows), rtol=1e-7, atol=1e-9)
    total, centre, spread = merge_moments(count, mean, m2)
    if rows := list(observation[valid]):
        assert total == len(rows)
        np.testing.assert_allclose(centre, np.mean(rows, 0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(spread, np.var(rows, 0) * len(rows), rtol=1e-7, atol=1e-8)


def test_bad_plans_are_told():
    collector, _ = counting([2])
    plan = collector.collection
    for change, word in (({"steps": 0}, "steps"), ({"seeds": ()}, "seeds"), ({"bounds": "wrap"}, "bounds")):
        with pytest.raises(InputError, match=word):
            dataclasses.replace(plan, **change)
    with pytest.raises(InputError, match="policy: expected 1 observations and 1 actions, as toy has, found 2 and 1"):
        Collector(dataclasses.replace(plan, policy=GaussianPolicy(2, 1)), batch=Counter([2]))
    endless = Counter([2])
    endless.action_high = np.array([np.inf])
    with pytest.raises(InputError, match="finite"):
        Collector(dataclasses.replace(plan, bounds="scale"), batch=endless)
