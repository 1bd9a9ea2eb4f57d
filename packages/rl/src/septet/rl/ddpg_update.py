r"""DDPG's update (Lillicrap et al. 2016, algorithm 1), for S seeds in lockstep.

.. math::
    y = r + \gamma (1 - d)\,\bar Q(o', \bar\mu(o')),\qquad
    L_Q = E[(Q(o, a) - y)^2],\qquad L_\mu = -E[Q(o, \mu(o))],\qquad
    \bar\theta \leftarrow \bar\theta + \tau(\theta - \bar\theta)

The critic steps first, the actor climbs the new critic (the order of Stable-Baselines3). The derivatives
are written out: automatic differentiation would also form the gradient of the actor's loss in the
critic's weights, which nothing uses, and moments, weights and targets would be read several times.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked, layers, parameter_count
from septet.compiled import compiled
from septet.errors import InputError
from septet.rl.dense import (
    adam_and_polyak,
    backward,
    forward,
    forward_one,
    hidden_count,
    input_gradient,
    layer_sides,
    weight_count,
    weight_gradient,
)

Float32 = NDArray[np.float32]
Sizes = NDArray[np.int64]


class Networks(NamedTuple):
    """Weights and moments of S seeds: ``(S, P)`` each, P of the actor or of the critic."""

    actor: Float32
    critic: Float32
    target_actor: Float32
    target_critic: Float32
    actor_mean: Float32
    actor_square: Float32
    critic_mean: Float32
    critic_square: Float32


class Workspace(NamedTuple):
    """Arrays that one update of one seed writes and nobody reads after it; N examples, O + A inputs."""

    observation: Float32
    joint: Float32
    next_observation: Float32
    next_joint: Float32
    reward: Float32
    going_on: Float32
    action: Float32
    next_action: Float32
    value: Float32
    target: Float32
    action_delta: Float32
    actor_hidden: Float32
    actor_deltas: Float32
    actor_gradient: Float32
    critic_hidden: Float32
    critic_deltas: Float32
    critic_gradient: Float32


def workspace(actor: Sizes, critic: Sizes, batch: int) -> Workspace:
    """A workspace for nets of these sizes and mini-batches of `batch`."""
    size, actions = int(actor[0]), int(actor[-1])
    shapes: dict[str, tuple[int, ...]] = {
        "observation": (batch, size),
        "joint": (batch, size + actions),
        "next_observation": (batch, size),
        "next_joint": (batch, size + actions),
        "reward": (batch,),
        "going_on": (batch,),
        "action": (batch, actions),
        "next_action": (batch, actions),
        "value": (batch, 1),
        "target": (batch, 1),
        "action_delta": (batch, actions),
        "actor_hidden": (batch * hidden_count(actor),),
        "actor_deltas": (batch * hidden_count(actor),),
        "actor_gradient": (weight_count(actor),),
        "critic_hidden": (batch * hidden_count(critic),),
        "critic_deltas": (batch * hidden_count(critic),),
        "critic_gradient": (weight_count(critic),),
    }
    return Workspace(**{name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()})


def _sides(networks: object, actor_sizes: Sizes, critic_sizes: Sizes, *_: Any) -> dict[str, int]:
    """Numbers that both nets fix: P and Q weights, O observations, A actions, inputs J, records R, hidden H and G."""
    del networks
    actor, critic = (
        layers(f"update: {n}", s) for n, s in (("actor_sizes", actor_sizes), ("critic_sizes", critic_sizes))
    )
    size, actions, joint = actor[0], actor[-1], actor[0] + actor[-1]
    if (critic[0], critic[-1]) != (joint, 1) or len(critic) < 3:
        expected = f"layer widths from {joint} to 1, and a hidden layer"
        raise InputError("update: critic_sizes", expected=expected, found=critic_sizes)
    sides = {
        "P": parameter_count(actor),
        "Q": parameter_count(critic),
        "O": size,
        "A": actions,
        "J": joint,
    }
    return {**sides, "R": size + joint + 2, "H": sum(actor[1:-1]), "G": sum(critic[1:-1])}


WEIGHTS = {name: f"out f4 S {'P' if 'actor' in name else 'Q'}" for name in Networks._fields}
WORK = {
    "observation": "out f4 N O",
    "joint": "out f4 N J",
    "next_observation": "out f4 N O",
    "next_joint": "out f4 N J",
    "reward": "out f4 N",
    "going_on": "out f4 N",
    "action": "out f4 N A",
    "next_action": "out f4 N A",
    "value": "out f4 N 1",
    "target": "out f4 N 1",
    "action_delta": "out f4 N A",
    "actor_hidden": "out f4 N*H",
    "actor_deltas": "out f4 N*H",
    "actor_gradient": "out f4 P",
    "critic_hidden": "out f4 N*G",
    "critic_deltas": "out f4 N*G",
    "critic_gradient": "out f4 Q",
}


@checked(
    _sides,
    networks=WEIGHTS,
    actor_sizes="i8 K",
    critic_sizes="i8 L",
    records="any f4 S C R",
    rows="i8 S N>0 < C",
    work=WORK,
    step="int 1",
    actor_every="int 1",
    losses="out f8 S 2",
    first="int 0 S",
    last="int 0 S",
    **dict.fromkeys(("actor_rate", "critic_rate", "critic_decay", "gamma", "tau"), "float"),
)
@compiled(reassociate=True, nogil=True)
def update(
    networks: Networks,
    actor_sizes: Sizes,
    critic_sizes: Sizes,
    records: Float32,
    rows: NDArray[np.int64],
    work: Workspace,
    step: int,
    actor_every: int,
    actor_rate: float,
    critic_rate: float,
    critic_decay: float,
    gamma: float,
    tau: float,
    losses: NDArray[np.float64],
    first: int,
    last: int,
) -> None:
    """One update of the seeds first .. last - 1, in place.

    Args:
        networks: weights and moments of all S seeds.
        actor_sizes, critic_sizes: sizes of the layers, ``(L + 1,)``.
        records: the replay, ``(S, capacity, 2 O + A + 2)``; rows: the mini-batches, ``(S, N)``.
        work: a workspace of this thread's own.
        step: number of this update, from 1.
        actor_every: the actor and the targets move at every such update (1: always, as in the paper).
        actor_rate, critic_rate: learning rates; critic_decay: L2 on the critic's weights.
        gamma: discount per step; tau: share of the new weights in the targets.
        losses: written, ``(S, 2)``: L_Q and L_mu.
    """
    n, size = work.observation.shape
    climb = step % actor_every == 0
    for s in range(first, last):
        _gather(records[s], rows[s], work)

        # the target of the critic
        forward(networks.target_actor[s], actor_sizes, work.next_observation, work.actor_hidden, work.next_action, True)
        work.next_joint[:, size:] = work.next_action
        forward(networks.target_critic[s], critic_sizes, work.next_joint, work.critic_hidden, work.target, False)

        # the critic
        critic = networks.critic[s]
        forward(critic, critic_sizes, work.joint, work.critic_hidden, work.value, False)
        loss = 0.0
        for i in range(n):
            y = work.reward[i] + np.float32(gamma) * work.going_on[i] * work.target[i, 0]
            error = work.value[i, 0] - y
            loss += error * error
            work.value[i, 0] = np.float32(2.0 / n) * error
        losses[s, 0] = loss / n
        backward(critic, critic_sizes, work.critic_hidden, work.value, work.critic_deltas)
        gradient = work.critic_gradient
        weight_gradient(critic_sizes, work.joint, work.critic_hidden, work.value, work.critic_deltas, gradient)
        mean, square, target = networks.critic_mean[s], networks.critic_square[s], networks.target_critic[s]
        adam_and_polyak(critic, gradient, mean, square, target, step, critic_rate, critic_decay, tau if climb else 0.0)
        if not climb:
            continue

        # the actor
        actor = networks.actor[s]
        forward(actor, actor_sizes, work.observation, work.actor_hidden, work.action, True)
        work.joint[:, size:] = work.action
        forward(critic, critic_sizes, work.joint, work.critic_hidden, work.value, False)
        losses[s, 1] = -np.sum(work.value) / n
        work.value[:] = np.float32(-1.0 / n)
        backward(critic, critic_sizes, work.critic_hidden, work.value, work.critic_deltas)
        delta = work.action_delta
        input_gradient(critic, critic_sizes, work.critic_deltas, size, delta)
        for i in range(n):
            for j in range(delta.shape[1]):
                delta[i, j] *= np.float32(1.0) - work.action[i, j] * work.action[i, j]  # through tanh
        backward(actor, actor_sizes, work.actor_hidden, delta, work.actor_deltas)
        gradient = work.actor_gradient
        weight_gradient(actor_sizes, work.observation, work.actor_hidden, delta, work.actor_deltas, gradient)
        mean, square, target = networks.actor_mean[s], networks.actor_square[s], networks.target_actor[s]
        adam_and_polyak(actor, gradient, mean, square, target, step // actor_every, actor_rate, 0.0, tau)


@compiled(nogil=True)
def _gather(records: Float32, rows: NDArray[np.int64], work: Workspace) -> None:
    """Copy the records ``(capacity, 2 O + A + 2)`` at `rows` ``(N,)`` to the workspace."""
    size, both = work.observation.shape[1], work.joint.shape[1]
    for i in range(len(rows)):
        record = records[rows[i]]
        for j in range(size):
            work.observation[i, j] = record[j]
            work.joint[i, j] = record[j]
            work.next_observation[i, j] = record[both + 2 + j]
            work.next_joint[i, j] = record[both + 2 + j]
        for j in range(size, both):
            work.joint[i, j] = record[j]
        work.reward[i] = record[both]
        work.going_on[i] = np.float32(1.0) - record[both + 1]


@checked(
    layer_sides,
    actor="f4 S P",
    sizes="i8 L",
    observation="f4 S N I",
    hidden="out f4 H",
    out="out f4 S N O",
)
@compiled(reassociate=True, nogil=True)
def actions(actor: Float32, sizes: Sizes, observation: Float32, hidden: Float32, out: Float32) -> None:
    """Actions ``(S, N, A)`` in [-1, 1] of S actors ``(S, P)`` at observations ``(S, N, O)``.

    Args:
        hidden: workspace, ``(hidden units,)``.
    """
    for s in range(actor.shape[0]):
        for i in range(observation.shape[1]):
            forward_one(actor[s], sizes, observation[s, i], hidden, out[s, i])
