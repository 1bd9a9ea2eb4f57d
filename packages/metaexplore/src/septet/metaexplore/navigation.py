r"""A point on a square with a small goal near the start and a large one far from it: a deceptive local optimum.

.. math::
    p \leftarrow \mathrm{clip}(p + .1\,a, -1, 1),\qquad
    r = h_n e^{-\|p - g_n\|^2 / 2 w_n^2} + h_f e^{-\|p - g_f\|^2 / 2 w_f^2}

The near bump is felt from the start, the far one is not: noise around an actor that has settled near finds
nothing better (section 7, environment B). 50 steps; no terminal state.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from septet import sampler
from septet.compiled import compiled
from septet.metaexplore.student import Array
from septet.sampler.drawing import BODY, GROUND, TARGET, Look, Shape
from septet.sampler.task import Flags, Task, finite, settings, tick

NAME = "DeceptiveNavigation"
DEFAULTS: dict[str, Any] = {
    "time_limit": 50,
    "start": 0.05,
    "near": (0.3, 0.0),
    "near_height": 0.3,
    "near_width": 0.15,
    "far": (-0.6, 0.3),
    "far_height": 1.0,
    "far_width": 0.15,
    "speed": 0.1,
}


def register() -> None:
    """Make the task known to `septet.sampler.make`."""
    sampler.TASKS[NAME] = task


def task(name: str, options: Mapping[str, Any]) -> Task:
    """The task, its options named as in `DEFAULTS`: places in the square, heights in reward per step."""
    set_ = settings(name, DEFAULTS, options)
    order = ["time_limit", "speed", "near_height", "near_width", "far_height", "far_width"]
    constants = [*(float(set_[key]) for key in order), *set_["near"], *set_["far"]]
    start = float(set_["start"])
    corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)]
    behind = [Shape(corners, 0.01, GROUND)]
    for goal, colour in (("near", "#d8efec"), ("far", TARGET)):
        # as wide as the reward is felt: two standard deviations to each side
        behind.append(Shape([tuple(set_[goal])], 4.0 * float(set_[f"{goal}_width"]), colour))
    return Task(
        name=name,
        state_size=2,
        observation_size=2,
        action_low=np.array([-1.0, -1.0]),
        action_high=np.array([1.0, 1.0]),
        time_limit=int(set_["time_limit"]),
        constants=np.array(constants, dtype=np.float64),
        step=step,
        reset=reset,
        draw=lambda rng: rng.uniform(-start, start, 2),
        simulator=lambda: SimpleNamespace(handles=np.zeros(0, dtype=np.int64)),
        look=Look((-1.1, -1.1, 1.1, 1.1), 10.0, lambda seen: [*behind, Shape([(seen[0], seen[1])], 0.08, BODY)]),
    )


@compiled(nogil=True)
def step(
    handles: Any,
    constants: Array,
    state: Array,
    elapsed: Any,
    action: Array,
    observation: Array,
    reward: Array,
    terminated: Flags,
    truncated: Flags,
    first: int,
    last: int,
) -> int:
    """See `septet.sampler.task.StepKernel`."""
    limit, speed, near_height, near_width, far_height, far_width = constants[:6]
    if not finite(action):
        return -1
    ended = 0
    for e in range(first, last):
        to_near, to_far = 0.0, 0.0
        for i in range(2):
            move = speed * min(max(action[e, i], -1.0), 1.0)
            state[e, i] = min(max(state[e, i] + move, -1.0), 1.0)
            observation[e, i] = state[e, i]
            to_near += (state[e, i] - constants[6 + i]) ** 2
            to_far += (state[e, i] - constants[8 + i]) ** 2
        reward[e] = near_height * np.exp(-to_near / (2.0 * near_width**2))
        reward[e] += far_height * np.exp(-to_far / (2.0 * far_width**2))
        terminated[e] = False
        ended += tick(e, limit, elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset(handles: Any, constants: Array, state: Array, start: Array, rows: Any, observation: Array) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        for i in range(2):
            state[rows[k], i] = start[k, i]
            observation[rows[k], i] = start[k, i]
