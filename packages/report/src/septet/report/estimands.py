"""What a claim compares: pure functions of scores over methods, tasks and seeds.

Arrays end in the axes ``(T, S)``; where several methods come in, their axis J stands before these.
Leading axes are bootstrap resamples. `sign` is +1 where a higher score is better and -1 where a lower
one is, so that a positive advantage always means 'better'.
"""

from typing import Literal

import numpy as np

from septet.report.statistics import Array, iqm, mean, probability_of_improvement

Aggregate = Literal["mean", "iqm"]


def level(x: Array, aggregate: Aggregate) -> Array:
    """The aggregate ``A(x)`` itself.

    Args:
        x: shape ``(..., T, S)``.
    """
    return iqm(x) if aggregate == "iqm" else mean(x)


def advantage(x: Array, y: Array, sign: int, aggregate: Aggregate) -> Array:
    """By how much X beats the best of its rivals: ``min_j A(sign (x - y_j))``, differences per seed.

    Args:
        x: shape ``(..., T, S)``.
        y: shape ``(..., J, T, S)``; J rivals, on the seeds of `x`.
    """
    return np.asarray(level(sign * (x[..., None, :, :] - y), aggregate).min(axis=-1))


def relative_advantage(x: Array, y: Array, sign: int, aggregate: Aggregate) -> Array:
    """The advantage as a share of the rival's level: ``min_j A(sign (x - y_j)) / |A(y_j)|``.

    Args:
        x: shape ``(..., T, S)``.
        y: shape ``(..., J, T, S)``.
    """
    gains = level(sign * (x[..., None, :, :] - y), aggregate)
    return np.asarray((gains / np.abs(level(y, aggregate))).min(axis=-1))


def ratio(x: Array, y: Array, aggregate: Aggregate) -> Array:
    """The ratio of two levels: ``A(x) / A(y)``.

    Args:
        x: shape ``(..., T, S)``.
        y: shape ``(..., T, S)``.
    """
    return np.asarray(level(x, aggregate) / level(y, aggregate))


def improvement(x: Array, y: Array, sign: int) -> Array:
    """Probability that a run of X beats a run of its hardest rival: ``min_j P(sign x > sign y_j)``.

    Args:
        x: shape ``(..., T, S)``.
        y: shape ``(..., J, T, S)``.
    """
    return np.asarray(probability_of_improvement(sign * x[..., None, :, :], sign * y).min(axis=-1))


def shift_of_best(x: Array, settings: Array, sign: int, aggregate: Aggregate) -> Array:
    """How far the best setting moves between two tasks: ``c_k*(0) - c_k*(1)``, ``k*(t) = argmax_k A(sign x_kt)``.

    The argmax is taken anew in each resample, so the spread shows how sure the best setting is.

    Args:
        x: shape ``(..., K, 2, S)``; K settings of one family, two tasks.
        settings: shape ``(K,)``, the value `c_k` of each (its logarithm where decades count).
    """
    heights = np.stack([level(sign * x[..., t : t + 1, :], aggregate) for t in range(2)], axis=-1)
    best = settings[heights.argmax(axis=-2)]
    return np.asarray(best[..., 0] - best[..., 1])
