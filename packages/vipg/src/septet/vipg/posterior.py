"""Samplers fitted to a posterior that is known: explicit KL minimisation on its own (sections 2.1 and 7)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.nonfinite import check_finite
from septet.rl.gaussian import LOG_2PI
from septet.rl.lockstep import each_seed
from septet.seeding import stream
from septet.vipg.adam import Moments, ascend
from septet.vipg.config import Family, Job, Posterior, Quadratic, Surface, Variant
from septet.vipg.flows import sampler_of
from septet.vipg.objective import noise, pathwise
from septet.vipg.samplers import Particles, PosteriorSampler
from septet.vipg.stein import direction
from septet.vipg.targets import Target

Array = NDArray[np.float64]
DRAWS = 20_000  # samples that a fitted sampler is judged by
PAIRS = 2_000  # of them in an energy distance
SHOWN = 400  # written down for the figure
FAMILIES: dict[Variant, Family] = {
    "mean_field": "mean_field", "mean_field_collapse": "mean_field", "amortised_svgd": "mean_field",
    "full": "full", "full_collapse": "full", "low_rank": "low_rank", "planar": "planar", "coupling": "coupling",
    "svgd": "particles",
}  # fmt: skip


def fit(job: Job, variant: Variant) -> tuple[PosteriorSampler, Tensor]:
    """Fit a variant by stochastic gradient ascent; the sampler and its phi (S, Q).

    The rate falls along a cosine to a hundredth, so that noise of the last steps averages out. All seeds take a step
    at once, which is six times as fast as one after the other; their last bits depend on how many there are.
    """
    method, task = job.method, job.task
    assert isinstance(method, Posterior) and isinstance(task, Quadratic | Surface)
    target = Target(task)
    sampler = sampler_of(FAMILIES[variant], target.weights, method)
    generators = [stream(job.root_seed, "sampler", variant, seed) for seed in job.seeds]
    start = np.stack([0.3 * rng.standard_normal(target.weights) for rng in generators])
    phi = sampler.initial(torch.from_numpy(start), 1.0, generators)
    moments = Moments.none(phi)
    for step in range(method.steps):
        xi = torch.from_numpy(noise(job.root_seed, job.seeds, step, method.particles, target.weights))
        gradient = ascent_direction(target, sampler, variant, phi, xi)
        rate = method.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * step / method.steps)))
        phi, moments = ascend(phi, gradient, moments, rate)
        check_finite(f"the sampler {variant}", phi.numpy(), step, job.seeds, "step")
    return sampler, phi


def ascent_direction(target: Target, sampler: PosteriorSampler, variant: Variant, phi: Tensor, xi: Tensor) -> Tensor:
    """The gradient (S, Q) of -alpha KL(q || p), or what a variant has in its place."""
    task = target.task

    def stein(theta: Tensor) -> Tensor:
        return direction(theta, target.gradient(theta) - task.alpha * theta / task.prior_scale**2, task.alpha)

    if variant == "svgd":
        return stein(sampler(phi, xi)[0]).flatten(1)
    if variant == "amortised_svgd":
        return pathwise(sampler, phi, xi, stein, 0.0, 1.0)
    alpha = 0.0 if variant.endswith("_collapse") else task.alpha
    return pathwise(sampler, phi, xi, target.gradient, alpha, task.prior_scale)


def measure(job: Job, variant: Variant, sampler: PosteriorSampler, phi: Tensor) -> tuple[dict[str, Array], Array]:
    """Metrics (S,) of a fitted sampler, and samples to show (S, n, d)."""
    assert isinstance(job.task, Quadratic | Surface)
    target = Target(job.task)
    rngs = [stream(job.root_seed, "judge", variant, seed) for seed in job.seeds]
    xi = torch.from_numpy(np.stack([rng.standard_normal((DRAWS, target.weights)) for rng in rngs]))
    with torch.no_grad():
        theta, log_det = each_seed(sampler, phi, xi)
    samples = theta.numpy()
    metrics: dict[str, Array] = {}
    if isinstance(target.task, Quadratic):
        alike = FAMILIES[variant] == "mean_field"
        best = target.covariance(full=not alike)
        found = np.stack([np.cov(one.T) for one in samples])
        if alike:  # the family's best variances
            found = np.stack([np.diag(np.diag(one)) for one in found])
        metrics["covariance_error"] = np.linalg.norm(found - best, axis=(1, 2)) / np.linalg.norm(best)
        metrics["covariance_trace"] = np.trace(found, axis1=1, axis2=2) / np.trace(best)
    else:
        metrics |= _of_surface(target, samples, rngs)
        if not isinstance(sampler, Particles):
            log_q = -0.5 * (xi.square().sum(2) + target.weights * LOG_2PI) - log_det
            log_z = target.grid()[2]
            (log_p,) = each_seed(lambda theta: (target.log_density(theta),), theta)
            metrics["kl"] = (log_q - log_p).numpy().mean(1) + log_z
    return metrics, samples[:, :SHOWN]


def _of_surface(target: Target, samples: Array, rngs: list[np.random.Generator]) -> dict[str, Array]:
    """Coverage sum_m min(q_m, p_m) / sum_m p_m of the modes' masses, modes found, energy distance."""
    exact = [target.draw(rng, DRAWS) for rng in rngs]
    coverage, found, distance = [], [], []
    for one, reference in zip(samples, exact, strict=True):
        q, p = target.masses(one), target.masses(reference)
        coverage.append(np.minimum(q, p).sum() / p.sum())
        found.append(float((q >= 0.5 * p).sum()))
        distance.append(energy_distance(one[:PAIRS], reference[:PAIRS]))
    return {"coverage": np.array(coverage), "modes": np.array(found), "energy_distance": np.array(distance)}


def energy_distance(x: Array, y: Array) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|, from samples (n, d) and (m, d) (Szekely and Rizzo 2013)."""

    def mean(a: Array, b: Array) -> float:
        return float(torch.cdist(torch.tensor(a), torch.tensor(b)).mean())

    return 2.0 * mean(x, y) - mean(x, x) - mean(y, y)
