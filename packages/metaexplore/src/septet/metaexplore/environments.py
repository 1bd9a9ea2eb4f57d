"""Environments of a purpose (explore, evaluate, test), and rollouts of S seeds with B environments each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet import sampler
from septet.errors import InputError
from septet.metaexplore import navigation
from septet.metaexplore.student import Array
from septet.rl.replay import record_size
from septet.rl.shapes import Float32
from septet.sampler.batch import CompiledBatch, EnvironmentBatch, scaling
from septet.sampler.nonfinite import check_step

TASKS = {**sampler.TASKS, navigation.NAME: navigation.task}


class Environments(EnvironmentBatch):
    """A batch of a task whose starts carry a purpose, so that exploring and evaluating share no random number.

    Attributes:
        purpose: name of the starts' streams.
    """

    purpose: str
    _round: int
    _first: NDArray[np.int64]
    _episode: Any
    _observation: Any

    def begin(self, purpose: str) -> None:
        """Name the streams; of a batch that was not reset."""
        self.purpose, self._round = purpose, -1
        self._first = np.zeros(self.size, dtype=np.int64)
        self._middle, self._half = scaling(self.task, self.action_low, self.action_high)
        if self.time_limit < 1:
            raise InputError(f"{self.task}: episodes", expected="a time limit", found="none")

    def stream_name(self, row: int, episode: int) -> tuple[int, str, str, int, int, int]:
        """See `septet.sampler.batch.EnvironmentBatch.stream_name`; after `restart` they start alike within a seed."""
        seed, environment = divmod(row, self.environments)
        purpose = getattr(self, "purpose", "make")  # Gymnasium's environments draw while they are made
        if episode < 0 or self._round < 0:
            return self.root, purpose, self.task, self.seeds[seed], environment, episode
        round_purpose = f"{purpose} in rounds"
        return self.root, round_purpose, self.task, self.seeds[seed], self._round, episode - int(self._first[row])

    @property
    def observation(self) -> Array:
        """The observations ``(S B, O)`` that the next actions answer."""
        seen: Array = self._observation
        return seen

    def restart(self, round_: int) -> Array:
        """End all episodes; the B environments of a seed start this round's episodes from common states."""
        self._round = round_
        self._first[:] = self._episode + 1
        return self.reset()

    def scaled(self, action: NDArray[Any]) -> Array:
        """Actions in [-1, 1] stretched to the bounds."""
        scaled: Array = self._middle + self._half * action
        return scaled


class _Compiled(Environments, CompiledBatch):
    """Of a task that `septet.sampler` steps."""


def make_environments(
    name: str, options: Mapping[str, Any], seeds: Sequence[int], number: int, root: int, purpose: str
) -> Environments:
    """A batch for a purpose.

    Args:
        name: a task of `septet.sampler`, `DeceptiveNavigation`, or an id that Gymnasium knows; options: of the task.
        seeds: S; number: of environments, B, per seed; root: root of all streams.
        purpose: name of the starts' streams.

    Raises:
        InputError: an unknown task, a wrong option, or actions without bounds.
    """
    made: Environments
    if name in TASKS:
        made = _Compiled(TASKS[name](name, options), seeds, number, root=root)
    else:
        from septet.metaexplore.gymnasium_environments import GymnasiumEnvironments  # imports Gymnasium

        made = GymnasiumEnvironments(name, seeds, number, root=root, options=options, listing=list(TASKS))
    made.begin(purpose)
    return made


class Experience(NamedTuple):
    """What a rollout of n steps in B environments of each of S seeds gave."""

    records: Float32
    """Transitions (S B, n, 2 O + A + 2) as `septet.rl.replay` lays them out."""
    returns: Array
    """Return estimates, (S, B)."""

    @property
    def by_seed(self) -> Float32:
        """The transitions ``(S, B n, 2 O + A + 2)``."""
        return self.records.reshape(len(self.returns), -1, self.records.shape[2])


def rollout(environments: Environments, act: Callable[[int, Array], NDArray[Any]], steps: int) -> Experience:
    """Take `steps` steps in every environment, from where it stands.

    Args:
        act: actions ``(S B, A)`` in [-1, 1] from the number of the step and the observations ``(S B, O)``.
    """
    size, width = environments.observation_size, environments.action_size
    records = np.empty((environments.size, steps, record_size(size, width)), np.float32)
    reward, falls = np.zeros(environments.size), np.zeros(environments.size)
    for t in range(steps):
        observation = environments.observation
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
    returns = return_estimate(reward, falls, steps, environments.time_limit)
    return Experience(records, returns.reshape(len(environments.seeds), -1))


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


def noise_free_return(environments: Environments, act: Callable[[Array], NDArray[Any]]) -> tuple[Array, Array]:
    """One whole episode in each environment, from the same starts every time.

    Args:
        act: actions ``(S B, A)`` in [-1, 1] from the observations.

    Returns:
        Mean returns ``(S,)``, and the observations of each step with NaN after an episode's end, ``(S B, T, O)``.
    """
    observation = environments.restart(0)
    total, running = np.zeros(environments.size), np.ones(environments.size, dtype=bool)
    visits = []
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
    return mean, np.stack(visits, axis=1)
