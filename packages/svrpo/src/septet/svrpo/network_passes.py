"""Passes through one seed's policy network, written out: values, gradients, and products with the KL Hessian.

A policy is the row of parameters of `septet.rl.networks`: tanh layers, a linear mean, log s at the end. Everything is
summed over states, so that a caller may divide a batch as it likes; `weight` is what one state counts, 1/n for a mean.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from septet.rl.gaussian import LOG_2PI
from septet.rl.networks import Layers, Network
from septet.sampler.policy import squash

CHUNK = 2048
"""States in one matrix product, so that what lies between two layers stays in the cache."""


class Samples(NamedTuple):
    """States and what was done there, of one seed; the mean is the sampling policy's."""

    observation: Tensor
    """(n, in)."""
    action: Tensor
    """(n, A)."""
    advantage: Tensor
    """(n,)."""
    mean: Tensor
    """(n, A)."""


Parts = list[Samples]
"""Samples in parts of at most `CHUNK` states."""


def chunks(samples: Samples) -> Parts:
    """The samples in parts of `CHUNK` states."""
    return [Samples(*parts) for parts in zip(*(torch.split(tensor, CHUNK) for tensor in samples), strict=True)]


def size(parts: Parts) -> int:
    """Number of samples in all parts."""
    return sum(len(part.advantage) for part in parts)


def split(network: Network, row: Tensor) -> tuple[Layers, Tensor]:
    """Layers ``[(W (in, out), b (out,)), ...]`` and log s (A,) of one row of parameters (P,): views."""
    layers, at = [], 0
    for inputs, outputs in network.shapes:
        bias = at + inputs * outputs
        layers.append((row[at:bias].view(inputs, outputs), row[bias : bias + outputs]))
        at = bias + outputs
    return layers, row[at:]


def tanh_(x: Tensor) -> Tensor:
    """Hyperbolic tangent in place; in float32 by `septet.sampler.policy.squash`, 5 times as fast as torch's."""
    if x.dtype != torch.float32:
        return x.tanh_()
    flat = x.view(-1).numpy()
    squash(flat, flat.size)
    return x


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product, by NumPy's library: PyTorch's (MKL) rounds differently on processors of different makers.

    On an AMD EPYC it is also four times as fast where the result is as narrow as an action, and as fast elsewhere.
    """
    return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))


def exponential(x: Tensor) -> Tensor:
    """exp(x), by NumPy: PyTorch's is MKL's, too."""
    return torch.from_numpy(np.exp(x.numpy()))


def forward(layers: Layers, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Inputs of each layer ``[x, h_1, ...]`` and the mean (n, A), from states x (n, in)."""
    inputs = [x]
    for weight, bias in layers[:-1]:
        inputs.append(tanh_(product(inputs[-1], weight).add_(bias)))
    weight, bias = layers[-1]
    return inputs, product(inputs[-1], weight).add_(bias)


def backward(layers: Layers, inputs: list[Tensor], delta: Tensor, out: Layers) -> None:
    """Add J' delta to `out`, for the Jacobian J of the mean and delta (n, A)."""
    for k in reversed(range(len(layers))):
        out[k][0].add_(product(inputs[k].T, delta))
        out[k][1].add_(delta.sum(0))
        if k:
            delta = product(delta, layers[k][0].T).mul_(slope(inputs[k]))


def slope(h: Tensor) -> Tensor:
    """Derivative of tanh where its value is h: 1 - h²."""
    return torch.addcmul(torch.ones_like(h), h, h, value=-1.0)


def log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """log pi (n,) of actions (n, A): sum_j -(a_j - m_j)² / (2 s_j²) - log s_j - log(2 pi) / 2."""
    squares = product((action - mean).square_(), exponential(-2.0 * log_std))
    return -0.5 * squares - (log_std.sum() + 0.5 * LOG_2PI * len(log_std))


def ratio_weights(part: Samples, mean: Tensor, log_std: Tensor, old_log_std: Tensor) -> Tensor:
    """Advantages times pi_w / pi_w~, (n,)."""
    change = log_prob(mean, log_std, part.action) - log_prob(part.mean, old_log_std, part.action)
    return exponential(change).mul_(part.advantage)


def surrogate_gradient(network: Network, row: Tensor, parts: Parts, old_log_std: Tensor, ratio: bool = False) -> Tensor:
    """Gradient (P,) of F(w) = 1/n sum_i f_i(w), section 2.1.

        f_i = -A_i log pi_w(a_i | s_i),   or with the ratio   f_i = -A_i pi_w(a_i | s_i) / pi_w~(a_i | s_i)

    Args:
        network: the policy's.
        row: w (P,).
        parts: the n samples to average over.
        old_log_std: log s of the sampling policy (A,), for the ratio.
        ratio: which surrogate.
    """
    layers, log_std = split(network, row)
    out = torch.zeros_like(row)
    places, place = split(network, out)
    precision, count = exponential(-2.0 * log_std), size(parts)
    for part in parts:
        inputs, mean = forward(layers, part.observation)
        weight = ratio_weights(part, mean, log_std, old_log_std) if ratio else part.advantage
        weight = (weight / -count).unsqueeze(1)
        away = part.action - mean
        place.add_(((away.square() * precision - 1.0) * weight).sum(0))
        backward(layers, inputs, away.mul_(precision).mul_(weight), places)
    return out


