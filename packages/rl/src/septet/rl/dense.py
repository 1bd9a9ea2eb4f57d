r"""The small network: forward and backward on flat weights, compiled and without an allocation.

Matrix products go to BLAS; what surrounds them is one loop per layer: torch spends ten times the arithmetic on
dispatching the operations of a mini-batch. Derivatives are separate functions because an update needs different ones
of each network: the critic's weights in its own step, but only its actions in the actor's.
"""

import numpy as np

from septet.arrays import checked
from septet.compiled import compiled
from septet.rl.shapes import TAPE, Float32, Net, Tape, sides
from septet.sampler.policy import tanh

EPS = 1e-5
"""Added to the variance of a layer normalisation."""


@compiled(reassociate=True, nogil=True, uses=("septet.sampler",))
def _activate(units: Float32, bias: Float32, is_tanh: bool) -> None:
    """Bias and activation of a layer's units ``(N, H)``, in place."""
    zero = np.float32(0.0)
    count, width = units.shape
    if is_tanh:
        for i in range(count):
            row = units[i]
            for j in range(width):
                row[j] = tanh(row[j] + bias[j])
    else:
        for i in range(count):
            row = units[i]
            for j in range(width):
                value = row[j] + bias[j]
                row[j] = value if value > zero else zero


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


