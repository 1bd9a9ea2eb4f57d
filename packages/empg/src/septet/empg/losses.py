"""Losses of EMPG and its baselines: pure functions of log-probabilities.

All arrays have shape ``(K, L)``: K completions of at most L tokens. `weights` says how tokens are
averaged and is 0 on what the mask leaves out, so that a loss is a plain weighted sum and the losses of the parts of a
batch add up to the loss of the whole. Where a weight is 0 nothing else is looked at: values there may be
infinite or NaN, and their gradient is 0. Arithmetic is in float32, or float64 if an argument has it.

All functions raise InputError for arrays of other shapes; `advantage` may also be ``(K, 1)``.
"""

import torch
from torch import Tensor

from septet.empg.masks import as_booleans, matching, where_counted, working
from septet.errors import InputError


def token_weights(mask: Tensor, average: str, limit: int) -> Tensor:
    """Weight of each token in the loss (pitfall 5).

    `sequence`: ``m / (K |y_i|)``, the mean over each completion first, as in GRPO and the paper's code; it
    favours short correct and long wrong answers. `token`: ``m / sum(m)``, all tokens alike. `constant`:
    ``m / (K limit)``, Dr. GRPO's, no length in it. `sum`: ``m / K``, RLOO's, the log-probability of a completion.

    Args:
        mask: ``(K, L)``, 0 and 1 of any dtype; padding may be on either side, and gaps between.
        average: `sequence`, `token`, `constant` or `sum`.
        limit: most tokens that a completion may have, for `constant`.

    Returns:
        ``(K, L)``, float64 for such a mask, else float32.

    Raises:
        InputError: the mask is not one, or the limit is not positive.
        ValueError: another average.
    """
    counted = as_booleans(mask, (None, None))
    ones = counted.to(working(mask))
    if average == "sequence":
        return ones / (len(ones) * counted.sum(1, keepdim=True).clamp(min=1))
    if average == "token":
        return ones / counted.sum().clamp(min=1)
    if average == "constant":
        if limit <= 0:
            raise InputError("limit", expected="a positive number", found=limit)
        return ones / (len(ones) * limit)
    if average == "sum":
        return ones / len(ones)
    raise ValueError(f"no average {average}")


def _counted(weights: Tensor, **named: Tensor) -> list[Tensor]:
    """Arrays with 0 where a token has no weight, in float32 or float64; the first is ``(K, L)``, as the weights are."""
    arrays = list(named.values())
    rows, width = matching(next(iter(named)), arrays[0], (None, None)).shape
    counts = matching("weights", weights, (rows, width)) != 0
    for name, array in named.items():
        column = name == "advantage" and array.shape == (rows, 1)
        matching(name, array, (rows, 1 if column else width))
    dtype = working(weights, *arrays)
    return [where_counted(counts, array, dtype) for array in arrays]


def log_likelihood_loss(log_pi: Tensor, advantage: Tensor, weights: Tensor) -> Tensor:
    """EMPG, RAFT, REINFORCE: ``- sum w A log pi(y)``, no importance ratio (equations 10 and 11)."""
    log_pi, advantage = _counted(weights, log_pi=log_pi, advantage=advantage)
    return -(weights * advantage * log_pi).sum()


def ratio_loss(log_pi: Tensor, log_pi_old: Tensor, advantage: Tensor, weights: Tensor) -> Tensor:
    """Importance-weighted surrogate without clipping: ``- sum w A pi / pi_old``."""
    log_pi, log_pi_old, advantage = _counted(weights, log_pi=log_pi, log_pi_old=log_pi_old, advantage=advantage)
    return -(weights * advantage * torch.exp(log_pi - log_pi_old)).sum()


def clipped_loss(
    log_pi: Tensor, log_pi_old: Tensor, advantage: Tensor, weights: Tensor, low: float, high: float
) -> Tensor:
    """PPO's clipped surrogate (Schulman et al. 2017, equation 7), used by GRPO and REINFORCE++ too.

    ``- sum w min(rho A, clip(rho, 1 - low, 1 + high) A)``, ``rho = pi / pi_old``.
    """
    log_pi, log_pi_old, advantage = _counted(weights, log_pi=log_pi, log_pi_old=log_pi_old, advantage=advantage)
    ratio = torch.exp(log_pi - log_pi_old)
    clipped = ratio.clamp(1.0 - low, 1.0 + high)
    return -(weights * torch.minimum(ratio * advantage, clipped * advantage)).sum()


def sequence_clipped_loss(
    log_pi: Tensor, log_pi_old: Tensor, advantage: Tensor, weights: Tensor, low: float, high: float
) -> Tensor:
    """The clipped surrogate with one ratio for each completion, as in TRL's RLOOTrainer.

    ``- sum_i w_i min(rho_i A_i, clip(rho_i, 1 - low, 1 + high) A_i)``, ``rho_i = prod_t pi / pi_old``.

    Args:
        log_pi, log_pi_old: ``(K, L)``.
        advantage: ``(K, L)`` or ``(K, 1)``; all tokens of a completion have the same.
        weights: ``(K, L)``; all tokens of a completion have the same weight, which is that of the completion.
        low, high: half-widths of the clip range.
    """
    log_pi, log_pi_old, advantage = _counted(weights, log_pi=log_pi, log_pi_old=log_pi_old, advantage=advantage)
    first = (weights != 0).int().argmax(1, keepdim=True)
    weight, a = weights.gather(1, first), advantage.gather(1, first)
    ratio = torch.exp((log_pi - log_pi_old).sum(1, keepdim=True))
    return -(weight * torch.minimum(ratio * a, ratio.clamp(1.0 - low, 1.0 + high) * a)).sum()


def k3(log_pi: Tensor, log_pi_ref: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(pi || pi_ref), token by token: ``r - log r - 1``, ``r = pi_ref / pi``."""
    difference = log_pi_ref - log_pi
    return torch.exp(difference) - difference - 1.0


def kl_loss(log_pi: Tensor, log_pi_ref: Tensor, weights: Tensor) -> Tensor:
    """``sum w k3``, the reference term of the loss (equation 14); multiplied by beta outside."""
    return (weights * k3(*_counted(weights, log_pi=log_pi, log_pi_ref=log_pi_ref))).sum()


def entropy_bonus(entropy: Tensor, weights: Tensor) -> Tensor:
    """``sum w H``, the mean entropy of the predictions; multiplied by -eta outside."""
    return (weights * _counted(weights, entropy=entropy)[0]).sum()


def value_loss(values: Tensor, values_old: Tensor, returns: Tensor, weights: Tensor, clip: float) -> Tensor:
    """PPO's critic: half the larger of the plain and the clipped squared error, ``sum w max(., .) / 2``."""
    values, values_old, returns = _counted(weights, values=values, values_old=values_old, returns=returns)
    clipped = values_old + (values - values_old).clamp(-clip, clip)
    return 0.5 * (weights * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)).sum()
