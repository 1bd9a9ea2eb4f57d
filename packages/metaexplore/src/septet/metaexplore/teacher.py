r"""The teacher: a stochastic exploration policy and its score-function update (sections 2.2 to 2.5).

.. math::
    \nabla_{\theta_e} J = E_{D_0 \sim \pi_e}\Big[\mathcal R(\pi, D_0)\,
    \tfrac1{|D_0|}\textstyle\sum_t \nabla_{\theta_e} \log \pi_e(a_t | s_t)\Big],\qquad
    \mathcal R(\pi, D_0) = R_{\pi'} - R_\pi

The score is averaged over the steps, not summed (section 6); a rate takes up the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from septet.arrays import checked
from septet.compiled import compiled
from septet.metaexplore.environments import Environments, Experience, rollout
from septet.metaexplore.student import LAST, Array, Scaling, Student, actions, normalised, values
from septet.rl.adam import adam
from septet.rl.dense import backward, forward, weight_gradient
from septet.rl.shapes import TAPE, Float32, Net, Tape, sides, tape
from septet.rl.shapes import initial as initial_weights

LARGEST_NORM = 1.0
"""Of a meta-policy gradient, in the parameters of one teacher."""


def score_of_mean(action: Array, mean: Array, sigma: Array) -> Array:
    r""":math:`\nabla_f \log N(a; f, \sigma^2 I) = (a - f) / \sigma^2`; a before clipping.

    Args:
        action, mean: ``(..., A)``; sigma: broadcasts against them.
    """
    return (action - mean) / sigma**2


def score_of_log_sigma(action: Array, mean: Array, sigma: Array) -> Array:
    r""":math:`\nabla_{\log\sigma} \log N(a; f, \sigma^2 I) = \|a - f\|^2 / \sigma^2 - \dim(a)`; shape ``(...)``.

    Args:
        action, mean: ``(..., A)``; sigma: ``(...)``.
    """
    square: Array = ((action - mean) ** 2).sum(axis=-1) / sigma**2
    return square - action.shape[-1]


@checked(sides, weights="f4 P", shape=Net, x="f4 N I", delta="out f4 N O", room=TAPE, out="out f4 N O")
@compiled(reassociate=True, nogil=True, uses=("septet.rl", "septet.sampler"))
def mean_gradient(weights: Float32, shape: Net, x: Float32, delta: Float32, room: Tape, out: Float32) -> None:
    """Gradient ``room.gradient`` of sum(delta * f) in the weights of f = tanh(net), ``(P,)``.

    Args:
        x: inputs ``(N, O)``; delta: ``(N, A)``, overwritten; out: room for f, ``(N, A)``.
    """
    forward(weights, shape, x, room, out, True)
    for i in range(len(out)):
        for j in range(out.shape[1]):
            delta[i, j] *= np.float32(1.0) - out[i, j] * out[i, j]
    backward(weights, shape, room, delta, 0)
    weight_gradient(weights, shape, x, room, delta)


def meta_gradient(
    weights: Float32,
    shape: Net,
    inputs: Float32,
    action: Array,
    mean: Array,
    sigma: float,
    advantage: Array,
) -> tuple[Float32, float]:
    r"""Score-function estimate of one seed from M trials of T steps: gradients in the weights of f and in log sigma.

    .. math:: \hat g = \frac1M \sum_m A_m \frac1T \sum_t \nabla \log \pi_e(a_{mt} | s_{mt})

    Args:
        weights: ``(P,)``, empty where the mean is not learned (the local teacher).
        inputs: ``(M, T, O)``; action: ``(M, T, A)`` before clipping; mean: f, ``(M, T, A)``.
        advantage: A, ``(M,)``.
    """
    trials, steps, width = action.shape
    of_sigma = float(advantage @ score_of_log_sigma(action, mean, np.array(sigma)).mean(axis=1)) / trials
    if not len(weights):
        return np.zeros(0, np.float32), of_sigma
    delta = score_of_mean(action, mean, np.array(sigma)) * (advantage / (trials * steps))[:, None, None]
    count = trials * steps
    rows, flat = np.ascontiguousarray(inputs.reshape(count, -1)), delta.reshape(count, width).astype(np.float32)
    room = tape(shape, count)
    mean_gradient(weights, shape, rows, flat, room, np.empty((count, width), np.float32))
    return room.gradient, of_sigma


def clipped(gradient: Float32, limit: float) -> Float32:
    """The gradient ``(P,)``, scaled to a norm of at most `limit`."""
    norm = float(np.linalg.norm(gradient))
    return gradient if norm <= limit else gradient * np.float32(limit / norm)


@dataclass(frozen=True)
class Spread:
    """Running count, mean and squares of numbers ``(S,)``, to standardise the next one with."""

    count: Array
    mean: Array
    squares: Array

    @property
    def std(self) -> Array:
        """Standard deviation ``(S,)``; 0 before the second number."""
        return np.sqrt(self.squares / np.maximum(self.count, 1.0))

    def add(self, value: Array) -> "Spread":
        """With one more number per seed (Welford)."""
        count, delta = self.count + 1.0, value - self.mean
        mean = self.mean + delta / count
        return Spread(count, mean, self.squares + delta * (value - mean))


def standardised(reward: Array, spread: Spread) -> tuple[Array, Spread]:
    """Advantage ``(S, M)`` of meta-rewards ``(S, M)``, and the spread that knows them too.

    One trial: less the mean of the rewards before it (a legal baseline), over their standard deviation; 0 for the
    first two. Several: less the mean of the group, over the running root mean square of such differences.
    """
    if reward.shape[1] == 1:
        known = (spread.count >= 2) & (spread.std > 0)
        scale = np.where(known, spread.std, 1.0)
        return np.where(known, (reward[:, 0] - spread.mean) / scale, 0.0)[:, None], spread.add(reward[:, 0])
    centred = reward - reward.mean(axis=1, keepdims=True)
    squares = spread.squares + (centred**2).sum(axis=1) / (reward.shape[1] - 1)
    spread = Spread(spread.count + 1.0, spread.mean, squares)
    return centred / np.where(spread.std > 0, spread.std, 1.0)[:, None], spread


def shuffled(
    advantage: Array, past: list[Array], generators: Sequence[np.random.Generator]
) -> tuple[Array, list[Array]]:
    """Advantages ``(S, M)`` in random order: within the group, or for one trial drawn from those so far.

    Args:
        past: advantages ``(S,)`` of each cycle of one trial so far; generators: one per seed.

    Returns:
        Advantages ``(S, M)``, and `past` with the present ones.
    """
    if advantage.shape[1] > 1:
        return np.stack([g.permutation(row) for g, row in zip(generators, advantage, strict=True)]), past
    past = [*past, advantage[:, 0]]
    return np.array([[past[g.integers(len(past))][s]] for s, g in enumerate(generators)]), past


class Teacher(NamedTuple):
    """Teachers of S seeds with their moments: weights of f, and log sigma as the last number; ``(S, P + 1)`` each."""

    flat: Float32
    adam_mean: Float32
    adam_square: Float32
    updates: int

    @property
    def weights(self) -> Float32:
        """Weights of f, ``(S, P)``; P is 0 where f is not learned."""
        return np.ascontiguousarray(self.flat[:, :-1])

    @property
    def sigma(self) -> Array:
        """Standard deviations ``(S,)``."""
        return np.exp(self.flat[:, -1].astype(np.float64))


def initial(family: str, shape: Net, root: int, task: str, seeds: list[int], sigma: float) -> Teacher:
    """Untrained teachers of a family of section 2.4 (`config.Explorer`); f of `local` is the actor."""
    weights = np.zeros((len(seeds), 0), np.float32)
    if family != "local":
        weights = initial_weights(shape, root, ("teacher", task), seeds, LAST)
    flat = np.column_stack([weights, np.full(len(seeds), np.log(sigma), np.float32)])
    return Teacher(flat, np.zeros_like(flat), np.zeros_like(flat), 0)


class Lesson(NamedTuple):
    """What a teacher did in a rollout of T steps of M trials of S seeds."""

    inputs: Float32
    """What f saw, (S, M, T, I)."""
    action: Array
    """Before clipping, (S, M, T, A)."""
    mean: Array
    """f, (S, M, T, A)."""
    distance: Array
    """Mean of |f - mu| over trials and steps, (S,)."""
    value: Array
    """Q(s, mu(s)) as an informed teacher sees it, else 0, (S, M T, 1)."""


def explore(
    teacher: Teacher,
    family: str,
    shape: Net,
    student: Student,
    of_value: Scaling,
    environments: Environments,
    noise: Array,
) -> tuple[Experience, Lesson]:
    r"""D0: T steps of :math:`a = f(s) + \sigma\epsilon` in each of M environments per seed (section 2.4).

    Args:
        of_value: scaling of Q, for a teacher that sees it.
        noise: epsilon, or of a `random` teacher the actions, ``(S, M, T, A)``.
    """
    count, trials, steps, width = noise.shape
    weights, sigma = teacher.weights, teacher.sigma[:, None, None]
    inputs = np.zeros((count, trials, steps, int(shape.sizes[0])), np.float32)
    action, mean, value = np.zeros_like(noise), np.zeros_like(noise), np.zeros((count, trials, steps, 1))
    distance = np.zeros(count)

    def act(t: int, observation: Array) -> Array:
        x = student.normalised(observation)
        own = actions(student.networks.actor, student.shapes.actor, x)
        if family == "informed":
            value[:, :, t, 0] = q = values(student.networks.critic, student.shapes.critic, x, own)
            x = np.concatenate([x, normalised(q[..., None], of_value)], axis=2)
        if family in ("local", "random"):
            f = own if family == "local" else np.zeros_like(own)
        else:
            f = actions(weights, shape, x)
        raw = noise[:, :, t] if family == "random" else f + sigma * noise[:, :, t]
        inputs[:, :, t], action[:, :, t], mean[:, :, t] = x, raw, f
        distance[:] += np.linalg.norm(f - own, axis=-1).mean(axis=1) / steps
        return np.clip(raw, -1.0, 1.0).reshape(len(observation), width)

    found = rollout(environments, act, steps)
    return found, Lesson(inputs, action, mean, distance, value.reshape(count, -1, 1))


def taught(
    teacher: Teacher,
    shape: Net,
    lesson: Lesson,
    advantage: Array,
    rate: float,
    bounds: tuple[float, float],
) -> tuple[Teacher, Array]:
    """One step of Adam up the meta-policy gradient: the new teachers, and the gradients' norms ``(S,)``.

    Args:
        advantage: of each trial, ``(S, M)``.
        bounds: least and largest sigma.
    """
    new = Teacher(teacher.flat.copy(), teacher.adam_mean.copy(), teacher.adam_square.copy(), teacher.updates + 1)
    low, high = (float(np.log(bound)) for bound in bounds)
    norms = np.zeros(len(teacher.flat))
    for s, (weights, sigma) in enumerate(zip(teacher.weights, teacher.sigma, strict=True)):
        given = lesson.inputs[s], lesson.action[s], lesson.mean[s]
        of_mean, of_sigma = meta_gradient(weights, shape, *given, float(sigma), advantage[s])
        gradient = np.append(of_mean, np.float32(of_sigma))
        norms[s] = np.linalg.norm(gradient)
        descent = -clipped(gradient, LARGEST_NORM)
        adam(new.flat[s], descent, new.adam_mean[s], new.adam_square[s], new.updates, rate)
        new.flat[s, -1] = np.clip(new.flat[s, -1], low, high)
    return new, norms
