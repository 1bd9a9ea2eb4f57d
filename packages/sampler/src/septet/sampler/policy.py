r"""The policy that samplers run: a Gaussian whose mean is a small network, one row at a time.

.. math:: a = \mu_w(x) + e^{\log\sigma}\,\epsilon,\qquad x = \mathrm{clip}((o - m)\,s,\ \pm c)

Sampler processes have no tensor library. Each row (environment) is computed by itself in a fixed order, so an
action has the same bits however environments are divided over batches, threads and processes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked, fit, layers, parameter_count
from septet.compiled import compiled
from septet.errors import InputError

Array = NDArray[Any]

ACTIVATIONS = ("tanh", "relu")

# Constants of `tanh`, in float32: the compiled function must not widen to float64.
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)
SATURATED = np.float32(10)  # tanh(9.02) rounds to 1 already
LOG2_E = np.float32(1 / math.log(2))
LN2_HIGH = np.float32(0.693145751953125)  # 16 bits of ln 2: a product with a small integer is exact
LN2_LOW = np.float32(math.log(2) - 0.693145751953125)
ROUNDER = np.float32(1.5 * 2**23)  # adding it leaves a float32's nearest integer in the low bits
C3, C4, C5, C6, C7 = (np.float32(1 / math.factorial(k)) for k in range(3, 8))


@dataclass(frozen=True)
class GaussianPolicy:
    """Shape of a Gaussian policy and the layout of its weights; the weights themselves are an argument.

    Flat layout, shared with `septet.rl.networks`: for each layer W ``(in, out)`` row-major, then b ``(out)``; at
    the end log sigma ``(action,)``.

    Args:
        observation_size: inputs, with the time feature where there is one.
        action_size: outputs.
        hidden: widths of the hidden layers.
        activation: ``"tanh"`` or ``"relu"``, after each hidden layer.
        clip: bound of a normalised observation: beyond it tells of a bad estimate, not of the state; or infinite.

    Raises:
        InputError: a size below one, an unknown activation, or a bound that is not positive.
    """

    observation_size: int
    action_size: int
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    clip: float = 10.0

    def __post_init__(self) -> None:
        """Check."""
        try:
            object.__setattr__(self, "hidden", tuple(self.hidden))
        except TypeError:
            raise InputError("policy: hidden", expected="a width for each layer", found=self.hidden) from None
        observation, *hidden, action = layers("policy: sizes", self.sizes)
        for name, value in (("observation_size", observation), ("hidden", tuple(hidden)), ("action_size", action)):
            object.__setattr__(self, name, value)
        if not self.clip > 0:
            raise InputError("policy: clip", expected="a number above 0", found=self.clip)
        if self.activation not in ACTIVATIONS:
            expected = f"one of {', '.join(ACTIVATIONS)}"
            raise InputError("policy: activation", expected=expected, found=self.activation)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Layer widths from observation to action."""
        return (self.observation_size, *self.hidden, self.action_size)

    @property
    def size(self) -> int:
        """Number of weights P."""
        return parameter_count(self.sizes) + self.action_size

    def act(
        self,
        weights: Array,
        member: Array,
        observation: Array,
        noise: Array | None = None,
        mean: Array | None = None,
        scale: Array | None = None,
    ) -> Array:
        r"""Actions :math:`a = \mu_w(\mathrm{clip}((o - m)s, \pm c)) + e^{\log\sigma}\epsilon`.

        Args:
            weights: float32 ``(M, P)``, one row for each member (seed).
            member: which row each environment uses, int64 ``(E,)``.
            observation: float64 ``(E, observation)``.
            noise: epsilon, float64 ``(E, action)``; none for the mean action.
            mean: m, float64 ``(M, observation)``; scale: s, the same; none for 0 and 1.

        Returns:
            Actions, float32 ``(E, action)``.

        Raises:
            InputError: arrays that do not fit together, or a member that has no weights.
        """
        bound = {"P": self.size, "I": self.observation_size, "A": self.action_size}
        weights = fit("policy: weights", "f4 M P", weights, bound)
        observation = fit("policy: observation", "f8 E I", observation, bound)
        out = np.empty((len(observation), self.action_size), np.float32)
        noise = np.zeros(out.shape) if noise is None else noise
        mean = np.zeros((len(weights), self.observation_size)) if mean is None else mean
        scale = np.ones((len(weights), self.observation_size)) if scale is None else scale
        tanh_hidden = self.activation == "tanh"
        act_rows(self.sizes, tanh_hidden, self.clip, weights, member, observation, noise, mean, scale, out)
        return out


