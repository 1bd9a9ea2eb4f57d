"""The M-step: rewards to advantages, and M gradient steps on one batch of completions; the learning rate of each."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from septet.empg import advantages as adv
from septet.empg import losses
from septet.empg.config import Method
from septet.empg.forward import batches, log_probabilities
from septet.empg.masks import as_booleans, matching, where_counted, working
from septet.empg.policy import Masters, Policy
from septet.empg.process_group import Fleet
from septet.empg.sample import Rollout
from septet.nonfinite import check_finite


@dataclass(frozen=True)
class Lesson:
    """What one batch of completions teaches; all arrays ``(K, L)``, 0 on padding."""

    advantage: Tensor
    weights: Tensor
    """How tokens are averaged, see `losses.token_weights`."""
    old: Tensor
    """log pi of the policy that drew the completions."""
    reference: Tensor | None = None
    """log pi of the reference model."""
    values: Tensor | None = None
    """The critic's values before the update."""
    returns: Tensor | None = None
    """What the critic learns."""


def lesson(
    method: Method,
    reward: Tensor,
    old: Tensor,
    mask: Tensor,
    *,
    samples: int,
    limit: int,
    reference: Tensor | None = None,
    values: Tensor | None = None,
) -> Lesson:
    """Advantages of a batch by the method's rule (section 2 for EMPG, section 5 for the others).

    Args:
        reward: ``(K,)``; N completions of a prompt next to each other.
        old, mask, reference, values: ``(K, L)``.
        samples: N.
        limit: most tokens of a completion.

    Raises:
        InputError: arrays that do not fit each other, a mask with values other than 0 and 1, a reward
            that is not finite.
    """
    dtype, mask = working(mask, old), as_booleans(mask, (len(reward), None))
    for name, array in (("old", old), ("reference", reference), ("values", values)):
        if array is not None:
            matching(name, array, mask.shape)
    kl = None if reference is None or not method.kl_reward else where_counted(mask, old - reference)
    rewards = adv.token_rewards(reward, mask, kl, method.kl_reward)
    total = rewards.sum(1) if kl is not None else reward
    returns = None
    match method.estimator:
        case "empg" if method.level == "token" or (method.level == "auto" and kl is not None):
            z = adv.returns_to_go(rewards, mask)
            z = adv.whiten(z, mask) if method.standardise else z
            advantage = adv.smooth(z, mask, sigmoid=method.sigmoid, baseline=method.baseline)
        case "empg":
            z = adv.whiten(total, bessel=False) if method.standardise else total
            advantage = adv.smooth(z, sigmoid=method.sigmoid, baseline=method.baseline)
        case "reinforce":
            advantage = adv.batch_centre(total)
        case "reinforce_pp":
            advantage = adv.whiten(adv.returns_to_go(rewards, mask), mask)
        case "grpo":
            advantage = adv.group_standardise(total, samples)
        case "dr_grpo":
            advantage = adv.group_centre(total, samples)
        case "rloo":
            advantage = adv.leave_one_out(total, samples)
        case "raft":
            advantage = adv.keep_correct(reward) if method.keep == "correct" else adv.keep_best(reward, samples)
        case "ppo":
            assert values is not None
            raw, returns = adv.gae(rewards, values, mask, method.gae_lambda)
            advantage = adv.whiten(raw, mask)
    advantage = advantage if advantage.dim() == 2 else where_counted(mask, advantage[:, None])
    weights = losses.token_weights(mask.to(dtype), method.average, limit)
    return Lesson(advantage, weights, old, reference, values if returns is not None else None, returns)


def batch_loss(method: Method, what: Lesson, log_pi: Tensor, entropy: Tensor | None, values: Tensor | None) -> Tensor:
    """The method's loss on some completions: policy term, beta k3, -eta entropy, critic; a sum over tokens."""
    clip = method.clip, method.clip
    match method.ratio:
        case "none":
            loss = losses.log_likelihood_loss(log_pi, what.advantage, what.weights)
        case "plain":
            loss = losses.ratio_loss(log_pi, what.old, what.advantage, what.weights)
        case "clip":
            loss = losses.clipped_loss(log_pi, what.old, what.advantage, what.weights, *clip)
        case "sequence":
            loss = losses.sequence_clipped_loss(log_pi, what.old, what.advantage, what.weights, *clip)
    if method.kl_loss and what.reference is not None:
        loss = loss + method.kl_loss * losses.kl_loss(log_pi, what.reference, what.weights)
    if method.entropy and entropy is not None:
        loss = loss - method.entropy * losses.entropy_bonus(entropy, what.weights)
    if values is not None and what.returns is not None and what.values is not None:
        critic = losses.value_loss(values, what.values, what.returns, what.weights, method.clip)
        loss = loss + method.value_weight * critic
    return loss


