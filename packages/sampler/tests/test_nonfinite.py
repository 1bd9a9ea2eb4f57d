"""Rewards and observations that are not finite end a run before anything is learned from them."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from septet.errors import NotFinite
from septet.sampler.batch import Step
from septet.sampler.collect import Collection, Collector
from septet.sampler.nonfinite import check, check_step
from septet.sampler.policy import GaussianPolicy
from septet.sampler.samplers import Samplers


class Sick(gymnasium.Env):
    """Episodes of `length` steps; at step `at` of an episode the reward or the observation is `value`."""

    observation_space, action_space = Box(-1, 1, (2,), np.float32), Box(-1, 1, (1,), np.float32)

    def __init__(self, at=7, value=np.nan, what="reward", length=10):
        self.at, self.value, self.what, self.length = at, value, what, length

    def seen(self):
        sick = self.what == "observation" and self.t == self.at
        return np.array([self.t / 10, self.value if sick else 0.5], np.float32)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self.seen(), {}

    def step(self, action):
        self.t += 1
        reward = self.value if self.what == "reward" and self.t == self.at else 1.0
        return self.seen(), reward, False, self.t >= self.length, {}


@pytest.fixture(autouse=True)
def registered():
    gymnasium.register("Sick-v0", Sick, max_episode_steps=10)
    yield
    del gymnasium.registry["Sick-v0"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_the_environment_that_gave_it_is_named_by_its_seed(value):
    rewards = np.array([1.0, 2.0, 3.0, value])
    with pytest.raises(NotFinite, match=r"^here: reward is not finite: .* \(seed 8\)$"):
        check("reward", rewards, [5, 8], "here")
    check("reward", rewards[:3], [5, 8, 9], "here")
    check("reward", np.array([np.finfo(np.float32).max]), [5], "here")


@pytest.mark.parametrize("where", ["observation", "next_observation"])
def test_a_step_is_looked_at_before_and_after_a_reset(where):
    arrays = {"observation": np.zeros((2, 3)), "next_observation": np.zeros((2, 3))}
    flags = {name: np.zeros(2, bool) for name in ("terminated", "truncated")}
    check_step(Step(reward=np.zeros(2), **arrays, **flags), [0, 1], "step 1")
    arrays[where][1, 2] = np.nan
    with pytest.raises(NotFinite, match=r"step 1: observation is not finite: nan \(seed 1\)"):
        check_step(Step(reward=np.zeros(2), **arrays, **flags), [0, 1], "step 1")


CASES = [
    ("reward", 7, "step 7: reward"),
    ("reward", 10, "step 10: reward"),
    ("observation", 0, "after step 0: observation"),
    ("observation", 7, "after step 7: observation"),
    ("observation", 10, "step 10: observation"),  # of the episode's end
]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("what", "at", "says"), CASES)
def test_a_collector_says_what_and_where(what, at, says, value, whole):
    policy = GaussianPolicy(2, 1, (4,))
    options = {"what": what, "at": at, "value": value}
    plan = Collection(
        task="Sick-v0", policy=policy, seeds=(3, 4), environments=2, steps=10, whole_episodes=whole, options=options
    )
    collector = Collector(plan)
    collector.reset()
    with pytest.raises(NotFinite, match=rf"iteration 0, {says} is not finite: {value} \(seed 3\)"):
        collector.collect(np.zeros((2, policy.size), np.float32), iteration=0)
    collector.batch.close()


def test_what_is_left_of_an_iteration_before_is_not_looked_at():
    """Iterations of four steps: the second one ends at the observation after step 7 of the episode, its third."""
    policy = GaussianPolicy(2, 1, (4,))
    with Samplers("Sick-v0", policy, seeds=[3], environments=1, steps=4, options={"what": "observation"}) as samplers:
        samplers.broadcast(np.zeros((1, policy.size), np.float32))
        assert samplers.collect().valid.sum() == 4
        with pytest.raises(NotFinite, match="iteration 1, after step 3: observation"):
            samplers.collect()


def test_a_value_of_a_compiled_task_is_found_in_sampler_processes():
    policy = GaussianPolicy(3, 1, (4,))
    with Samplers("Pendulum-v1", policy, seeds=[3, 4], environments=1, steps=4, processes=2) as samplers:
        samplers.broadcast(np.zeros((2, policy.size), np.float32))
        state = {name: value.copy() for name, value in samplers.state.items()}
        state["environment.state"][1] = np.inf  # the angle, whose sine is NaN
        samplers.state = state
        with pytest.raises(NotFinite, match=r"iteration 0, .* is not finite: .* \(seed 4\)"):
            samplers.collect()
