"""Gaussian densities against torch's distributions."""

import torch
from torch.distributions import Independent, Normal, kl_divergence

from septet.rl import gaussian


def test_density_entropy_and_divergence_are_those_of_torch():
    torch.manual_seed(0)
    mean, other = torch.randn(2, 3, 7, 4)[0], torch.randn(3, 7, 4)
    log_std, log_other = 0.3 * torch.randn(3, 4), 0.3 * torch.randn(3, 4)
    action = torch.randn(3, 7, 4)
    p = Independent(Normal(mean, log_std.exp()[:, None].expand(3, 7, 4)), 1)
    q = Independent(Normal(other, log_other.exp()[:, None].expand(3, 7, 4)), 1)
    assert torch.allclose(gaussian.log_prob(mean, log_std, action), p.log_prob(action), atol=1e-5)
    assert torch.allclose(gaussian.entropy(log_std)[:, None].expand(3, 7), p.entropy(), atol=1e-5)
    assert torch.allclose(gaussian.kl(mean, log_std, other, log_other), kl_divergence(p, q), atol=1e-5)
