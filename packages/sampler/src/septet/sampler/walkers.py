"""Ant and Humanoid of Gymnasium, v5: free bodies in space, with contact forces observed and paid for.

An environment's row carries two numbers more: where its centre was, in the plane, at the last
observation. Gymnasium reads that from MjData, where it lags one physics step behind the positions.
"""

import math
from collections.abc import Mapping
from typing import Any

from septet.compiled import compiled
from septet.sampler import physics
from septet.sampler.physics import Array, Integers
from septet.sampler.task import Flags, Task, finite, mujoco_task, near_rest, settings, sum_squares, tick

INF = math.inf
COMMON = {
    "time_limit": 1000,
    "frame_skip": 5,
    "terminate_when_unhealthy": True,
    "exclude_current_positions_from_observation": True,
    "include_cfrc_ext_in_observation": True,
}
ANT = {
    **COMMON,
    "forward_reward_weight": 1.0,
    "ctrl_cost_weight": 0.5,
    "contact_cost_weight": 5e-4,
    "healthy_reward": 1.0,
    "healthy_z_range": (0.2, 1.0),
    "contact_force_range": (-1.0, 1.0),
    "reset_noise_scale": 0.1,
}
HUMANOID = {
    **COMMON,
    "forward_reward_weight": 1.25,
    "ctrl_cost_weight": 0.1,
    "contact_cost_weight": 5e-7,
    "contact_cost_range": (-INF, 10.0),
    "healthy_reward": 5.0,
    "healthy_z_range": (1.0, 2.0),
    "reset_noise_scale": 1e-2,
    "include_cinert_in_observation": True,
    "include_cvel_in_observation": True,
    "include_qfrc_actuator_in_observation": True,
}
PARTS = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")  # of the observation, in its order


def ant(name: str, options: Mapping[str, Any]) -> Task:
    """A four-legged body: forward and survival reward, control and contact costs."""
    return _task(name, "ant.xml", settings(name, ANT, options), humanoid=False)


def humanoid(name: str, options: Mapping[str, Any]) -> Task:
    """A biped with arms: velocity of the centre of mass, survival, control and contact costs."""
    return _task(name, "humanoid.xml", settings(name, HUMANOID, options), humanoid=True)


def _task(name: str, file: str, set_: dict[str, Any], *, humanoid: bool) -> Task:
    model = physics.load_model(file)
    hidden = 2 * set_["exclude_current_positions_from_observation"]
    shown = [bool(set_.get(f"include_{part}_in_observation", False)) for part in PARTS]
    bodies = model.nbody - 1
    sizes = (10 * bodies, 6 * bodies, model.nv - 6, 6 * bodies)
    constants = [
        model.opt.timestep * set_["frame_skip"],
        set_["forward_reward_weight"],
        set_["ctrl_cost_weight"],
        set_["contact_cost_weight"],
        set_["healthy_reward"],
        set_["terminate_when_unhealthy"],
        *set_["healthy_z_range"],
        *set_.get("contact_force_range", (-INF, INF)),
        *set_.get("contact_cost_range", (-INF, INF)),
        humanoid,
        hidden,
        *shown,
        model.body_mass.sum(),
        *model.body_mass,
    ]
    seen = model.nq + model.nv - hidden + sum(size for size, on in zip(sizes, shown, strict=True) if on)
    draw = near_rest(model, set_["reset_noise_scale"], normal=not humanoid)
    return mujoco_task(name, model, set_, seen, constants, step, reset, draw, extra=2)


# Places of the constants.
TIME_LIMIT, DT, FORWARD_WEIGHT, CTRL_WEIGHT, CONTACT_WEIGHT, HEALTHY_REWARD, ENDS = 0, 1, 2, 3, 4, 5, 6
Z_LOW, Z_HIGH, FORCE_LOW, FORCE_HIGH, COST_LOW, COST_HIGH, IS_HUMANOID, HIDDEN, SHOWN = 7, 8, 9, 10, 11, 12, 13, 14, 15
TOTAL_MASS, MASS = 19, 20


@compiled(nogil=True)
def append(values: Array, low: float, high: float, observation: Array, at: int) -> int:
    """Put values within `[low, high]` into an observation; where the next ones go."""
    for i in range(values.size):
        observation[at + i] = min(max(values[i], low), high)
    return at + values.size