def surrogate_and_kl(
    network: Network, row: Tensor, parts: Parts, old_log_std: Tensor, target_kl: float, ratio: bool = False
) -> tuple[float, float]:
    """F(w) and the mean KL divergence D(w) from the sampling policy, sections 2.1 and 2.4.

    No state's divergence is negative, so once the sum over some states is past n times `target_kl` the mean is as well:
    the rest is not computed, and both are infinite.

    Args:
        network, row, parts, old_log_std, ratio: as in `surrogate_gradient`.
        target_kl: delta; infinity to compute both whatever they are.
    """
    layers, log_std = split(network, row)
    precision, count = exponential(-2.0 * log_std), size(parts)
    widths = width_divergence(log_std, old_log_std, precision)
    constant = float(log_std.sum()) + 0.5 * LOG_2PI * len(log_std)
    loss = divergence = 0.0
    for part in parts:
        _, mean = forward(layers, part.observation)
        divergence += 0.5 * float(((part.mean - mean).square_().sum(0) * precision).sum())
        if not divergence / count + widths <= target_kl:  # true for NaN
            return float("inf"), float("inf")
        if ratio:
            loss -= float(ratio_weights(part, mean, log_std, old_log_std).sum())
        else:
            squares = (part.action - mean).square_()
            loss += 0.5 * float((product(part.advantage, squares) * precision).sum()) + constant * float(
                part.advantage.sum()
            )
    return loss / count, divergence / count + widths


def width_divergence(log_std: Tensor, old_log_std: Tensor, precision: Tensor) -> float:
    """What every state's KL divergence has from the standard deviations alone; at least 0."""
    return float((log_std - old_log_std + 0.5 * exponential(2.0 * old_log_std) * precision - 0.5).sum())


def kl_of_states(network: Network, row: Tensor, parts: Parts, old_log_std: Tensor) -> Tensor:
    """KL divergence (n,) of each state from the sampling policy."""
    layers, log_std = split(network, row)
    precision = exponential(-2.0 * log_std)
    away = [product((part.mean - forward(layers, part.observation)[1]).square_(), 0.5 * precision) for part in parts]
    return torch.cat(away) + width_divergence(log_std, old_log_std, precision)


def kl_hessian(network: Network, row: Tensor, parts: Parts, old_log_std: Tensor) -> Callable[[Tensor], Tensor]:
    """Product v (P,) -> H v with the Hessian of the mean KL divergence at any w, section 2.3.

    The derivative R{.} of the gradient in direction v, forwards and backwards through activations that are kept
    (Pearlmutter 1994):

        R{z_k} = R{h_k} W_k + h_k V_k + c_k,    R{h_k+1} = (1 - h²) R{z_k}
        R{dW_k} = R{h_k}' d_k + h_k' R{d_k},    R{d_k-1} = (1 - h²) (R{d_k} W_k' + d_k V_k') - 2 h R{h} (d_k W_k')

    At the sampling policy d = 0, which leaves the Fisher matrix; elsewhere H may be indefinite.
    """
    layers, log_std = split(network, row)
    precision, weight = exponential(-2.0 * log_std), 1.0 / size(parts)
    spread = exponential(2.0 * old_log_std)
    products = [_part_of_hessian(layers, part, precision, weight, spread) for part in parts]

    def hessian(v: Tensor) -> Tensor:
        directions, u = split(network, v)
        out = torch.zeros_like(v)
        places, place = split(network, out)
        for add in products:
            add(directions, u, places, place)
        return out

    return hessian


def _part_of_hessian(
    layers: Layers, part: Samples, precision: Tensor, weight: float, spread: Tensor
) -> Callable[[Layers, Tensor, Layers, Tensor], None]:
    """(V, u, places, place) -> add the product of some states to the places of layers and log s."""
    inputs, mean = forward(layers, part.observation)
    away = mean - part.mean
    deltas, slopes = [away * (precision * weight)], [slope(h) for h in inputs[1:]]
    bends: list[Tensor] = []
    for k in reversed(range(1, len(layers))):
        below = product(deltas[0], layers[k][0].T)
        bends.insert(0, -2.0 * inputs[k] * below)
        deltas.insert(0, below.mul_(slopes[k - 1]))

    def add(directions: Layers, u: Tensor, places: Layers, place: Tensor) -> None:
        tangents: list[Tensor] = []  # R{h_1}, R{h_2}, ..., R{mean}
        for k, (d_weight, d_bias) in enumerate(directions):
            z = product(inputs[k], d_weight).add_(d_bias)
            if k:
                z.add_(product(tangents[-1], layers[k][0]))
            tangents.append(z.mul_(slopes[k]) if k < len(slopes) else z)
        moved = tangents[-1]
        place.add_(((spread + away.square()) * u - away * moved).sum(0) * precision, alpha=2.0 * weight)
        change = (moved - 2.0 * u * away).mul_(precision * weight)  # R{d} of the mean
        for k in reversed(range(len(layers))):
            places[k][0].add_(product(inputs[k].T, change))
            places[k][1].add_(change.sum(0))
            if k:
                places[k][0].add_(product(tangents[k - 1].T, deltas[k]))
                change = product(change, layers[k][0].T).add_(product(deltas[k], directions[k][0].T))
                change.mul_(slopes[k - 1]).addcmul_(bends[k - 1], tangents[k - 1])

    return add
