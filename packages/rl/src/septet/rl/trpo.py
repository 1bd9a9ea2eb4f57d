"""Trust-region policy optimisation (Schulman et al. 2015), as sb3-contrib does it, with the paper's KL(old || new).

sb3-contrib bounds KL(new || old), which lets slightly longer steps pass while the policy's deviation shrinks.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl import gaussian, trust_region
from septet.rl.collecting import Batch
from septet.rl.config import TRPO, Job
from septet.rl.lockstep import each_seed
from septet.rl.networks import Network
from septet.rl.ppo import OnPolicy, standardised


def surrogate(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor) -> Tensor:
    """L(w) = -mean A pi_w(a|s) / pi_old(a|s), per seed.

    Schulman et al. 2015, equation 14.

    Args:
        log_prob: log pi_w(a|s), (S, n).
        old_log_prob: log pi_old(a|s), (S, n).
        advantage: A, (S, n).

    Returns:
        (S,).
    """
    return -((log_prob - old_log_prob).exp() * advantage).mean(1)


def update(network: Network, flat: Tensor, batch: Batch, method: TRPO) -> tuple[Tensor, Tensor, Tensor]:
    """One trust-region step: s = (F + c I)^-1 g by conjugate gradient, scaled to the target_kl, then a line search.

    Args:
        network: the policy's.
        flat: w (S, P).
        batch: samples (S, n, ...), with advantages as they came.
        method: settings.

    Returns:
        New parameters (S, P); fraction of the step taken (S,), 0 for none; KL divergence there (S,).
    """
    advantage = standardised(batch.advantage)
    share = 1.0 / batch.action.shape[2] if method.divergence_per_action else 1.0
    target_kl, damping = method.target_kl / share, method.damping / share  # the same as share * KL and share * F
    with torch.no_grad():
        mean_old, log_std_old = network(flat, batch.observation), network.split(flat)[1].clone()

    def loss(w: Tensor, mean: Tensor, rows: Tensor) -> Tensor:
        log_prob = gaussian.log_prob(mean, network.split(w)[1], batch.action[rows])
        return surrogate(log_prob, batch.log_prob[rows], advantage[rows])

    @torch.no_grad()
    def evaluate(w: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        mean = network(w, batch.observation[rows])
        divergence = gaussian.kl(mean_old[rows], log_std_old[rows], mean, network.split(w)[1]).mean(1)
        return loss(w, mean, rows), divergence

    every = torch.arange(len(flat))
    leaf = flat.detach().clone().requires_grad_()
    start = loss(leaf, network(leaf, batch.observation), every)
    (gradient,) = torch.autograd.grad(start.sum(), leaf)
    product = trust_region.fisher_product(network, flat, batch.observation, damping)
    direction = trust_region.conjugate_gradient(product, -gradient, method.cg_steps)
    beta = trust_region.step_length(direction, product(direction), target_kl)
    step = beta.unsqueeze(1) * direction
    return trust_region.line_search(
        evaluate, flat.detach(), step, start.detach(), target_kl, method.backtrack_ratio, method.line_search_steps
    )


class TRPOLearner(OnPolicy):
    """TRPO on a task, all seeds in lockstep."""

    def __init__(self, job: Job) -> None:
        method = job.method
        assert isinstance(method, TRPO)
        super().__init__(job, method, (0.0, method.value_learning_rate))
        self.method = method

    def learn(self, batch: Batch, iteration: int) -> dict[str, NDArray[np.float64]]:
        """One step of the policy, `value_epochs` passes of the value net."""
        method = self.method

        def step(flat: Tensor, *samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return update(self.policy.network, flat, Batch(*samples), method)

        flat, taken, divergence = each_seed(step, self.policy.flat, *batch)
        self.policy.flat.copy_(flat)
        loss = self.fit_values(batch, iteration, method.value_epochs, method.value_minibatch_size)
        return {"value_loss": loss, "kl": divergence.double().numpy(), "step": taken.double().numpy()}
