"""Aggregates over tasks and seeds, and the bands around curves.

Score arrays end in the axes ``(T, S)``: T tasks, S seeds (or runs). Leading axes are batch axes, so
one call aggregates every bootstrap resample of every method.

References:
    Agarwal, Schwarzer, Castro, Courville, Bellemare: Deep Reinforcement Learning at the Edge of the
    Statistical Precipice. NeurIPS 2021, https://arxiv.org/abs/2108.13264 ("Agarwal et al." below).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Aggregate = Literal["mean", "iqm"]
"""How scores are averaged over tasks and seeds."""


def iqm(scores: Array) -> Array:
    """Interquartile mean: the mean of the middle half of all T S scores.

    The scores of all tasks are pooled and sorted, ``floor(T S / 4)`` of them are dropped at each
    end and the rest is averaged. Agarwal et al., section 4.3.

    Args:
        scores: shape ``(..., T, S)``.

    Returns:
        Shape ``(...)``.
    """
    _check_axes(scores, 2)
    pooled = scores.reshape(*scores.shape[:-2], -1)
    size = pooled.shape[-1]
    cut = size // 4
    if cut == 0:
        return np.asarray(pooled.mean(axis=-1))
    ordered = np.partition(pooled, (cut, size - cut - 1), axis=-1)
    return np.asarray(ordered[..., cut : size - cut].mean(axis=-1))


def probability_of_improvement(x: Array, y: Array) -> Array:
    """Probability that a run of X beats a run of Y on a task drawn at random; a tie counts half.

    ``1/T sum_t 1/(S R) sum_ij [x_ti > y_tj] + 1/2 [x_ti = y_tj]``, the Mann-Whitney statistic
    averaged over tasks. Agarwal et al., section 4.3.

    Args:
        x: shape ``(..., T, S)``.
        y: shape ``(..., T, R)``.

    Returns:
        Shape ``(...)``.
    """
    _check_axes(x, 2)
    _check_axes(y, 2)
    difference = np.sign(x[..., :, None] - y[..., None, :])
    return np.asarray((0.5 * (difference + 1.0)).mean(axis=(-3, -2, -1)))


def area_under_curve(values: Array, steps: NDArray[np.int64]) -> Array:
    """Average height of a curve: the trapezoid rule over the steps, divided by their range.

    ``1/(s_P - s_1) sum_p (s_p+1 - s_p) (v_p + v_p+1)/2``; a curve of one point is its value.

    Args:
        values: shape ``(..., P)``.
        steps: shape ``(P,)``, ascending.

    Returns:
        Shape ``(...)``, in the unit of the values.
    """
    _check_axes(values, 1)
    if steps.shape != values.shape[-1:] or (np.diff(steps) <= 0).any():
        raise ValueError(f"steps of shape {steps.shape} must ascend and match values of shape {values.shape}")
    if len(steps) == 1:
        return np.asarray(values[..., 0])
    return np.asarray(np.trapezoid(values, steps, axis=-1) / (steps[-1] - steps[0]))


def percentile_interval(values: Array, seeds: int | None = None, level: float = 0.95) -> tuple[Array, Array]:
    """Percentile bootstrap interval: the ``q`` and ``1 - q`` quantiles of the resamples.

    ``q = (1 - level) / 2`` (Agarwal et al., section 4.1) makes the interval too narrow for few seeds: the
    bootstrap's variance lacks the factor ``n / (n - 1)``, and normal quantiles stand where Student's belong.
    With `seeds` given the percentiles are expanded by both (Hesterberg 2015, "What Teachers Should Know
    About the Bootstrap", section 4.2): ``q = Phi(sqrt(n / (n - 1)) t_{n - 1}((1 - level) / 2))``.

    Args:
        values: shape ``(B, ...)``; B resamples.
        seeds: n, the number of seeds that were resampled.

    Returns:
        Lower and upper ends, each of shape ``(...)``.
    """
    from scipy.special import ndtr, stdtrit  # here, as it takes .2 s and most commands have no interval to compute

    tail = (1 - level) / 2
    if seeds is not None:
        tail = float(ndtr(np.sqrt(seeds / (seeds - 1)) * stdtrit(seeds - 1, tail))) if seeds > 1 else 0.0
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def bootstrap_means(values: Array, rng: np.random.Generator, resamples: int = 2_000) -> Array:
    """Bootstrap means over seeds of a whole curve: each resample takes the same seeds at every step.

    Args:
        values: shape ``(S, P)``; P steps.

    Returns:
        Shape ``(resamples, P)``.
    """
    seeds = len(values)
    drawn = rng.integers(seeds, size=(resamples, seeds)) + seeds * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * seeds)  # how often each seed was drawn
    return np.asarray(counts.reshape(resamples, seeds).astype(np.float64) @ values / seeds)


def _check_axes(scores: Array, least: int) -> None:
    if scores.ndim < least or scores.size == 0:
        raise ValueError(f"scores have shape {scores.shape}; expected at least {least} axes, none empty")
