"""Any other environment of Gymnasium, stepped one after the other: slower."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from septet.errors import InputError, NoState
from septet.sampler.batch import EnvironmentBatch, State, Step, check_state
from septet.sampler.gymnasium_env import Environment, Trial
from septet.sampler.own_env import member_options
from septet.sampler.physics import Array, silence
from septet.sampler.task import Flags
from septet.seeding import stream

HIGHEST_SEED = 2**31 - 1  # what every library takes as a seed
MOST_TAKEN = 1 << 24  # numbers of the actions of running episodes, all of which the state has: 128 MB
_warned: set[str] = set()


class GymnasiumBatch(EnvironmentBatch):
    """Environments that Gymnasium steps one after the other.

    Observations are flattened. Whole numbers and choices (Discrete, MultiDiscrete, MultiBinary) are rounded to the
    nearest that there is; a choice counts from 0 wherever its space starts. Each episode is reset with a seed drawn
    from the stream that the batch names. Gymnasium has no call for the state of an environment: it is the number of the
    running episode and the actions so far, which are played again. So there is one where episodes have a time limit,
    and the same seed and actions give the same episode.

    Args:
        task: an id that Gymnasium knows.
        seeds, environments, root, members: see `EnvironmentBatch`.
        options: keyword arguments of the environment, and ``time_limit``.
        listing: the tasks that walle steps itself, for the message about an unknown one.

    Raises:
        InputError: Gymnasium does not know or cannot make the environment, or its spaces are of another kind.
    """

    def __init__(
        self,
        task: str,
        seeds: Sequence[int],
        environments: int,
        *,
        root: int = 0,
        members: tuple[int, int] | None = None,
        options: Mapping[str, Any],
        listing: Sequence[str],
    ) -> None:
        super().__init__(task, seeds, environments, root, members)
        silence()
        self._options = dict(options)
        self._trial: Trial | None = None
        self._envs: list[Environment] = []
        try:
            while len(self._envs) < self.size:
                self._envs.append(self._make(len(self._envs)))
        except gymnasium.error.UnregisteredEnv as error:
            expected = f"one of {', '.join(listing)}, or any Gymnasium id"
            raise InputError("task", expected=expected, found=f"{task} ({error})") from None
        except BaseException:
            self.close()
            raise
        first = self._envs[0]
        self._actions = first.actions
        self.action_low, self.action_high = first.actions.low, first.actions.high
        self.action_size, self.observation_size = len(self.action_low), first.observations.size
        self.time_limit = first.time_limit  # 0: none
        self.elapsed = np.zeros(self.size, dtype=np.int64)
        self._episode = np.full(self.size, -1)
        self._observation: Array | None = None
        room = self.size, self.time_limit, self.action_size
        self._taken = np.zeros(room) if 0 < np.prod(room) <= MOST_TAKEN else None  # actions of the running episodes
        if self.members[0] == 0 and task not in _warned:  # one of all processes looks at environment 0
            self._trial = Trial(lambda: self._make(0))

    @property
    def spaces(self) -> tuple[Any, Any]:
        """Observation and action space of an environment."""
        return self._envs[0].observations.space, self._actions.space

    def _make(self, row: int) -> Environment:
        member = member_options(self.task, (self.members[0] + row) % self.environments)
        return Environment(self.task, {**self._options, **member}, self._draw(row, -1))

    def _draw(self, row: int, episode: int) -> int:
        return int(stream(*self.stream_name(row, episode)).integers(HIGHEST_SEED))

    def reset(self) -> Array:
        """See `EnvironmentBatch.reset`."""
        self.elapsed[:] = 0
        self._observation = np.stack([self._begin(row) for row in range(self.size)])
        return self._observation

    def _begin(self, row: int) -> Array:
        """Start the next episode of an environment."""
        self._episode[row] += 1
        seed = self._draw(row, int(self._episode[row]))
        observation = self._envs[row].reset(seed)
        self._watch(row, "reset", seed, observation)
        return observation

    def _watch(self, row: int, kind: str, given: Any, found: Any) -> None:
        if row == 0 and self._trial is not None and self._trial.keep(kind, given, found):
            self._judge()

    def _judge(self) -> None:
        """Say once whether the environment cannot be repeated."""
        trial, self._trial = self._trial, None
        if trial is not None and self.task not in _warned and not trial.repeats():
            _warned.add(self.task)
            text = "the same seeds give other results, so runs with this environment are not reproducible"
            print(f"{self.task}: warning: {text}", file=sys.stderr, flush=True)

    def step(self, action: Array, active: Flags | None = None) -> Step:
        """See `EnvironmentBatch.step`."""
        if self._observation is None or not self._envs:
            raise InputError(f"{self.task}: step", expected="an open batch after a reset", found="none")
        action, active = self.checked(action, active)
        if not np.isfinite(action).all():
            raise self.not_finite(action)
        given = self._actions.fit(action)
        observation = following = self._observation.copy()
        reward, terminated, truncated = np.zeros(self.size), np.zeros(self.size, bool), np.zeros(self.size, bool)
        for row in range(self.size) if active is None else np.flatnonzero(active).tolist():
            found = self._envs[row].step(given[row])
            self._watch(row, "step", given[row], found)
            seen, reward[row], terminated[row], truncated[row] = found
            observation[row] = seen
            if self._taken is not None:
                self._taken[row, self.elapsed[row]] = action[row]
            self.elapsed[row] += 1
            if terminated[row] or truncated[row]:
                if following is observation:
                    following = observation.copy()
                observation[row] = self._begin(row)
                self.elapsed[row] = 0
            if following is not observation:
                following[row] = seen
        self._observation = observation
        return Step(observation, reward, terminated, truncated, following)

    @property
    def state(self) -> State:
        """Episode, steps, observation and actions since the reset; see the class.

        Raises:
            NoState: episodes have no time limit, or too long a one.
        """
        return {name: array.copy() for name, array in self._arrays().items()}

    @state.setter
    def state(self, state: Mapping[str, NDArray[Any]]) -> None:
        own = self._arrays()
        check_state(self.task, own, state)
        self._observation = own["observation"]
        self._trial = None  # its episode ends here
        for name, array in own.items():
            array[:] = state[name]
        if (self._episode < 0).all():  # before the first reset
            self._observation = None
            return
        same = [self._play_again(row) for row in range(self.size)]
        if not all(same):
            text = "the saved seeds and actions led to other observations: the run that resumes is another one"
            print(f"{self.task}: warning: {text}", file=sys.stderr, flush=True)

    def _play_again(self, row: int) -> bool:
        """Bring an environment to where its state says; whether it got there."""
        assert self._observation is not None and self._taken is not None
        seen = self._envs[row].reset(self._draw(row, int(self._episode[row])))
        for given in self._actions.fit(self._taken[row, : self.elapsed[row]]):
            seen, _, terminated, truncated = self._envs[row].step(given)
            if terminated or truncated:
                self._observation[row], self.elapsed[row] = self._begin(row), 0
                return False
        same = np.array_equal(seen, self._observation[row], equal_nan=True)
        self._observation[row] = seen
        return same

    def _arrays(self) -> State:
        if self._taken is None:
            expected = f"episodes with a time limit of at most {MOST_TAKEN // self.size // self.action_size:,} steps"
            raise NoState(f"{self.task}: state", expected=expected, found=self.time_limit or "no time limit")
        own = np.zeros((self.size, self.observation_size)) if self._observation is None else self._observation.copy()
        return {"episode": self._episode, "elapsed": self.elapsed, "observation": own, "actions": self._taken}

    def close(self) -> None:
        """See `EnvironmentBatch.close`."""
        self._judge()
        while self._envs:
            self._envs.pop().close()
