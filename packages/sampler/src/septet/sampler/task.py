"""What a task is: its sizes, its start distribution, and two compiled functions that run a slice of a batch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from septet.compiled import compiled
from septet.errors import InputError
from septet.sampler.drawing import Look
from septet.sampler.physics import Array, Integers

Flags = NDArray[np.bool_]


class StepKernel(Protocol):
    """Step environments `first` to `last` of a batch; returns how many episodes ended, or -1.

    -1: an action anywhere in the batch is not finite, and nothing was touched.
    """

    def __call__(
        self,
        handles: Integers,
        constants: Array,
        state: Array,
        elapsed: Integers,
        action: Array,
        observation: Array,
        reward: Array,
        terminated: Flags,
        truncated: Flags,
        first: int,
        last: int,
    ) -> int:
        """`state (E, n)` and `elapsed (E,)` are updated, the arrays after `action (E, act)` are filled."""


class ResetKernel(Protocol):
    """Start an episode at `start (K, s)` in the environments `rows (K,)`."""

    def __call__(
        self, handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
    ) -> None:
        """`state (E, n)` and `observation (E, obs)` get new rows."""


@dataclass(frozen=True)
class Task:
    """A task that compiled code runs.

    Attributes:
        name: as in Gymnasium.
        state_size: numbers that an environment is.
        observation_size: numbers of an observation.
        action_low, action_high: bounds of an action, ``(act,)``.
        time_limit: steps after which an episode is truncated.
        constants: numbers of the kernels; the first one is the time limit.
        step, reset: the kernels.
        draw: start of an episode from a random stream, drawn in Gymnasium's order.
        simulator: makes what a thread needs: an object with `handles`.
        delay: seconds that each environment's step waits, one after the other.
        look: how it is drawn, if MuJoCo does not.
    """

    name: str
    state_size: int
    observation_size: int
    action_low: Array
    action_high: Array
    time_limit: int
    constants: Array
    step: StepKernel
    reset: ResetKernel
    draw: Callable[[np.random.Generator], Array]
    simulator: Callable[[], Any]
    delay: float = 0.0
    look: Look | None = None


def settings(task: str, defaults: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a task with `options` put over them.

    Raises:
        InputError: an option that the task does not have, or one of another kind than its default.
    """
    for name, value in options.items():
        if name not in defaults:
            raise InputError(f"{task}: option", expected=f"one of {', '.join(defaults)}", found=name)
        default = defaults[name]
        given = np.asarray(value)
        fits: Any
        if isinstance(default, bool):
            what, fits = "true or false", given.dtype == bool and given.ndim == 0
        elif isinstance(default, int):
            what, fits = "a whole number, at least 1", given.dtype.kind in "iu" and given.ndim == 0 and given >= 1
        elif isinstance(default, tuple):
            what, fits = "two numbers", given.dtype.kind in "iuf" and given.shape == (2,)
        else:
            what, fits = "a number", given.dtype.kind in "iuf" and given.ndim == 0
        if not fits:
            raise InputError(f"{task}: option {name}", expected=what, found=value)
    return {**defaults, **options}


@compiled(nogil=True)
def finite(action: Array) -> bool:
    """Whether every action is a number: MuJoCo would run on with others."""
    for e in range(action.shape[0]):
        for j in range(action.shape[1]):
            if not math.isfinite(action[e, j]):
                return False
    return True


@compiled(nogil=True)
def tick(e: int, time_limit: float, elapsed: Integers, terminated: Flags, truncated: Flags) -> int:
    """Count a step of environment `e`, truncate at the time limit; 1 if its episode ended."""
    elapsed[e] += 1
    truncated[e] = elapsed[e] >= time_limit
    return 1 if terminated[e] or truncated[e] else 0


@compiled(nogil=True)
def sum_squares(values: Array, low: float, high: float) -> float:
    """Sum of squares of up to 128 numbers clipped to `[low, high]`, in the order in which NumPy adds.

    NumPy adds fewer than eight numbers one by one and more in eight running sums; in its order a
    reward agrees with Gymnasium's bit for bit.
    """
    n = values.size
    result = 0.0
    whole = n - n % 8 if n >= 8 else 0
    if n >= 8:
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
        for i in range(0, whole, 8):
            s0 += min(max(values[i], low), high) ** 2
            s1 += min(max(values[i + 1], low), high) ** 2
            s2 += min(max(values[i + 2], low), high) ** 2
            s3 += min(max(values[i + 3], low), high) ** 2
            s4 += min(max(values[i + 4], low), high) ** 2
            s5 += min(max(values[i + 5], low), high) ** 2
            s6 += min(max(values[i + 6], low), high) ** 2
            s7 += min(max(values[i + 7], low), high) ** 2
        result = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for i in range(whole, n):
        result += min(max(values[i], low), high) ** 2
    return result
