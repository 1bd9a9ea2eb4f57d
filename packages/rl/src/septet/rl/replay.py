r"""Replay of transitions, with a leading seed axis.

A transition is one float32 record :math:`(o, a, r, d, o')`: all that an update needs of it lies in a few
cache lines, and :math:`(o, a)` is the critic's input as it stands. :math:`d` is 1 if the step ended in a
terminal state; a step cut by the time limit has d = 0, since the value goes on there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet.errors import InputError

Float32 = NDArray[np.float32]


class Replay:
    """Ring of the last `capacity` transitions of each of S seeds, filled in lockstep.

    Args:
        seeds: the S seeds.
        observation_size: O; action_size: A; a record has O + A + 2 + O numbers.
        capacity: transitions kept per seed.

    Attributes:
        records: ``(S, capacity, 2 O + A + 2)``; memory is taken as it fills.
        added: transitions added so far, per seed.
    """

    def __init__(self, seeds: Sequence[int], observation_size: int, action_size: int, capacity: int) -> None:
        if capacity < 1:
            raise InputError("replay: capacity", expected="at least 1", found=capacity)
        self.seeds, self.capacity = tuple(seeds), capacity
        self.observation_size, self.action_size = observation_size, action_size
        self.records: Float32 = np.zeros((len(self.seeds), capacity, record_size(observation_size, action_size)), "f4")
        self.added = 0

    def __len__(self) -> int:
        """Transitions held per seed."""
        return min(self.added, self.capacity)

    def add(
        self,
        observation: ArrayLike,
        action: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike,
        next_observation: ArrayLike,
    ) -> None:
        """Add one transition per seed, over the oldest one if the ring is full.

        Args:
            observation: ``(S, O)``; action: ``(S, A)`` as the critic sees it.
            reward: ``(S,)``; terminated: ``(S,)``, not truncated.
            next_observation: ``(S, O)``, what the step led to before any reset.
        """
        size, last = self.observation_size, self.observation_size + self.action_size
        slot = self.records[:, self.added % self.capacity]
        slot[:, :size] = observation
        slot[:, size:last] = action
        slot[:, last] = reward
        slot[:, last + 1] = terminated
        slot[:, last + 2 :] = next_observation
        self.added += 1

    def fields(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """The transitions at `rows` ``(S, N)``, as arrays ``(S, N, ...)`` by the names of `add`."""
        taken = np.take_along_axis(self.records, rows[:, :, None], axis=1)
        size, last = self.observation_size, self.observation_size + self.action_size
        return {
            "observation": taken[..., :size],
            "action": taken[..., size:last],
            "reward": taken[..., last],
            "terminated": taken[..., last + 1],
            "next_observation": taken[..., last + 2 :],
        }

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """What restores the replay exactly: the filled records (copied) and how many were added."""
        return {"records": self.records[:, : len(self)].copy(), "added": np.array([self.added])}

    @state.setter
    def state(self, saved: dict[str, NDArray[Any]]) -> None:
        self.added = int(saved["added"][0])
        expected = (len(self.seeds), len(self), self.records.shape[2])
        if saved["records"].shape != expected:
            raise InputError("replay: records", expected=f"shape {expected}", found=saved["records"].shape)
        self.records[:, : len(self)] = saved["records"]


def record_size(observation_size: int, action_size: int) -> int:
    """Numbers of one record."""
    return 2 * observation_size + action_size + 2
