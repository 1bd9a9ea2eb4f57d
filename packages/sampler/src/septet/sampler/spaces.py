"""Spaces of a Gymnasium environment as plain numbers: checked once, when the environment is made."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from gymnasium.spaces.utils import flatten, flatten_space
from numpy.typing import NDArray

from septet.errors import InputError
from septet.sampler.physics import Array


@dataclass(frozen=True)
class Actions:
    """An action space whose actions are rows of numbers.

    Attributes:
        low, high: bounds of a row ``(act,)``; infinite where there are none. A choice counts from 0.
        start: of each choice, added to the row ``(act,)``.
        space: the environment's.
    """

    low: Array
    high: Array
    start: NDArray[Any]
    space: Space[Any]

    @classmethod
    def of(cls, task: str, space: Any) -> "Actions":
        """The actions of a space.

        Raises:
            InputError: a space of another kind, or an empty one.
        """
        if isinstance(space, Box) and space.dtype.kind in "biuf":
            low, high = space.low.ravel(), space.high.ravel()
            limits = (
                np.where(space.bounded_below.ravel(), low.astype(np.float64), -np.inf),
                np.where(space.bounded_above.ravel(), high.astype(np.float64), np.inf),
            )
            start = np.zeros_like(low)
        elif isinstance(space, Discrete | MultiDiscrete | MultiBinary):
            if isinstance(space, MultiBinary):
                count, start = np.full(space.shape, 2), np.zeros(space.shape, space.dtype)
            else:
                count = np.asarray(space.nvec if isinstance(space, MultiDiscrete) else space.n)
                start = np.asarray(space.start, space.dtype)
            limits = np.zeros(count.size), count.ravel() - 1.0
            start = start.ravel()
        else:
            expected = "numbers (Box) or choices (Discrete, MultiDiscrete, MultiBinary)"
            raise InputError(f"{task}: action space", expected=expected, found=str(space))
        if not len(start) or np.isnan(limits).any():
            expected = "at least one number, and bounds that are numbers"
            raise InputError(f"{task}: action space", expected=expected, found=str(space))
        return cls(*limits, start, space)

    def fit(self, action: Array) -> list[Any]:
        """What the environments of a batch get for finite numbers ``(E, act)``.

        Whole numbers and choices are rounded to the nearest that there is; real numbers are handed on as they are.
        """
        kind = self.start.dtype
        if kind.kind == "f":
            info = np.finfo(kind)
            given = np.clip(action, float(info.min), float(info.max)).astype(kind)
        else:
            given = self._whole(np.rint(action), kind)
        shape = self.space.shape or ()
        if isinstance(self.space, Discrete):
            return [kind.type(row[0]) for row in given]
        return list(given.reshape(len(given), *shape))

    def _whole(self, action: Array, kind: np.dtype[Any]) -> NDArray[Any]:
        """Rounded numbers within the bounds, by comparing before the cast: it would wrap."""
        if isinstance(self.space, Box):
            low, high = self.space.low.ravel(), self.space.high.ravel()
        else:
            low, high = self.start, self.start + self.high.astype(kind)
            action = action + self.start.astype(np.float64)
        below, above = action <= low.astype(np.float64), action >= high.astype(np.float64)
        inside = np.where(below | above, 0.0, action).astype(kind)
        return np.where(below, low, np.where(above, high, inside)).astype(kind)


@dataclass(frozen=True)
class Observations:
    """An observation space whose observations are flattened to rows of numbers.

    Attributes:
        space: the environment's.
        size: numbers of an observation.
    """

    task: str
    space: Space[Any]
    size: int

    @classmethod
    def of(cls, task: str, space: Any) -> "Observations":
        """The observations of a space.

        Raises:
            InputError: a space whose observations are not a fixed number of numbers.
        """
        flat = flatten_space(space) if isinstance(space, Space) and space.is_np_flattenable else None
        if not isinstance(flat, Box) or flat.shape is None or not np.prod(flat.shape):
            expected = (
                "a fixed number of numbers (Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them)"
            )
            raise InputError(f"{task}: observation space", expected=expected, found=str(space))
        return cls(task, space, int(np.prod(flat.shape)))

    def flat(self, observation: Any) -> Array:
        """An observation as float64 ``(obs,)``.

        Raises:
            InputError: one that is not of the space.
        """
        try:
            row = np.asarray(flatten(self.space, observation), dtype=np.float64).ravel()
        except Exception as error:
            found = f"{_brief(observation)} ({type(error).__name__}: {error})"
            raise InputError(f"{self.task}: observation", expected=str(self.space), found=found) from error
        if len(row) != self.size:
            raise InputError(f"{self.task}: observation", expected=str(self.space), found=_brief(observation))
        return row


def number(task: str, reward: Any) -> float:
    """A reward as a float; an array of one number is one.

    Raises:
        InputError: anything else.
    """
    if type(reward) is float:
        return reward
    return float(_one(task, "reward", "one number", "biuf", reward))


def flag(task: str, name: str, value: Any) -> bool:
    """An end of an episode as a bool; an array of one is one.

    Raises:
        InputError: anything else.
    """
    if type(value) is bool:
        return value
    return bool(_one(task, name, "True or False", "biu", value))


def _one(task: str, name: str, expected: str, kinds: str, value: Any) -> Any:
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists, tensors on a device
        array = np.empty(0)
    if array.size != 1 or array.dtype.kind not in kinds:
        raise InputError(f"{task}: {name}", expected=expected, found=_brief(value))
    return array.item()


def _brief(value: Any) -> object:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else value
