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

from septet.arrays import Spec, checked
from septet.compiled import compiled
from septet.errors import InputError
from septet.rl import shapes as of_nets
from septet.rl.adam import adam_and_polyak
from septet.rl.dense import add_decay, backward, forward, join, late_gradient, weight_gradient
from septet.rl.shapes import Float32, Net, Tape, tape, tape_spec


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


class Shapes(NamedTuple):
    """Shapes of the nets: the actor from O to A, the critic from O, with A late inputs, to 1."""

    actor: Net
    critic: Net


class Rates(NamedTuple):
    """Numbers of the update."""

    actor: float
    """Adam's rate for the actor."""
    critic: float
    """Adam's rate for the critic."""
    decay: float
    """L2 on the critic's weights, see `septet.rl.dense.add_decay`."""
    gamma: float
    """Discount per step."""
    tau: float
    """Share of the new weights in the targets."""


class Workspace(NamedTuple):
    """A mini-batch of N transitions, and what one update of one seed writes; nobody reads it after the update."""

    observation: Float32
    """o, (N, O)."""
    next_observation: Float32
    """o', (N, O)."""
    reward: Float32
    """r, (N,)."""
    going_on: Float32
    """1 - d, (N,)."""
    action: Float32
    """a, (N, A); overwritten by the actor's own."""
    joint: Float32
    """Inputs of the critic, o with the actions beside it if they enter its first layer."""
    value: Float32
    target: Float32
    error: Float32
    """Q(o, a) - y, (N,)."""
    action_delta: Float32
    actor: Tape
    critic: Tape


def networks(actor: Float32, critic: Float32) -> Networks:
    """New nets: targets are copies, moments are 0."""
    zeros = [np.zeros_like(each) for each in (actor, actor, critic, critic)]
    return Networks(actor, critic, actor.copy(), critic.copy(), *zeros)


def workspace(shapes: Shapes, batch: int) -> Workspace:
    """A workspace for mini-batches of `batch`."""
    own = {**sides(None, shapes), "1": 1}
    arrays = {
        name: np.zeros((batch, *(own[side] for side in spec.split()[3:])), np.float32) for name, spec in BATCH.items()
    }
    return Workspace(**arrays, actor=tape(shapes.actor, batch), critic=tape(shapes.critic, batch))


def sides(networks: object, shapes: Shapes, *_: Any) -> dict[str, int]:
    """Numbers that both nets fix: P and Q weights, O observations, A actions, inputs J of the critic, records R."""
    del networks
    if not isinstance(shapes, Shapes):
        raise InputError("update: shapes", expected="the shapes of actor and critic", found=shapes)
    actor, critic = of_nets.sides(None, shapes.actor), of_nets.sides(None, shapes.critic)
    size, actions = actor["F"], actor["O"]
    if actor["L"] or (critic["F"], critic["L"], critic["O"]) != (size, actions, 1) or not critic["H"]:
        expected = f"from {size} inputs, with {actions} late ones, to 1, and a hidden layer"
        raise InputError("update: critic", expected=expected, found=shapes.critic)
    own = {"P": actor["P"], "Q": critic["P"], "O": size, "A": actions, "J": critic["I"], "R": 2 * size + actions + 2}
    tapes = {f"a{name}": actor[name] for name in "JUVHD"} | {f"c{name}": critic[name] for name in "JUVHD"}
    return own | tapes


WEIGHTS: dict[str, Spec] = {name: f"out f4 S {'P' if 'actor' in name else 'Q'}" for name in Networks._fields}
BATCH = {
    "observation": "out f4 N O",
    "next_observation": "out f4 N O",
    "reward": "out f4 N",
    "going_on": "out f4 N",
    "action": "out f4 N A",
    "joint": "out f4 N J",
    "value": "out f4 N 1",
    "target": "out f4 N 1",
    "error": "out f4 N",
    "action_delta": "out f4 N A",
}
WORK: dict[str, Spec] = {
    **BATCH,
    "actor": tape_spec(renamed=lambda name: "P" if name == "P" else f"a{name}"),
    "critic": tape_spec(renamed=lambda name: "Q" if name == "P" else f"c{name}"),
}
RATES: dict[str, Spec] = dict.fromkeys(Rates._fields, "float")


