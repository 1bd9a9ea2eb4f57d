r"""The objective of a sampler and its gradients (sections 2.1 and 2.2): pure functions, axes (S rows, K particles, d).

.. math:: \max_\phi\ E_q[J(\theta)] - \alpha\,\mathrm{KL}(q_\phi\|p_0)
          \iff q^* \propto p_0\,e^{J/\alpha},\qquad p_0 = N(0, s_0^2 I)
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl.gaussian import LOG_2PI
from septet.seeding import stream
from septet.vipg.samplers import PosteriorSampler

Drive = Tensor | Callable[[Tensor], Tensor]


def regulariser(sampler: PosteriorSampler, phi: Tensor, theta: Tensor, log_det: Tensor, prior_scale: float) -> Tensor:
    r"""What alpha weighs: :math:`E\log|\det\partial h/\partial\xi| + E\log p_0(\theta)` without constants (2.4).

    It is -KL(q || p0) + d log s0 - d / 2. An infinite `prior_scale` is a flat prior.

    Args:
        phi: (S, Q).
        theta: h(xi), (S, K, d).
        log_det: (S, K).
        prior_scale: s0.

    Returns:
        (S,).
    """
    return log_det.mean(1) - sampler.second_moment(phi, theta) / (2.0 * prior_scale**2)


def kl_to_prior(sampler: PosteriorSampler, phi: Tensor, theta: Tensor, log_det: Tensor, prior_scale: float) -> Tensor:
    """KL(q || N(0, s0² I)) (S,) in nats, equation 1 for the entropy; arguments as for `regulariser`."""
    d = sampler.weights
    return d * math.log(prior_scale) - 0.5 * d - regulariser(sampler, phi, theta, log_det, prior_scale)


def entropy(sampler: PosteriorSampler, log_det: Tensor) -> Tensor:
    """H(q) = H(q0) + E log|det| (S,) in nats, equation 1; log_det (S, K)."""
    return 0.5 * sampler.weights * (1.0 + LOG_2PI) + log_det.mean(1)


def pathwise(
    sampler: PosteriorSampler, phi: Tensor, xi: Tensor, drive: Drive, alpha: Tensor | float, prior_scale: float
) -> Tensor:
    r"""Equation 3: the drive pulled back through the sampler, and the repulsion of the exact log-determinant.

    .. math:: g_\phi = \frac1K\sum_k \Big(\frac{\partial h_\phi(\xi_k)}{\partial\phi}\Big)^{\!\top} \hat g_k
              + \alpha\nabla_\phi\{E\log|\det| + E\log p_0\}

    Args:
        phi: (S, Q).
        xi: (S, K, d).
        drive: estimates of the gradient of J at each particle, (S, K, d), or what gives them of the particles.
        alpha: (S,) or a number.
        prior_scale: s0.

    Returns:
        Direction of ascent (S, Q).
    """
    phi = phi.detach().requires_grad_()
    theta, log_det = sampler(phi, xi)
    at_theta = drive if isinstance(drive, Tensor) else drive(theta.detach())
    value = (at_theta * theta).sum((1, 2)) / theta.shape[1]
    value = value + alpha * regulariser(sampler, phi, theta, log_det, prior_scale)
    (gradient,) = torch.autograd.grad(value.sum(), phi)
    return gradient


def score_function(sampler: PosteriorSampler, phi: Tensor, xi: Tensor, value: Tensor) -> Tensor:
    r"""Gradient of :math:`E_q[J]` from values alone (PEPG, evolution strategies; section 5), for any density.

    .. math:: \frac1K\sum_k (J_k - b_k)\,\nabla_\phi\log q_\phi(\theta_k),\qquad b_k = \text{mean of the other values}

    Args:
        phi: (S, Q).
        xi: (S, K, d), noise that made the particles.
        value: J of each particle, (S, K).

    Returns:
        (S, Q).
    """
    count = value.shape[1]
    above = (value - value.mean(1, keepdim=True)) * (count / (count - 1.0))
    theta = sampler(phi, xi)[0].detach()
    phi = phi.detach().requires_grad_()
    (gradient,) = torch.autograd.grad((above * sampler.log_density(phi, theta)).mean(1).sum(), phi)
    return gradient


def noise(root: int, seeds: list[int], iteration: int, count: int, weights: int) -> NDArray[np.float64]:
    """Noise xi (S, count, d) of an iteration in pairs xi, -xi; an odd last one stands alone.

    Row i depends on its seed alone, so rows of one seed share it.
    """
    rngs = [stream(root, "particles", seed, iteration) for seed in seeds]
    half = np.stack([rng.standard_normal(((count + 1) // 2, weights)) for rng in rngs])
    return np.concatenate([half, -half], axis=1)[:, :count]
