"""Bias and variance of the gradients of an inner step, on a bandit whose true gradient is known (section 8).

There is one state. The action is a ~ N(m, s^2), the reward -(a - c)^2, so that J(m, s) = -(m - c)^2 - s^2 + const. The
snapshot is N(0, 1). The gradients come from `septet.svrpo.svrpo.inner_gradient` on a `FiniteSum`, as in training.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl.networks import Network
from septet.seeding import stream
from septet.svrpo.config import ESTIMATORS, Estimators, GaussianBandit, Gradient, Job
from septet.svrpo.network_passes import Samples
from septet.svrpo.problem import FiniteSum
from septet.svrpo.svrpo import inner_gradient, variance_ratio

Array = NDArray[np.float64]
NETWORK = Network((1, 1), free=1)
"""Parameters (weight, m, log s); the state is 0, so that the weight has no part in anything."""
UNIT = 1e-3
"""Nats of one step of the score table."""


def snapshot() -> Tensor:
    """The sampling policy N(0, 1), (3,)."""
    return torch.zeros(NETWORK.size, dtype=torch.float64)


def policy_at(divergence: float, distance: float) -> Tensor:
    """The policy (3,) that lies `divergence` nats from the snapshot along the natural gradient there.

        (m, log s) = t (2 c, -1),    KL = log s + (1 + m^2) / (2 s^2) - 1 / 2

    The divergence grows with t, so that t is found by bisection.
    """
    low, high = 0.0, 1.0
    while _divergence(high, distance) < divergence:
        high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _divergence(middle, distance) < divergence else (low, middle)
    return torch.tensor([0.0, 2.0 * distance * low, -low], dtype=torch.float64)


def _divergence(t: float, distance: float) -> float:
    return -t + 0.5 * (1.0 + (2.0 * distance * t) ** 2) * math.exp(2.0 * t) - 0.5


def true_gradient(w: Tensor, distance: float) -> Tensor:
    """Gradient (3,) of -J, which the surrogate's estimates: dJ/dm = 2 (c - m), dJ/dlog s = -2 s^2."""
    _, mean, log_std = w.tolist()
    return torch.tensor([0.0, 2.0 * (mean - distance), 2.0 * math.exp(2.0 * log_std)], dtype=w.dtype)


def natural_square(gradient: Tensor, w: Tensor) -> Tensor:
    """g' F^-1 g (...) of gradients (..., 3), with the Fisher matrix F = diag(1 / s^2, 2) of (m, log s) at w (3,).

    It is the length in which a Newton step sees a gradient, whatever the parametrisation.
    """
    return gradient[..., 1].square() * math.exp(2.0 * w[2]) + 0.5 * gradient[..., 2].square()


def samples_of(task: GaussianBandit, rng: np.random.Generator) -> Samples:
    """N actions of the snapshot and their advantages, less the exact mean reward -c^2 - 1."""
    action = rng.standard_normal((task.batch_size, 1))
    advantage = 1.0 + task.distance**2 - (action[:, 0] - task.distance) ** 2
    state = np.zeros_like(action)
    return Samples(*(torch.from_numpy(one) for one in (state, action, advantage, state)))


def problem_of(task: GaussianBandit, samples: Samples, ratio: bool) -> FiniteSum:
    """The finite sum of a batch; the samples are independent, so that blocks need no shuffling."""
    order = torch.arange(task.batch_size)
    sizes = {"block": task.minibatch_size, "hessian_block": task.batch_size}
    return FiniteSum(NETWORK, samples, snapshot()[2:], order, order, **sizes, ratio=ratio)


def gradients(problem: FiniteSum, policies: list[Tensor]) -> dict[str, list[Tensor]]:
    """Gradients on every mini-batch, (K, 3) at each policy (3,), of each estimator that has the problem's surrogate."""
    at_snapshot = problem.block_gradients(snapshot())
    full, blocks = at_snapshot.mean(0), range(len(at_snapshot))

    def on_blocks(w: Tensor, kind: Gradient) -> Tensor:
        return torch.stack([inner_gradient(problem, w, block, kind, at_snapshot, full) for block in blocks])

    return {
        name: [on_blocks(w, kind) for w in policies]
        for name, (kind, ratio) in ESTIMATORS.items()
        if ratio == problem.ratio
    }


class Measurement:
    """Sums over batches of what the estimators give, for all seeds.

    Args:
        job: one of `Estimators` on a `GaussianBandit`.
    """

    checkpointed = ("error", "squared_error", "variance_ratio", "batches")

    def __init__(self, job: Job, method: Estimators, task: GaussianBandit) -> None:
        self.job, self.method, self.task = job, method, task
        self.policies = [policy_at(UNIT * step, task.distance) for step in task.divergences]
        self.truth = [true_gradient(w, task.distance) for w in self.policies]
        shape = (len(job.seeds), len(self.policies))
        self.error = {name: np.zeros((*shape, NETWORK.size)) for name in ESTIMATORS}
        self.squared_error = {name: np.zeros(shape) for name in ESTIMATORS}
        self.variance_ratio = {name: np.zeros(shape) for name, (kind, _) in ESTIMATORS.items() if kind == "svrg"}
        self.batches = 0

    def add(self, batch: int) -> None:
        """Draw one batch for each seed and take all gradients on it."""
        for s, seed in enumerate(self.job.seeds):
            samples = samples_of(self.task, stream(self.job.root_seed, "bandit", self.task.name, seed, batch))
            for ratio in (False, True):
                problem = problem_of(self.task, samples, ratio)
                for name, found in gradients(problem, self.policies).items():
                    for place, (v, w, truth) in enumerate(zip(found, self.policies, self.truth, strict=True)):
                        self.error[name][s, place] += (v - truth).mean(0).numpy()
                        self.squared_error[name][s, place] += float(natural_square(v - truth, w).mean())
                name = "svrg_ratio" if ratio else "svrg"
                self.variance_ratio[name][s] += variance_ratio(problem, snapshot(), self.policies)
        self.batches += 1

    def scores(self) -> dict[str, dict[str, Array]]:
        """Metrics (S, L) of each estimator: estimator -> metric -> values, in shares of the true gradient's size.

        bias |E v - g| / |g|, variance E|v - E v|^2 / |g|^2, squared_error E|v - g|^2 / |g|^2, over batches and
        mini-batches; variance_ratio of SVRG over the mini-batch, given the batch (section 2.2).
        """
        size = torch.stack([natural_square(g, w) for g, w in zip(self.truth, self.policies, strict=True)]).numpy()
        found = {}
        for name in ESTIMATORS:
            error = torch.from_numpy(self.error[name] / self.batches)
            places = [natural_square(error[:, at], w).numpy() for at, w in enumerate(self.policies)]
            bias = np.stack(places, axis=1) / size
            total = self.squared_error[name] / self.batches / size
            found[name] = {"bias": np.sqrt(bias), "squared_error": total, "variance": total - bias}
        for name, ratio in self.variance_ratio.items():
            found[name]["variance_ratio"] = ratio / self.batches
        return found
