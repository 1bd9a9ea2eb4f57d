"""Mini-batch training compiled: forward, loss, backward and Adam of one seed without leaving the cache.

The readable forms are `septet.rl.ppo.update` and `septet.rl.values.update`, to which the tests hold these. Matrices go
through BLAS, and what lies between them is one pass over a few kilobytes: torch spends ten times the arithmetic on
dispatching some sixty operations for each mini-batch.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked, layers, parameter_count
from septet.compiled import compiled
from septet.errors import InputError
from septet.sampler.policy import tanh

Array = NDArray[np.float32]
Integers = NDArray[np.int64]
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def _sides(sizes: Sequence[int], *_: Any) -> dict[str, int]:
    """Numbers that the layers fix: P of parameters, I inputs, O outputs, U units of all layers, D of the widest."""
    sizes = layers("kernels: sizes", sizes)
    return {"P": parameter_count(sizes), "I": sizes[0], "O": sizes[-1], "U": sum(sizes), "D": max(sizes)}


def _both_sides(sizes: Sequence[int], value_sizes: Sequence[int], *_: Any) -> dict[str, int]:
    """The same of a policy, whose parameters end with log s, and V of its value net."""
    policy, value = _sides(sizes), _sides(value_sizes)
    if (value["I"], value["O"]) != (policy["I"], 1):
        expected = f"layer widths from {policy['I']} to 1"
        raise InputError("kernels: value_sizes", expected=expected, found=value_sizes)
    return {**policy, "P": policy["P"] + policy["O"], "V": value["P"]}


@checked(_sides, sizes="layers", w="f4 P", n="int 1", units="out f4 n*U")
@compiled(reassociate=True, uses=("septet.sampler",))
def forward(sizes: Sequence[int], w: Array, n: int, units: Array) -> None:
    """Fill the units of every layer for n inputs; tanh hidden layers, linear output.

    Args:
        sizes: of the layers.
        w: flat parameters.
        n: rows.
        units: for each layer its (n, width) block, one after the other; the first holds the inputs.
    """
    at, here = 0, 0
    for layer in range(len(sizes) - 1):
        i, o = sizes[layer], sizes[layer + 1]
        x = units[here : here + n * i].reshape(n, i)
        here += n * i
        y = units[here : here + n * o].reshape(n, o)
        np.dot(x, w[at : at + i * o].reshape(i, o), y)
        b = w[at + i * o : at + (i + 1) * o]
        if layer < len(sizes) - 2:
            for r in range(n):
                row = y[r]
                for j in range(o):
                    row[j] = tanh(row[j] + b[j])
        else:
            for r in range(n):
                for j in range(o):
                    y[r, j] += b[j]
        at += (i + 1) * o


@checked(
    _sides,
    sizes="layers",
    w="f4 P",
    n="int 1",
    units="f4 n*U",
    delta="out f4 n*D",
    spare="out f4 n*D",
    gradient="out f4 P",
)
@compiled(reassociate=True, uses=("septet.sampler",))
def backward(sizes: Sequence[int], w: Array, n: int, units: Array, delta: Array, spare: Array, gradient: Array) -> None:
    """Fill `gradient` of the layers from dL/d(output), which lies in the first n * out numbers of `delta`.

    Args:
        sizes, w, n, units: as left by `forward`.
        delta: dL/d(output), (n * widest); overwritten.
        spare: as large; overwritten.
        gradient: flat, filled.
    """
    at, here = 0, 0
    for layer in range(len(sizes) - 1):
        at += (sizes[layer] + 1) * sizes[layer + 1]
        here += n * sizes[layer]
    for layer in range(len(sizes) - 2, -1, -1):
        i, o = sizes[layer], sizes[layer + 1]
        at -= (i + 1) * o
        here -= n * i
        x = units[here : here + n * i].reshape(n, i)
        d = delta[: n * o].reshape(n, o)
        np.dot(x.T, d, gradient[at : at + i * o].reshape(i, o))
        db = gradient[at + i * o : at + (i + 1) * o]
        db[:] = 0.0
        for r in range(n):
            for j in range(o):
                db[j] += d[r, j]
        if layer > 0:
            below = spare[: n * i].reshape(n, i)
            np.dot(d, w[at : at + i * o].reshape(i, o).T, below)
            for r in range(n):
                for j in range(i):
                    below[r, j] *= np.float32(1.0) - x[r, j] * x[r, j]
            delta, spare = spare, delta


@checked(
    w="out f4 P",
    g="f4 P",
    scale="float",
    m="out f4 P",
    v="out f4 P",
    t="int 1",
    rate="float",
    eps="float",
)
@compiled(reassociate=True, uses=("septet.sampler",))
def adam(w: Array, g: Array, scale: float, m: Array, v: Array, t: int, rate: float, eps: float) -> None:
    """One step of Adam (betas .9, .999) on `scale` * g, in place; t counts from 1."""
    b1, b2 = np.float32(0.9), np.float32(0.999)
    c1, c2 = np.float32(1.0 - 0.9), np.float32(1.0 - 0.999)
    length = np.float32(rate / (1.0 - 0.9**t))
    root = np.float32(1.0 / math.sqrt(1.0 - 0.999**t))
    factor, small = np.float32(scale), np.float32(eps)
    for k in range(w.size):
        d = factor * g[k]
        m[k] = b1 * m[k] + c1 * d
        v[k] = b2 * v[k] + c2 * d * d
        w[k] -= np.divide(length * m[k], np.sqrt(v[k]) * root + small)  # numpy's: a plain / would test for zero


@checked(
    _both_sides,
    sizes="layers",
    value_sizes="layers",
    policy="out f4 P",
    value="out f4 V",
    moments=("out f4 P", "out f4 P", "out f4 V", "out f4 V"),
    observation="f4 N>0 I",
    action="f4 N O",
    log_prob="f4 N",
    advantage="f4 N",
    returns="f4 N",
    order="i8 K>0 N < N",
    batch="int 1",
    first="int 0",
    **dict.fromkeys(("rate", "eps", "clip", "entropy_weight", "value_weight", "max_gradient"), "float"),
)
@compiled(reassociate=True, uses=("septet.sampler",))
def ppo_epochs(
    sizes: Sequence[int],
    value_sizes: Sequence[int],
    policy: Array,
    value: Array,
    moments: tuple[Array, Array, Array, Array],
    observation: Array,
    action: Array,
    log_prob: Array,
    advantage: Array,
    returns: Array,
    order: Integers,
    batch: int,
    first: int,
    rate: float,
    eps: float,
    clip: float,
    entropy_weight: float,
    value_weight: float,
    max_gradient: float,
) -> NDArray[np.float64]:
    """All mini-batch steps of one iteration for one seed; see `septet.rl.ppo.update`.

    Args:
        sizes: of the policy's layers.
        value_sizes: of the value net's layers.
        policy: flat parameters, log s at the end; changed in place.
        value: flat parameters of the value net; changed in place.
        moments: Adam's means and squares of the policy, then of the value net; changed in place.
        observation: (n, in), normalised.
        action: (n, A).
        log_prob: of the actions under the sampling policy, (n,).
        advantage: (n,).
        returns: targets of the value net, (n,).
        order: (epochs, n), a permutation per epoch.
        batch: samples in a mini-batch; the last one of an epoch may be smaller.
        first: Adam steps before this call.
        rate, eps: Adam's.
        clip, entropy_weight, value_weight, max_gradient: as in `septet.rl.config.PPO`.

    Returns:
        Means over the mini-batches of policy loss, value loss, approximate KL divergence and clipped share.
    """
    n, d = observation.shape
    a = action.shape[1]
    layers = policy.size - a
    log_std, d_log_std = policy[layers:], np.zeros(a, np.float32)
    total, value_total, widest = 0, 0, 0
    for size in sizes:
        total, widest = total + size, max(widest, size)
    for size in value_sizes:
        value_total, widest = value_total + size, max(widest, size)
    units, value_units = np.empty(batch * total, np.float32), np.empty(batch * value_total, np.float32)
    delta, spare = np.empty(batch * widest, np.float32), np.empty(batch * widest, np.float32)
    gradient, value_gradient = np.zeros(policy.size, np.float32), np.zeros(value.size, np.float32)
    weight = np.empty(batch, np.float32)
    inverse = np.empty(a, np.float32)
    sums = np.zeros(4)
    steps = 0
    for epoch in range(order.shape[0]):
        for start in range(0, n, batch):
            rows = order[epoch, start : min(start + batch, n)]
            b = rows.size
            mean = 0.0
            for r in range(b):
                k = rows[r]
                for i in range(d):
                    units[r * d + i] = observation[k, i]
                mean += advantage[k]
            value_units[: b * d] = units[: b * d]
            mean /= b
            spread = 0.0
            for r in range(b):
                spread += (advantage[rows[r]] - mean) ** 2
            spread = math.sqrt(spread / (b - 1)) + 1e-8 if b > 1 else 1.0
            mean = mean if b > 1 else 0.0

            forward(sizes, policy, b, units)
            out = units[b * (total - a) :]
            constant = 0.0
            for j in range(a):
                inverse[j] = math.exp(-log_std[j])
                constant -= log_std[j] + HALF_LOG_2PI
            policy_loss, divergence, clipped = 0.0, 0.0, 0
            for r in range(b):
                k = rows[r]
                square = np.float32(0.0)
                for j in range(a):
                    z = (action[k, j] - out[r * a + j]) * inverse[j]
                    square += z * z
                log_ratio = constant - 0.5 * square - log_prob[k]
                ratio = math.exp(log_ratio)
                gain = (advantage[k] - mean) / spread
                bounded = min(max(ratio, 1.0 - clip), 1.0 + clip)
                policy_loss -= min(gain * ratio, gain * bounded)
                divergence += ratio - 1.0 - log_ratio
                clipped += abs(ratio - 1.0) > clip
                # d loss / d log_prob: nothing where the clipped term is the smaller one
                weight[r] = -gain * ratio / b if gain * ratio <= gain * bounded else 0.0
            d_log_std[:] = -entropy_weight
            for r in range(b):
                k = rows[r]
                for j in range(a):
                    z = (action[k, j] - out[r * a + j]) * inverse[j]
                    delta[r * a + j] = weight[r] * z * inverse[j]
                    d_log_std[j] += weight[r] * (z * z - np.float32(1.0))
            backward(sizes, policy, b, units, delta, spare, gradient)
            gradient[layers:] = d_log_std

            forward(value_sizes, value, b, value_units)
            out = value_units[b * (value_total - 1) :]
            value_loss = 0.0
            for r in range(b):
                error = out[r] - returns[rows[r]]
                value_loss += error * error
                delta[r] = 2.0 * value_weight * error / b
            backward(value_sizes, value, b, value_units, delta, spare, value_gradient)

            square = np.float32(0.0)
            for k in range(gradient.size):
                square += gradient[k] * gradient[k]
            for k in range(value_gradient.size):
                square += value_gradient[k] * value_gradient[k]
            scale = min(1.0, max_gradient / (math.sqrt(square) + 1e-6))
            steps += 1
            adam(policy, gradient, scale, moments[0], moments[1], first + steps, rate, eps)
            adam(value, value_gradient, scale, moments[2], moments[3], first + steps, rate, eps)
            sums[0] += policy_loss / b
            sums[1] += value_loss / b
            sums[2] += divergence / b
            sums[3] += clipped / b
    return sums / steps


@checked(
    _sides,
    sizes="layers",
    w="out f4 P",
    m="out f4 P",
    v="out f4 P",
    observation="f4 N>0 I",
    target="f4 N",
    order="i8 K>0 M>0 < N",
    batch="int 1",
    first="int 0",
    rate="float",
    eps="float",
)
@compiled(reassociate=True, nogil=True, uses=("septet.sampler",))
def value_epochs(
    sizes: Sequence[int],
    w: Array,
    m: Array,
    v: Array,
    observation: Array,
    target: Array,
    order: Integers,
    batch: int,
    first: int,
    rate: float,
    eps: float,
) -> float:
    """Least squares of one seed's value net in mini-batches; see `septet.rl.values.update`.

    Args:
        sizes: of the layers.
        w: flat parameters; m, v: Adam's moments; changed in place.
        observation: (n, in), normalised.
        target: (n,).
        order: (epochs, used), rows of an epoch's samples one after the other.
        batch: samples in a mini-batch; the last one of an epoch may be smaller.
        first: Adam steps before this call.
        rate, eps: Adam's.

    Returns:
        Mean over the mini-batches of the mean squared error.
    """
    d = observation.shape[1]
    total, widest = 0, 0
    for size in sizes:
        total, widest = total + size, max(widest, size)
    units = np.empty(batch * total, np.float32)
    delta, spare = np.empty(batch * widest, np.float32), np.empty(batch * widest, np.float32)
    gradient = np.zeros(w.size, np.float32)
    loss, steps = 0.0, 0
    for epoch in range(order.shape[0]):
        for start in range(0, order.shape[1], batch):
            rows = order[epoch, start : min(start + batch, order.shape[1])]
            b = rows.size
            for r in range(b):
                for i in range(d):
                    units[r * d + i] = observation[rows[r], i]
            forward(sizes, w, b, units)
            out = units[b * (total - 1) :]
            square = 0.0
            for r in range(b):
                error = out[r] - target[rows[r]]
                square += error * error
                delta[r] = 2.0 * error / b
            backward(sizes, w, b, units, delta, spare, gradient)
            steps += 1
            adam(w, gradient, 1.0, m, v, first + steps, rate, eps)
            loss += square / b
    return loss / steps
