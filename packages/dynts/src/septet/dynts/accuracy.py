"""How far the sequential Laplace posterior is from the exact one: `python -m septet.dynts.accuracy`.

Two weights, so that the exact posterior is a sum over a grid. The exact reference keeps the prior and weighs the
likelihood of a click of age n by gamma^n, which is what the recursion of section 2.2 approximates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.dynts.filter import laplace_update, restoration_due, restore

Array = NDArray[np.float64]
REACH, POINTS = 7.0, 141
"""The grid has this many points a side, from -REACH to REACH; the prior's standard deviation is 1."""


class Distance(NamedTuple):
    """Distance of one posterior from the exact one, averaged over weights."""

    mean: float
    """|difference of the means| in exact standard deviations."""
    sd: float
    """Ratio of the standard deviations, Laplace over exact."""


def exact_posterior(phis: Array, clicks: Array, weights: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of two weights under N(0, I) and a weighted logistic likelihood.

    Args:
        phis: ``(T, 2)``; clicks: 0 or 1, ``(T,)``; weights: of each click's log likelihood, ``(T,)``.
    """
    axis = np.linspace(-REACH, REACH, POINTS)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log_density = -0.5 * (grid**2).sum(axis=1)
    for phi, clicked, weight in zip(phis, clicks, weights, strict=True):
        if weight > 1e-12:
            logit = grid @ phi
            log_density += weight * (clicked * logit - np.logaddexp(0.0, logit))
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = density @ grid
    return mean, np.sqrt(density @ (grid - mean) ** 2)


def sequential_posterior(phis: Array, clicks: Array, gamma: float) -> tuple[Array, Array]:
    """Mean and standard deviation of two weights by the filter, one Laplace step a click, the prior kept."""
    mu, sigma, kept = np.zeros(2), np.eye(2), 1.0
    for phi, clicked in zip(phis, clicks, strict=True):
        sigma, kept = sigma / gamma, kept * gamma
        if restoration_due(kept, gamma, 2):
            mu, sigma = restore(mu, sigma, np.zeros(2), np.ones(2), kept)
            kept = 1.0
        mu, sigma = laplace_update(mu, sigma, phi, clicked, 1.0)
    return mu, np.sqrt(np.diag(sigma))


def distance(gamma: float, clicks: int, seed: int) -> Distance:
    """Distance after so many clicks of one static world with w ~ N(0, 4 I)."""
    rng = np.random.default_rng(seed)
    w = 2.0 * rng.standard_normal(2)
    phis = rng.standard_normal((clicks, 2))
    clicked = (rng.random(clicks) < 1.0 / (1.0 + np.exp(-phis @ w))).astype(np.float64)
    mean, sd = exact_posterior(phis, clicked, gamma ** np.arange(clicks - 1, -1, -1.0))
    mu, spread = sequential_posterior(phis, clicked, gamma)
    return Distance(float(np.mean(np.abs(mu - mean) / sd)), float(np.mean(spread / sd)))


def main() -> None:
    """Print a table: decay, clicks, and the distance over 20 worlds (seeds 1000 to 1019)."""
    print("| gamma | clicks | mean off by (sd), average | worst of 20 | sd over exact |\n|---|---|---|---|---|")
    for gamma in (1.0, 0.99, 0.9):
        for clicks in (20, 60, 200):
            found = [distance(gamma, clicks, seed) for seed in range(1000, 1020)]
            off = [one.mean for one in found]
            ratio = np.mean([one.sd for one in found])
            print(f"| {gamma} | {clicks} | {np.mean(off):.2f} | {max(off):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