@dataclass(frozen=True)
class Report:
    """What an M-step did."""

    kl: float
    """Mean log pi_old - log pi_new per token at the last pass, before its step, over the completions with a weight."""
    gradient: float
    """Norm of the last gradient before it is clipped."""
    trained: int
    """Tokens that were trained on, all passes together."""
    passes: int
    """Inner steps taken."""


def improve(
    policy: Policy,
    masters: Masters,
    optimiser: torch.optim.Optimizer,
    rollout: Rollout,
    what: Lesson,
    method: Method,
    *,
    temperature: float,
    max_grad_norm: float,
    row_tokens: int,
    batch_tokens: int,
    fleet: Fleet | None = None,
    at: tuple[int, int] = (0, 0),
) -> Report:
    """M gradient steps on one batch; completions that no term of the loss looks at are not computed.

    A batch without any weight still takes its steps, with a gradient of 0: the optimiser's momentum goes on, as it does
    where such completions are computed. From a base that seldom succeeds most batches are of this kind.

    The ratio of a whole completion is to what the first pass computes, as in TRL's RLOOTrainer: next to the sampler's
    log-probabilities it would raise the rounding of each token to the power of the length.

    Args:
        at: seed and step, for the message of what is raised.

    Raises:
        NotFinite: the gradient is no number; the weights are as they were.
    """
    everything = method.kl_loss > 0 or method.entropy > 0 or what.returns is not None
    kept = (what.advantage != 0).any(1) | everything
    fleet = fleet or Fleet()
    mine, rest = (fleet.own(some.nonzero()[:, 0].tolist(), rollout) for some in (kept, ~kept))
    room = policy.room(row_tokens, batch_tokens)
    rounds = fleet.most if masters.sharded else None
    width, limited = what.advantage.shape[1], method.max_kl is not None
    device = next(policy.parameters()).device
    first = torch.zeros_like(what.old)  # log pi at the first pass
    kl = gradient = 0.0
    trained = passes = 0
    for _ in range(method.inner_steps):
        masters.forget()
        moved, apart = torch.zeros(2, 2, device=device)  # sums of log pi_old - log pi and of k3, and tokens of each
        for batch in batches(rollout, mine, **room, device=device, rounds=rounds):
            part = _part(what, batch.members, device)
            log_pi, entropy, values = batch.run(policy, width, temperature, method.entropy > 0)
            old = part.old
            if method.ratio == "sequence":
                if not passes:
                    first[batch.members] = log_pi.detach().to(first)
                part = replace(part, old=first[batch.members].to(device))
            loss = batch_loss(method, part, log_pi, entropy, values)
            (loss * 0.0 if batch.spare else loss).backward()  # type: ignore[no-untyped-call]
            if batch.spare:
                continue
            counted = part.weights != 0
            moved[0] += where_counted(counted, old - log_pi.detach()).sum()
            moved[1] += counted.sum()
            if limited and passes:
                apart += _divergence(old, log_pi.detach(), counted)
        if limited and passes and not kept.all():  # completions without weight move too
            now, _ = log_probabilities(
                policy, rollout, rest, temperature=temperature, row_tokens=row_tokens, batch_tokens=batch_tokens,
                rounds=rounds,
            )  # fmt: skip
            apart += _divergence(what.old[rest], now[rest], what.weights[rest] != 0).to(apart)
        fleet.add(moved, apart if limited else None)
        fleet.add_gradients(masters)
        kl, tokens = float(moved[0] / moved[1].clamp(min=1)), int(moved[1])
        if method.max_kl is not None and float(apart[0] / apart[1].clamp(min=1)) > method.max_kl:
            break
        gradient = fleet.clip(masters, max_grad_norm)
        check_finite("the gradient's norm", np.array([gradient]), at[1], at[:1], "step")
        optimiser.step()
        masters.publish()
        trained += tokens
        passes += 1
    masters.forget()
    return Report(kl, gradient, trained, passes)


def _divergence(old: Tensor, new: Tensor, counted: Tensor) -> Tensor:
    """The sum of k3 of KL(old || new) over counted tokens, and their number; the plain log ratio may be negative."""
    return torch.stack([where_counted(counted, losses.k3(old, new)).sum(), counted.sum()])


def _part(what: Lesson, members: Tensor, device: torch.device) -> Lesson:
    there: dict[str, Any] = {name: None if one is None else one[members].to(device) for name, one in vars(what).items()}
    return Lesson(**there)


def learning_rate_factor(step: int, steps: int, warmup: int, schedule: str) -> float:
    """Factor of the learning rate in a step, counted from 0: a linear rise over `warmup` steps, then the schedule.

    It rises by ``1 / warmup`` a step. After that, with x the share of the remaining steps that are done, it is 1
    (`constant`), ``1 - x`` (`linear`) or ``(1 + cos(pi x)) / 2`` (`cosine`).
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[schedule]
