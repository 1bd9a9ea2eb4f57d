"""Environments of a purpose (explore, evaluate, test), and rollouts of S seeds with B environments each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet import sampler
from septet.errors import InputError
from septet.metaexplore import navigation
from septet.metaexplore.nets import Float32
from septet.metaexplore.student import Array
from septet.rl.replay import record_size
from septet.sampler.batch import CompiledBatch
from septet.sampler.nonfinite import check_step

TASKS = {**sampler.TASKS, navigation.NAME: navigation.task}


class Environments(CompiledBatch):
    """A batch of a task whose starts carry a purpose, so that exploring and evaluating share no random number.

    Args:
        name: a task of walle, or `DeceptiveNavigation`; options: of the task.
        seeds: S; environments: B, per seed; root: root of all streams.
        purpose: name of the starts' streams.

    Raises:
        InputError: an unknown task, or a wrong option.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], seeds: Sequence[int], environments: int, root: int, purpose: str
    ) -> None:
        if name not in TASKS:
            raise InputError("task", expected=f"one of {', '.join(TASKS)}", found=name)
        super().__init__(TASKS[name](name, options), seeds, environments, root=root)
        self.purpose, self._round = purpose, -1
        self._first = np.zeros(self.size, dtype=np.int64)
        self._middle = (self.action_low + self.action_high) / 2
        self._half = (self.action_high - self.action_low) / 2

    def stream_name(self, row: int, episode: int) -> tuple[int, str, str, int, int, int]:
        """See `septet.sampler.batch.Batch.stream_name`; after `restart` the environments of a seed start alike."""
        seed, environment = divmod(row, self.environments)
        if self._round < 0:
            return self.root, self.purpose, self.task, self.seeds[seed], environment, episode
        round_purpose = f"{self.purpose} in rounds"
        return self.root, round_purpose, self.task, self.seeds[seed], self._round, episode - int(self._first[row])

    def restart(self, round_: int) -> Array:
        """End all episodes; the B environments of a seed start this round's episodes from common states."""
        self._round = round_
        self._first[:] = self._episode + 1
        return self.reset()

    def scaled(self, action: NDArray[Any]) -> Array:
        """Actions in [-1, 1] stretched to the bounds."""
        scaled: Array = self._middle + self._half * action
        return scaled


class Experience(NamedTuple):
    """What a rollout of n steps gave; rows are S * B environments."""

    records: Float32
    """Transitions (S B, n, 2 O + A + 2) as `septet.rl.replay` lays them out."""
    reward: Array
    """Sum of the rewards, (S B,)."""
    falls: Array
    """Terminal states, (S B,)."""
    observation: Array
    """On which to go on, (S B, O)."""


def rollout(
    environments: Environments, observation: Array, act: Callable[[int, Array], NDArray[Any]], steps: int
) -> Experience:
    """Take `steps` steps in every environment.

    Args:
        observation: ``(S B, O)``.
        act: actions ``(S B, A)`` in [-1, 1] from the number of the step and the observations ``(S B, O)``.
    """
    size, width = environments.observation_size, environments.action_size
    records = np.empty((environments.size, steps, record_size(size, width)), np.float32)
    reward, falls = np.zeros(environments.size), np.zeros(environments.size)
    for t in range(steps):
        action = act(t, observation)
        step = environments.step(environments.scaled(action))
        check_step(step, environments.seeds, f"{environments.purpose}, step {t + 1}")
        row = records[:, t]
        row[:, :size] = observation
        row[:, size : size + width] = action
        row[:, size + width] = step.reward
        row[:, size + width + 1] = step.terminated  # not truncated: the value goes on there
        row[:, size + width + 2 :] = step.next_observation
        reward += step.reward
        falls += step.terminated
        observation = step.observation
    return Experience(records, reward, falls, observation)


def return_estimate(reward: Array, falls: Array, steps: int, horizon: int) -> Array:
    r"""Return of an episode, from a rollout that need not hold whole ones.

    .. math:: \hat R = \sum_t r_t / \max(k, n / H)

    With no terminal state among the n steps (k = 0) it is the mean reward times the horizon H (section 6); where
    episodes end by falling it is the reward per fall, for the mean reward would not count their length.

    Args:
        reward: sums ``(K,)``; falls: k, ``(K,)``; steps: n; horizon: H.
    """
    estimate: Array = reward / np.maximum(falls, steps / horizon)
    return estimate


def noise_free_return(environments: Environments, act: Callable[[Array], NDArray[Any]], visits: list[Array]) -> Array:
    """Mean return ``(S,)`` of one whole episode in each environment, from the same starts every time.

    Args:
        act: actions ``(S B, A)`` in [-1, 1] from the observations.
        visits: gets the observations of each step before any end, ``(S, B, O)`` with NaN after it.
    """
    observation = environments.restart(0)
    total, running = np.zeros(environments.size), np.ones(environments.size, dtype=bool)
    for t in range(environments.time_limit):
        visits.append(np.where(running[:, None], observation, np.nan))
        step = environments.step(environments.scaled(act(observation)), running)  # who is done rests
        check_step(step, environments.seeds, f"{environments.purpose}, step {t + 1}")
        total += step.reward
        running = running & ~(step.terminated | step.truncated)
        if not running.any():
            break
        observation = step.observation
    mean: Array = total.reshape(len(environments.seeds), -1).mean(axis=1)
    return mean
