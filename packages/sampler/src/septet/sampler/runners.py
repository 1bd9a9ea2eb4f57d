"""The planar runners of Gymnasium, v5: HalfCheetah, Hopper, Walker2d and Swimmer.

They differ in numbers alone: reward = weight * dx/dt + healthy reward - control cost.
"""

import math
from collections.abc import Mapping
from typing import Any

from septet.compiled import compiled
from septet.sampler.physics import Array, Integers, advance, begin, load_model
from septet.sampler.task import Flags, Task, finite, mujoco_task, near_rest, settings, sum_squares, tick

INF = math.inf
COMMON = {
    "time_limit": 1000,
    "frame_skip": 4,
    "forward_reward_weight": 1.0,
    "ctrl_cost_weight": 1e-3,
    "exclude_current_positions_from_observation": True,
}
HEALTHY = {"healthy_reward": 1.0, "terminate_when_unhealthy": True}
DEFAULTS: dict[str, dict[str, Any]] = {
    "HalfCheetah-v5": {**COMMON, "frame_skip": 5, "ctrl_cost_weight": 0.1, "reset_noise_scale": 0.1},
    "Hopper-v5": {
        **COMMON,
        **HEALTHY,
        "healthy_state_range": (-100.0, 100.0),
        "healthy_z_range": (0.7, INF),
        "healthy_angle_range": (-0.2, 0.2),
        "reset_noise_scale": 5e-3,
    },
    "Walker2d-v5": {
        **COMMON,
        **HEALTHY,
        "healthy_z_range": (0.8, 2.0),
        "healthy_angle_range": (-1.0, 1.0),
        "reset_noise_scale": 5e-3,
    },
    "Swimmer-v5": {**COMMON, "ctrl_cost_weight": 1e-4, "reset_noise_scale": 0.1},
}
FILES = {
    "HalfCheetah-v5": "half_cheetah.xml",
    "Hopper-v5": "hopper.xml",
    "Walker2d-v5": "walker2d_v5.xml",
    "Swimmer-v5": "swimmer.xml",
}


def task(name: str, options: Mapping[str, Any]) -> Task:
    """One of the planar runners, with options named as in Gymnasium."""
    set_ = settings(name, DEFAULTS[name], options)
    model = load_model(FILES[name])
    hidden = (2 if name == "Swimmer-v5" else 1) * set_["exclude_current_positions_from_observation"]
    constants = [
        model.opt.timestep * set_["frame_skip"],
        set_["forward_reward_weight"],
        set_["ctrl_cost_weight"],
        hidden,
        10.0 if name in ("Hopper-v5", "Walker2d-v5") else INF,  # speed limit
        "healthy_reward" in set_,
        set_.get("healthy_reward", 0.0),
        set_.get("terminate_when_unhealthy", False),
        *set_.get("healthy_z_range", (-INF, INF)),
        *set_.get("healthy_angle_range", (-INF, INF)),
        *set_.get("healthy_state_range", (-INF, INF)),
        "healthy_state_range" in set_,
    ]
    draw = near_rest(model, set_["reset_noise_scale"], normal=name == "HalfCheetah-v5")
    return mujoco_task(name, model, set_, model.nq + model.nv - hidden, constants, step, reset, draw)


@compiled(nogil=True)
def observe(hidden: int, speed_limit: float, nq: int, nv: int, row: Array, observation: Array) -> None:
    """Positions without the first `hidden` ones, then velocities within the speed limit."""
    for i in range(hidden, nq):
        observation[i - hidden] = row[i]
    for i in range(nq, nq + nv):
        observation[i - hidden] = min(max(row[i], -speed_limit), speed_limit)


@compiled(nogil=True)
def is_healthy(limits: Array, size: int, row: Array) -> bool:
    """Height, angle and (Hopper) every later coordinate within their open ranges."""
    z_low, z_high, angle_low, angle_high, state_low, state_high, every = limits
    if not (z_low < row[1] < z_high and angle_low < row[2] < angle_high):
        return False
    if every:
        for i in range(2, size):
            if not state_low < row[i] < state_high:
                return False
    return True


@compiled(nogil=True)
def step(
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
    """See `septet.sampler.task.StepKernel`."""
    if not finite(action):
        return -1
    time_limit, dt, forward_weight, cost_weight, hidden, speed_limit, can_fall, healthy_reward, ends = constants[:9]
    nv = state.shape[1] - observation.shape[1] - int(hidden)
    nq = state.shape[1] - 2 * nv
    ended = 0
    for e in range(first, last):
        row = state[e]
        before = row[0]
        advance(handles, row, action[e])
        healthy = is_healthy(constants[9:], nq + nv, row) if can_fall else True
        observe(int(hidden), speed_limit, nq, nv, row, observation[e])
        forward = forward_weight * ((row[0] - before) / dt)
        bonus = healthy_reward if healthy else 0.0
        reward[e] = forward + bonus - cost_weight * sum_squares(action[e], -math.inf, math.inf)
        terminated[e] = ends and not healthy
        ended += tick(e, time_limit, elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset(handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    hidden, speed_limit = int(constants[4]), constants[5]
    nv = state.shape[1] - observation.shape[1] - hidden
    nq = state.shape[1] - 2 * nv
    for k in range(rows.size):
        begin(handles, start[k], state[rows[k]])
        observe(hidden, speed_limit, nq, nv, state[rows[k]], observation[rows[k]])