@compiled(nogil=True)
def tanh(x: np.float32) -> np.float32:
    r"""Hyperbolic tangent in float32, to 3 units in the last place, without a branch or a call.

    .. math:: \tanh|x| = \frac{t}{t + 2},\qquad t = e^{2|x|} - 1 = 2^n (e^r - 1) + (2^n - 1),\quad
              2|x| = n\ln 2 + r,\ |r| \le \tfrac12\ln 2

    with Taylor's series for :math:`e^r - 1` to the seventh power (error below 1e-8 of r). So a loop over
    it becomes vector instructions, which one over the C library's does not. A NaN stays one.
    """
    size = abs(x)
    size = SATURATED if size > SATURATED else size
    twice = size + size
    shifted = np.float32(twice * LOG2_E + ROUNDER)
    n = shifted - ROUNDER
    r = (twice - n * LN2_HIGH) - n * LN2_LOW
    p = r * (ONE + r * (HALF + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7))))))
    power = np.int32((shifted.view(np.int32) + 127) << 23).view(np.float32)  # 2^n, by its exponent bits
    t = power * p + (power - ONE)
    y = np.divide(t, t + TWO)  # numpy's: a plain / would test for zero
    return -y if x < 0 else y


def _sides(sizes: Sequence[int], *_: Any) -> dict[str, int]:
    """Numbers that the layer sizes of a policy fix: of weights, inputs and outputs."""
    sizes = layers("policy: sizes", sizes)
    return {"P": parameter_count(sizes) + sizes[-1], "I": sizes[0], "A": sizes[-1]}


@checked(
    _sides,
    sizes="layers",
    clip="float",
    weights="f4 M P",
    observation="f8 E I",
    member="i8 E < M",
    noise="f8 E A",
    mean="f8 M I",
    scale="f8 M I",
    action="out f4 E A",
)
@compiled(nogil=True)
def act_rows(
    sizes: Sequence[int],
    tanh_hidden: bool,
    clip: float,
    weights: Array,
    member: Array,
    observation: Array,
    noise: Array,
    mean: Array,
    scale: Array,
    action: Array,
) -> None:
    """Fill `action` row by row; arguments as in `GaussianPolicy.act`."""
    widest = max(sizes)
    x, y = np.empty(widest, np.float32), np.empty(widest, np.float32)
    layers = len(sizes) - 1
    for e in range(observation.shape[0]):
        m = member[e]
        w = weights[m]
        for i in range(sizes[0]):
            value = (observation[e, i] - mean[m, i]) * scale[m, i]
            value = clip if value > clip else value
            x[i] = -clip if value < -clip else value
        at = 0
        for layer in range(layers):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            _affine(w, at, inputs, outputs, x, y)
            at += (inputs + 1) * outputs
            if layer < layers - 1:
                if tanh_hidden:
                    squash(y, outputs)
                else:
                    _rectify(y, outputs)
            x, y = y, x
        for j in range(sizes[layers]):
            action[e, j] = x[j] + math.exp(w[at + j]) * noise[e, j]


@compiled(nogil=True)
def _affine(w: Array, at: int, inputs: int, outputs: int, x: Array, y: Array) -> None:
    """y = x W + b with W, b from position `at` of the flat weights; four inputs a time, to save loads of y."""
    bias = at + inputs * outputs
    for j in range(outputs):
        y[j] = w[bias + j]
    whole = inputs - inputs % 4
    for i in range(0, whole, 4):
        a = w[at + i * outputs : at + (i + 1) * outputs]
        b = w[at + (i + 1) * outputs : at + (i + 2) * outputs]
        c = w[at + (i + 2) * outputs : at + (i + 3) * outputs]
        d = w[at + (i + 3) * outputs : at + (i + 4) * outputs]
        for j in range(outputs):
            y[j] = (((y[j] + x[i] * a[j]) + x[i + 1] * b[j]) + x[i + 2] * c[j]) + x[i + 3] * d[j]
    for i in range(whole, inputs):
        a = w[at + i * outputs : at + (i + 1) * outputs]
        for j in range(outputs):
            y[j] += x[i] * a[j]


@checked(y="out f4 N", size="int 0 N")
@compiled(nogil=True)
def squash(y: Array, size: int) -> None:
    """y = tanh(y), in place, for the first `size`."""
    for j in range(size):
        y[j] = tanh(y[j])


@compiled(nogil=True)
def _rectify(y: Array, size: int) -> None:
    """y = max(y, 0), in place, for the first `size`; a NaN stays one."""
    for j in range(size):
        y[j] = np.float32(0) if y[j] < 0 else y[j]
