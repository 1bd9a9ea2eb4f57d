r"""The teacher: a stochastic exploration policy and its score-function update (sections 2.2 to 2.5).

.. math::
    \nabla_{\theta_e} J = E_{D_0 \sim \pi_e}\Big[\mathcal R(\pi, D_0)\,
    \tfrac1{|D_0|}\textstyle\sum_t \nabla_{\theta_e} \log \pi_e(a_t | s_t)\Big],\qquad
    \mathcal R(\pi, D_0) = R_{\pi'} - R_\pi

The score is averaged over the steps, not summed (section 6); a rate takes up the difference.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled
from septet.metaexplore import nets
from septet.metaexplore.nets import Float32, Shape
from septet.metaexplore.student import Array, State


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


@checked(
    nets.sides,
    weights="f4 P",
    shape="i8 5",
    x="f4 N I",
    delta="out f4 N O",
    tape=nets.TAPE,
    to=nets.DELTAS,
    out="out f4 N O",
)
@compiled(reassociate=True, nogil=True)
def mean_gradient(weights: Float32, shape: Shape, x: Float32, delta: Float32, tape: Any, to: Any, out: Float32) -> None:
    """Gradient ``to.weights`` of sum(delta * f) in the weights of f = tanh(net), ``(P,)``.

    Args:
        x: inputs ``(N, O)``; delta: ``(N, A)``, overwritten; out: room for f, ``(N, A)``.
    """
    nets.forward(weights, shape, x, tape, out)
    for i in range(len(out)):
        for j in range(out.shape[1]):
            f = np.tanh(out[i, j])
            delta[i, j] *= np.float32(1.0) - f * f
    nets.back_to_second(weights, shape, tape, delta, to)
    nets.weight_gradient(weights, shape, x, tape, delta, to)


def meta_gradient(
    weights: Float32 | None,
    shape: Shape,
    inputs: Float32,
    action: Array,
    mean: Array,
    sigma: float,
    advantage: Array,
) -> tuple[NDArray[np.float32], float]:
    r"""Score-function estimate of one seed from M trials of T steps: gradients in the weights of f and in log sigma.

    .. math:: \hat g = \frac1M \sum_m A_m \frac1T \sum_t \nabla \log \pi_e(a_{mt} | s_{mt})

    Args:
        weights: ``(P,)``, or none where the mean is not learned (the local teacher).
        inputs: ``(M, T, O)``; action: ``(M, T, A)`` before clipping; mean: f, ``(M, T, A)``.
        advantage: A, ``(M,)``.
    """
    trials, steps, width = action.shape
    of_sigma = float(advantage @ score_of_log_sigma(action, mean, np.array(sigma)).mean(axis=1)) / trials
    if weights is None:
        return np.zeros(0, np.float32), of_sigma
    delta = score_of_mean(action, mean, np.array(sigma)) * (advantage / (trials * steps))[:, None, None]
    count = trials * steps
    to = nets.deltas(shape, count)
    rows, flat = np.ascontiguousarray(inputs.reshape(count, -1)), delta.reshape(count, width).astype(np.float32)
    mean_gradient(weights, shape, rows, flat, nets.tape(shape, count), to, np.empty((count, width), np.float32))
    return to.weights, of_sigma


def clipped(gradient: Float32, limit: float) -> Float32:
    """The gradient ``(P,)``, scaled to a norm of at most `limit`."""
    norm = float(np.linalg.norm(gradient))
    return gradient if norm <= limit else gradient * np.float32(limit / norm)


@dataclass
class Spread:
    """Running count, mean and squares of numbers ``(S,)``, to standardise the next one with."""

    count: Array
    mean: Array
    squares: Array

    @property
    def std(self) -> Array:
        """Standard deviation ``(S,)``; 0 before the second number."""
        return np.sqrt(self.squares / np.maximum(self.count, 1.0))

    def add(self, value: Array) -> None:
        """Count one more number per seed (Welford)."""
        self.count = self.count + 1.0
        delta = value - self.mean
        self.mean = self.mean + delta / self.count
        self.squares = self.squares + delta * (value - self.mean)


def standardised(reward: Array, spread: Spread) -> Array:
    """Advantage ``(S, M)`` of meta-rewards ``(S, M)``; `spread` then knows them.

    One trial: less the mean of the rewards before it (a legal baseline), over their standard deviation; 0 for the
    first two. Several: less the mean of the group, over the running root mean square of such differences.
    """
    if reward.shape[1] == 1:
        known = (spread.count >= 2) & (spread.std > 0)
        scale = np.where(known, spread.std, 1.0)
        advantage = np.where(known, (reward[:, 0] - spread.mean) / scale, 0.0)[:, None]
        spread.add(reward[:, 0])
        return advantage
    centred = reward - reward.mean(axis=1, keepdims=True)
    spread.count = spread.count + 1.0
    spread.squares = spread.squares + (centred**2).sum(axis=1) / (reward.shape[1] - 1)
    return centred / np.where(spread.std > 0, spread.std, 1.0)[:, None]


class Teacher:
    """Teachers of S seeds.

    Args:
        family: independent (a net of its own), local (around the actor, sigma learned) or informed (independent, with
            the student's Q as another input).
        shape: of the net of f.
        root, task, seeds: names of the streams.
        sigma: initial standard deviation; floor, ceiling: bounds of it.
        rate: Adam's; limit: largest norm of a gradient.
    """

    def __init__(
        self,
        family: str,
        shape: Shape,
        root: int,
        task: str,
        seeds: list[int],
        *,
        sigma: float,
        floor: float,
        ceiling: float,
        rate: float,
        limit: float = 1.0,
    ) -> None:
        self.family, self.shape, self.rate, self.limit = family, shape, rate, limit
        self.bounds = float(np.log(floor)), float(np.log(ceiling))
        learned = 0 if family == "local" else nets.weight_count(shape)
        self.flat = np.zeros((len(seeds), learned + 1), np.float32)
        if learned:
            self.flat[:, :-1] = nets.initial(shape, root, ("teacher", task), seeds)
        self.flat[:, -1] = np.log(sigma)
        self.mean, self.square = np.zeros_like(self.flat), np.zeros_like(self.flat)
        self.updates = 0
        zeros = np.zeros(len(seeds))
        self.spread = Spread(zeros, zeros, zeros)

    @property
    def weights(self) -> Float32:
        """Weights of f, ``(S, P)``."""
        return np.ascontiguousarray(self.flat[:, :-1])

    @property
    def sigma(self) -> Array:
        """Standard deviations ``(S,)``."""
        return np.exp(self.flat[:, -1].astype(np.float64))

    def update(self, inputs: Float32, action: Array, mean: Array, advantage: Array) -> Array:
        """One step of Adam up the meta-policy gradient; norms of the gradients ``(S,)``.

        Args:
            inputs: ``(S, M, T, O)``; action, mean: ``(S, M, T, A)``; advantage: ``(S, M)``.
        """
        self.updates += 1
        sigma, norms = self.sigma, np.zeros(len(self.flat))
        for s in range(len(self.flat)):
            weights = None if self.family == "local" else self.flat[s, :-1].copy()
            of_mean, of_sigma = meta_gradient(
                weights, self.shape, inputs[s], action[s], mean[s], float(sigma[s]), advantage[s]
            )
            gradient = np.append(of_mean, np.float32(of_sigma))
            norms[s] = np.linalg.norm(gradient)
            descent = -clipped(gradient, self.limit)
            nets.adam(self.flat[s], descent, self.mean[s], self.square[s], self.updates, self.rate)
            self.flat[s, -1] = np.clip(self.flat[s, -1], *self.bounds)
        return norms

    @property
    def state(self) -> State:
        """All of it as arrays; to set is to restore."""
        spread = {"count": self.spread.count, "mean_reward": self.spread.mean, "squares": self.spread.squares}
        own = {"flat": self.flat, "mean": self.mean, "square": self.square, "updates": np.array([self.updates])}
        return {name: array.copy() for name, array in {**own, **spread}.items()}

    @state.setter
    def state(self, saved: State) -> None:
        self.flat[:], self.mean[:], self.square[:] = saved["flat"], saved["mean"], saved["square"]
        self.updates = int(saved["updates"][0])
        self.spread = Spread(saved["count"].copy(), saved["mean_reward"].copy(), saved["squares"].copy())
