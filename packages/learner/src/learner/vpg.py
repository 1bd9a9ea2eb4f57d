"""Policy gradient with a learned baseline (Sutton et al. 2000; advantages of Schulman et al. 2016)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learner import gaussian, values
from learner.config import VPG
from learner.networks import backward
from learner.on_policy import Batch, OnPolicy, permutations
from learner.ppo import standardised


def loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """L = -mean A log pi(a|s), per seed: its gradient is the policy gradient.

    Args:
        log_prob: log pi(a|s), (S, n).
        advantage: A, (S, n).

    Returns:
        (S,).
    """
    return -(log_prob * advantage).mean(1)


class VPGLearner(OnPolicy[VPG]):
    """Policy gradient on a task, all seeds in lockstep."""

    def rates(self) -> tuple[float, float]:
        """Of policy and value net."""
        return self.method.rate, self.method.value_rate

    def learn(self, batch: Batch, iteration: int) -> dict[str, NDArray[np.float64]]:
        """One Adam step of the policy, `value_epochs` passes of the value net."""
        method, n = self.method, batch.observation.shape[1]
        old_mean, old_log_std = self.policy(batch.observation).detach(), self.policy.free.detach().clone()
        log_prob = gaussian.log_prob(self.policy(batch.observation), self.policy.free, batch.action)
        backward(loss(log_prob, standardised(batch.advantage)).sum(), self.policy)
        self.policy_optimiser.step()
        with torch.no_grad():
            divergence = gaussian.kl(old_mean, old_log_std, self.policy(batch.observation), self.policy.free).mean(1)
        order = permutations(self.job.root_seed, self.job.seeds, iteration, method.value_epochs, n)
        x, target = batch.observation, batch.returns
        squared = values.fit(self.value, self.value_optimiser, list(x), list(target), list(order), method.batch)
        return {"value_loss": squared, "kl": divergence.double().numpy()}
