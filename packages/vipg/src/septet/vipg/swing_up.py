r"""The double pendulum of the author's earlier code: swing it up with a torque between its two links (section 3).

The task is rllab's ``DoublePendulumEnv`` (Box2D) as that code runs it, 500 steps of 0.02 s. Two bars of length 1, width
0.1 and 0.5 kg hang from a hinge; :math:`\theta_1, \theta_2` are their angles to the vertical, 0 below. The reward of a
step is minus the distance of the tip from its highest place, (0, 2), with rllab's tip, whose second link is mirrored.

Box2D keeps the links together by impulses. Here the equations of motion are solved for the angles by Runge-Kutta:

.. math::
    \begin{pmatrix} a & c \cos\delta \\ c \cos\delta & b \end{pmatrix}
    \begin{pmatrix} \ddot\theta_1 \\ \ddot\theta_2 \end{pmatrix} =
    \begin{pmatrix} -u - c \sin\delta\,\dot\theta_2^2 - \tfrac32 m g L \sin\theta_1 \\
                    u + c \sin\delta\,\dot\theta_1^2 - \tfrac12 m g L \sin\theta_2 \end{pmatrix},
    \qquad \delta = \theta_1 - \theta_2

with :math:`b = I + m L^2 / 4`, :math:`a = b + m L^2`, :math:`c = m L^2 / 2` and :math:`I = m (L^2 + w^2) / 12`.
"""

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from septet.compiled import compiled
from septet.sampler.drawing import BODY, GROUND, JOINT, Look, Shape
from septet.sampler.physics import Array, Integers
from septet.sampler.task import Flags, Task, finite, settings, tick

NAME = "DoublePendulumSwingUp"
MASS, WIDTH, GRAVITY = 0.5, 0.1, 10.0
TORQUE = 50.0
STEP, PARTS = 0.02, 8  # seconds of a step, and the parts in which it is solved
FASTEST = 50.0 * math.pi  # radians per second: Box2D turns a body by half of pi at most in its step of 0.01 s
OWN = MASS * (1.0 + WIDTH**2) / 12.0 + MASS / 4.0  # b
BOTH, COUPLED = OWN + MASS, MASS / 2.0  # a, c


def swing_up(name: str, options: Mapping[str, Any]) -> Task:
    """State (angles, speeds); observations sin, cos and speed of each link; action in ±50 newton metres."""
    set_ = settings(name, {"time_limit": 500}, options)
    spread = np.array([0.1, 0.1, 0.01, 0.01])
    return Task(
        name=name,
        state_size=4,
        observation_size=6,
        action_low=np.array([-TORQUE]),
        action_high=np.array([TORQUE]),
        time_limit=int(set_["time_limit"]),
        constants=np.array([set_["time_limit"]], dtype=np.float64),
        step=step_links,
        reset=reset_links,
        draw=lambda rng: rng.standard_normal(4) * spread,
        simulator=lambda: SimpleNamespace(handles=np.zeros(0, dtype=np.int64)),
        look=Look((-2.2, -2.1, 2.2, 2.1), 1.0 / STEP, draw_links),
    )


def draw_links(observation: Array) -> list[Shape]:
    """Both links as they hang, and where the tip is to go."""
    elbow = observation[0], -observation[1]
    tip = elbow[0] + observation[3], elbow[1] - observation[4]
    return [
        Shape([(0.0, 2.0)], 0.15, GROUND),
        Shape([(0.0, 0.0), elbow, tip], WIDTH, BODY),
        *(Shape([place], WIDTH, JOINT) for place in ((0.0, 0.0), elbow)),
    ]


@compiled(nogil=True)
def accelerations(first: float, second: float, first_speed: float, second_speed: float, torque: float) -> Any:
    """Angular accelerations of both links."""
    sine, coupling = math.sin(first - second), COUPLED * math.cos(first - second)
    upper = -torque - COUPLED * sine * second_speed**2 - 1.5 * MASS * GRAVITY * math.sin(first)
    lower = torque + COUPLED * sine * first_speed**2 - 0.5 * MASS * GRAVITY * math.sin(second)
    determinant = BOTH * OWN - coupling**2
    return (OWN * upper - coupling * lower) / determinant, (BOTH * lower - coupling * upper) / determinant


@compiled(nogil=True)
def move(row: Array, torque: float, seconds: float) -> None:
    """One step of the classical Runge-Kutta method, torque held: `row` is (angles, speeds)."""
    a, b, p, q = row
    half = 0.5 * seconds
    p1, q1 = accelerations(a, b, p, q, torque)
    p2, q2 = accelerations(a + half * p, b + half * q, p + half * p1, q + half * q1, torque)
    a2, b2 = p + half * p1, q + half * q1
    p3, q3 = accelerations(a + half * a2, b + half * b2, p + half * p2, q + half * q2, torque)
    a3, b3 = p + half * p2, q + half * q2
    p4, q4 = accelerations(a + seconds * a3, b + seconds * b3, p + seconds * p3, q + seconds * q3, torque)
    a4, b4 = p + seconds * p3, q + seconds * q3
    row[0] = a + seconds / 6.0 * (p + 2.0 * a2 + 2.0 * a3 + a4)
    row[1] = b + seconds / 6.0 * (q + 2.0 * b2 + 2.0 * b3 + b4)
    row[2] = p + seconds / 6.0 * (p1 + 2.0 * p2 + 2.0 * p3 + p4)
    row[3] = q + seconds / 6.0 * (q1 + 2.0 * q2 + 2.0 * q3 + q4)


@compiled(nogil=True)
def step_links(
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
        torque = min(max(action[e, 0], -TORQUE), TORQUE)
        for _ in range(PARTS):
            move(state[e], torque, STEP / PARTS)
            for i in range(2, 4):
                state[e, i] = min(max(state[e, i], -FASTEST), FASTEST)
        observe_links(state[e], observation[e])
        across = observation[e, 0] - observation[e, 3]  # as rllab has it
        below = observation[e, 1] + observation[e, 4] + 2.0
        reward[e] = -math.sqrt(across**2 + below**2)
        terminated[e] = False
        ended += tick(e, constants[0], elapsed, terminated, truncated)
    return ended


@compiled(nogil=True)
def observe_links(row: Array, observation: Array) -> None:
    """Sine, cosine and speed of the first link, then of the second."""
    for i in range(2):
        observation[3 * i] = math.sin(row[i])
        observation[3 * i + 1] = math.cos(row[i])
        observation[3 * i + 2] = row[2 + i]


@compiled(nogil=True)
def reset_links(
    handles: Integers, constants: Array, state: Array, start: Array, rows: Integers, observation: Array
) -> None:
    """See `septet.sampler.task.ResetKernel`."""
    for k in range(rows.size):
        state[rows[k]] = start[k]
        observe_links(state[rows[k]], observation[rows[k]])
