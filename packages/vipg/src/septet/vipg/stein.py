"""Stein variational directions: the baselines whose repulsion is a kernel between particles (section 5)."""

import math

import torch
from torch import Tensor


def kernel(theta: Tensor) -> tuple[Tensor, Tensor]:
    r"""RBF kernel with the median bandwidth (Liu and Wang 2016).

    .. math:: k_{ij} = \exp(-|\theta_i - \theta_j|^2 / h),\qquad h = \mathrm{med}^2 / \log K

    Args:
        theta: (S, K, d).

    Returns:
        k (S, K, K) and h (S,); the median is over pairs of different particles.
    """
    count = theta.shape[1]
    square = (theta.unsqueeze(1) - theta.unsqueeze(2)).square().sum(3)
    rows, columns = torch.triu_indices(count, count, 1)
    h = square[:, rows, columns].median(1).values.clamp_min(1e-12) / math.log(max(count, 2))
    return torch.exp(-square / h[:, None, None]), h


def direction(theta: Tensor, score: Tensor, repulsion: Tensor | float = 1.0) -> Tensor:
    r"""The direction of each particle (Liu et al. 2017), with the gradient of the kernel written out.

    .. math:: \Delta\theta_i = \frac1K\sum_j \Big[s_j\,k_{ji} + c\,\frac{2}{h}(\theta_i - \theta_j)\,k_{ji}\Big]

    Args:
        theta: (S, K, d).
        score: s_j, gradient of c log p at each particle, (S, K, d): the gradient of J + alpha log p0 for c = alpha.
        repulsion: c, (S,) or a number.

    Returns:
        (S, K, d).
    """
    k, h = kernel(theta)
    count = theta.shape[1]
    away = theta * k.sum(2, keepdim=True) - k @ theta  # sum_j (theta_i - theta_j) k_ij
    scale = (2.0 * torch.as_tensor(repulsion, dtype=theta.dtype) / h).reshape(-1, 1, 1)
    return (k @ score + scale * away) / count
