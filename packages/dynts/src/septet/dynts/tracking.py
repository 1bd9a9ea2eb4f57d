"""Real headlines in the order of time: the data of a job, and the loop that tracks their click rates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled
from septet.dynts import upworthy
from septet.dynts.config import Job, Tracking
from septet.dynts.filter import click_probability, laplace_logit, sigmoid
from septet.dynts.shared import PRIORS, Prior, State, Whole, discount_root, dot, potter_update, transposed_product
from septet.seeding import stream

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Headlines:
    """Headlines in the order of time.

    Attributes:
        x: features ``(N, D)``; rate: real click rates ``(N,)``.
        first, count: rows of each test ``(tests,)``.
        origin: where they come from.
    """

    x: Array
    rate: Array
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    origin: str

    @classmethod
    def load(cls, job: Job) -> Self:
        """The headlines of a job; arm comparisons use the weeks with sound randomisation only."""
        clean = job.task.clean_weeks if isinstance(job.task, Tracking) else True
        table, origin = upworthy.load(Path(str(job.data_file)), clean)
        _, first, count = np.unique(table["test"].to_numpy(), return_index=True, return_counts=True)
        x = np.ascontiguousarray(table["x"].to_numpy(), dtype=np.float64)
        return cls(x, table["rate"].to_numpy(), first.astype(np.int64), count.astype(np.int64), origin)

    def prior(self, job: Job) -> tuple[Array, Array]:
        """Mean and variance of the weights ``(D,)``: the intercept sits at the logit of the base rate."""
        mean = np.zeros(self.x.shape[1])
        mean[0] = np.log(job.base_rate / (1.0 - job.base_rate))
        variance = np.full(self.x.shape[1], job.headline_prior_variance)
        variance[0] = 1.0
        return mean, variance

    def clicks(self, job: Job, impressions: int) -> Array:
        """Clicks in so many impressions of each headline at its real rate, ``(S, N)``."""
        draws = [stream(job.root_seed, "dynts", job.task.name, "clicks", seed) for seed in job.seeds]
        return np.stack([rng.binomial(impressions, self.rate) for rng in draws]).astype(np.float64)


def reference_losses(clicks: Array, rate: Array, impressions: int) -> tuple[Array, Array]:
    """Log loss per impression, times 1000, of the best constant in hindsight and of the real rates.

    Args:
        clicks: ``(S, N)``; rate: ``(N,)``.

    Returns:
        Two arrays of shape ``(S,)``.
    """
    constant = clicks.mean(axis=1) / impressions
    sure = np.clip(rate, 1e-12, 1.0 - 1e-12)

    def loss(p: Array) -> Array:
        return np.asarray(-1000.0 * (clicks * np.log(p) / impressions + (1 - clicks / impressions) * np.log1p(-p)))

    return loss(constant[:, None]).mean(axis=1), loss(sure[None]).mean(axis=1)


@checked(
    state={
        "mu": "out f8 V S D",
        "root": "out f8 V S D D",
        "scale": "out f8 V S",
        "kept": "out f8 V S",
        "loss": "out f8 V S",
    },
    x="real N D",
    clicks="real S N",
    gammas="real V N",
    guards="whole V in 0 2",
    prior=PRIORS,
)
@compiled()
def track(
    x: Array, clicks: Array, impressions: float, gammas: Array, guards: Whole, prior: Prior, state: State
) -> None:
    """Predict, then learn, for N headlines, V schedules and S seeds; one discount step per headline.

    Args:
        x: ``(N, D)``; clicks: ``(S, N)`` out of `impressions`; gammas: ``(V, N)``.
        guards, prior: as in `play_shared`.
        state: mu, root, scale and kept as in `play_shared`, and the running log loss per impression, ``(V, S)``;
            updated in place.
    """
    prior_mean, prior_variance = prior
    mu, root, scale, kept, loss = state
    schedules, seeds, d = mu.shape
    f, gain = np.empty(d), np.empty(d)
    for variant in range(schedules):
        for seed in range(seeds):
            mean, S = mu[variant, seed], root[variant, seed]
            c, left = scale[variant, seed], kept[variant, seed]
            for n in range(x.shape[0]):
                phi = x[n]
                gamma, guard = gammas[variant, n], guards[variant]
                c, left = discount_root(S, c, left, mean, gamma, guard, prior_mean, prior_variance, f, gain)
                m = dot(phi, mean)
                transposed_product(S, phi, f)
                v = c * dot(f, f)
                k = clicks[seed, n]
                p = click_probability(m, v)
                loss[variant, seed] -= (k * np.log(p) + (impressions - k) * np.log1p(-p)) / impressions
                sigma = sigmoid(laplace_logit(m, v, k, impressions))
                potter_update(S, c, f, v, impressions * sigma * (1.0 - sigma), gain)
                for i in range(d):
                    mean[i] += c * gain[i] * (k - impressions * sigma)
            scale[variant, seed], kept[variant, seed] = c, left