@checked(sides, weights="f4 P", shape=Net, x="f4 N I", tape=TAPE, out="out f4 N O")
@compiled(reassociate=True, nogil=True, uses=("septet.sampler",))
def forward(weights: Float32, shape: Net, x: Float32, tape: Tape, out: Float32, squash: bool) -> None:
    """Outputs of the network; writes the hidden layers and `out`.

    Args:
        weights: ``(P,)``; x: ``(N, n_0)``, and late inputs of the first layer beside them.
        tape: late inputs of a later layer stand in it already, see `join`.
        out: ``(N, n_L)``.
        squash: tanh on the output.
    """
    sizes, n, last = shape.sizes, x.shape[0], len(shape.sizes) - 2
    before = x
    at, start, unit = 0, 0, 0
    for layer in range(last):
        rows, columns = before.shape[1], sizes[layer + 1]
        matrix = weights[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
        width = columns + shape.late if layer + 1 == shape.at else columns
        after = tape.hidden[start : start + n * width].reshape(n, width)
        start += n * width
        if shape.normalised:
            products = tape.unit[unit : unit + n * columns].reshape(n, columns)
            unit += n * columns
            np.dot(before, matrix, products)
            _normalise(products, weights[at : at + 3 * columns], tape.inverse[layer * n : (layer + 1) * n], after)
            at += 3 * columns
        else:
            np.dot(before, matrix, after)
            _activate(after, weights[at : at + columns], shape.tanh)
            at += columns
        before = after
    rows, columns = before.shape[1], sizes[last + 1]
    np.dot(before, weights[at : at + rows * columns].reshape(rows, columns), out)
    bias = weights[at + rows * columns :]
    for i in range(n):
        for j in range(columns):
            value = out[i, j] + bias[j]
            out[i, j] = np.tanh(value) if squash else value


@compiled(nogil=True)
def join(shape: Net, x: Float32, tape: Tape, late: Float32) -> None:
    """Put late inputs ``(N, late)`` where they enter: beside the first ones in x, or in the tape."""
    n, width, start = late.shape[0], shape.sizes[shape.at], 0
    for layer in range(1, shape.at):
        start += n * shape.sizes[layer]
    rows = tape.hidden[start : start + n * (width + shape.late)].reshape(n, width + shape.late) if shape.at else x
    for i in range(n):
        for j in range(shape.late):
            rows[i, width + j] = late[i, j]


@checked(sides, weights="f4 P", shape=Net, delta="f4 N O", tape=TAPE, down_to="int 0")
@compiled(reassociate=True, nogil=True)
def backward(weights: Float32, shape: Net, tape: Tape, delta: Float32, down_to: int) -> None:
    r"""Deltas of the hidden layers, :math:`\delta_{l-1} = (\delta_l W_l^\top) \odot f'_{l-1}`, into the tape.

    Of a normalised net also the gradient in b, g and c of those layers.

    Args:
        weights, shape, tape: as `forward` had and left them.
        delta: derivative of the loss in the output before any squashing, ``(N, n_L)``.
        down_to: number of the last hidden layer of which they are wanted, counted from 0; 0 for all.
    """
    zero, one = np.float32(0.0), np.float32(1.0)
    sizes, n, last = shape.sizes, delta.shape[0], len(shape.sizes) - 2
    at, end, unit = len(weights), 0, 0
    for layer in range(1, last + 1):
        end += n * (sizes[layer] + shape.late if layer == shape.at else sizes[layer])
        unit += n * sizes[layer]
    above = delta
    for layer in range(last, down_to, -1):
        columns, units = sizes[layer + 1], sizes[layer]
        rows = units + shape.late if layer == shape.at else units
        if shape.normalised and layer < last:
            at -= 2 * columns
        at -= (rows + 1) * columns
        matrix = weights[at : at + rows * columns].reshape(rows, columns)
        values = tape.hidden[end - n * rows : end]
        flat = tape.delta[unit - n * units : unit]
        if shape.normalised:
            derivative = tape.below[: n * rows].reshape(n, rows)
            np.dot(above, matrix.T, derivative)
            vectors, gradient = weights[at - 3 * units : at], tape.gradient[at - 3 * units : at]
            products, inverse = tape.unit[unit - n * units : unit].reshape(n, units), tape.inverse[(layer - 1) * n :]
            below, hidden = flat.reshape(n, units), values.reshape(n, rows)
            _normalise_back(products, vectors, inverse, hidden, derivative, below, gradient)
        else:
            np.dot(above, matrix.T, flat.reshape(n, rows))
            if shape.tanh:
                for i in range(n * rows):
                    flat[i] *= one - values[i] * values[i]
            else:
                for i in range(n * rows):
                    flat[i] = flat[i] if values[i] > zero else zero
        end -= n * rows
        unit -= n * units
        above = flat.reshape(n, units)


@checked(sides, weights="f4 P", shape=Net, x="f4 N I", tape=TAPE, delta="f4 N O")
@compiled(reassociate=True, nogil=True)
def weight_gradient(weights: Float32, shape: Net, x: Float32, tape: Tape, delta: Float32) -> None:
    r"""Gradient in the weights, :math:`h_{l-1}^\top \delta_l` and :math:`\sum_n \delta_l`, into the tape.

    Args:
        weights, shape, x, tape: as `forward` had and left them; delta, tape: as `backward` had and left them.
    """
    sizes, n, last = shape.sizes, x.shape[0], len(shape.sizes) - 2
    at, start, unit = 0, 0, 0
    before, gradient = x, tape.gradient
    for layer in range(last + 1):
        rows, columns = before.shape[1], sizes[layer + 1]
        here = delta
        if layer < last:
            here = tape.delta[unit : unit + n * columns].reshape(n, columns)
            unit += n * columns
        np.dot(before.T, here, gradient[at : at + rows * columns].reshape(rows, columns))
        at += rows * columns
        if shape.normalised and layer < last:
            at += 3 * columns  # `backward` has them
        else:
            bias = gradient[at : at + columns]
            at += columns
            bias[:] = np.float32(0.0)
            for i in range(n):
                row = here[i]
                for j in range(columns):
                    bias[j] += row[j]
        if layer < last:
            width = columns + shape.late if layer + 1 == shape.at else columns
            before = tape.hidden[start : start + n * width].reshape(n, width)
            start += n * width


@checked(sides, weights="f4 P", shape=Net, out="out f4 N L", tape=TAPE)
@compiled(reassociate=True, nogil=True)
def late_gradient(weights: Float32, shape: Net, tape: Tape, out: Float32) -> None:
    """Derivative in the late inputs, ``(N, late)``, of a net with a hidden layer, after `backward` down to `at`."""
    sizes, n, start, unit = shape.sizes, out.shape[0], 0, 0
    for layer in range(shape.at):
        start += (sizes[layer] + (3 if shape.normalised else 1)) * sizes[layer + 1]
        unit += n * sizes[layer + 1]
    rows, columns = sizes[shape.at], sizes[shape.at + 1]
    start += rows * columns
    matrix = weights[start : start + shape.late * columns].reshape(shape.late, columns)
    np.dot(tape.delta[unit : unit + n * columns].reshape(n, columns), matrix.T, out)


@checked(sides, weights="f4 P", shape=Net, decay="float", gradient="out f4 P")
@compiled(reassociate=True, nogil=True)
def add_decay(weights: Float32, shape: Net, decay: float, gradient: Float32) -> None:
    """Add decay * w to the gradient: of all weights, as torch does; of the hidden matrices alone in a normalised net.

    OpenAI Baselines, whose nets those are, leaves biases, normalisations and the last layer out.
    """
    l2, sizes = np.float32(decay), shape.sizes
    if not shape.normalised:
        for i in range(len(weights)):
            gradient[i] += l2 * weights[i]
        return
    at = 0
    for layer in range(len(sizes) - 2):
        end = at + (sizes[layer] + shape.late if layer == shape.at else sizes[layer]) * sizes[layer + 1]
        for i in range(at, end):
            gradient[i] += l2 * weights[i]
        at = end + 3 * sizes[layer + 1]


@compiled(reassociate=True, nogil=True)
def _layer_one(x: Float32, matrix: Float32, vectors: Float32, out: Float32, normalised: bool, is_last: bool) -> None:
    """One layer for one input: reads the weights once, not those of units that are 0."""
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
    if is_last:
        return
    if not normalised:
        for j in range(width):
            out[j] = max(out[j], zero)
        return
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


@checked(sides, weights="f4 S P", shape=Net, x="f4 S N F", late="f4 S N L", out="out f4 S N O")
@compiled(reassociate=True, nogil=True)
def apply(weights: Float32, shape: Net, x: Float32, late: Float32, out: Float32, squash: bool) -> None:
    """Outputs ``(S, N, n_L)`` of S relu nets ``(S, P)`` on inputs ``(S, N, n_0)`` with late ones ``(S, N, late)``.

    No BLAS: an output does not depend on the inputs beside it, and a call on one input is cheap.
    """
    sizes, last = shape.sizes, len(shape.sizes) - 2
    widest = np.max(sizes) + shape.late
    first, second = np.empty(widest, np.float32), np.empty(widest, np.float32)
    for s in range(x.shape[0]):
        w = weights[s]
        for n in range(x.shape[1]):
            here, there, at = first, second, 0
            for i in range(x.shape[2]):
                here[i] = x[s, n, i]
            for layer in range(last + 1):
                rows, columns = sizes[layer], sizes[layer + 1]
                if layer == shape.at:
                    for j in range(shape.late):
                        here[rows + j] = late[s, n, j]
                    rows += shape.late
                start = at + rows * columns
                if layer < last:
                    end = start + (3 if shape.normalised else 1) * columns
                    _layer_one(here[:rows], w[at:start], w[start:end], there[:columns], shape.normalised, False)
                    here, there, at = there, here, end
                elif shape.normalised:  # sums in the order of the published results of metaexplore
                    for j in range(columns):
                        value = w[start + j]
                        for m in range(rows):
                            value += here[m] * w[at + m * columns + j]
                        out[s, n, j] = value
                else:
                    _layer_one(here[:rows], w[at:start], w[start:], out[s, n], False, True)
            if squash:
                for j in range(out.shape[2]):
                    out[s, n, j] = np.tanh(out[s, n, j])