@compiled(reassociate=True, nogil=True, uses=("septet.sampler",))
def step(
    networks: Networks, shapes: Shapes, s: int, work: Workspace, number: int, actor_every: int, rates: Rates
) -> tuple[float, float]:
    """One update of seed s in place, on the mini-batch in `work`; L_Q, and L_mu or 0 if the actor rests.

    For compiled callers that have checked their arrays: `update` here, and other packages' loops.

    Args:
        networks: weights and moments of all S seeds.
        work: the mini-batch, and room.
        number: of this update, from 1.
        actor_every: the actor and the targets move at every such update (1: always, as in the paper).
    """
    of_actor, of_critic, actor_room, critic_room = shapes.actor, shapes.critic, work.actor, work.critic
    observation, after, reward, going_on = work.observation, work.next_observation, work.reward, work.going_on
    action, joint, value, wanted = work.action, work.joint, work.value, work.target
    errors, delta = work.error, work.action_delta
    n, size = observation.shape
    beside = of_critic.at == 0  # actions enter the critic beside the observations
    climb = number % actor_every == 0
    tau = rates.tau if climb else 0.0

    # the target of the critic
    forward(networks.target_actor[s], of_actor, after, actor_room, delta, True)
    if beside:
        for i in range(n):
            for j in range(size):
                joint[i, j] = after[i, j]
    join(of_critic, joint, critic_room, delta)
    forward(networks.target_critic[s], of_critic, joint if beside else after, critic_room, wanted, False)

    # the critic
    seen = joint if beside else observation
    critic, gradient = networks.critic[s], critic_room.gradient
    if beside:
        for i in range(n):
            for j in range(size):
                joint[i, j] = observation[i, j]
    join(of_critic, joint, critic_room, action)
    forward(critic, of_critic, seen, critic_room, value, False)
    loss = 0.0
    for i in range(n):
        y = reward[i] + np.float32(rates.gamma) * going_on[i] * wanted[i, 0]
        error = value[i, 0] - y
        loss += error * error
        errors[i] = error
        value[i, 0] = np.float32(2.0 / n) * error
    backward(critic, of_critic, critic_room, value, 0)
    weight_gradient(critic, of_critic, seen, critic_room, value)
    if rates.decay > 0.0:
        add_decay(critic, of_critic, rates.decay, gradient)
    mean, square, target = networks.critic_mean[s], networks.critic_square[s], networks.target_critic[s]
    adam_and_polyak(critic, gradient, mean, square, number, rates.critic, target, tau)
    if not climb:
        return loss / n, 0.0

    # the actor
    actor, gradient = networks.actor[s], actor_room.gradient
    forward(actor, of_actor, observation, actor_room, action, True)
    join(of_critic, joint, critic_room, action)
    forward(critic, of_critic, seen, critic_room, value, False)
    climbed = -np.sum(value) / n
    value[:] = np.float32(-1.0 / n)
    backward(critic, of_critic, critic_room, value, of_critic.at)
    late_gradient(critic, of_critic, critic_room, delta)
    for i in range(n):
        for j in range(delta.shape[1]):
            delta[i, j] *= np.float32(1.0) - action[i, j] * action[i, j]  # through tanh
    backward(actor, of_actor, actor_room, delta, 0)
    weight_gradient(actor, of_actor, observation, actor_room, delta)
    mean, square, target = networks.actor_mean[s], networks.actor_square[s], networks.target_actor[s]
    adam_and_polyak(actor, gradient, mean, square, number // actor_every, rates.actor, target, tau)
    return loss / n, climbed


@checked(
    sides,
    networks=WEIGHTS,
    shapes=Shapes,
    records="any f4 S C R",
    rows="i8 S N>0 < C",
    work=WORK,
    number="int 1",
    actor_every="int 1",
    rates=RATES,
    losses="out f8 S 2",
    first="int 0 S",
    last="int 0 S",
)
@compiled(reassociate=True, nogil=True, uses=("septet.sampler",))
def update(
    networks: Networks,
    shapes: Shapes,
    records: Float32,
    rows: NDArray[np.int64],
    work: Workspace,
    number: int,
    actor_every: int,
    rates: Rates,
    losses: NDArray[np.float64],
    first: int,
    last: int,
) -> None:
    """One update of the seeds first .. last - 1, in place.

    Args:
        networks: weights and moments of all S seeds.
        records: the replay, ``(S, capacity, 2 O + A + 2)``; rows: the mini-batches, ``(S, N)``.
        work: a workspace of this thread's own.
        number, actor_every, rates: as of `step`.
        losses: written, ``(S, 2)``: L_Q and L_mu.
    """
    for s in range(first, last):
        _gather(records[s], rows[s], work)
        losses[s] = step(networks, shapes, s, work, number, actor_every, rates)


@compiled(nogil=True)
def _gather(records: Float32, rows: NDArray[np.int64], work: Workspace) -> None:
    """Copy the records ``(capacity, 2 O + A + 2)`` at `rows` ``(N,)`` to the workspace."""
    size = work.observation.shape[1]
    both = size + work.action.shape[1]
    for i in range(len(rows)):
        record = records[rows[i]]
        for j in range(size):
            work.observation[i, j] = record[j]
            work.next_observation[i, j] = record[both + 2 + j]
        for j in range(size, both):
            work.action[i, j - size] = record[j]
        work.reward[i] = record[both]
        work.going_on[i] = np.float32(1.0) - record[both + 1]
