"""Losses of EMPG and its baselines: pure functions of log-probabilities.

All arrays have shape ``(K, L)``: K completions of at most L tokens. `weights` says how tokens are
averaged and is 0 on padding, so that a loss is a plain weighted sum and the losses of the parts of a
batch add up to the loss of the whole.
"""

import torch
from torch import Tensor


def token_weights(mask: Tensor, average: str, limit: int) -> Tensor:
    """Weight of each token in the loss (pitfall 5).

    `sequence`: ``m / (K |y_i|)``, the mean over each completion first, as in GRPO and the paper's code; it
    favours short correct and long wrong answers. `token`: ``m / sum(m)``, all tokens alike. `constant`:
    ``m / (K limit)``, Dr. GRPO's, no length in it.

    Args:
        mask: ``(K, L)``.
        average: `sequence`, `token` or `constant`.
        limit: most tokens that a completion may have, for `constant`.

    Raises:
        ValueError: another average.
    """
    if average == "sequence":
        return mask / (len(mask) * mask.sum(1, keepdim=True).clamp(min=1))
    if average == "token":
        return mask / mask.sum().clamp(min=1)
    if average == "constant":
        return mask / (len(mask) * limit)
    raise ValueError(f"no average {average}")


def log_likelihood_loss(log_pi: Tensor, advantage: Tensor, weights: Tensor) -> Tensor:
    """EMPG, RAFT, REINFORCE: ``- sum w A log pi(y)``, no importance ratio (equations 10 and 11)."""
    return -(weights * advantage * log_pi).sum()


def ratio_loss(log_pi: Tensor, log_pi_old: Tensor, advantage: Tensor, weights: Tensor) -> Tensor:
    """Importance-weighted surrogate without clipping: ``- sum w A pi / pi_old``."""
    return -(weights * advantage * torch.exp(log_pi - log_pi_old)).sum()


def clipped_loss(
    log_pi: Tensor, log_pi_old: Tensor, advantage: Tensor, weights: Tensor, low: float, high: float
) -> Tensor:
    """PPO's clipped surrogate (Schulman et al. 2017, equation 7), used by GRPO and REINFORCE++ too.

    ``- sum w min(rho A, clip(rho, 1 - low, 1 + high) A)``, ``rho = pi / pi_old``.
    """
    ratio = torch.exp(log_pi - log_pi_old)
    clipped = ratio.clamp(1.0 - low, 1.0 + high)
    return -(weights * torch.minimum(ratio * advantage, clipped * advantage)).sum()


def k3(log_pi: Tensor, log_pi_ref: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(pi || pi_ref), token by token: ``r - log r - 1``, ``r = pi_ref / pi``."""
    difference = log_pi_ref - log_pi
    return torch.exp(difference) - difference - 1.0


def kl_loss(log_pi: Tensor, log_pi_ref: Tensor, weights: Tensor) -> Tensor:
    """``sum w k3``, the reference term of the loss (equation 14); multiplied by beta outside."""
    return (weights * k3(log_pi, log_pi_ref)).sum()


def value_loss(values: Tensor, values_old: Tensor, returns: Tensor, weights: Tensor, clip: float) -> Tensor:
    """PPO's critic: half the larger of the plain and the clipped squared error, ``sum w max(., .) / 2``."""
    clipped = values_old + (values - values_old).clamp(-clip, clip)
    return 0.5 * (weights * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)).sum()
