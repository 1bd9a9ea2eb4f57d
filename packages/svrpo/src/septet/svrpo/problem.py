"""The finite sum of one iteration, of one seed: its blocks, their gradients, Hessian products and values."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl.networks import Network
from septet.rl.trust_region import Product
from septet.svrpo import network_passes as passes
from septet.svrpo.network_passes import Parts, Samples

Array = NDArray[np.float64]


class FiniteSum:
    """F and D of section 2.1 on N samples that are cut into fixed blocks (section 2.5).

    D is shuffled once and cut into N/b blocks for gradients, and shuffled again and cut into blocks for Hessians.
    One seed has one problem, so that a seed alone gives the very numbers that it gives in a batch of seeds.

    Args:
        network: the policy's.
        samples: the N samples.
        old_log_std: log s of the sampling policy (A,).
        order: permutation of the samples for gradients, (N,).
        hessian_order: the same for Hessians, (N,).
        block: b, samples of a gradient block; divides N.
        hessian_block: samples of a Hessian block; divides N.
        ratio: use the importance-ratio surrogate.
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        old_log_std: Tensor,
        order: Tensor,
        hessian_order: Tensor,
        *,
        block: int,
        hessian_block: int,
        ratio: bool = False,
    ) -> None:
        self.network, self.old_log_std, self.ratio = network, old_log_std, ratio
        self.size, self.block, self.hessian_block = len(order), block, hessian_block
        ordered = _ordered(samples, order)
        self.whole = passes.chunks(ordered)
        self.gradient_blocks = _cut(ordered, block)
        whole = hessian_block == self.size
        self.hessian_blocks = [self.whole] if whole else _cut(_ordered(samples, hessian_order), hessian_block)

    def block_gradient(self, w: Tensor, block: int) -> Tensor:
        """Gradient of F_B (P,) at w (P,)."""
        return self._gradient(w, self.gradient_blocks[block])

    def block_gradients(self, w: Tensor) -> Tensor:
        """Gradients of F on every block (K, P); their mean over blocks is that of F."""
        return torch.stack([self._gradient(w, parts) for parts in self.gradient_blocks])

    def full_gradient(self, w: Tensor) -> Tensor:
        """Gradient of F (P,) at w (P,)."""
        return self._gradient(w, self.whole)

    def hessian(self, w: Tensor, block: int, damping: float) -> Product:
        """v (1, P) -> (H_S(w) + damping I) v, the Hessian of the mean KL divergence on one block."""
        product = passes.kl_hessian(self.network, w, self.hessian_blocks[block], self.old_log_std)
        return lambda v: product(v[0]).add_(v[0], alpha=damping).unsqueeze(0)

    def value(self, w: Tensor, target_kl: float = float("inf")) -> tuple[float, float]:
        """F and D at w (P,); both infinite if D > target_kl."""
        return passes.surrogate_and_kl(self.network, w, self.whole, self.old_log_std, target_kl, self.ratio)

    def largest_kl(self, w: Tensor) -> float:
        """Largest KL divergence of a state at w (P,)."""
        return float(passes.kl_of_states(self.network, w, self.whole, self.old_log_std).max())

    def _gradient(self, w: Tensor, parts: Parts) -> Tensor:
        return passes.surrogate_gradient(self.network, w, parts, self.old_log_std, self.ratio)


def standardise(advantage: Array) -> Array:
    """Mean 0 and standard deviation 1 over a batch, (n,)."""
    centred = advantage - advantage.mean()
    return centred / (centred.std() + 1e-8)


def finite_sum_of(
    network: Network,
    w: Tensor,
    observation: Tensor,
    action: Tensor,
    advantage: Array,
    draws: np.random.Generator,
    *,
    block: int,
    hessian_block: int,
    ratio: bool = False,
) -> FiniteSum:
    """The problem of N samples that the policy w (P,) collected, shuffled into blocks.

    Args:
        observation: (N, O), as the policy saw it; action: (N, A); advantage: (N,), standardised here.
        draws: the generator that shuffles.
        network, block, hessian_block, ratio: as of `FiniteSum`.
    """
    layers, log_std = passes.split(network, w)
    mean = torch.cat([passes.forward(layers, part)[1] for part in torch.split(observation, passes.CHUNK)])
    samples = Samples(observation, action, torch.from_numpy(standardise(advantage)).to(w.dtype), mean)
    order, hessian_order = (torch.from_numpy(draws.permutation(len(advantage))) for _ in range(2))
    return FiniteSum(
        network, samples, log_std, order, hessian_order, block=block, hessian_block=hessian_block, ratio=ratio
    )


def _ordered(samples: Samples, order: Tensor) -> Samples:
    return Samples(*(tensor.index_select(0, order) for tensor in samples))


def _cut(samples: Samples, size: int) -> list[Parts]:
    """The samples in blocks of `size`, each in parts."""
    blocks = zip(*(torch.split(tensor, size) for tensor in samples), strict=True)
    return [passes.chunks(Samples(*block)) for block in blocks]
