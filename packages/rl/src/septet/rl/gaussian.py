"""Gaussian policies with a standard deviation that does not depend on the state."""

import math

from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)


def log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """Log-density of actions: sum_j -(a_j - m_j)² / (2 s_j²) - log s_j - log(2 pi) / 2.

    Args:
        mean: (S, n, A).
        log_std: log s, (S, A).
        action: (S, n, A).

    Returns:
        (S, n).
    """
    log_std = log_std.unsqueeze(1)
    z = (action - mean) * (-log_std).exp()
    return -0.5 * z.square().sum(-1) - log_std.sum(-1) - 0.5 * LOG_2PI * mean.shape[-1]


def entropy(log_std: Tensor) -> Tensor:
    """Differential entropy (S,) in nats: sum_j log s_j + (1 + log 2 pi) / 2, from log s (S, A)."""
    return log_std.sum(-1) + 0.5 * (1.0 + LOG_2PI) * log_std.shape[-1]


def kl(mean_p: Tensor, log_std_p: Tensor, mean_q: Tensor, log_std_q: Tensor) -> Tensor:
    """KL(p || q) = sum_j log s_q - log s_p + (s_p² + (m_p - m_q)²) / (2 s_q²) - 1/2.

    Args:
        mean_p: (S, n, A).
        log_std_p: (S, A).
        mean_q: (S, n, A).
        log_std_q: (S, A).

    Returns:
        (S, n).
    """
    log_std_p, log_std_q = log_std_p.unsqueeze(1), log_std_q.unsqueeze(1)
    precision = (-2.0 * log_std_q).exp()
    spread = (2.0 * log_std_p).exp() + (mean_p - mean_q).square()
    return (log_std_q - log_std_p + 0.5 * spread * precision - 0.5).sum(-1)
