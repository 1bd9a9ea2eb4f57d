r"""The student: DDPG of section 2.1 for K rows in lockstep (seeds, or the trial students of seeds).

.. math::
    y = r + \gamma (1 - d)\,Q'(s', \mu'(s')),\qquad L_Q = E[(Q(s, a) - y)^2] + \tfrac c2\|W^Q\|^2,\qquad
    L_\mu = -E[Q(s, \mu(s))]
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import Spec, checked, fit
from septet.compiled import compiled
from septet.errors import InputError
from septet.metaexplore.nets import (
    DELTAS,
    TAPE,
    Deltas,
    Float32,
    Shape,
    Tape,
    adam,
    apply,
    back_to_second,
    decay_matrices,
    deltas,
    forward,
    late_gradient,
    polyak,
    sides,
    tape,
    weight_gradient,
)

Array = NDArray[np.float64]
State = dict[str, NDArray[Any]]
CLIP = 5.0
"""Bound of a normalised observation (section 3)."""


class Networks(NamedTuple):
    """Weights and moments of K students: ``(K, P)`` each, P of the actor or of the critic."""

    actor: Float32
    critic: Float32
    target_actor: Float32
    target_critic: Float32
    actor_mean: Float32
    actor_square: Float32
    critic_mean: Float32
    critic_square: Float32


class Workspace(NamedTuple):
    """Arrays that an update writes and nobody reads after it."""

    observation: Float32
    next_observation: Float32
    action: Float32
    value: Float32
    target: Float32
    action_delta: Float32
    reward: Float32
    going_on: Float32
    actor_tape: Tape
    critic_tape: Tape
    actor_deltas: Deltas
    critic_deltas: Deltas


class Rates(NamedTuple):
    """Numbers of the update: Adam's rates, L2 on the critic, gamma and tau."""

    actor: float
    critic: float
    decay: float
    gamma: float
    tau: float


def networks(actor: Float32, critic: Float32) -> Networks:
    """New students: targets are copies, moments are 0."""
    zeros = [np.zeros_like(each) for each in (actor, actor, critic, critic)]
    return Networks(actor, critic, actor.copy(), critic.copy(), *zeros)


def repeat(students: Networks, times: int) -> Networks:
    """Copies of the students, `times` of each one after the other: trial students, moments and targets included."""
    return Networks(*(np.repeat(array, times, axis=0) for array in students))


def workspace(actor: Shape, critic: Shape, batch: int) -> Workspace:
    """A workspace for mini-batches of `batch`."""
    size, actions = int(actor[0]), int(actor[3])
    return Workspace(
        observation=np.zeros((batch, size), np.float32),
        next_observation=np.zeros((batch, size), np.float32),
        action=np.zeros((batch, actions), np.float32),
        value=np.zeros((batch, 1), np.float32),
        target=np.zeros((batch, 1), np.float32),
        action_delta=np.zeros((batch, actions), np.float32),
        reward=np.zeros(batch, np.float32),
        going_on=np.zeros(batch, np.float32),
        actor_tape=tape(actor, batch),
        critic_tape=tape(critic, batch),
        actor_deltas=deltas(actor, batch),
        critic_deltas=deltas(critic, batch),
    )


@compiled(nogil=True)
def _gather(records: Float32, rows: NDArray[np.int64], mean: Float32, scale: Float32, work: Workspace) -> None:
    """Copy the records ``(n, 2 O + A + 2)`` at `rows` ``(N,)``, observations normalised, to the workspace."""
    size = work.observation.shape[1]
    actions = work.action.shape[1]
    first = work.critic_tape.joined.shape[1] - actions
    bound = np.float32(CLIP)
    for i in range(len(rows)):
        record = records[rows[i]]
        for j in range(size):
            now, then = (record[j] - mean[j]) * scale[j], (record[size + actions + 2 + j] - mean[j]) * scale[j]
            work.observation[i, j] = min(max(now, -bound), bound)
            work.next_observation[i, j] = min(max(then, -bound), bound)
        for j in range(actions):
            work.critic_tape.joined[i, first + j] = record[size + j]
            work.action[i, j] = record[size + j]
        work.reward[i] = record[size + actions]
        work.going_on[i] = np.float32(1.0) - record[size + actions + 1]


@compiled(reassociate=True, nogil=True)
def _squashed(weights: Float32, shape: Shape, x: Float32, tape: Tape, out: Float32) -> None:
    """Actions ``(N, A)`` of an actor: tanh of its outputs."""
    forward(weights, shape, x, tape, out)
    for i in range(len(out)):
        for j in range(out.shape[1]):
            out[i, j] = np.tanh(out[i, j])


def _sides(students: object, actor_shape: Shape, critic_shape: Shape, *_: object) -> dict[str, int]:
    """Numbers of both nets, those of the critic in small letters, and R of a record."""
    actor, critic = sides(None, actor_shape), sides(students, critic_shape)
    if actor["L"] or (critic["I"], critic["O"], critic["L"]) != (actor["I"], 1, actor["O"]):
        expected = f"{actor['I']} inputs, 1 output and {actor['O']} late, after an actor without late inputs"
        raise InputError("train: critic_shape", expected=expected, found=critic_shape)
    small = {name.lower(): number for name, number in critic.items()}
    return {**actor, **small, "R": 2 * actor["I"] + actor["O"] + 2}


def _critics(specs: dict[str, str]) -> dict[str, str]:
    """The specs of a critic's arrays, whose sizes have small letters."""
    small = {"F": "f", "G": "g", "J": "j", "P": "p"}
    return {name: " ".join(small.get(word, word) for word in spec.split()) for name, spec in specs.items()}


