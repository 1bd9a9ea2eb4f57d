"""What VPG, TRPO and PPO share: orthogonal tanh nets, generalised advantages, the value net's regression."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from septet.rl import gaussian, returns, values
from septet.rl.collecting import (
    Array,
    Batch,
    Collecting,
    by_seed,
    by_step,
    normalised,
    permutations,
    sizes_of,
    values_at,
)
from septet.rl.config import PPO, TRPO, VPG, Job
from septet.rl.networks import Network, Parameters, initial, orthogonal
from septet.rl.normalise import standard
from septet.rl.optimisers import Adam
from septet.sampler.policy import GaussianPolicy
from septet.sampler.rollout import Rollout

EPS = 1e-5  # Adam's, as in Stable-Baselines3


class OnPolicy(Collecting[Batch]):
    """A Gaussian policy and a value net that share nothing, S seeds in lockstep.

    Args:
        job: what to train.
        method: its method.
        rates: Adam's, of policy and value net.
    """

    checkpointed = (*Collecting.checkpointed, "policy", "value", "policy_optimiser", "value_optimiser")

    def __init__(self, job: Job, method: VPG | TRPO | PPO, rates: tuple[float, float]) -> None:
        shape = GaussianPolicy(*sizes_of(job.task.environment), method.hidden, clip=method.clip_observations)
        super().__init__(job, shape, method.steps)
        self.common = method
        gains = [math.sqrt(2.0)] * len(method.hidden)
        networks = Network(shape.sizes, free=shape.action_size), Network((*shape.sizes[:-1], 1))
        draws = orthogonal([*gains, 0.01]), orthogonal([*gains, 1.0])
        self.policy, self.value = (
            Parameters(network, initial(network, job.root_seed, (name,), job.seeds, draw))
            for network, name, draw in zip(networks, ("policy", "value"), draws, strict=True)
        )
        self.policy_optimiser = Adam(self.policy.flat, self.policy.gradient, rates[0], eps=EPS)
        self.value_optimiser = Adam(self.value.flat, self.value.gradient, rates[1], eps=EPS)

    def weights(self) -> NDArray[np.float32]:
        """The policy's parameters: the layout is that of the samplers."""
        return self.policy.flat.numpy()

    def scaling(self) -> tuple[Array, Array]:
        """Standardising mean and scale, or none."""
        if self.common.normalise_observations:
            return standard(self.moments)
        return np.zeros_like(self.moments.mean), np.ones_like(self.moments.mean)

    @torch.no_grad()
    def prepare(self, rollout: Rollout) -> tuple[Batch, dict[str, Array]]:
        """Log-densities, advantages and value targets of the samples."""
        seeds, method, mean, scale = len(self.job.seeds), self.common, rollout.mean, rollout.scale
        clip, steps = self.shape.clip, len(rollout.reward)
        x = torch.from_numpy(by_seed(normalised(rollout.observation, mean, scale, clip), seeds))
        action = torch.from_numpy(by_seed(rollout.action, seeds))
        value = self.value(x).squeeze(2).numpy()
        stepwise = by_step(value, steps).astype(np.float64)
        each = rollout.reward.shape[1] // seeds
        last, ended = np.arange(rollout.reward.shape[1]), rollout.final_environment
        following = returns.next_values(
            stepwise,
            values_at(
                self.value.network,
                self.value.flat,
                normalised(rollout.last_observation, mean, scale, clip),
                last // each,
            ),
            rollout.final_step,
            ended,
            values_at(
                self.value.network,
                self.value.flat,
                normalised(rollout.final_observation, mean[ended], scale[ended], clip),
                ended // each,
            ),
        )
        terminated = rollout.terminated if method.bootstrap_time_limits else rollout.terminated | rollout.truncated
        ends = terminated, rollout.truncated, rollout.valid
        advantage = by_seed(
            returns.gae(rollout.reward, stepwise, following, *ends, method.gamma, method.gae_lambda), seeds
        ).astype(np.float32)
        targets = advantage + value
        log_prob = gaussian.log_prob(self.policy(x), self.policy.free, action)
        scores = {
            "entropy": gaussian.entropy(self.policy.free).double().numpy(),
            "explained_variance": returns.explained_variance(value.astype(np.float64), targets.astype(np.float64)),
        }
        return Batch(x, action, log_prob, torch.from_numpy(advantage), torch.from_numpy(targets)), scores

    def fit_values(self, batch: Batch, iteration: int, epochs: int, size: int) -> Array:
        """Fit the value net in mini-batches of `size`; mean squared error (S,)."""
        n = batch.observation.shape[1]
        order = permutations(self.job.root_seed, self.job.seeds, iteration, epochs, n)
        done = [int(self.value_optimiser.steps)] * len(order)
        x, target = list(batch.observation), list(batch.returns)
        loss = values.fit(self.value, self.value_optimiser, x, target, list(order), [size] * len(order), done)
        self.value_optimiser.steps += epochs * -(-n // size)
        return loss
