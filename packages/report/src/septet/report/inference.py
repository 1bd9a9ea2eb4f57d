"""Is a mean above or below zero? One-sided p-values that hold for few seeds.

Every function takes values of shape ``(S, ...)``, S seeds first, and returns two arrays of shape ``(...)``: the p-value
of 'the mean is at most 0' (small: it is above) and of 'the mean is at least 0' (small: it is below). Intervals are the
lines that are not rejected. Which function judges which scores, and at what size, is the outcome of the coverage study
(`septet.report.coverage`, docs/statistics.md).

References:
    Hall: The Bootstrap and Edgeworth Expansion. Springer 1992, section 3.3 (the studentised bootstrap).
    Waudby-Smith and Ramdas: Estimating means of bounded random variables by betting. JRSS B 86, 2024.
    Müller: HAC corrections for strongly autocorrelated time series. JBES 32, 2014; Lazarus, Lewis, Stock and Watson:
    HAR inference: recommendations for practice. JBES 36, 2018 (the cosines).
"""

from functools import lru_cache

import numpy as np
from scipy.special import bdtr, bdtrc, stdtr

from septet.report.statistics import Array
from septet.seeding import stream

Tails = tuple[Array, Array]

TAIL = 0.025
"""The stated error rate, of each side."""
RESAMPLES = 40_000
"""So many that the smallest p-value survives a correction for a hundred claims; fewer above 200 seeds."""
BETS = (np.arange(32) + 0.5) / 32
"""Stakes, as shares of the largest that cannot ruin the gambler."""
COSINES = 4
AUTOCORRELATION = 0.95
"""Lag-1 autocorrelation up to which `series` holds its level."""
SERIES_DRAWS = 40_000
"""Autoregressions behind the critical values of `series`; fewer where they would not fit into 32 MB."""


def student(z: Array) -> Tails:
    """Student's t: ``t = sqrt(n) mean / sd`` with n - 1 degrees of freedom; 1 and 1 if all values are equal."""
    sd = deviation(z)
    t = _studentised(z.mean(axis=0), sd, len(z))
    above, below = (np.where(sd == 0, 1.0, stdtr(len(z) - 1, sign * t)) for sign in (-1, 1))
    return above, below


