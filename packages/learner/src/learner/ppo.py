"""Proximal policy optimisation with a clipped ratio (Schulman et al. 2017), as Stable-Baselines3 does it."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learner import gaussian, kernels
from learner.config import PPO
from learner.networks import Parameters, backward
from learner.on_policy import EPS, Batch, OnPolicy, permutations
from learner.optimisers import Adam, clip_norms


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - c, 1 + c) A), element by element.

    Schulman et al. 2017, equation 7.

    Args:
        ratio: rho, probability of the action under the new policy over that under the old.
        advantage: A.
        clip: c.
    """
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def standardised(advantage: Tensor) -> Tensor:
    """(A - mean) / (std + 1e-8) over the last axis, with the sample standard deviation; a single one as it is."""
    if advantage.shape[-1] < 2:
        return advantage
    return (advantage - advantage.mean(-1, keepdim=True)) / (advantage.std(-1, keepdim=True) + 1e-8)


class Losses(NamedTuple):
    """Loss (S,) of a mini-batch and its parts."""

    loss: Tensor
    policy: Tensor
    value: Tensor
    divergence: Tensor
    clipped: Tensor


def losses(
    mean: Tensor, log_std: Tensor, value: Tensor, batch: Batch, clip: float, entropy_weight: float, value_weight: float
) -> Losses:
    """L = mean clipped surrogate - c_h H + c_v mean (V - R)², per seed.

    Schulman et al. 2017, equation 9; advantages standardised over the mini-batch. The divergence is the
    estimate mean(rho - 1 - log rho) of KL(old | new).

    Args:
        mean: of the policy, (S, n, A).
        log_std: (S, A).
        value: (S, n).
        batch: samples (S, n, ...).
        clip: c of the surrogate.
        entropy_weight: c_h.
        value_weight: c_v.
    """
    log_ratio = gaussian.log_prob(mean, log_std, batch.action) - batch.log_prob
    ratio = log_ratio.exp()
    policy = clipped_surrogate(ratio, standardised(batch.advantage), clip).mean(1)
    squared = (value - batch.returns).square().mean(1)
    loss = policy - entropy_weight * gaussian.entropy(log_std) + value_weight * squared
    far = ((ratio - 1.0).abs() > clip).to(loss.dtype)
    return Losses(loss, policy, squared, (ratio - 1.0 - log_ratio).mean(1), far.mean(1))


def update(
    policy: Parameters,
    value: Parameters,
    optimisers: tuple[Adam, Adam],
    batch: Batch,
    order: NDArray[np.int64],
    method: PPO,
) -> NDArray[np.float64]:
    """All mini-batch steps of one iteration, by automatic differentiation: the reference of `kernels.ppo_epochs`.

    Args:
        policy, value: parameters, changed in place.
        optimisers: of the two, on their flat tensors.
        batch: samples (S, n, ...).
        order: permutations (S, epochs, n).
        method: settings.

    Returns:
        (S, 4): means over the mini-batches of policy loss, value loss, divergence and clipped share.
    """
    seeds = torch.arange(len(order)).unsqueeze(1)
    found = []
    for epoch in torch.from_numpy(order).unbind(1):
        for rows in epoch.split(method.batch, dim=1):
            part = Batch(*(each[seeds, rows] for each in batch))
            mean, v = policy(part.observation), value(part.observation).squeeze(2)
            of = losses(mean, policy.free, v, part, method.clip, method.entropy_weight, method.value_weight)
            backward(of.loss.sum(), policy, value)
            clip_norms([policy.gradient, value.gradient], method.max_gradient)
            for optimiser in optimisers:
                optimiser.step()
            found.append(torch.stack([part.detach() for part in of[1:]], 1))
    return torch.stack(found).mean(0).double().numpy()


class PPOLearner(OnPolicy[PPO]):
    """PPO on a task, all seeds in lockstep."""

    def rates(self) -> tuple[float, float]:
        """One rate for both nets."""
        return self.method.rate, self.method.rate

    def learn(self, batch: Batch, iteration: int) -> dict[str, NDArray[np.float64]]:
        """Go through the samples `epochs` times in mini-batches."""
        method, n = self.method, batch.observation.shape[1]
        order = permutations(self.job.root_seed, self.job.seeds, iteration, method.epochs, n)
        done = int(self.policy_optimiser.steps)
        found = []
        for s in range(len(self.job.seeds)):
            one = [each[s].contiguous().numpy() for each in batch]
            tensors = (self.policy_optimiser, self.value_optimiser)
            moments = tuple(each[s].numpy() for o in tensors for each in (o.mean, o.square))
            found.append(
                kernels.ppo_epochs(
                    self.policy.network.sizes,
                    self.value.network.sizes,
                    self.policy.flat[s].numpy(),
                    self.value.flat[s].numpy(),
                    moments,  # type: ignore[arg-type]  # four of them
                    *one,
                    order[s],
                    method.batch,
                    done,
                    method.rate,
                    EPS,
                    method.clip,
                    method.entropy_weight,
                    method.value_weight,
                    method.max_gradient,
                )
            )
        steps = method.epochs * -(-n // method.batch)
        for optimiser in (self.policy_optimiser, self.value_optimiser):
            optimiser.steps += steps
        names = ("policy_loss", "value_loss", "kl", "clipped")
        return dict(zip(names, np.array(found).T, strict=True))
