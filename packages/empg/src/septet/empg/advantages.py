"""Advantages of EMPG and its baselines: pure functions of rewards.

K completions, each of at most L tokens; `mask` ``(K, L)`` is 1 on a completion's own tokens (its end
token included) and 0 elsewhere: on padding, on whichever side it is, and on the output of tools between
the model's own tokens. It has any dtype (`septet.empg.masks`); what it leaves out is not looked at, and an empty row
counts for nothing. Completions of one prompt lie next to each other, N to a prompt, so a
reward vector ``(K,)`` is reshaped to ``(K / N, N)`` where a method compares within the group. Results are
float32, or float64 if an argument is. Section numbers are those of `docs/papers/empg.md`.

All functions raise InputError for a mask of another shape or with values other than 0 and 1, and for rewards that
do not fit.
"""

from numbers import Integral

import torch
from torch import Tensor

from septet.empg.masks import as_booleans, matching, where_counted, working
from septet.errors import InputError

VARIANCE_FLOOR = 1e-8


def _rewards(reward: Tensor, samples: int = 1, *, finite: bool = False) -> Tensor:
    """A reward vector in float32 or float64. Raises InputError at what is none, or no multiple of `samples`."""
    if not isinstance(reward, Tensor) or reward.dim() != 1 or reward.is_complex():
        found = f"shape {tuple(reward.shape)}, {reward.dtype}" if isinstance(reward, Tensor) else type(reward).__name__
        raise InputError("reward", expected="real numbers of shape (K,)", found=found)
    if isinstance(samples, bool) or not isinstance(samples, Integral) or samples < 1 or len(reward) % samples:
        expected = f"a whole number that divides the {len(reward)} rewards"
        raise InputError("samples", expected=expected, found=samples)
    reward = reward.to(working(reward))
    if finite and not reward.isfinite().all():
        raise InputError("reward", expected="finite numbers", found=reward[~reward.isfinite()][0].item())
    return reward


def token_rewards(reward: Tensor, mask: Tensor, kl: Tensor | None = None, coefficient: float = 0.0) -> Tensor:
    """Reward of each token (section 2, as coded, step 1).

    ``r_it = R_i 1[t = |y_i|] - c (log pi_old - log pi_ref)_it``.

    Args:
        reward: ``(K,)``, R of each completion; |y_i| is its last token that the mask counts.
        mask: ``(K, L)``.
        kl: ``(K, L)``, log pi_old - log pi_ref of the sampled tokens; none without a reference.
        coefficient: c, the KL coefficient in the reward.

    Returns:
        ``(K, L)``, 0 where the mask is 0; a row of zeros has no token that could earn its reward.

    Raises:
        InputError: see above; also a reward that is not finite.
    """
    reward, dtype = _rewards(reward, finite=True), working(reward, mask, kl)
    mask = as_booleans(mask, (len(reward), None))
    last = mask & (mask.flip(1).cumsum(1).flip(1) == 1)
    rewards = where_counted(last, reward[:, None].expand(mask.shape), dtype)
    if kl is not None and coefficient:
        rewards = rewards - coefficient * where_counted(mask, matching("kl", kl, mask.shape), dtype)
    return rewards


def returns_to_go(rewards: Tensor, mask: Tensor) -> Tensor:
    """Undiscounted return-to-go ``G_it = sum_{k >= t} r_ik`` (section 2, as coded, step 2), ``(K, L)``."""
    dtype = working(rewards, mask)
    mask = as_booleans(mask, matching("rewards", rewards, (None, None)).shape)
    return where_counted(mask, where_counted(mask, rewards, dtype).flip(1).cumsum(1).flip(1))


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
    dtype = working(values, mask)
    mask = torch.ones_like(values, dtype=torch.bool) if mask is None else as_booleans(mask, values.shape)
    values = where_counted(mask, values, dtype)
    count = mask.sum()
    centred = where_counted(mask, values - values.sum() / count)
    variance = (centred**2).sum() / (count - 1 if bessel else count).clamp(min=1)
    exact = (values[mask] == values[mask][:1]).all()  # rounding of the mean must not become a signal
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
    dtype = working(z, mask)
    mask = torch.ones_like(z, dtype=torch.bool) if mask is None else as_booleans(mask, z.shape)
    z = where_counted(mask, z, dtype)
    weight = torch.sigmoid(z) if sigmoid else z
    scale = 2.0 if sigmoid else 1.0
    if baseline == "half":
        b: Tensor | float = 0.5 if sigmoid else 0.0
    elif baseline == "mean":
        b = where_counted(mask, weight).sum() / mask.sum()
    elif baseline == "none":
        b = 0.0
    else:
        raise ValueError(f"no baseline {baseline}")
    return where_counted(mask, scale * (weight - b))