def bootstrap_t(z: Array, resamples: int) -> Tails:
    """Studentised bootstrap: t against ``t* = sqrt(n) (mean* - mean) / sd*`` of the resamples.

    A resample whose values are all equal has an infinite t*, with the sign of its deviation. The resamples are the same
    for all columns and depend on n and their number alone.
    """
    n = len(z)
    columns = z.reshape(n, -1)
    mean, sd = columns.mean(axis=0), deviation(columns)
    t = _studentised(mean, sd, n) / np.sqrt(n - 1)
    residuals = np.round((columns - mean) / np.where(sd == 0, 1.0, sd), 12)  # the same for every line of a claim
    above, below = np.ones_like(t), np.ones_like(t)
    block = max(1, 4_000_000 // resamples)  # bounds the memory; the values do not depend on it
    for start in range(0, len(t), block):
        part = slice(start, start + block)
        drawn = _resampled if len(t) <= block else _resampled.__wrapped__
        means, deviations = drawn(residuals.T[part].tobytes(), n, resamples)
        line = t[part, None] * deviations  # t* >= t without a division, which equal values do not allow
        above[part] = (1 + np.count_nonzero(means >= line, axis=1)) / (means.shape[1] + 1)
        below[part] = (1 + np.count_nonzero(means <= line, axis=1)) / (means.shape[1] + 1)
    above[sd == 0], below[sd == 0] = 1.0, 1.0
    return above.reshape(z.shape[1:]), below.reshape(z.shape[1:])


@lru_cache(maxsize=4)
def _resampled(residuals: bytes, n: int, resamples: int) -> tuple[Array, Array]:
    """Means and standard deviations of the resamples of each column; cached, as a search for an end asks again.

    Args:
        residuals: one column after the other.

    Returns:
        Each of shape ``(columns, resamples)``.
    """
    u = np.frombuffer(residuals).reshape(-1, n)
    means, squares = np.split(np.concatenate([u, u**2]) @ resample_weights(n, resamples).T, 2)
    variance = squares - means**2
    return means, np.sqrt(np.where(variance <= 1e-12, 0.0, variance))


def mean_tails(z: Array, tail: float, resamples: int) -> Tails:
    """The weaker of `student` and `bootstrap_t`, on the scale where `TAIL` means `tail`.

    Args:
        tail: the nominal size at which the study found the stated error rate for the shapes that are covered.
    """
    both = student(z), bootstrap_t(z, resamples)
    above, below = (np.maximum(*sides) for sides in zip(*both, strict=True))
    return np.minimum(above * TAIL / tail, 1.0), np.minimum(below * TAIL / tail, 1.0)


def betting(z: Array, low: float, high: float) -> Tails:
    """For values that lie in [low, high] by definition: ``p = 1 / wealth`` of a gambler who bets on each value.

    The wealth ``mean_f prod_i (1 + f z_i / -low)`` is a mixture over stakes f, so the order of the seeds
    does not matter; it has an expectation of at most 1 if the mean is at most 0, whatever the distribution.
    """
    above, below = (1.0 / np.maximum(one, 1.0) for one in (wealth(z, -low), wealth(-z, high)))
    return above, below


def wealth(z: Array, reach: float) -> Array:
    """The wealth of who bets that the mean of `z` is above 0, where no value is below ``-reach``.

    Returns:
        Shape ``(...)``: 1 if nothing can be staked; infinite if a mean of 0 or less is impossible.
    """
    if reach <= 0:
        return np.where((z > 0).any(axis=0), np.inf, 1.0)
    logs = np.stack([np.log1p(bet / reach * z).sum(axis=0) for bet in BETS])
    return np.asarray(np.exp(np.minimum(logs, 600.0)).mean(axis=0))


def binomial(successes: Array, n: int, share: float) -> Tails:
    """Exact tests of a share of n independent runs: Clopper and Pearson's interval by inversion."""
    return np.asarray(bdtrc(successes - 1, n, share)), np.asarray(bdtr(successes, n, share))


def series(z: Array) -> Tails:
    """For consecutive iterations of one run: t from the lowest frequencies, against that of an autoregression.

    ``T = sqrt(n) mean / sqrt(mean_j c_j^2)``, ``c_j = sqrt(2 / n) sum_i cos(pi j (i - 1/2) / n) z_i``, j = 1..4: the
    slow movements of the series measure how far its mean can drift. The critical values are those of a first-order
    autoregression with coefficient 0.95 at this n, so whatever is less correlated is held, too.
    """
    t, null = low_frequency_t(z), autoregression(len(z))
    tail = (1 + len(null) - np.searchsorted(null, np.abs(t), side="left")) / (2 * (len(null) + 1))  # it is symmetric
    flat = deviation(z) == 0
    above, below = np.where(t > 0, tail, 1.0 - tail), np.where(t < 0, tail, 1.0 - tail)
    return np.where(flat, 1.0, above), np.where(flat, 1.0, below)


def low_frequency_t(z: Array) -> Array:
    """``T`` of `series`; 0 if all values are equal."""
    n = len(z)
    scale = np.sqrt((np.tensordot(_cosines(n), z, axes=1) ** 2).mean(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(deviation(z) == 0, 0.0, np.sqrt(n) * z.mean(axis=0) / scale)


def _cosines(n: int) -> Array:
    order = np.arange(1, min(COSINES, n - 1) + 1)[:, None]
    return np.sqrt(2 / n) * np.cos(np.pi * order * (np.arange(n) + 0.5) / n)


@lru_cache(maxsize=64)
def autoregression(n: int) -> Array:
    """Sorted ``|T|`` of stationary autoregressions with mean 0."""
    draws = max(1_000, min(SERIES_DRAWS, 4_000_000 // n))
    noise = stream(0, "autoregression", n).standard_normal((n, draws))
    for place in range(1, n):
        noise[place] = AUTOCORRELATION * noise[place - 1] + np.sqrt(1 - AUTOCORRELATION**2) * noise[place]
    return np.sort(np.abs(low_frequency_t(noise)))


@lru_cache(maxsize=64)
def resample_weights(n: int, resamples: int) -> Array:
    """Weights of the n values in each resample, shape ``(resamples, n)``; fewer where they would not fit into 64 MB."""
    resamples = max(1_000, min(resamples, 8_000_000 // n))
    drawn = stream(0, "resamples", n).integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n) / n
    return np.asfortranarray(weights)  # for products with few columns


def deviation(z: Array) -> Array:
    """The standard deviation over seeds, with n; exactly 0 where the values are equal up to rounding."""
    sd = z.std(axis=0)
    return np.where(sd <= 1e-12 * np.abs(z).max(axis=0), 0.0, sd)


def _studentised(mean: Array, sd: Array, n: int) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sd == 0, 0.0, np.sqrt(n - 1) * mean / sd)


def combined(above: Array, below: Array) -> Tails:
    """Of the smallest of J means, from the p-values of each: all must be above, any may be below (Bonferroni).

    Args:
        above: shape ``(..., J)``; `below` alike.
    """
    return np.asarray(above.max(axis=-1)), np.minimum(1.0, below.min(axis=-1) * below.shape[-1])
