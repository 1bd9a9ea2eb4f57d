"""Adam and target networks on flat weights, compiled."""

import math

import numpy as np

from septet.arrays import Spec, checked
from septet.compiled import compiled
from septet.rl.shapes import Float32

MOMENTS: dict[str, Spec] = {"weights": "out f4 P", "gradient": "f4 P", "mean": "out f4 P", "square": "out f4 P"}
STEP: dict[str, Spec] = {**MOMENTS, "step": "int 1", "rate": "float"}


@checked(**STEP)
@compiled(reassociate=True, nogil=True)
def adam(weights: Float32, gradient: Float32, mean: Float32, square: Float32, step: int, rate: float) -> None:
    r"""One step of Adam, in place.

    .. math::
        m \leftarrow .9\,m + .1\,g,\qquad v \leftarrow .999\,v + .001\,g^2,\qquad
        w \leftarrow w - \alpha\,\hat m / (\sqrt{\hat v} + 10^{-8})

    Kingma and Ba (2015), algorithm 1.

    Args:
        weights, gradient, mean, square: ``(P,)``; step: number of this step, from 1; rate: alpha.
    """
    size = np.float32(rate / (1.0 - 0.9**step))
    root = np.float32(1.0 / np.sqrt(1.0 - 0.999**step))
    keep, pull, small = np.float32(0.1), np.float32(0.001), np.float32(1e-8)
    for i in range(len(weights)):
        slope = gradient[i]
        first = mean[i] + keep * (slope - mean[i])
        second = square[i] + pull * (slope * slope - square[i])
        mean[i], square[i] = first, second
        weights[i] -= np.divide(size * first, np.sqrt(second) * root + small)  # `/` would test for 0, one by one


@checked(**STEP, scale="float", eps="float")
@compiled(reassociate=True, nogil=True)
def scaled_adam(
    weights: Float32,
    gradient: Float32,
    mean: Float32,
    square: Float32,
    step: int,
    rate: float,
    scale: float,
    eps: float,
) -> None:
    """The same on scale * g, with an eps: the step of PPO and of the value nets.

    It rounds the moments as b m + (1 - b) g, not as m + (1 - b) (g - m): published results hold to each, so both stay.
    """
    b1, b2 = np.float32(0.9), np.float32(0.999)
    c1, c2 = np.float32(1.0 - 0.9), np.float32(1.0 - 0.999)
    length = np.float32(rate / (1.0 - 0.9**step))
    root = np.float32(1.0 / math.sqrt(1.0 - 0.999**step))
    factor, small = np.float32(scale), np.float32(eps)
    for i in range(len(weights)):
        slope = factor * gradient[i]
        mean[i] = b1 * mean[i] + c1 * slope
        square[i] = b2 * square[i] + c2 * slope * slope
        weights[i] -= np.divide(length * mean[i], np.sqrt(square[i]) * root + small)


@checked(target="out f4 P", weights="f4 P", tau="float")
@compiled(reassociate=True, nogil=True)
def polyak(target: Float32, weights: Float32, tau: float) -> None:
    """Target network: target <- target + tau (weights - target)."""
    part = np.float32(tau)
    for i in range(len(weights)):
        target[i] += part * (weights[i] - target[i])


@checked(**STEP, target="out f4 P", tau="float")
@compiled(reassociate=True, nogil=True)
def adam_and_polyak(
    weights: Float32,
    gradient: Float32,
    mean: Float32,
    square: Float32,
    step: int,
    rate: float,
    target: Float32,
    tau: float,
) -> None:
    """`adam`, then `polyak`, in one pass over memory: a block stays in the first cache."""
    for start in range(0, len(weights), 4096):
        end = min(start + 4096, len(weights))
        w = weights[start:end]
        adam(w, gradient[start:end], mean[start:end], square[start:end], step, rate)
        polyak(target[start:end], w, tau)
