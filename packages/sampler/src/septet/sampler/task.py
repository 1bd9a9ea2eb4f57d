"""What a task is: its sizes, its start distribution, and two compiled functions that run a slice of a batch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from septet.compiled import compiled
from septet.errors import InputError
from septet.sampler.drawing import Look
from septet.sampler.physics import Array, Integers, Simulator

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
        simulator: makes what a thread needs: an object with `handles`, none by default.
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
    simulator: Callable[[], Any] = lambda: SimpleNamespace(handles=np.zeros(0, dtype=np.int64))
    delay: float = 0.0
    look: Look | None = None


KINDS: dict[type, tuple[str, str, tuple[int, ...]]] = {
    bool: ("true or false", "b", ()),
    int: ("a whole number, at least 1", "iu", ()),
    float: ("a number", "iuf", ()),
    tuple: ("two numbers", "iuf", (2,)),
}
"""Of an option by its default: what it is, kinds of its NumPy type, and its shape."""


def settings(task: str, defaults: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a task with `options` put over them.

    Raises:
        InputError: an option that the task does not have, or one of another kind than its default.
    """
    for name, value in options.items():
        if name not in defaults:
            raise InputError(f"{task}: option", expected=f"one of {', '.join(defaults)}", found=name)
        default, given = defaults[name], np.asarray(value)
        what, kinds, shape = KINDS[type(default)]
        fits = given.dtype.kind in kinds and given.shape == shape and (type(default) is not int or given >= 1)
        if not fits:
            raise InputError(f"{task}: option {name}", expected=what, found=value)
    return {**defaults, **options}


def mujoco_task(
    name: str,
    model: Any,
    options: Mapping[str, Any],
    observation_size: int,
    constants: Sequence[float],
    step: StepKernel,
    reset: ResetKernel,
    draw: Callable[[np.random.Generator], Array],
    extra: int = 0,
) -> Task:
    """A task on a MuJoCo model, whose row is positions, velocities, the solver's warm start and `extra` numbers.

    Args:
        options: its settings; constants: of the kernels, after the time limit.
    """
    return Task(
        name=name,
        state_size=model.nq + 2 * model.nv + extra,
        observation_size=observation_size,
        action_low=model.actuator_ctrlrange[:, 0].copy(),
        action_high=model.actuator_ctrlrange[:, 1].copy(),
        time_limit=int(options["time_limit"]),
        constants=np.array([options["time_limit"], *constants], dtype=np.float64),
        step=step,
        reset=reset,
        draw=draw,
        simulator=lambda: Simulator(model, int(options["frame_skip"])),
    )


def near_rest(model: Any, noise: float, *, normal: bool = False) -> Callable[[np.random.Generator], Array]:
    """Starts of a model about its resting position: uniform noise, or normal noise on the velocities."""
    rest = np.concatenate([model.qpos0, np.zeros(model.nv)])

    def draw(rng: np.random.Generator) -> Array:
        position = rng.uniform(low=-noise, high=noise, size=model.nq)
        velocity = noise * rng.standard_normal(model.nv) if normal else rng.uniform(-noise, noise, model.nv)
        return rest + np.concatenate([position, velocity])

    return draw


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
