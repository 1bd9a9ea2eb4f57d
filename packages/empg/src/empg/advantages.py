"""Advantages of EMPG and its baselines: pure functions of rewards.

K completions, each of at most L tokens; `mask` ``(K, L)`` is 1 on a completion's own tokens (its end
token included) and 0 on padding. Completions of one prompt lie next to each other, N to a prompt, so a
reward vector ``(K,)`` is reshaped to ``(K / N, N)`` where a method compares within the group. Section
numbers are those of `docs/papers/empg.md`.
"""

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-8


def token_rewards(reward: Tensor, mask: Tensor, kl: Tensor | None = None, coefficient: float = 0.0) -> Tensor:
    """Reward of each token (section 2, as coded, step 1).

    ``r_it = R_i 1[t = |y_i|] - c (log pi_old - log pi_ref)_it``.

    Args:
        reward: ``(K,)``, R of each completion.
        mask: ``(K, L)``.
        kl: ``(K, L)``, log pi_old - log pi_ref of the sampled tokens; none without a reference.
        coefficient: c, the KL coefficient in the reward.

    Returns:
        ``(K, L)``, 0 on padding.
    """
    last = mask.long().sum(1) - 1
    rewards = torch.zeros_like(mask)
    rewards[torch.arange(len(mask)), last] = reward.to(mask.dtype)
    if kl is not None and coefficient:
        rewards = rewards - coefficient * kl * mask
    return rewards


def returns_to_go(rewards: Tensor, mask: Tensor) -> Tensor:
    """Undiscounted return-to-go ``G_it = sum_{k >= t} r_ik`` (section 2, as coded, step 2), ``(K, L)``."""
    return rewards.flip(1).cumsum(1).flip(1) * mask


def whiten(values: Tensor, mask: Tensor | None = None, *, bessel: bool = True) -> Tensor:
    """Standardise over the whole batch: ``z = (x - mean) / sqrt(var + 1e-8)``.

    All prompts are pooled, unlike a group baseline. With `mask` the statistics are those of all tokens
    together, so long completions weigh more (section 2, as coded, step 2).

    Args:
        values: any shape.
        mask: of the same shape; none counts every entry.
        bessel: divide by n - 1.

    Returns:
        Same shape; 0 where the mask is 0, and everywhere if all counted values are equal.
    """
    mask = torch.ones_like(values) if mask is None else mask
    count = mask.sum()
    centred = (values - (values * mask).sum() / count) * mask
    variance = (centred**2).sum() / (count - 1 if bessel else count).clamp(min=1)
    exact = (values[mask > 0] == values[mask > 0][:1]).all()  # rounding of the mean must not become a signal
    return torch.zeros_like(centred) if exact else centred / torch.sqrt(variance + VARIANCE_FLOOR)


def smooth(z: Tensor, mask: Tensor | None = None, *, sigmoid: bool = True, baseline: str = "half") -> Tensor:
    """EMPG's weight less its baseline (equations 10 to 12; section 2, as coded, step 3).

    ``A = 2 (sigma(z) - b)``; with b = 1/2 this is ``tanh(z / 2)``. Without the sigmoid ``A = z - b``, where
    b = 1/2 has no meaning and counts as 0.

    Args:
        z: standardised returns, or raw ones where the standardisation is switched off.
        mask: counted entries of the mean baseline.
        sigmoid: squash z.
        baseline: `half`, `mean` (of the weights), or `none`.

    Raises:
        ValueError: another baseline.
    """
    mask = torch.ones_like(z) if mask is None else mask
    weight = torch.sigmoid(z) if sigmoid else z
    scale = 2.0 if sigmoid else 1.0
    if baseline == "half":
        b: Tensor | float = 0.5 if sigmoid else 0.0
    elif baseline == "mean":
        b = (weight * mask).sum() / mask.sum()
    elif baseline == "none":
        b = 0.0
    else:
        raise ValueError(f"no baseline {baseline}")
    return scale * (weight - b) * mask


def batch_centre(reward: Tensor) -> Tensor:
    """REINFORCE with the batch mean as baseline: ``R_i - mean(R)``, ``(K,)``."""
    return reward - reward.mean()


def group_centre(reward: Tensor, samples: int) -> Tensor:
    """Dr. GRPO (Liu et al. 2025): ``R_ij - mean_j R_ij`` within each prompt's N completions, ``(K,)``."""
    groups = reward.view(-1, samples)
    return (groups - groups.mean(1, keepdim=True)).view(-1)


def group_standardise(reward: Tensor, samples: int, floor: float = 1e-6) -> Tensor:
    """GRPO (Shao et al. 2024): ``(R_ij - mean_j) / (std_j + floor)``, std with n - 1; ``(K,)``.

    A group whose rewards are equal gets exactly 0. One whose rewards differ by next to nothing is blown
    up to order 1: with a KL term in the reward this happens to all-wrong groups (pitfall 2).
    """
    groups = reward.view(-1, samples)
    centred = groups - groups.mean(1, keepdim=True)
    if samples == 1:
        return torch.zeros_like(reward)
    equal = (groups == groups[:, :1]).all(1, keepdim=True)
    scaled = centred / (groups.std(1, keepdim=True) + floor)
    return torch.where(equal, torch.zeros_like(scaled), scaled).view(-1)


def leave_one_out(reward: Tensor, samples: int) -> Tensor:
    """RLOO (Ahmadian et al. 2024): ``R_ij`` less the mean of the prompt's other completions, ``(K,)``."""
    groups = reward.view(-1, samples)
    others = (groups.sum(1, keepdim=True) - groups) / max(samples - 1, 1)
    return (groups - others).view(-1)


def keep_correct(reward: Tensor) -> Tensor:
    """Online ReST-EM: weight 1 for each completion with a positive reward, else 0; ``(K,)``."""
    return (reward > 0).to(reward.dtype)


def keep_best(reward: Tensor, samples: int) -> Tensor:
    """RAFT (Dong et al. 2023): weight 1 for each prompt's first best completion with a positive reward; ``(K,)``."""
    groups = reward.view(-1, samples)
    best = torch.nn.functional.one_hot(groups.argmax(1), samples).to(reward.dtype)
    return (best * (groups > 0)).view(-1)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation, undiscounted (Schulman et al. 2016, equation 16).

    ``A_t = d_t + lam A_{t+1}``, ``d_t = r_t + V_{t+1} - V_t``; V after the last token is 0: a completion that
    is cut off counts as a failure, so it has no value beyond.

    Args:
        rewards, values, mask: ``(K, L)``.

    Returns:
        Advantages and the returns ``A + V`` that the critic learns, both ``(K, L)``.
    """
    values = values * mask
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    delta = (rewards + following - values) * mask
    advantage = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    for t in range(values.shape[1] - 1, -1, -1):
        running = delta[:, t] + lam * running * mask[:, t]
        advantage[:, t] = running
    return advantage * mask, (advantage + values) * mask
