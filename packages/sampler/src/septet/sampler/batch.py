"""A batch of environments of one task: arrays in, arrays out."""

import operator
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import count, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import fit
from septet.errors import InputError
from septet.sampler.physics import Array, Integers
from septet.sampler.task import Flags, Task
from septet.sampler.threads import Crew, Work
from septet.seeding import restart, stream

State = dict[str, NDArray[Any]]
PIECES = 4  # slices of a batch per thread


class Step(NamedTuple):
    """What one step of a batch of E environments gave.

    The arrays are the caller's to keep, not to write into: where no episode ended, `observation` and
    `next_observation` are the same array.

    Attributes:
        observation: on which to act next ``(E, obs)``; the first one of the next episode where one ended.
        reward: ``(E,)``.
        terminated: the task itself ended the episode ``(E,)``: no value after it.
        truncated: the time limit was reached ``(E,)``: bootstrap from `next_observation`.
        next_observation: what this step led to, before any reset ``(E, obs)``.
    """

    observation: Array
    reward: Array
    terminated: Flags
    truncated: Flags
    next_observation: Array


class EnvironmentBatch(ABC):
    """E = S * B environments of one task, seed-major: environment e belongs to seed number e // B.

    Episode k of environment b of seed s starts from ``stream(root, "reset", task, s, b, k)``, so nothing
    depends on how the environments are divided over threads or processes.

    Attributes:
        task: name of the task.
        seeds: the S seeds.
        members: first environment here and one past the last, ``(0, S * B)`` unless this is a part.
        size: environments here.
        observation_size, action_size: numbers of an observation and of an action.
        action_low, action_high: bounds of an action ``(act,)``.
        time_limit: steps after which an episode is truncated.
        elapsed: steps of the running episodes ``(E,)``.
    """

    task: str
    observation_size: int
    action_size: int
    action_low: Array
    action_high: Array
    time_limit: int
    elapsed: Integers

    def __init__(
        self, task: str, seeds: Sequence[int], environments: int, root: int, members: tuple[int, int] | None
    ) -> None:
        self.task, self.seeds = task, whole_seeds(task, seeds)
        self.environments: int = fit(f"{task}: environments", "int 1", environments)
        self.root = operator.index(root)
        total = len(self.seeds) * self.environments
        first, last = fit(f"{task}: members", "i8 2", (0, total) if members is None else members).tolist()
        if not 0 <= first < last <= total:
            raise InputError(f"{task}: members", expected=f"0 <= first < last <= {total}", found=members)
        self.members, self.size = (first, last), last - first

    def stream_name(self, row: int, episode: int) -> tuple[int, str, str, int, int, int]:
        """Root and name of the random stream from which an environment (its row here) starts an episode."""
        seed, environment = divmod(self.members[0] + row, self.environments)
        return self.root, "reset", self.task, self.seeds[seed], environment, episode

    @abstractmethod
    def reset(self) -> Array:
        """Start the next episode everywhere; the first observations ``(E, obs)``."""

    @abstractmethod
    def step(self, action: Array, active: Flags | None = None) -> Step:
        """Step every environment by its action ``(E, act)``; ended episodes start anew.

        Args:
            action: of each environment, also of those that rest.
            active: which environments step ``(E,)``, all if none; the others stay as they are, with reward 0.

        Raises:
            InputError: an action of the wrong shape, or one that is not finite, or environments that cannot
                rest; nothing was stepped.
        """

    @property
    @abstractmethod
    def state(self) -> State:
        """All there is to know of the environments, as arrays; setting it continues bit for bit."""

    @state.setter
    @abstractmethod
    def state(self, state: Mapping[str, NDArray[Any]]) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Let go of threads and simulators."""

    def checked(self, action: Array, active: Flags | None) -> tuple[Array, Flags | None]:
        """The action as contiguous float64 and which environments step, or an InputError if they do not fit."""
        sides = {"E": self.size, "A": self.action_size}
        action = fit(f"{self.task}: action", "f8 E A", action, sides)
        return action, None if active is None else fit(f"{self.task}: active", "? E", active, sides)

    def not_finite(self, action: Array) -> InputError:
        """The error for an action that is not a finite number."""
        e, j = np.argwhere(~np.isfinite(action))[0]
        return InputError(
            f"{self.task}: action of environment {e}", expected="finite numbers", found=float(action[e, j])
        )


class CompiledBatch(EnvironmentBatch):
    """A batch whose task runs in compiled code, one simulator and one slice of the environments per thread.

    Args:
        task: the task.
        seeds, environments, root, members: see `EnvironmentBatch`.
        threads: threads that step the slices; 1 steps in the caller's.
    """

    def __init__(
        self,
        task: Task,
        seeds: Sequence[int],
        environments: int,
        *,
        root: int = 0,
        threads: int = 1,
        members: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(task.name, seeds, environments, root, members)
        self.observation_size = task.observation_size
        self.action_low, self.action_high = task.action_low, task.action_high
        self.action_size, self.time_limit = len(task.action_low), task.time_limit
        self._task = task
        self._step: Callable[..., int] = task.step
        self._constants = task.constants
        threads = min(fit(f"{task.name}: threads", "int 1", threads), self.size)
        self.simulators = [task.simulator() for _ in range(threads)]
        self._handles: list[Integers] = [simulator.handles for simulator in self.simulators]
        pieces = min(self.size, PIECES * threads)  # more than threads: whoever is done first takes the next
        self._slices = list(pairwise([self.size * i // pieces for i in range(pieces + 1)]))
        self._crew = Crew(threads) if threads > 1 else None
        self._generator = stream(root)
        self._state = np.zeros((self.size, task.state_size))
        self._observation = np.zeros((self.size, task.observation_size))
        self._episode = np.full(self.size, -1, dtype=np.int64)  # number of the running episode
        self.elapsed = np.zeros(self.size, dtype=np.int64)

    def reset(self) -> Array:
        """See `EnvironmentBatch.reset`."""
        observation = np.empty((self.size, self.observation_size))
        self._begin(np.arange(self.size), observation)
        self._observation = observation
        return observation

    def step(self, action: Array, active: Flags | None = None) -> Step:
        """See `EnvironmentBatch.step`."""
        size = self.size
        if self._episode[0] < 0:
            raise InputError(f"{self.task}: step", expected="a reset before it", found="none")
        action, active = self.checked(action, active)
        outcome = np.empty((size, self.observation_size)), np.empty(size), np.empty(size, bool), np.empty(size, bool)
        if self._task.delay > 0:
            for _ in range(size if active is None else np.count_nonzero(active)):  # each pays the timer's lateness
                time.sleep(self._task.delay)
        slices = self._slices
        if active is not None:
            slices = [run for part in slices for run in runs(active, *part)]
            outcome = self._observation.copy(), np.zeros(size), np.zeros(size, bool), np.zeros(size, bool)
        arrays: Any = (self._constants, self._state, self.elapsed, action, *outcome)
        if self._crew is not None:
            ended = self._crew.run(self._work(arrays, slices))
        elif active is None:
            ended = self._step(self._handles[0], *arrays, 0, size)
        else:
            ended = self._work(arrays, slices)(0)
        if ended < 0:
            raise self.not_finite(action)
        following, reward, terminated, truncated = outcome
        observation = following
        if ended:
            observation = following.copy()
            self._begin(np.flatnonzero(terminated | truncated), observation)
        self._observation = observation
        return Step(observation, reward, terminated, truncated, following)

    def _work(self, arrays: Any, slices: list[tuple[int, int]]) -> Work:
        """What each thread does: take slices of the batch until none is left."""
        tickets = count()

        def work(number: int) -> int:
            ended = 0
            while (ticket := next(tickets)) < len(slices):
                ended += self._step(self._handles[number], *arrays, *slices[ticket])
            return ended

        return work

    def _begin(self, rows: Integers, observation: Array) -> None:
        """Start the next episode in some environments."""
        self._episode[rows] += 1
        self.elapsed[rows] = 0
        start = np.array(
            [
                self._task.draw(restart(self._generator, *self.stream_name(e, episode)))
                for e, episode in zip(rows.tolist(), self._episode[rows].tolist(), strict=True)
            ]
        )
        self._task.reset(self._handles[0], self._constants, self._state, start, rows, observation)

    @property
    def state(self) -> State:
        """See `EnvironmentBatch.state`."""
        return {name: array.copy() for name, array in self._arrays().items()}

    @state.setter
    def state(self, state: Mapping[str, NDArray[Any]]) -> None:
        check_state(self.task, self._arrays(), state)
        self._observation = np.array(state["observation"])  # the old one is with the caller
        for name, array in self._arrays().items():
            array[:] = state[name]

    def _arrays(self) -> State:
        return {
            "state": self._state,
            "observation": self._observation,
            "elapsed": self.elapsed,
            "episode": self._episode,
        }

    def close(self) -> None:
        """See `EnvironmentBatch.close`."""
        if self._crew is not None:
            self._crew.close()


def scaling(task: str, low: Array, high: Array) -> tuple[Array, Array]:
    """Middle and half the width of an action's bounds ``(act,)``, for a method whose actions are within ±1.

    Raises:
        InputError: bounds that are not finite.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    if not np.isfinite([middle, half]).all():
        raise InputError(
            f"{task}: action space", expected="finite bounds to scale actions to", found=f"{low} to {high}"
        )
    return middle, half


def whole_seeds(where: str, seeds: Sequence[int]) -> list[int]:
    """The seeds as a list of integers.

    Raises:
        InputError: none, or one that is no integer.
    """
    try:
        found = [operator.index(seed) for seed in seeds]
    except TypeError:
        found = []
    if not found:
        raise InputError(f"{where}: seeds", expected="one or more whole numbers", found=seeds)
    return found


def check_state(where: str, expected: State, state: Mapping[str, NDArray[Any]]) -> None:
    """Raise an InputError unless each array of `expected` is in `state` with its shape and type."""
    for name, array in expected.items():
        found = state.get(name)
        if not isinstance(found, np.ndarray) or found.shape != array.shape or found.dtype != array.dtype:
            what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else "nothing"
            raise InputError(f"{where}: state {name}", expected=f"{array.dtype} {array.shape}", found=what)


def runs(active: Flags, first: int, last: int) -> list[tuple[int, int]]:
    """Runs of active environments among `first` to `last`: where each begins, and one past its end."""
    edges = np.flatnonzero(np.diff(active[first:last].astype(np.int8), prepend=0, append=0)) + first
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