def batch_centre(reward: Tensor) -> Tensor:
    """REINFORCE with the batch mean as baseline: ``R_i - mean(R)``, ``(K,)``."""
    reward = _rewards(reward)
    return reward - reward.mean()


def group_centre(reward: Tensor, samples: int) -> Tensor:
    """Dr. GRPO (Liu et al. 2025): ``R_ij - mean_j R_ij`` within each prompt's N completions, ``(K,)``."""
    groups = _rewards(reward, samples).reshape(-1, samples)
    return (groups - groups.mean(1, keepdim=True)).view(-1)


def group_standardise(reward: Tensor, samples: int, floor: float = 1e-6) -> Tensor:
    """GRPO (Shao et al. 2024): ``(R_ij - mean_j) / (std_j + floor)``, std with n - 1; ``(K,)``.

    A group whose rewards are equal gets exactly 0. One whose rewards differ by next to nothing is blown
    up to order 1: with a KL term in the reward this happens to all-wrong groups (pitfall 2).
    """
    groups = _rewards(reward, samples).reshape(-1, samples)
    centred = groups - groups.mean(1, keepdim=True)
    if samples == 1:
        return torch.zeros_like(groups).view(-1)
    equal = (groups == groups[:, :1]).all(1, keepdim=True)
    scaled = centred / (groups.std(1, keepdim=True) + floor)
    return torch.where(equal, torch.zeros_like(scaled), scaled).view(-1)


def leave_one_out(reward: Tensor, samples: int) -> Tensor:
    """RLOO (Ahmadian et al. 2024): ``R_ij`` less the mean of the prompt's other completions, ``(K,)``."""
    groups = _rewards(reward, samples).reshape(-1, samples)
    others = (groups.sum(1, keepdim=True) - groups) / max(samples - 1, 1)
    return (groups - others).view(-1)


def keep_correct(reward: Tensor) -> Tensor:
    """Online ReST-EM: weight 1 for each completion with a positive reward, else 0; ``(K,)``."""
    reward = _rewards(reward, finite=True)
    return (reward > 0).to(reward.dtype)


def keep_best(reward: Tensor, samples: int) -> Tensor:
    """RAFT (Dong et al. 2023): weight 1 for each prompt's first best completion with a positive reward; ``(K,)``."""
    groups = _rewards(reward, samples, finite=True).reshape(-1, samples)
    best = torch.nn.functional.one_hot(groups.argmax(1), samples).to(groups.dtype)
    return (best * (groups > 0)).view(-1)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation, undiscounted (Schulman et al. 2016, equation 16).

    ``A_t = d_t + lam A_{t+1}``, ``d_t = r_t + V_{t+1} - V_t``, where t + 1 is the next token that the mask counts; V
    after the last one is 0: a completion that is cut off counts as a failure, so it has no value beyond.

    Args:
        rewards, values, mask: ``(K, L)``.
        lam: lambda, in [0, 1].

    Returns:
        Advantages and the returns ``A + V`` that the critic learns, both ``(K, L)``.
    """
    dtype = working(rewards, values, mask)
    mask = as_booleans(mask, matching("values", values, matching("rewards", rewards, (None, None)).shape).shape)
    rewards, values = (where_counted(mask, array, dtype) for array in (rewards, values))
    advantage = torch.zeros_like(values)
    running = following = values.new_zeros(len(values))
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + following - values[:, t]
        running = torch.where(mask[:, t], delta + lam * running, running)
        following = torch.where(mask[:, t], values[:, t], following)
        advantage[:, t] = running
    advantage = where_counted(mask, advantage)
    return advantage, advantage + values
