"""A linear baseline for each row (seed), fitted to the returns of all its policies together (sections 2.4, 2.5)."""

import numpy as np
from numpy.typing import NDArray

from septet.rl import baseline as linear

Array = NDArray[np.float64]


def features(observation: Array) -> Array:
    """Features (T, E, 2 o + 4) of `septet.rl.baseline`, of whole episodes: observations (T, E, o)."""
    steps, environments, _ = observation.shape
    return linear.features(observation, np.broadcast_to(np.arange(steps)[:, None], (steps, environments)))


def values(weights: Array, x: Array) -> Array:
    """Values (T, E) by the linear functions (R, F) of the rows, from features (T, E, F), E = R B."""
    steps, environments, width = x.shape
    by_row = x.reshape(steps, len(weights), -1, width)
    return np.asarray((by_row * weights[:, None]).sum(axis=-1).reshape(steps, environments))


def fit(x: Array, target: Array, valid: NDArray[np.bool_], rows: int) -> Array:
    """Ridge regression (X'X + 1e-5 n I) w = X'y per row, over valid steps; weights (R, F).

    Args:
        x: features (T, E, F).
        target: discounted returns (T, E).
        valid: steps that happened (T, E).
        rows: R, the environments of a row stand together.
    """
    by_row = [array.reshape(len(x), rows, -1, *array.shape[2:]).swapaxes(0, 1) for array in (x, target, valid)]
    own = ((x[there][None], y[there][None]) for x, y, there in zip(*by_row, strict=True))
    return np.concatenate([linear.fit(x, y, linear.RIDGE * x.shape[1]) for x, y in own])
