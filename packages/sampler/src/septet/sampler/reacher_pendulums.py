"""Reacher and the inverted pendulums of Gymnasium, v5: small MuJoCo models."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from septet.compiled import compiled
from septet.sampler import physics
from septet.sampler.physics import Array, Integers
from septet.sampler.task import Flags, Task, finite, mujoco_task, near_rest, settings, sum_squares, tick

INF = math.inf
REACHER = {"time_limit": 50, "frame_skip": 2, "reward_dist_weight": 1.0, "reward_control_weight": 1.0}
INVERTED_PENDULUM = {"time_limit": 1000, "frame_skip": 2, "reset_noise_scale": 0.01}
INVERTED_DOUBLE_PENDULUM = {"time_limit": 1000, "frame_skip": 5, "healthy_reward": 10.0, "reset_noise_scale": 0.1}


def reacher(name: str, options: Mapping[str, Any]) -> Task:
    """Bring the tip of a two-link arm to a target: reward -distance - |action|^2."""
    set_ = settings(name, REACHER, options)
    model = physics.load_model("reacher.xml")
    nq, nv, rest = model.nq, model.nv, model.qpos0.copy()

    def draw(rng: np.random.Generator) -> Array:
        position = rng.uniform(low=-0.1, high=0.1, size=nq) + rest
        goal = rng.uniform(low=-0.2, high=0.2, size=2)
        while np.linalg.norm(goal) >= 0.2:
            goal = rng.uniform(low=-0.2, high=0.2, size=2)
        velocity = rng.uniform(low=-0.005, high=0.005, size=nv)
        position[-2:], velocity[-2:] = goal, 0.0
        return np.concatenate([position, velocity])

    weights = [set_["reward_dist_weight"], set_["reward_control_weight"]]
    return mujoco_task(name, model, set_, 10, weights, step_reacher, reset_reacher, draw)


def inverted_pendulum(name: str, options: Mapping[str, Any]) -> Task:
    """Balance a pole on a cart: reward 1 while it stands within 0.2 rad."""
    set_ = settings(name, INVERTED_PENDULUM, options)
    model = physics.load_model("inverted_pendulum.xml")
    draw = near_rest(model, set_["reset_noise_scale"])
    return mujoco_task(name, model, set_, 4, [], step_pendulum, reset_pendulum, draw)


def inverted_double_pendulum(name: str, options: Mapping[str, Any]) -> Task:
    """Balance two poles, one on the other: reward 10 less the tip's distance from its place and its speed."""
    set_ = settings(name, INVERTED_DOUBLE_PENDULUM, options)
    model = physics.load_model("inverted_double_pendulum.xml")
    draw = near_rest(model, set_["reset_noise_scale"], normal=True)
    return mujoco_task(name, model, set_, 9, [set_["healthy_reward"]], step_double, reset_double, draw)


@compiled(nogil=True)
def observe_reacher(handles: Integers, row: Array, observation: Array) -> None:
    """Cosines and sines of the joints, the target, the joints' speeds, and the tip relative to the target."""
    bodies = physics.field(handles, physics.BODY_XPOS, 15)  # world, two links, fingertip, target
    nq = handles[physics.NQ]
    for i in range(2):
        observation[i] = math.cos(row[i])
        observation[2 + i] = math.sin(row[i])
        observation[4 + i] = row[2 + i]
        observation[6 + i] = row[nq + i]
        observation[8 + i] = bodies[9 + i] - bodies[12 + i]


@compiled(nogil=True)
def step_reacher(
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
    bodies = physics.field(handles, physics.BODY_XPOS, 15)
    ended = 0
    for e in range(first, last):
        physics.advance(handles, state[e], action[e])
        observe_reacher(handles, state[e], observation[e])
        height = bodies[11] - bodies[14]
        distance = math.sqrt(observation[e, 8] ** 2 + observation[e, 9] ** 2 + height**2)
        reward[e] = -distance * constants[1] - sum_squares(action[e], -INF, INF) * constants[2]
        terminated[e] = False
        ended += tick(e, constants[0], elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset_reacher(
    handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        physics.begin(handles, start[k], state[rows[k]])
        observe_reacher(handles, state[rows[k]], observation[rows[k]])


@compiled(nogil=True)
def step_pendulum(
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
    ended = 0
    for e in range(first, last):
        physics.advance(handles, state[e], action[e])
        standing = abs(state[e, 1]) <= 0.2
        for i in range(4):
            observation[e, i] = state[e, i]
            standing = standing and math.isfinite(state[e, i])
        reward[e] = 1.0 if standing else 0.0
        terminated[e] = not standing
        ended += tick(e, constants[0], elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset_pendulum(
    handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        physics.begin(handles, start[k], state[rows[k]])
        observation[rows[k]] = state[rows[k], :4]


@compiled(nogil=True)
def observe_double(handles: Integers, row: Array, observation: Array) -> None:
    """Cart, sines and cosines of the joints, velocities and the cart's constraint force within 10."""
    nq, nv = handles[physics.NQ], handles[physics.NV]
    observation[0] = row[0]
    for i in range(2):
        observation[1 + i] = math.sin(row[1 + i])
        observation[3 + i] = math.cos(row[1 + i])
    for i in range(nv):
        observation[5 + i] = min(max(row[nq + i], -10.0), 10.0)
    observation[8] = min(max(physics.field(handles, physics.QFRC_CONSTRAINT, nv)[0], -10.0), 10.0)


@compiled(nogil=True)
def step_double(
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
    tip = physics.field(handles, physics.SITE_XPOS, 3)
    nq = handles[physics.NQ]
    ended = 0
    for e in range(first, last):
        row = state[e]
        physics.advance(handles, row, action[e])
        observe_double(handles, row, observation[e])
        x, height = tip[0], tip[2]
        terminated[e] = height <= 1
        bonus = 0.0 if terminated[e] else constants[1]
        away = 0.01 * x**2 + (height - 2) ** 2
        reward[e] = bonus - away - (1e-3 * row[nq + 1] ** 2 + 5e-3 * row[nq + 2] ** 2)
        ended += tick(e, constants[0], elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset_double(
    handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        physics.begin(handles, start[k], state[rows[k]])
        observe_double(handles, state[rows[k]], observation[rows[k]])
