"""A sparse task for exploration: the continuous mountain car with reward 1 at the goal and 0 before (section 3)."""

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from septet.compiled import compiled
from septet.sampler.drawing import BODY, GROUND, TARGET, Look, Shape
from septet.sampler.physics import Array, Integers
from septet.sampler.task import Flags, Task, finite, settings, tick

NAME = "SparseMountainCar"
GOAL = 0.45
MIDDLE, HALF_ROAD, TOP_SPEED = -0.3, 0.9, 0.07  # of the observation: position and speed within ±1


def mountain_car(name: str, options: Mapping[str, Any]) -> Task:
    """Gymnasium's MountainCarContinuous-v0 without its action cost; the episode ends at the goal with reward 1."""
    set_ = settings(name, {"time_limit": 200}, options)
    return Task(
        name=name,
        state_size=2,
        observation_size=2,
        action_low=np.array([-1.0]),
        action_high=np.array([1.0]),
        time_limit=int(set_["time_limit"]),
        constants=np.array([set_["time_limit"]], dtype=np.float64),
        step=step_car,
        reset=reset_car,
        draw=lambda rng: np.array([rng.uniform(low=-0.6, high=-0.4), 0.0]),
        simulator=lambda: SimpleNamespace(handles=np.zeros(0, dtype=np.int64)),
        look=Look((-1.3, -0.1, 0.7, 1.2), 30.0, draw_car),
    )


def draw_car(observation: Array) -> list[Shape]:
    """The road, of height 0.45 sin 3x + 0.55 as Gymnasium draws it, the goal and the car."""
    road = np.linspace(-1.2, 0.6, 73)
    place = MIDDLE + HALF_ROAD * observation[0]

    def height(x: Any) -> Any:
        return 0.45 * np.sin(3 * x) + 0.55

    return [
        Shape(list(zip(road, height(road), strict=True)), 0.02, GROUND),
        Shape([(GOAL, height(GOAL)), (GOAL, height(GOAL) + 0.2)], 0.02, TARGET),
        Shape([(place, height(place) + 0.05)], 0.1, BODY),
    ]


@compiled(nogil=True)
def step_car(
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
    """See `septet.sampler.task.StepKernel`. Force 0.0015 a, gravity 0.0025 cos(3 x), as in Gymnasium."""
    if not finite(action):
        return -1
    ended = 0
    for e in range(first, last):
        position, speed = state[e]
        force = min(max(action[e, 0], -1.0), 1.0)
        speed += force * 0.0015 - 0.0025 * math.cos(3 * position)
        speed = min(max(speed, -TOP_SPEED), TOP_SPEED)
        position = min(max(position + speed, -1.2), 0.6)
        if position == -1.2 and speed < 0:
            speed = 0.0
        state[e, 0], state[e, 1] = position, speed
        observe_car(state[e], observation[e])
        terminated[e] = position >= GOAL
        reward[e] = 1.0 if terminated[e] else 0.0
        ended += tick(e, constants[0], elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def observe_car(row: Array, observation: Array) -> None:
    """Position and speed, each within ±1."""
    observation[0] = (row[0] - MIDDLE) / HALF_ROAD
    observation[1] = row[1] / TOP_SPEED


@compiled(nogil=True)
def reset_car(
    handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        state[rows[k]] = start[k]
        observe_car(state[rows[k]], observation[rows[k]])
