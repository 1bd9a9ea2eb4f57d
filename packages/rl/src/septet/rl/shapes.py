r"""Shapes of small networks on flat weights, and room for their passes.

A net of sizes :math:`(n_0, \dots, n_L)` has hidden layers :math:`h_l = f(h_{l-1} W_l + b_l)` with f relu or tanh and a
linear output. With layer normalisation they are

.. math::
    h_l = \max(0, g_l \odot N(h_{l-1} W_l + b_l) + c_l),\qquad
    N(v) = (v - \bar v) / \sqrt{\overline{(v - \bar v)^2} + 10^{-5}}

"Late" inputs (the actions of a critic) join the inputs of layer `at`: ``[x, a] W_1`` for 0, ``[h_1, a] W_2`` for 1.

The weights are one flat float32 row, for each layer :math:`W_l` (in, out) row by row, :math:`b_l`, and of a normalised
hidden layer :math:`g_l, c_l` (the layout of `septet.sampler.policy`). What a batch of N leaves
between the layers is flat too.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import layers
from septet.errors import InputError
from septet.seeding import stream

Float32 = NDArray[np.float32]
Sizes = NDArray[np.int64]


class Net(NamedTuple):
    """Shape of a network; make one with `net`."""

    sizes: Sizes
    """Units of the input (late ones apart), of each hidden layer and of the output, int64 (L + 1,)."""
    tanh: bool
    """Hidden layers are tanh, in place of relu."""
    normalised: bool
    """Hidden layers are normalised."""
    late: int
    """Numbers that join the inputs of layer `at`."""
    at: int


class Tape(NamedTuple):
    """What a forward pass leaves and a backward pass writes, for up to N examples; flat float32."""

    hidden: Float32
    """Inputs of the layers after the first, late ones with them, ``(N, width)`` one after the other."""
    unit: Float32
    """Normalised products of the hidden layers; none of a plain net."""
    inverse: Float32
    """One over their standard deviations."""
    delta: Float32
    """Derivatives of the loss in the products of the hidden layers, ``(N, units)`` one after the other."""
    below: Float32
    """Workspace of a normalised net: derivatives in the inputs of one layer."""
    gradient: Float32
    """Derivatives in the weights, ``(P,)``."""


def net(sizes: Sequence[int], *, tanh: bool = False, normalised: bool = False, late: int = 0, at: int = 0) -> Net:
    """The shape of a network.

    Raises:
        InputError: fewer than two sizes or one below 1, tanh layers that are normalised, or late inputs of a layer that
            is not hidden or, without normalisation, not the first.
    """
    widths = layers("net: sizes", sizes)
    shape = Net(np.array(widths), tanh, normalised, late, at)
    if (tanh and normalised) or late < 0 or not 0 <= at <= (max(len(widths) - 3, 0) if normalised and late else 0):
        expected = "relu layers where they are normalised, late inputs of a hidden layer (of the first one if not)"
        raise InputError("net", expected=expected, found=shape)
    return shape


def inputs(shape: Net) -> list[int]:
    """Inputs of each layer, late ones with them."""
    return [int(size) + (shape.late if k == shape.at else 0) for k, size in enumerate(shape.sizes[:-1])]


def weight_count(shape: Net) -> int:
    """P, numbers in a flat row of weights."""
    plain = sum((rows + 1) * int(columns) for rows, columns in zip(inputs(shape), shape.sizes[1:], strict=True))
    return plain + (2 * int(shape.sizes[1:-1].sum()) if shape.normalised else 0)


def initial(
    shape: Net, root: int, name: Sequence[str | int], seeds: Sequence[int], last: float | None = None
) -> Float32:
    """Initial weights (S, P); row i depends on its seed alone: ``stream(root, "init", *name, seed)``.

    Weights and biases are U(±1 / sqrt(fan in)), of the last layer U(±last) if given; gains are 1, offsets 0.
    """
    rows, ends = [], inputs(shape)
    for seed in seeds:
        rng, parts = stream(root, "init", *name, seed), []
        for k, (fan_in, fan_out) in enumerate(zip(ends, shape.sizes[1:].tolist(), strict=True)):
            is_last = k == len(ends) - 1
            bound = last if is_last and last is not None else 1.0 / math.sqrt(fan_in)
            parts.append(rng.uniform(-bound, bound, (fan_in + 1) * fan_out))
            if shape.normalised and not is_last:
                parts += [np.ones(fan_out), np.zeros(fan_out)]
        rows.append(np.concatenate(parts))
    return np.stack(rows).astype(np.float32)


def gains(shape: Net) -> NDArray[np.bool_]:
    """Which of the P numbers are gains and offsets of the normalisations: noise on weights leaves those alone."""
    which, at = np.zeros(weight_count(shape), np.bool_), 0
    for rows, columns in zip(inputs(shape)[:-1], shape.sizes[1:-1].tolist(), strict=True):
        at += (rows + 1) * columns
        if shape.normalised:
            which[at : at + 2 * columns] = True
            at += 2 * columns
    return which


def tape(shape: Net, count: int) -> Tape:
    """Room for passes of `count` examples."""
    own = sides(None, shape)
    lengths = (count * own["J"], count * own["U"], count * own["V"], count * own["H"], count * own["D"], own["P"])
    return Tape(*(np.zeros(length, np.float32) for length in lengths))


def sides(weights: Any, shape: Net, *_: Any) -> dict[str, int]:
    """Numbers that a shape fixes.

    P weights, F inputs, I the same with late ones that enter the first layer, O outputs, L late; of an example J inputs
    of later layers, H hidden units, and of a normalised net U the same, V hidden layers and D inputs of the widest
    later layer.
    """
    del weights
    if not isinstance(shape, Net) or not isinstance(shape.sizes, np.ndarray) or shape.sizes.dtype != np.int64:
        raise InputError("shapes: shape", expected="a shape that septet.rl.shapes.net made", found=shape)
    layers("shapes: sizes", shape.sizes)
    first, *later = inputs(shape)
    hidden = int(shape.sizes[1:-1].sum())
    outputs = int(shape.sizes[-1])
    own = {"P": weight_count(shape), "F": int(shape.sizes[0]), "I": first, "O": outputs, "L": shape.late}
    units = (hidden, len(later), max(later, default=0)) if shape.normalised else (0, 0, 0)
    return {**own, "J": sum(later), "H": hidden, **dict(zip("UVD", units, strict=True))}


TAPE = {
    "hidden": "out f4 N*J",
    "unit": "out f4 N*U",
    "inverse": "out f4 N*V",
    "delta": "out f4 N*H",
    "below": "out f4 N*D",
    "gradient": "out f4 P",
}
"""What `checked` asks of a `Tape`."""


def tape_spec(count: str = "N", renamed: Callable[[str], str] = str) -> dict[str, str]:
    """The same for passes of `count` examples, with the names of other sides changed by `renamed`."""
    names = {name: f"out f4 {count}*{renamed(spec[-1])}" for name, spec in TAPE.items()}
    return {**names, "gradient": f"out f4 {renamed('P')}"}