WEIGHTS = {name: f"out f4 K {'P' if 'actor' in name else 'p'}" for name in Networks._fields}
WORK: dict[str, Spec] = {
    "observation": "out f4 N I",
    "next_observation": "out f4 N I",
    "action": "out f4 N O",
    "value": "out f4 N 1",
    "target": "out f4 N 1",
    "action_delta": "out f4 N O",
    "reward": "out f4 N",
    "going_on": "out f4 N",
    "actor_tape": TAPE,
    "critic_tape": _critics(TAPE),
    "actor_deltas": DELTAS,
    "critic_deltas": _critics(DELTAS),
}


@checked(
    _sides,
    students=WEIGHTS,
    actor_shape="i8 5",
    critic_shape="i8 5",
    records="any f4 K C R",
    rows="i8 K U N>0 < C",
    mean="f4 K I",
    scale="f4 K I",
    work=WORK,
    step="int 0",
    rates=dict.fromkeys(Rates._fields, "float"),
    losses="out f8 K 2",
)
@compiled(reassociate=True, nogil=True)
def train(
    students: Networks,
    actor_shape: Shape,
    critic_shape: Shape,
    records: Float32,
    rows: NDArray[np.int64],
    mean: Float32,
    scale: Float32,
    work: Workspace,
    step: int,
    rates: Rates,
    losses: Array,
) -> None:
    """U updates of each of K students, in place.

    Args:
        records: transitions ``(K, n, 2 O + A + 2)`` as `septet.rl.replay` lays them out; rows: ``(K, U, N)``.
        mean, scale: of the observations, ``(K, O)``.
        step: updates done before.
        losses: written, ``(K, 2)``: mean L_Q and L_mu of these updates.
    """
    n, actions = work.action.shape
    first = int(critic_shape[1])
    one, discount = np.float32(1.0), np.float32(rates.gamma)
    for k in range(rows.shape[0]):
        actor, critic = students.actor[k], students.critic[k]
        target_actor, target_critic = students.target_actor[k], students.target_critic[k]
        losses[k] = 0.0
        for u in range(rows.shape[1]):
            _gather(records[k], rows[k, u], mean[k], scale[k], work)

            # the target of the critic
            _squashed(target_actor, actor_shape, work.next_observation, work.actor_tape, work.action_delta)
            work.critic_tape.joined[:, first:] = work.action_delta
            forward(target_critic, critic_shape, work.next_observation, work.critic_tape, work.target)

            # the critic
            work.critic_tape.joined[:, first:] = work.action
            forward(critic, critic_shape, work.observation, work.critic_tape, work.value)
            for i in range(n):
                error = work.value[i, 0] - (work.reward[i] + discount * work.going_on[i] * work.target[i, 0])
                losses[k, 0] += error * error / n
                work.value[i, 0] = np.float32(2.0 / n) * error
            to = work.critic_deltas
            back_to_second(critic, critic_shape, work.critic_tape, work.value, to)
            weight_gradient(critic, critic_shape, work.observation, work.critic_tape, work.value, to)
            decay_matrices(critic, critic_shape, rates.decay, to.weights)
            adam(critic, to.weights, students.critic_mean[k], students.critic_square[k], step + u + 1, rates.critic)

            # the actor
            _squashed(actor, actor_shape, work.observation, work.actor_tape, work.action)
            work.critic_tape.joined[:, first:] = work.action
            forward(critic, critic_shape, work.observation, work.critic_tape, work.value)
            losses[k, 1] -= np.sum(work.value) / n
            work.value[:] = np.float32(-1.0 / n)
            back_to_second(critic, critic_shape, work.critic_tape, work.value, to)
            delta = work.action_delta
            late_gradient(critic, critic_shape, to, delta)
            for i in range(n):
                for j in range(actions):
                    delta[i, j] *= one - work.action[i, j] * work.action[i, j]  # through tanh
            own = work.actor_deltas
            back_to_second(actor, actor_shape, work.actor_tape, delta, own)
            weight_gradient(actor, actor_shape, work.observation, work.actor_tape, delta, own)
            adam(actor, own.weights, students.actor_mean[k], students.actor_square[k], step + u + 1, rates.actor)

            polyak(target_actor, actor, rates.tau)
            polyak(target_critic, critic, rates.tau)
        losses[k] /= max(rows.shape[1], 1)


def normalised(observation: NDArray[Any], mean: Float32, scale: Float32) -> Float32:
    """Observations ``(K, B, O)`` less the means ``(K, O)``, times the scales, clipped to ±5; float32."""
    x = (observation.astype(np.float32) - mean[:, None]) * scale[:, None]
    return np.clip(x, -CLIP, CLIP)


def actions(weights: Float32, shape: Shape, x: Float32) -> Float32:
    """Actions in [-1, 1] of K actors ``(K, P)`` at normalised observations ``(K, B, O)``: ``(K, B, A)``."""
    x = fit("actions: x", "f4 K B I", x, {})
    out = np.empty((*x.shape[:2], int(shape[3])), np.float32)
    apply(weights, shape, x, x[..., :0], out)
    return np.tanh(out)


def values(weights: Float32, shape: Shape, x: Float32, action: Float32) -> Float32:
    """Q of K critics at normalised observations ``(K, B, O)`` and actions ``(K, B, A)``: ``(K, B)``."""
    x = fit("values: x", "f4 K B I", x, {})
    out = np.empty((*x.shape[:2], 1), np.float32)
    apply(weights, shape, x, action, out)
    return out[..., 0]
