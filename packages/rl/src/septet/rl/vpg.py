"""Policy gradient with a learned baseline (Sutton et al. 2000; advantages of Schulman et al. 2016)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl import gaussian
from septet.rl.collecting import Batch
from septet.rl.config import VPG, Job
from septet.rl.lockstep import each_seed
from septet.rl.ppo import OnPolicy, standardised


def loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """L = -mean A log pi(a|s), per seed: its gradient is the policy gradient.

    Args:
        log_prob: log pi(a|s), (S, n).
        advantage: A, (S, n).

    Returns:
        (S,).
    """
    return -(log_prob * advantage).mean(1)


class VPGLearner(OnPolicy):
    """Policy gradient on a task, all seeds in lockstep."""

    def __init__(self, job: Job) -> None:
        method = job.method
        assert isinstance(method, VPG)
        super().__init__(job, method, (method.learning_rate, method.value_learning_rate))
        self.method = method

    def learn(self, batch: Batch, iteration: int) -> dict[str, NDArray[np.float64]]:
        """One Adam step of the policy, `value_epochs` passes of the value net."""
        method, network, old = self.method, self.policy.network, self.policy.flat.clone()

        def slope(flat: Tensor, x: Tensor, action: Tensor, advantage: Tensor) -> tuple[Tensor]:
            flat.requires_grad_()
            log_prob = gaussian.log_prob(network(flat, x), network.split(flat)[1], action)
            (gradient,) = torch.autograd.grad(loss(log_prob, standardised(advantage)).sum(), flat)
            return (gradient,)

        def moved(before: Tensor, after: Tensor, x: Tensor) -> tuple[Tensor]:
            either = (of for flat in (before, after) for of in (network(flat, x), network.split(flat)[1]))
            return (gaussian.kl(*either).mean(1),)

        samples = batch.observation, batch.action, batch.advantage
        self.policy.gradient.copy_(each_seed(slope, old, *samples)[0])
        self.policy_optimiser.step()
        with torch.no_grad():
            (divergence,) = each_seed(moved, old, self.policy.flat, batch.observation)
        squared = self.fit_values(batch, iteration, method.value_epochs, method.value_minibatch_size)
        return {"value_loss": squared, "kl": divergence.double().numpy()}
