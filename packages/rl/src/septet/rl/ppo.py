"""Proximal policy optimisation with a clipped ratio (Schulman et al. 2017), as Stable-Baselines3 does it."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.errors import InputError
from septet.rl import gaussian, kernels
from septet.rl.collecting import Batch, permutations
from septet.rl.config import PPO, Job
from septet.rl.networks import Parameters, backward
from septet.rl.on_policy import OnPolicy
from septet.rl.optimisers import Adam, clip_norms
from septet.rl.values import need_tanh


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
        for rows in torch.split(epoch, method.batch, dim=1):
            part = Batch(*(each[seeds, rows] for each in batch))
            mean, v = policy(part.observation), value(part.observation).squeeze(2)
            of = losses(mean, policy.free, v, part, method.clip, method.entropy_weight, method.value_weight)
            backward(of.loss.sum(), policy, value)
            clip_norms([policy.gradient, value.gradient], method.max_gradient)
            for optimiser in optimisers:
                optimiser.step()
            found.append(torch.stack([part.detach() for part in of[1:]], 1))
    return torch.stack(found).mean(0).double().numpy()


def train_epochs(
    policy: Parameters,
    value: Parameters,
    optimisers: tuple[Adam, Adam],
    batch: Batch,
    order: NDArray[np.int64],
    method: PPO,
) -> NDArray[np.float64]:
    """Do what `update` does, compiled, one seed after the other; tanh nets only.

    Raises:
        InputError: an array that does not fit, or another net.
    """
    need_tanh(policy.network)
    need_tanh(value.network)
    if len(order) != len(policy.flat):
        raise InputError(
            "train_epochs: order", expected=f"one of each of the {len(policy.flat)} seeds", found=len(order)
        )
    done, found = int(optimisers[0].steps), []
    for s, rows in enumerate(order):
        means = [moment[s].numpy() for optimiser in optimisers for moment in (optimiser.mean, optimiser.square)]
        observation, action, log_prob, advantage, returns = (part[s].contiguous().numpy() for part in batch)
        found.append(
            kernels.ppo_epochs(
                policy.network.sizes,
                value.network.sizes,
                policy.flat[s].numpy(),
                value.flat[s].numpy(),
                (means[0], means[1], means[2], means[3]),
                observation,
                action,
                log_prob,
                advantage,
                returns,
                rows,
                method.batch,
                done,
                optimisers[0].rate,
                optimisers[0].eps,
                method.clip,
                method.entropy_weight,
                method.value_weight,
                method.max_gradient,
            )
        )
    for optimiser in optimisers:
        optimiser.steps += order.shape[1] * -(-order.shape[2] // method.batch)
    return np.array(found)


class PPOLearner(OnPolicy):
    """PPO on a task, all seeds in lockstep."""

    def __init__(self, job: Job) -> None:
        method = job.method
        assert isinstance(method, PPO)
        super().__init__(job, method, (method.rate, method.rate))
        self.method = method

    def learn(self, batch: Batch, iteration: int) -> dict[str, NDArray[np.float64]]:
        """Go through the samples `epochs` times in mini-batches."""
        method, n = self.method, batch.observation.shape[1]
        order = permutations(self.job.root_seed, self.job.seeds, iteration, method.epochs, n)
        optimisers = self.policy_optimiser, self.value_optimiser
        found = train_epochs(self.policy, self.value, optimisers, batch, order, method)
        return dict(zip(("policy_loss", "value_loss", "kl", "clipped"), found.T, strict=True))
