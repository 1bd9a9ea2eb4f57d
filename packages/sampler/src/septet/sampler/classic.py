"""Pendulum-v1 of Gymnasium and a cart-pole with a continuous force: no MuJoCo, a few lines of mechanics."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from septet.compiled import compiled
from septet.sampler.drawing import BODY, GROUND, JOINT, Look, Shape
from septet.sampler.physics import Array, Integers
from septet.sampler.task import Flags, Task, finite, settings, tick


def pendulum(name: str, options: Mapping[str, Any]) -> Task:
    """Swing a pendulum up and hold it: state (angle, speed), Gymnasium's Pendulum-v1; or SlowPendulum.

    Each environment step of the slow one also waits `delay` seconds. It is a stand-in for simulators that take
    milliseconds a step, so that the scaling of samplers can be measured on a machine with fewer cores than samplers.
    Waiting takes no core, so the curve says how well *waiting* overlaps, which is what queues and broadcasts cost, and
    nothing of processors. Environments of one process wait one after the other, as the published sampler steps its
    only one.
    """
    defaults = {"time_limit": 200, "g": 10.0}
    set_ = settings(name, {**defaults, "delay": 0.001} if name == "SlowPendulum" else defaults, options)
    high = np.array([math.pi, 1.0])
    return Task(
        name=name,
        state_size=2,
        observation_size=3,
        action_low=np.array([-2.0]),
        action_high=np.array([2.0]),
        time_limit=int(set_["time_limit"]),
        constants=np.array([set_["time_limit"], set_["g"]], dtype=np.float64),
        step=step_pendulum,
        reset=reset_pendulum,
        draw=lambda rng: rng.uniform(low=-high, high=high),
        delay=float(set_.get("delay", 0.0)),
        look=Look((-1.3, -1.2, 1.3, 1.2), 20.0, draw_pendulum),
    )


def draw_pendulum(observation: Array) -> list[Shape]:
    """A rod of length 1 from its hinge: upright at angle 0, from there to the left."""
    cosine, sine = observation[:2]
    return [Shape([(0.0, 0.0), (-sine, cosine)], 0.16, BODY), Shape([(0.0, 0.0)], 0.1, JOINT)]


@compiled(nogil=True)
def observe_pendulum(row: Array, observation: Array) -> None:
    """Cosine and sine of the angle, and the speed; in single precision, as Gymnasium gives them."""
    observation[0] = np.float32(math.cos(row[0]))
    observation[1] = np.float32(math.sin(row[0]))
    observation[2] = np.float32(row[1])


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
    time_limit, g = constants[0], constants[1]
    ended = 0
    for e in range(first, last):
        angle, speed = state[e, 0], state[e, 1]
        torque = min(max(action[e, 0], -2.0), 2.0)
        upright = ((angle + math.pi) % (2 * math.pi)) - math.pi
        reward[e] = -(upright**2 + 0.1 * speed**2 + 0.001 * torque**2)
        speed = speed + (3 * g / 2.0 * math.sin(angle) + 3.0 * torque) * 0.05
        speed = min(max(speed, -8.0), 8.0)
        state[e, 0] = angle + speed * 0.05
        state[e, 1] = speed
        observe_pendulum(state[e], observation[e])
        terminated[e] = False
        ended += tick(e, time_limit, elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset_pendulum(
    handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        state[rows[k]] = start[k]
        observe_pendulum(state[rows[k]], observation[rows[k]])


def cart_pole(name: str, options: Mapping[str, Any]) -> Task:
    """Balance a pole on a cart: Gymnasium's CartPole with force 10 clip(a, -1, 1), 200 steps."""
    set_ = settings(name, {"time_limit": 200}, options)
    return Task(
        name=name,
        state_size=4,
        observation_size=4,
        action_low=np.array([-1.0]),
        action_high=np.array([1.0]),
        time_limit=int(set_["time_limit"]),
        constants=np.array([set_["time_limit"]], dtype=np.float64),
        step=step_cart_pole,
        reset=reset_cart_pole,
        draw=lambda rng: rng.uniform(low=-0.05, high=0.05, size=(4,)),
        look=Look((-2.6, -1.0, 2.6, 2.0), 50.0, draw_cart_pole),
    )


def draw_cart_pole(observation: Array) -> list[Shape]:
    """A cart at x on its rail, where an episode ends at either end, and a pole of 1 m, drawn thick."""
    x, angle = observation[0], observation[2]
    tip = x + math.sin(angle), math.cos(angle)
    return [
        Shape([(-2.4, 0.0), (2.4, 0.0)], 0.02, GROUND),
        Shape([(x - 0.25, 0.0), (x + 0.25, 0.0)], 0.3, BODY),
        Shape([(x, 0.0), tip], 0.1, JOINT),
    ]


@compiled(nogil=True)
def step_cart_pole(
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
    """See `septet.sampler.task.StepKernel`. Cart of 1 kg, pole of 0.1 kg and 1 m, Euler steps of 0.02 s."""
    if not finite(action):
        return -1
    gravity, pole_mass, total_mass, half_length, tau = 9.8, 0.1, 0.1 + 1.0, 0.5, 0.02
    moment = pole_mass * half_length
    widest = 12 * 2 * math.pi / 360
    ended = 0
    for e in range(first, last):
        x, x_dot, theta, theta_dot = state[e]
        force = 10.0 * min(max(action[e, 0], -1.0), 1.0)
        cosine, sine = math.cos(theta), math.sin(theta)
        push = (force + moment * (theta_dot * theta_dot) * sine) / total_mass
        theta_acc = (gravity * sine - cosine * push) / (
            half_length * (4.0 / 3.0 - pole_mass * (cosine * cosine) / total_mass)
        )
        x_acc = push - moment * theta_acc * cosine / total_mass
        x = x + tau * x_dot
        x_dot = x_dot + tau * x_acc
        theta = theta + tau * theta_dot
        theta_dot = theta_dot + tau * theta_acc
        state[e, 0], state[e, 1], state[e, 2], state[e, 3] = x, x_dot, theta, theta_dot
        for i in range(4):
            observation[e, i] = np.float32(state[e, i])
        reward[e] = 1.0
        terminated[e] = x < -2.4 or x > 2.4 or theta < -widest or theta > widest
        ended += tick(e, constants[0], elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def reset_cart_pole(
    handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        for i in range(4):
            state[rows[k], i] = start[k, i]
            observation[rows[k], i] = np.float32(start[k, i])
