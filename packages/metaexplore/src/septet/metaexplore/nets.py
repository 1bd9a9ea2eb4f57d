r"""Nets of two hidden layers with layer normalisation, on flat weights: forward, backward and Adam, compiled.

.. math::
    h_1 = \max(0, g_1 \odot N(x W_1 + b_1) + c_1),\quad h_2 = \max(0, g_2 \odot N([h_1, a] W_2 + b_2) + c_2),\quad
    z = h_2 W_3 + b_3,\qquad N(v) = (v - \bar v) / \sqrt{\overline{(v - \bar v)^2} + 10^{-5}}

The critic takes the action a at its second layer; the actor and the teacher have none (section 3). A net is
one flat float32 row: :math:`W_1, b_1, g_1, c_1, W_2, b_2, g_2, c_2, W_3, b_3`, matrices (in, out) row by row.
A shape is ``(O, H1, H2, out, late)``, late the numbers of a. The derivatives are written out for the reason
given in `septet.rl.ddpg_update`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled
from septet.errors import InputError
from septet.seeding import stream

Float32 = NDArray[np.float32]
Shape = NDArray[np.int64]
EPS = 1e-5


class Tape(NamedTuple):
    """What a forward pass leaves for the backward pass; N examples."""

    unit1: Float32
    """``N(x W1 + b1)``, (N, H1)."""
    inverse1: Float32
    """One over its standard deviations, (N,)."""
    joined: Float32
    """``[h1, a]``, (N, H1 + late)."""
    unit2: Float32
    inverse2: Float32
    hidden2: Float32


class Deltas(NamedTuple):
    """Derivatives of a loss in what a `Tape` holds."""

    joined: Float32
    hidden1: Float32
    hidden2: Float32
    weights: Float32


TAPE = {
    "unit1": "out f4 N F",
    "inverse1": "out f4 N",
    "joined": "out f4 N J",
    "unit2": "out f4 N G",
    "inverse2": "out f4 N",
    "hidden2": "out f4 N G",
}
DELTAS = {"joined": "out f4 N J", "hidden1": "out f4 N F", "hidden2": "out f4 N G", "weights": "out f4 P"}


def sides(weights: object, shape: Shape, *_: object) -> dict[str, int]:
    """Numbers that a shape fixes: P weights, I inputs, F and G hidden, O outputs, L late, J = F + L."""
    del weights
    found = np.asarray(shape)
    if found.shape != (5,) or found.dtype.kind not in "iu" or found[:4].min() < 1 or found[4] < 0:
        raise InputError("nets: shape", expected="(inputs, hidden, hidden, outputs, late), whole numbers", found=shape)
    size, first, second, outputs, late = found.tolist()
    whole = {"I": size, "F": first, "G": second, "O": outputs, "L": late}
    return {**whole, "J": first + late, "P": weight_count(found)}


def tape(shape: Shape, count: int) -> Tape:
    """Room for a forward pass of `count` examples."""
    _, first, second, _, late = (int(n) for n in shape)
    sizes = [(count, first), (count,), (count, first + late), (count, second), (count,), (count, second)]
    return Tape(*(np.zeros(size, np.float32) for size in sizes))


def deltas(shape: Shape, count: int) -> Deltas:
    """Room for a backward pass of `count` examples."""
    _, first, second, _, late = (int(n) for n in shape)
    sizes = [(count, first + late), (count, first), (count, second), (weight_count(shape),)]
    return Deltas(*(np.zeros(size, np.float32) for size in sizes))


def weight_count(shape: Shape) -> int:
    """P, numbers of a net."""
    size, first, second, out, late = (int(n) for n in shape)
    return (size + 3) * first + (first + late + 3) * second + (second + 1) * out


def normalised(shape: Shape) -> NDArray[np.bool_]:
    """Which of the P numbers are gains and offsets of the normalisations: noise on weights leaves those alone."""
    size, first, second, _, late = (int(n) for n in shape)
    which = np.zeros(weight_count(shape), dtype=np.bool_)
    start = (size + 1) * first
    which[start : start + 2 * first] = True
    start += 2 * first + (first + late + 1) * second
    which[start : start + 2 * second] = True
    return which


def initial(shape: Shape, root: int, name: Sequence[str | int], seeds: Sequence[int], last: float = 3e-3) -> Float32:
    """Initial weights (S, P): U(±1/sqrt(fan in)) in the hidden layers, gains 1, the last layer U(±last) (section 3)."""
    size, first, second, out, late = (int(n) for n in shape)
    rows = []
    for seed in seeds:
        rng = stream(root, "init", *name, seed)
        parts = []
        for fan_in, fan_out in ((size, first), (first + late, second)):
            bound = fan_in**-0.5
            drawn = rng.uniform(-bound, bound, (fan_in + 1) * fan_out)
            parts += [drawn, np.ones(fan_out), np.zeros(fan_out)]
        rows.append(np.concatenate([*parts, rng.uniform(-last, last, (second + 1) * out)]))
    return np.stack(rows).astype(np.float32)


@compiled(reassociate=True, nogil=True)
def _normalise(unit: Float32, vectors: Float32, inverse: Float32, hidden: Float32) -> None:
    """Bias, normalisation, gain, offset and relu of a layer, row by row.

    Args:
        unit: products ``(N, H)``, overwritten by the normalised numbers.
        vectors: b, g and c one after the other, ``(3 H,)``.
        inverse: written, ``(N,)``; hidden: its first H columns are written.
    """
    count, width = unit.shape
    zero, part = np.float32(0.0), np.float32(1.0 / width)
    bias, gain, offset = vectors[:width], vectors[width : 2 * width], vectors[2 * width :]
    for i in range(count):
        row, out = unit[i], hidden[i]
        mean = zero
        for j in range(width):
            row[j] += bias[j]
            mean += row[j]
        mean *= part
        square = zero
        for j in range(width):
            row[j] -= mean
            square += row[j] * row[j]
        factor = np.float32(1.0) / np.sqrt(square * part + np.float32(EPS))
        inverse[i] = factor
        for j in range(width):
            row[j] *= factor
            value = row[j] * gain[j] + offset[j]
            out[j] = value if value > zero else zero


@compiled(reassociate=True, nogil=True)
def _normalise_back(
    unit: Float32,
    vectors: Float32,
    inverse: Float32,
    hidden: Float32,
    above: Float32,
    delta: Float32,
    gradient: Float32,
) -> None:
    r"""From the derivative in a layer's output to the one in its products, and the gradient in b, g and c.

    .. math:: \delta = \frac{1}{\sigma}\big(u' - \overline{u'} - u\,\overline{u' u}\big),\qquad u' = g \odot h'[h > 0]

    Args:
        unit, vectors, inverse, hidden: as `_normalise` had and left them.
        above: derivative in `hidden`, whose first H columns are read; delta: written, ``(N, H)``.
        gradient: written, ``(3 H,)``.
    """
    count, width = unit.shape
    zero, part = np.float32(0.0), np.float32(1.0 / width)
    gain = vectors[width : 2 * width]
    of_bias, of_gain, of_offset = gradient[:width], gradient[width : 2 * width], gradient[2 * width :]
    gradient[:] = zero
    for i in range(count):
        u, d, h, up = unit[i], delta[i], hidden[i], above[i]
        mean, along = zero, zero
        for j in range(width):
            value = up[j] if h[j] > zero else zero
            of_offset[j] += value
            of_gain[j] += value * u[j]
            value *= gain[j]
            d[j] = value
            mean += value
            along += value * u[j]
        mean *= part
        along *= part
        factor = inverse[i]
        for j in range(width):
            d[j] = factor * (d[j] - mean - u[j] * along)
            of_bias[j] += d[j]


@checked(sides, weights="f4 P", shape="i8 5", x="f4 N I", tape=TAPE, out="out f4 N O")
@compiled(reassociate=True, nogil=True)
def forward(weights: Float32, shape: Shape, x: Float32, tape: Tape, out: Float32) -> None:
    """Outputs ``(N, out)`` before any squashing; a, if any, stands in the last columns of ``tape.joined``.

    Args:
        weights: ``(P,)``; x: ``(N, O)``.
    """
    size, first, second, outputs, late = shape
    at = size * first
    np.dot(x, weights[:at].reshape(size, first), tape.unit1)
    _normalise(tape.unit1, weights[at : at + 3 * first], tape.inverse1, tape.joined)
    at += 3 * first
    rows = first + late
    np.dot(tape.joined, weights[at : at + rows * second].reshape(rows, second), tape.unit2)
    at += rows * second
    _normalise(tape.unit2, weights[at : at + 3 * second], tape.inverse2, tape.hidden2)
    at += 3 * second
    np.dot(tape.hidden2, weights[at : at + second * outputs].reshape(second, outputs), out)
    bias = weights[at + second * outputs :]
    for i in range(len(out)):
        for j in range(outputs):
            out[i, j] += bias[j]


@checked(sides, weights="f4 P", shape="i8 5", delta="f4 N O", tape=TAPE, to=DELTAS)
@compiled(reassociate=True, nogil=True)
def back_to_second(weights: Float32, shape: Shape, tape: Tape, delta: Float32, to: Deltas) -> None:
    """From the derivative in the outputs ``(N, out)`` to the one in the second layer's products, `to.hidden2`."""
    size, first, second, outputs, late = shape
    at = (size + 3) * first + (first + late) * second
    last = weights[at + 3 * second : at + 3 * second + second * outputs].reshape(second, outputs)
    above = np.dot(delta, last.T)
    vectors, gradient = weights[at : at + 3 * second], to.weights[at : at + 3 * second]
    _normalise_back(tape.unit2, vectors, tape.inverse2, tape.hidden2, above, to.hidden2, gradient)


@checked(sides, weights="f4 P", shape="i8 5", to=DELTAS, out="out f4 N L")
@compiled(reassociate=True, nogil=True)
def late_gradient(weights: Float32, shape: Shape, to: Deltas, out: Float32) -> None:
    """Derivative in a ``(N, late)``, after `back_to_second`."""
    size, first, second, _, late = shape
    at = (size + 3) * first + first * second
    np.dot(to.hidden2, weights[at : at + late * second].reshape(late, second).T, out)


@checked(sides, weights="f4 P", shape="i8 5", x="f4 N I", tape=TAPE, delta="f4 N O", to=DELTAS)
@compiled(reassociate=True, nogil=True)
def weight_gradient(weights: Float32, shape: Shape, x: Float32, tape: Tape, delta: Float32, to: Deltas) -> None:
    """Gradient in all weights, written to `to.weights`, after `back_to_second`."""
    size, first, second, outputs, late = shape
    gradient = to.weights
    at, rows = (size + 3) * first, first + late
    last = at + (rows + 3) * second
    np.dot(tape.hidden2.T, delta, gradient[last : last + second * outputs].reshape(second, outputs))
    bias = gradient[last + second * outputs :]
    bias[:] = np.float32(0.0)
    for i in range(len(delta)):
        for j in range(outputs):
            bias[j] += delta[i, j]
    np.dot(tape.joined.T, to.hidden2, gradient[at : at + rows * second].reshape(rows, second))
    np.dot(to.hidden2, weights[at : at + rows * second].reshape(rows, second).T, to.joined)
    at = size * first
    vectors, own = weights[at : at + 3 * first], gradient[at : at + 3 * first]
    _normalise_back(tape.unit1, vectors, tape.inverse1, tape.joined, to.joined, to.hidden1, own)
    np.dot(x.T, to.hidden1, gradient[:at].reshape(size, first))


@checked(sides, weights="f4 P", shape="i8 5", decay="float", gradient="out f4 P")
@compiled(reassociate=True, nogil=True)
def decay_matrices(weights: Float32, shape: Shape, decay: float, gradient: Float32) -> None:
    """Add decay * W to the gradient of W1 and W2: of the matrices, not of the last one, as in OpenAI Baselines."""
    size, first, second, _, late = shape
    l2, at = np.float32(decay), (size + 3) * first
    for i in range(size * first):
        gradient[i] += l2 * weights[i]
    for i in range(at, at + (first + late) * second):
        gradient[i] += l2 * weights[i]


@checked(weights="out f4 P", gradient="f4 P", mean="out f4 P", square="out f4 P", step="int 1", rate="float")
@compiled(reassociate=True, nogil=True)
def adam(weights: Float32, gradient: Float32, mean: Float32, square: Float32, step: int, rate: float) -> None:
    r"""One step of Adam down the gradient, in place.

    .. math::
        m \leftarrow .9\,m + .1\,g,\qquad v \leftarrow .999\,v + .001\,g^2,\qquad
        w \leftarrow w - \alpha\,\hat m / (\sqrt{\hat v} + 10^{-8})

    Kingma and Ba (2015), algorithm 1.

    Args:
        step: number of this step, from 1; rate: alpha.
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


@checked(target="out f4 P", weights="f4 P", tau="float")
@compiled(reassociate=True, nogil=True)
def polyak(target: Float32, weights: Float32, tau: float) -> None:
    """Target network: target <- target + tau (weights - target)."""
    part = np.float32(tau)
    for i in range(len(weights)):
        target[i] += part * (weights[i] - target[i])


@compiled(reassociate=True, nogil=True)
def _layer_one(x: Float32, matrix: Float32, vectors: Float32, out: Float32) -> None:
    """One hidden layer for one input: `out` gets ``max(0, g N(x W + b) + c)``."""
    width = len(out)
    zero, part = np.float32(0.0), np.float32(1.0 / width)
    for j in range(width):
        out[j] = vectors[j]
    for i in range(len(x)):
        value = x[i]
        if value != zero:
            row = matrix[i * width : (i + 1) * width]
            for j in range(width):
                out[j] += value * row[j]
    mean = zero
    for j in range(width):
        mean += out[j]
    mean *= part
    square = zero
    for j in range(width):
        out[j] -= mean
        square += out[j] * out[j]
    factor = np.float32(1.0) / np.sqrt(square * part + np.float32(EPS))
    for j in range(width):
        value = out[j] * factor * vectors[width + j] + vectors[2 * width + j]
        out[j] = value if value > zero else zero


@checked(sides, weights="f4 K P", shape="i8 5", x="f4 K B I", late="f4 K B L", out="out f4 K B O")
@compiled(reassociate=True, nogil=True)
def apply(weights: Float32, shape: Shape, x: Float32, late: Float32, out: Float32) -> None:
    """Outputs ``(K, B, out)`` of K nets ``(K, P)`` on inputs ``(K, B, O)`` with late ones ``(K, B, late)``.

    No BLAS: an output does not depend on the inputs beside it, and a call on one input is cheap.
    """
    size, first, second, outputs, more = shape
    joined, hidden = np.empty(first + more, np.float32), np.empty(second, np.float32)
    a = size * first
    b = a + 3 * first
    c = b + (first + more) * second
    d = c + 3 * second
    for k in range(x.shape[0]):
        w = weights[k]
        for i in range(x.shape[1]):
            _layer_one(x[k, i], w[:a], w[a:b], joined[:first])
            for j in range(more):
                joined[first + j] = late[k, i, j]
            _layer_one(joined, w[b:c], w[c:d], hidden)
            for j in range(outputs):
                value = w[d + second * outputs + j]
                for m in range(second):
                    value += hidden[m] * w[d + m * outputs + j]
                out[k, i, j] = value
