"""Which test judges which scores, how many seeds it needs, and how many would decide.

Chosen by the coverage study (docs/statistics.md): the least number of seeds and the nominal size are the ones at which
a verdict is wrong in at most 2.5 % on either side for every shape that the study covers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from septet.report import inference
from septet.report.inference import TAIL, Tails
from septet.report.statistics import Array

LEAST_SEEDS = 5
"""Below so many nothing is judged."""
POWER = 0.8
"""Probability of a decision that `needed` asks for, if the truth is what the seeds so far show."""
MIXING = 1.0
"""What mixing over stakes costs the wealth, as a logarithm, in addition to half the logarithm of n."""


@dataclass(frozen=True)
class Method:
    """A test of a mean, and what it takes for granted."""

    name: str
    least: int
    """Seeds below which it supports no verdict."""
    why: str
    """What fewer seeds cannot show."""
    tail: float
    """Nominal size of each side at which the stated rate is held."""
    run: Callable[[Array, float, float], Tails]

    def __call__(self, z: Array, low: float, high: float) -> Tails:
        """p-values of shape ``(...)`` for values of shape ``(S, ...)`` that lie in [low, high]."""
        return self.run(z, low, high)

    def needed(self, z: Array, low: float, high: float, above: bool) -> Array:
        """Seeds at which the test finds the mean above (or below) zero in four of five studies, if more are as these.

        Args:
            z: shape ``(S, J)``.

        Returns:
            Shape ``(J,)``; infinite where the mean lies on the other side.
        """
        z, reach = (z, -low) if above else (-z, high)
        if self is BOUNDED:
            return wealth_needed(z, reach)
        if self is ITERATIONS:
            return _iterations_needed(inference.low_frequency_t(z) / np.sqrt(len(z)))
        mean, sd = z.mean(axis=0), z.std(axis=0, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            seeds = ((ndtri(1 - self.tail) + ndtri(POWER)) * sd / mean) ** 2
        return np.where(mean > 0, np.maximum(np.nan_to_num(seeds), self.least), np.inf)


def _iterations_needed(t: Array) -> Array:
    """The first length, in steps of a quarter, whose critical value lies below T, which grows with its square root."""
    found = np.full(t.shape, np.inf)
    length = float(LEAST_SEEDS)
    while length <= 10_000 and np.isinf(found[t > 0]).any():
        n = int(length)
        critical = np.quantile(inference.autoregression(n), 1 - 2 * TAIL) + ndtri(POWER)
        found = np.where((t * np.sqrt(n) >= critical) & np.isinf(found), n, found)
        length *= 1.25
    return found


def wealth_needed(z: Array, reach: float) -> Array:
    """Seeds at which a bet that the mean is above zero has brought what a verdict asks for; shapes as of `needed`."""
    if reach <= 0:
        return np.full(z.shape[1:], float(LEAST_SEEDS))
    growth = np.stack([np.log1p(bet / reach * z).mean(axis=0) for bet in inference.BETS]).max(axis=0)
    seeds = np.full(growth.shape, np.inf)
    for _ in range(20):  # n growth = log(1 / tail) + cost(n): a few rounds of n = .../growth settle it
        guess = np.where(np.isfinite(seeds), seeds, len(z))
        with np.errstate(divide="ignore"):
            seeds = np.where(growth > 0, (-np.log(TAIL) + MIXING + 0.5 * np.log(guess)) / growth, np.inf)
    return np.maximum(seeds, LEAST_SEEDS)


def _bounded(z: Array, low: float, high: float) -> Tails:
    """Exact binomial tests where every run scores one of the two ends, bets otherwise."""
    near = 1e-9 * (high - low)
    above, below = inference.betting(z, low, high)
    two = ((z <= low + near) | (z >= high - near)).all(axis=0)
    if low < 0 < high and two.any():
        exact = inference.binomial((z > 0).sum(axis=0), len(z), -low / (high - low))
        above, below = np.where(two, exact[0], above), np.where(two, exact[1], below)
    return above, below


ANY = Method(
    "studentised bootstrap and t, nominal 0.5 %",
    20,
    "fewer seeds cannot show that no run in five fails",
    0.005,
    lambda z, low, high: inference.mean_tails(z, 0.005, inference.RESAMPLES),
)
REGULAR = Method(
    "studentised bootstrap and t, nominal 2 %; declared regular",
    LEAST_SEEDS,
    "fewer seeds cannot show their spread",
    0.02,
    lambda z, low, high: inference.mean_tails(z, 0.02, inference.RESAMPLES),
)
BOUNDED = Method(
    "bets on bounded scores, exact binomial for 0/1", LEAST_SEEDS, "fewer seeds decide nothing", TAIL, _bounded
)
ITERATIONS = Method(
    "low-frequency t for autocorrelated iterations",
    LEAST_SEEDS,
    "fewer iterations cannot show their spread",
    TAIL,
    lambda z, low, high: inference.series(z),
)
WINS = Method("bets on wins over shifted pairs", LEAST_SEEDS, "fewer seeds decide nothing", TAIL, _bounded)