@compiled(nogil=True)
def observe(handles: Integers, constants: Array, row: Array, observation: Array) -> None:
    """Positions, velocities, then what is shown of body inertias, velocities, actuator and contact forces."""
    nq, nv, nbody = handles[physics.NQ], handles[physics.NV], handles[physics.NBODY]
    at = append(row[int(constants[HIDDEN]) : nq + nv], -INF, INF, observation, 0)
    if constants[SHOWN]:
        at = append(physics.field(handles, physics.CINERT, 10 * nbody)[10:], -INF, INF, observation, at)
    if constants[SHOWN + 1]:
        at = append(physics.field(handles, physics.CVEL, 6 * nbody)[6:], -INF, INF, observation, at)
    if constants[SHOWN + 2]:
        at = append(physics.field(handles, physics.QFRC_ACTUATOR, nv)[6:], -INF, INF, observation, at)
    if constants[SHOWN + 3]:
        forces = physics.field(handles, physics.CFRC_EXT, 6 * nbody)[6:]
        append(forces, constants[FORCE_LOW], constants[FORCE_HIGH], observation, at)


@compiled(nogil=True)
def locate(handles: Integers, constants: Array, row: Array) -> None:
    """Remember where the torso is, or the humanoid's centre of mass."""
    if not constants[IS_HUMANOID]:
        place = physics.field(handles, physics.BODY_XPOS, 6)
        row[-2], row[-1] = place[3], place[4]
        return
    nbody = handles[physics.NBODY]
    places = physics.field(handles, physics.INERTIAL_XPOS, 3 * nbody)
    x = y = 0.0
    for body in range(nbody):
        x += constants[MASS + body] * places[3 * body]
        y += constants[MASS + body] * places[3 * body + 1]
    row[-2], row[-1] = x / constants[TOTAL_MASS], y / constants[TOTAL_MASS]


@compiled(nogil=True)
def is_healthy(constants: Array, row: Array, moving: int) -> bool:
    """Height within its range, which is open for the humanoid; the ant's `moving` first numbers finite."""
    if constants[IS_HUMANOID]:
        return constants[Z_LOW] < row[2] < constants[Z_HIGH]
    for i in range(moving):
        if not math.isfinite(row[i]):
            return False
    return constants[Z_LOW] <= row[2] <= constants[Z_HIGH]


@compiled(nogil=True)
def reward_of(handles: Integers, constants: Array, moved: float, healthy: bool, cost: float) -> float:
    """Forward and survival reward, less a control cost and the cost of contact forces."""
    forces = physics.field(handles, physics.CFRC_EXT, 6 * handles[physics.NBODY])
    contact = constants[CONTACT_WEIGHT] * sum_squares(forces, constants[FORCE_LOW], constants[FORCE_HIGH])
    contact = min(max(contact, constants[COST_LOW]), constants[COST_HIGH])
    forward = moved / constants[DT] * constants[FORWARD_WEIGHT]
    bonus = constants[HEALTHY_REWARD] if healthy else 0.0
    return forward + bonus - (cost + contact)


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
    moving = handles[physics.NQ] + handles[physics.NV]
    ended = 0
    for e in range(first, last):
        row = state[e]
        before = row[-2]
        physics.advance(handles, row, action[e])
        physics.call(handles, physics.POST_CONSTRAINT)
        locate(handles, constants, row)
        healthy = is_healthy(constants, row, moving)
        observe(handles, constants, row, observation[e])
        # The humanoid's from MjData: MuJoCo clears it when a simulation becomes unstable.
        control = physics.field(handles, physics.CTRL, handles[physics.NU]) if constants[IS_HUMANOID] else action[e]
        cost = constants[CTRL_WEIGHT] * sum_squares(control, -INF, INF)
        reward[e] = reward_of(handles, constants, row[-2] - before, healthy, cost)
        terminated[e] = constants[ENDS] and not healthy
        ended += tick(e, constants[TIME_LIMIT], elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset(handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        row = state[rows[k]]
        physics.begin(handles, start[k], row)
        locate(handles, constants, row)
        observe(handles, constants, row, observation[rows[k]])
