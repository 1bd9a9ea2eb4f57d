r"""Dense networks on flat weights: forward, backward and Adam, compiled and without an allocation.

A network of sizes :math:`(n_0, \dots, n_L)` has relu hidden layers :math:`h_l = \max(0, h_{l-1} W_l + b_l)`.
Its weights are one flat float32 row, for each layer :math:`W_l` (in, out) row by row, then :math:`b_l`
(the layout of `septet.sampler.policy`). The hidden layers of a batch of N lie one after the other in one flat
array too, each ``(N, n_l)``; so do the derivatives of the loss in their pre-activations ("deltas").

Matrix products go to BLAS; what surrounds them is one loop per layer. Derivatives are separate
functions because an update needs different ones of each network: the critic's weights in its own step,
but only its actions in the actor's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked, layers, parameter_count
from septet.compiled import compiled
from septet.errors import InputError

Float32 = NDArray[np.float32]
Sizes = NDArray[np.int64]


def layer_sides(weights: Any, sizes: Sizes, *_: Any) -> dict[str, int]:
    """Numbers that the layers fix: P weights, I inputs, O outputs, H hidden units."""
    del weights
    widths = layers("dense: sizes", sizes)
    return {"P": parameter_count(widths), "I": widths[0], "O": widths[-1], "H": sum(widths[1:-1])}


def weight_count(sizes: Sizes) -> int:
    """P, numbers in a flat row of weights."""
    return int(np.sum((sizes[:-1] + 1) * sizes[1:]))


def hidden_count(sizes: Sizes) -> int:
    """Hidden units, over all layers."""
    return int(np.sum(sizes[1:-1]))


def multiply_adds(sizes: Sizes) -> int:
    """Multiply-adds of one forward pass per example."""
    return int(np.sum(sizes[:-1] * sizes[1:]))


@checked(layer_sides, weights="f4 P", sizes="i8 L", x="f4 N I", hidden="out f4 N*H", out="out f4 N O")
@compiled(reassociate=True, nogil=True)
def forward(weights: Float32, sizes: Sizes, x: Float32, hidden: Float32, out: Float32, squash: bool) -> None:
    """Outputs of the network; writes the hidden layers and `out`.

    Args:
        weights: ``(P,)``; sizes: ``(L + 1,)``; x: ``(N, n_0)``.
        hidden: ``(N * sum(n_1 .. n_L-1),)``; out: ``(N, n_L)``.
        squash: tanh on the output.
    """
    zero = np.float32(0.0)
    n, layers = x.shape[0], len(sizes) - 1
    before = x
    at, start = 0, 0
    for layer in range(layers):
        rows, columns = sizes[layer], sizes[layer + 1]
        matrix = weights[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
        bias = weights[at : at + columns]
        at += columns
        if layer < layers - 1:
            after = hidden[start : start + n * columns].reshape(n, columns)
            start += n * columns
            np.dot(before, matrix, after)
            for i in range(n):
                row = after[i]
                for j in range(columns):
                    value = row[j] + bias[j]
                    row[j] = value if value > zero else zero
            before = after
        else:
            np.dot(before, matrix, out)
            for i in range(n):
                for j in range(columns):
                    value = out[i, j] + bias[j]
                    out[i, j] = np.tanh(value) if squash else value


@checked(layer_sides, weights="f4 P", sizes="i8 L", x="f4 I", hidden="out f4 H", out="out f4 O")
@compiled(reassociate=True, nogil=True)
def forward_one(weights: Float32, sizes: Sizes, x: Float32, hidden: Float32, out: Float32) -> None:
    """Outputs ``(n_L,)``, squashed, for one input ``(n_0,)``: reads the weights once, not those of units that are 0.

    Args:
        hidden: workspace, ``(sum(n_1 .. n_L-1),)``.
    """
    zero = np.float32(0.0)
    layers = len(sizes) - 1
    before = x
    at, start = 0, 0
    for layer in range(layers):
        rows, columns = sizes[layer], sizes[layer + 1]
        after = out if layer == layers - 1 else hidden[start : start + columns]
        start += columns
        bias = weights[at + rows * columns : at + (rows + 1) * columns]
        for j in range(columns):
            after[j] = bias[j]
        for i in range(rows):
            value = before[i]
            if value != zero:
                row = weights[at + i * columns : at + (i + 1) * columns]
                for j in range(columns):
                    after[j] += value * row[j]
        at += (rows + 1) * columns
        for j in range(columns):
            after[j] = np.tanh(after[j]) if layer == layers - 1 else max(after[j], zero)
        before = after


@checked(
    layer_sides,
    weights="f4 P",
    sizes="i8 L",
    delta="f4 N O",
    hidden="f4 N*H",
    deltas="out f4 N*H",
)
@compiled(reassociate=True, nogil=True)
def backward(weights: Float32, sizes: Sizes, hidden: Float32, delta: Float32, deltas: Float32) -> None:
    r"""Deltas of the hidden layers, :math:`\delta_{l-1} = (\delta_l W_l^\top) \odot 1[h_{l-1} > 0]`.

    Args:
        weights, sizes, hidden: as `forward` had and left them.
        delta: derivative of the loss in the output's pre-activation, ``(N, n_L)``.
        deltas: written, laid out as `hidden`.
    """
    zero = np.float32(0.0)
    n, layers = delta.shape[0], len(sizes) - 1
    at, end = len(weights), len(hidden)
    above = delta
    for layer in range(layers - 1, 0, -1):
        rows, columns = sizes[layer], sizes[layer + 1]
        at -= (rows + 1) * columns
        matrix = weights[at : at + rows * columns].reshape(rows, columns)
        values = hidden[end - n * rows : end]
        flat = deltas[end - n * rows : end]
        below = flat.reshape(n, rows)
        np.dot(above, matrix.T, below)
        for i in range(n * rows):
            flat[i] = flat[i] if values[i] > zero else zero
        end -= n * rows
        above = below


@checked(
    lambda sizes, *_: layer_sides(None, sizes),
    sizes="i8 L",
    x="f4 N I",
    hidden="f4 N*H",
    delta="f4 N O",
    deltas="f4 N*H",
    gradient="out f4 P",
)
@compiled(reassociate=True, nogil=True)
def weight_gradient(
    sizes: Sizes, x: Float32, hidden: Float32, delta: Float32, deltas: Float32, gradient: Float32
) -> None:
    r"""Gradient in the weights, :math:`h_{l-1}^\top \delta_l` and :math:`\sum_n \delta_l`; written to ``(P,)``.

    Args:
        sizes, x, hidden: as `forward` had and left them; delta, deltas: as `backward` had and left them.
    """
    n, layers = x.shape[0], len(sizes) - 1
    at, start = 0, 0
    before = x
    for layer in range(layers):
        rows, columns = sizes[layer], sizes[layer + 1]
        here = delta
        if layer < layers - 1:
            here = deltas[start : start + n * columns].reshape(n, columns)
        np.dot(before.T, here, gradient[at : at + rows * columns].reshape(rows, columns))
        at += rows * columns
        bias = gradient[at : at + columns]
        at += columns
        bias[:] = np.float32(0.0)
        for i in range(n):
            row = here[i]
            for j in range(columns):
                bias[j] += row[j]
        if layer < layers - 1:
            before = hidden[start : start + n * columns].reshape(n, columns)
            start += n * columns


def _input_sides(weights: Any, sizes: Sizes, deltas: Any, first: int, out: Any) -> dict[str, int]:
    """As `layer_sides`, and J inputs from number `first` on."""
    del deltas, out
    sides = layer_sides(weights, sizes)
    if len(sizes) < 3:
        raise InputError("input_gradient: sizes", expected="a net with a hidden layer", found=sizes)
    if isinstance(first, bool) or not isinstance(first, int | np.integer) or not 0 <= first <= sides["I"]:
        raise InputError("input_gradient: first", expected=f"an integer from 0 to {sides['I']}", found=first)
    return {**sides, "J": sides["I"] - int(first)}


@checked(
    _input_sides,
    weights="f4 P",
    sizes="i8 L",
    out="out f4 N J",
    deltas="f4 N*H",
)
@compiled(reassociate=True, nogil=True)
def input_gradient(weights: Float32, sizes: Sizes, deltas: Float32, first: int, out: Float32) -> None:
    """Derivative in the inputs from number `first` on, ``(N, n_0 - first)``; of a net with a hidden layer.

    Args:
        weights, sizes: as `forward` had them; deltas: as `backward` left them.
    """
    n, rows, columns = out.shape[0], sizes[0], sizes[1]
    matrix = weights[first * columns : rows * columns].reshape(rows - first, columns)
    np.dot(deltas[: n * columns].reshape(n, columns), matrix.T, out)


@checked(
    weights="out f4 P",
    gradient="f4 P",
    mean="out f4 P",
    square="out f4 P",
    target="out f4 P",
    step="int 1",
    rate="float",
    decay="float",
    tau="float",
)
@compiled(reassociate=True, nogil=True)
def adam_and_polyak(
    weights: Float32,
    gradient: Float32,
    mean: Float32,
    square: Float32,
    target: Float32,
    step: int,
    rate: float,
    decay: float,
    tau: float,
) -> None:
    r"""One step of Adam, and the target network drawn after it, in one pass over memory.

    .. math::
        m \leftarrow .9\,m + .1\,g,\qquad v \leftarrow .999\,v + .001\,g^2,\qquad
        w \leftarrow w - \alpha\,\hat m / (\sqrt{\hat v} + 10^{-8}),\qquad \bar w \leftarrow \bar w + \tau(w - \bar w)

    Kingma and Ba (2015), algorithm 1, with g = gradient + decay * w; all in place.

    Args:
        weights, gradient, mean, square, target: ``(P,)``; step: number of this step, from 1.
        rate: alpha; decay: L2 on the weights; tau: share of the new weights in the target.
    """
    size = np.float32(rate / (1.0 - 0.9**step))
    root = np.float32(1.0 / np.sqrt(1.0 - 0.999**step))
    keep, pull, part = np.float32(0.1), np.float32(0.001), np.float32(tau)
    small, l2 = np.float32(1e-8), np.float32(decay)
    for start in range(0, len(weights), 4096):  # a block stays in the first cache; one loop has too many arrays
        end = min(start + 4096, len(weights))
        w, g, m, v, drawn = (
            weights[start:end],
            gradient[start:end],
            mean[start:end],
            square[start:end],
            target[start:end],
        )
        for i in range(len(w)):
            slope = g[i] + l2 * w[i]
            first = m[i] + keep * (slope - m[i])
            second = v[i] + pull * (slope * slope - v[i])
            m[i], v[i] = first, second
            w[i] -= np.divide(size * first, np.sqrt(second) * root + small)  # `/` would test for 0, one by one
        for i in range(len(w)):
            drawn[i] += part * (w[i] - drawn[i])
