"""Samplers that bend the noise: planar and affine coupling flows (section 2.1, other invertible samplers)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from septet.rl.lockstep import each_seed
from septet.vipg.config import Family, PolicyMethod, Posterior
from septet.vipg.samplers import Cholesky, LowRank, MeanField, Particles, PosteriorSampler

SHIFT = math.log(math.e - 1.0)  # softplus(SHIFT) = 1
HALVINGS = 60
LARGEST_LOG_SCALE = 2.0  # of a coupling layer: keeps the inverse well conditioned


@dataclass(frozen=True)
class Planar(PosteriorSampler):
    r"""Planar layers :math:`z \leftarrow z + \hat u \tanh(w^\top z + b)` (Rezende and Mohamed 2015).

    log|det| is the sum of :math:`\log|1 + \hat u^\top\psi|`, :math:`\psi = (1 - \tanh^2) w`; invertible because
    :math:`w^\top\hat u = \mathrm{softplus}(w^\top u + \log(e - 1)) - 1 > -1`, which is 0 at u = 0.
    """

    layers: int = 8

    @property
    def extra(self) -> int:
        """u, w (d) and b of each layer."""
        return self.layers * (2 * self.weights + 1)

    def _layers(self, rest: Tensor) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(u hat (S, 1, d), w (S, 1, d), b (S, 1), w'u hat (S, 1)) of each layer."""
        d, out = self.weights, []
        for layer in rest.reshape(-1, self.layers, 2 * d + 1).unbind(1):
            u, w, b = layer[:, :d], layer[:, d : 2 * d], layer[:, 2 * d :]
            dot = (w * u).sum(1, keepdim=True)
            want = softplus(dot + SHIFT) - 1.0
            hat = u + (want - dot) * w / w.square().sum(1, keepdim=True).clamp_min(1e-12)
            out.append((hat.unsqueeze(1), w.unsqueeze(1), b, want))
        return out

    def bend(self, rest: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """Through the layers in turn."""
        z, log_det = xi, xi.new_zeros(xi.shape[:2])
        for hat, w, b, dot in self._layers(rest):
            h = torch.tanh((z * w).sum(2) + b)
            z = z + hat * h.unsqueeze(2)
            log_det = log_det + torch.log1p(dot * (1.0 - h.square()))
        return z, log_det

    def unbend(self, rest: Tensor, z: Tensor) -> Tensor:
        """Layer by layer backwards: a + w'u tanh(a + b) = w'z has one root a, found by halving."""
        for hat, w, b, dot in reversed(self._layers(rest)):
            target = (z * w).sum(2)
            low, high = target - dot.abs() - 1e-6, target + dot.abs() + 1e-6
            for _ in range(HALVINGS):
                a = 0.5 * (low + high)
                under = a + dot * torch.tanh(a + b) < target
                low, high = torch.where(under, a, low), torch.where(under, high, a)
            z = z - hat * torch.tanh(0.5 * (low + high) + b).unsqueeze(2)
        return z

    def identity(self, rng: np.random.Generator) -> np.ndarray:
        """u = 0, b = 0, and directions w of length about one."""
        layers = np.zeros((self.layers, 2 * self.weights + 1))
        layers[:, self.weights : 2 * self.weights] = rng.standard_normal((self.layers, self.weights)) / math.sqrt(
            self.weights
        )
        return layers.ravel()


@dataclass(frozen=True)
class Coupling(PosteriorSampler):
    """Affine coupling layers: half of z is scaled and moved by a small net of the other half (Dinh et al. 2017).

    Layer l: a = every second coordinate from l mod 2 on, b = the others; b <- b exp(s(a)) + t(a) with (s, t) a net
    of one tanh layer and s bounded by ±2; log|det| is the sum of s.
    """

    layers: int = 6
    hidden: int = 16
    least = 2
    exact: bool = True
    """Whether a seed gives the same bits alone and in any batch; without that, small nets take a sixth of the time."""

    def _sizes(self, layer: int) -> tuple[int, int]:
        """Coordinates that are read and that are moved."""
        read = len(range(layer % 2, self.weights, 2))
        return read, self.weights - read

    def _length(self, layer: int) -> int:
        read, moved = self._sizes(layer)
        return (read + 1) * self.hidden + (self.hidden + 1) * 2 * moved

    @property
    def extra(self) -> int:
        """Weights of the nets."""
        return sum(self._length(layer) for layer in range(self.layers))

    def _nets(self, rest: Tensor) -> list[tuple[Tensor, Tensor]]:
        """First layer (S, read + 1, hidden) and second (S, hidden + 1, 2 moved) of each net, biases last."""
        nets = []
        for layer, part in enumerate(torch.split(rest, [self._length(k) for k in range(self.layers)], dim=1)):
            read, moved = self._sizes(layer)
            first, second = torch.split(part, [(read + 1) * self.hidden, (self.hidden + 1) * 2 * moved], dim=1)
            nets.append((first.reshape(-1, read + 1, self.hidden), second.reshape(-1, self.hidden + 1, 2 * moved)))
        return nets

    def _scale_shift(self, net: tuple[Tensor, Tensor], read: Tensor) -> tuple[Tensor, Tensor]:
        first, second = net
        (out,) = each_seed(_two_layers, first, second, read) if self.exact else _two_layers(first, second, read)
        s, t = out.chunk(2, dim=2)
        return LARGEST_LOG_SCALE * torch.tanh(s / LARGEST_LOG_SCALE), t

    def bend(self, rest: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
        """Through the layers in turn."""
        halves = [xi[..., 0::2], xi[..., 1::2]]
        log_det = xi.new_zeros(xi.shape[:2])
        for layer, net in enumerate(self._nets(rest)):
            read, moved = layer % 2, 1 - layer % 2
            s, t = self._scale_shift(net, halves[read])
            halves[moved] = halves[moved] * s.exp() + t
            log_det = log_det + s.sum(2)
        return self._join(halves), log_det

    def unbend(self, rest: Tensor, z: Tensor) -> Tensor:
        """Layer by layer backwards: b <- (b - t(a)) exp(-s(a))."""
        halves = [z[..., 0::2], z[..., 1::2]]
        for layer, net in reversed(list(enumerate(self._nets(rest)))):
            read, moved = layer % 2, 1 - layer % 2
            s, t = self._scale_shift(net, halves[read])
            halves[moved] = (halves[moved] - t) * (-s).exp()
        return self._join(halves)

    @staticmethod
    def _join(halves: list[Tensor]) -> Tensor:
        even, odd = halves
        paired = torch.stack([even[..., : odd.shape[-1]], odd], dim=-1).flatten(2)
        return torch.cat([paired, even[..., odd.shape[-1] :]], dim=2)

    def identity(self, rng: np.random.Generator) -> np.ndarray:
        """Second layers zero: s = t = 0; first layers at random."""
        parts = []
        for layer in range(self.layers):
            read, moved = self._sizes(layer)
            parts.append(rng.standard_normal((read + 1) * self.hidden) / math.sqrt(read + 1))
            parts.append(np.zeros((self.hidden + 1) * 2 * moved))
        return np.concatenate(parts)


def sampler_of(family: Family, weights: int, method: PolicyMethod | Posterior) -> PosteriorSampler:
    """The sampler of a family over `weights` weights; each takes of the method's settings what it has."""
    match family:
        case "particles":
            return Particles(weights, method.particles)
        case "mean_field":
            return MeanField(weights)
        case "full":
            return Cholesky(weights)
        case "low_rank":
            return LowRank(weights, rank=method.rank)
        case "planar":
            return Planar(weights, layers=method.layers)
        case "coupling":
            exact = not isinstance(method, Posterior)
            return Coupling(weights, layers=method.layers, hidden=method.flow_hidden, exact=exact)


def _two_layers(first: Tensor, second: Tensor, x: Tensor) -> tuple[Tensor]:
    """One seed's net: tanh units, then linear ones; biases last in each layer."""
    hidden = torch.tanh(torch.baddbmm(first[:, -1:], x, first[:, :-1]))
    return (torch.baddbmm(second[:, -1:], hidden, second[:, :-1]),)
