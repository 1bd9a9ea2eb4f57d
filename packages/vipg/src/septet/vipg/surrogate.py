r"""What the updates climb: surrogates of the return at the particles, and how far their policies moved (2.4).

Tensors: M = R K policies (row-major), n samples of each; phi (R, Q) is the sampler's, log_std (R, A) the action
noise, a point. Objectives are divided by the batch's unit c (mean episode length times the standard deviation of the
advantages): the mean over samples of standardised advantages is J / c, so alpha is divided by c too, and the
posterior that is aimed at stays the same while c drifts (section 6).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from septet.rl import gaussian
from septet.rl.networks import Network
from septet.rl.ppo import clipped_surrogate
from septet.vipg.experience import Batch
from septet.vipg.objective import regulariser
from septet.vipg.samplers import PosteriorSampler


@dataclass
class Surrogate:
    """One iteration's update: samples, noise of the particles, and the sampler they came from.

    Args:
        network: of the policy; its free parameters are log sigma of the actions.
        sampler: of its other weights.
        xi: noise of the particles (R, K, d).
        batch: samples (M, n, ...).
        advantage: standardised over each row's pool, (M, n).
        alpha: in units of the objective, (R,).
        prior_scale: s0.
        old: the parameters that sampled, (R, Q + A).
    """

    network: Network
    sampler: PosteriorSampler
    xi: Tensor
    batch: Batch
    advantage: Tensor
    alpha: Tensor
    prior_scale: float
    old: Tensor

    def __post_init__(self) -> None:
        """What the old policies say of the samples."""
        with torch.no_grad():
            flat, _, _ = self.policies(self.old)
            self._old = self.network(flat, self.batch.observation), flat[:, self.sampler.weights :]
            self._old_log_prob = gaussian.log_prob(*self._old, self.batch.action)

    @property
    def rows(self) -> int:
        """R."""
        return len(self.old)

    def policies(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Policies (M, P), particles theta (R, K, d) and log|det| (R, K) from parameters (R, Q + A)."""
        phi, log_std = torch.split(parameters, [self.sampler.size, self.network.free], dim=1)
        theta, log_det = self.sampler(phi, self.xi)
        spread = log_std.unsqueeze(1).expand(-1, theta.shape[1], -1)
        return torch.cat([theta, spread], dim=2).flatten(0, 1), theta, log_det

    def entropy_term(self, parameters: Tensor, theta: Tensor, log_det: Tensor) -> Tensor:
        """L_alpha (R,) of section 2.4, in units of the objective."""
        if not bool((self.alpha > 0).any()):
            return self.alpha
        phi = parameters[:, : self.sampler.size]
        return self.alpha * regulariser(self.sampler, phi, theta, log_det, self.prior_scale)

    def log_ratio(self, flat: Tensor, columns: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """log pi_theta(a|s) - log pi_theta_old(a|s) (M, n) and the policies' means (M, n, A)."""
        mean = self.network(flat, self.batch.observation[:, columns])
        log_std = flat[:, self.sampler.weights :]
        new = gaussian.log_prob(mean, log_std, self.batch.action[:, columns])
        return new - self._old_log_prob[:, columns], mean

    def divergence(self, flat: Tensor, mean: Tensor) -> Tensor:
        """D (R,): KL(old || new) averaged over each particle's states, then over particles (section 2.4)."""
        kl = gaussian.kl(*self._old, mean, flat[:, self.sampler.weights :])
        valid = self.batch.valid
        return ((kl * valid).sum(1) / valid.sum(1)).reshape(self.rows, -1).mean(1)

    def pooled(self, values: Tensor, columns: slice = slice(None)) -> Tensor:
        """Mean (R,) of values (M, n) over the valid samples of each row."""
        valid = self.batch.valid[:, columns]
        sums = (values * valid).reshape(self.rows, -1).sum(1)
        return sums / valid.reshape(self.rows, -1).sum(1).clamp_min(1.0)

    def evaluate(self, parameters: Tensor, merit: str = "joint") -> tuple[Tensor, Tensor]:
        """S (R,), with the entropy if `merit` is joint, and D (R,), differentiable in the parameters."""
        flat, theta, log_det = self.policies(parameters)
        log_ratio, mean = self.log_ratio(flat)
        value = self.pooled(log_ratio.exp() * self.advantage)
        if merit == "joint":
            value = value + self.entropy_term(parameters, theta, log_det)
        return value, self.divergence(flat, mean)

    def merit_before(self, merit: str = "joint") -> Tensor:
        """S (R,) at the old parameters, where every ratio is 1."""
        value = self.pooled(self.advantage)
        if merit == "joint":
            _, theta, log_det = self.policies(self.old)
            value = value + self.entropy_term(self.old, theta, log_det)
        return value

    def clipped(self, parameters: Tensor, epsilon: float, columns: slice) -> Tensor:
        """PPO's clipped surrogate plus L_alpha (R,), over some columns of the samples."""
        flat, theta, log_det = self.policies(parameters)
        ratio = self.log_ratio(flat, columns)[0].exp()
        least = -clipped_surrogate(ratio, self.advantage[:, columns], epsilon)
        return self.pooled(least, columns) + self.entropy_term(parameters, theta, log_det)

    def drive(self) -> tuple[Tensor, Tensor]:
        """Policy gradients at the particles (R, K, d), each an estimate of dJ/dtheta / c, and of log_std (R, A)."""
        flat = self.policies(self.old)[0].detach().requires_grad_()
        log_ratio, _ = self.log_ratio(flat)
        count = flat.shape[0] // self.rows
        (gradient,) = torch.autograd.grad(self.pooled(log_ratio * self.advantage).sum(), flat)
        by_row = gradient.reshape(self.rows, count, -1)
        d = self.sampler.weights
        return by_row[..., :d] * count, by_row[..., d:].sum(1)
