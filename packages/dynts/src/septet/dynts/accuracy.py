"""How far the sequential Laplace posterior is from the exact one: `python -m septet.dynts.accuracy`.

Two weights, so that the exact posterior is a sum over a grid. The exact reference weighs the likelihood of a click of
age n by gamma^n, and the prior by 1 (kept) or, as the uncapped filter does, by gamma^T.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.dynts.filter import laplace_update, restoration_due, restore

Array = NDArray[np.float64]
REACH, POINTS = 7.0, 141
"""The grid has this many points a side and reaches this many standard deviations of the prior."""


def exact_posterior(phis: Array, clicks: Array, weights: Array, prior_weight: float) -> tuple[Array, Array]:
    """Mean and standard deviation of two weights under N(0, I / prior_weight) and a weighted logistic likelihood.

    Args:
        phis: ``(T, 2)``; clicks: 0 or 1, ``(T,)``; weights: of each click's log likelihood, ``(T,)``.
    """
    axis = np.linspace(-REACH, REACH, POINTS) / np.sqrt(prior_weight)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log_density = -0.5 * prior_weight * (grid**2).sum(axis=1)
    for phi, clicked, weight in zip(phis, clicks, weights, strict=True):
        if weight > 1e-12:
            logit = grid @ phi
            log_density += weight * (clicked * logit - np.logaddexp(0.0, logit))
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = density @ grid
    return mean, np.sqrt(density @ (grid - mean) ** 2)


def sequential_posterior(phis: Array, clicks: Array, gamma: float, keep_prior: bool) -> tuple[Array, Array]:
    """Mean and standard deviation of two weights by the filter: one Laplace step a click."""
    mu: NDArray[Any] = np.zeros(2)
    sigma: NDArray[Any] = np.eye(2)
    kept = 1.0
    for phi, clicked in zip(phis, clicks, strict=True):
        sigma, kept = sigma / gamma, kept * gamma
        if keep_prior and restoration_due(kept, gamma, 2):
            mu, sigma = restore(mu, sigma, np.zeros(2), np.ones(2), kept)
            kept = 1.0
        mu, sigma = laplace_update(mu, sigma, phi, clicked, 1.0)
    return mu, np.sqrt(np.diag(sigma))


def distance(gamma: float, clicks: int, seed: int, keep_prior: bool = True) -> tuple[float, float]:
    """Distance from the exact posterior after so many clicks of one static world with w ~ N(0, 4 I).

    Returns:
        Averages over weights: difference of the means in exact standard deviations, and the ratio of the standard
        deviations, Laplace over exact.
    """
    rng = np.random.default_rng(seed)
    w = 2.0 * rng.standard_normal(2)
    phis = rng.standard_normal((clicks, 2))
    clicked = (rng.random(clicks) < 1.0 / (1.0 + np.exp(-phis @ w))).astype(np.float64)
    prior_weight = 1.0 if keep_prior else gamma**clicks
    mean, sd = exact_posterior(phis, clicked, gamma ** np.arange(clicks - 1, -1, -1.0), prior_weight)
    mu, spread = sequential_posterior(phis, clicked, gamma, keep_prior)
    return float(np.mean(np.abs(mu - mean) / sd)), float(np.mean(spread / sd))


def main() -> None:
    """Print a table: decay, clicks, and the distance over 20 worlds (seeds 1000 to 1019)."""
    print("| gamma | prior | clicks | mean off by (sd), average | worst of 20 | sd over exact |")
    print("|---|---|---|---|---|---|")
    for gamma, keep_prior in ((1.0, True), (0.99, True), (0.99, False), (0.9, True), (0.9, False)):
        for clicks in (20, 60, 200):
            if not keep_prior and gamma**clicks < 0.1:
                continue  # little is left of the prior: the exact posterior of separable clicks has no mean
            off, ratio = np.array([distance(gamma, clicks, seed, keep_prior) for seed in range(1000, 1020)]).T
            prior = "kept" if keep_prior else "discounted"
            print(f"| {gamma} | {prior} | {clicks} | {off.mean():.2f} | {off.max():.2f} | {ratio.mean():.2f} |")


if __name__ == "__main__":
    main()
