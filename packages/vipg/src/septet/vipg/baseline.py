"""A linear baseline for each row (seed), fitted to the returns of all its policies together (sections 2.4, 2.5)."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RIDGE = 1e-5
UNIT = 100.0  # steps of the time features


def features(observation: Array) -> Array:
    """[o, o², t, t², t³, 1] of observations (T, E, o), t in hundreds of steps, o clipped to ±10."""
    steps, environments, _ = observation.shape
    o = np.clip(observation, -10.0, 10.0)
    t = np.broadcast_to((np.arange(steps) / UNIT)[:, None, None], (steps, environments, 1))
    return np.concatenate([o, o**2, t, t**2, t**3, np.ones_like(t)], axis=2)


def values(weights: Array, x: Array) -> Array:
    """Values (T, E) by the linear functions (R, F) of the rows, from features (T, E, F), E = R B."""
    steps, environments, width = x.shape
    by_row = x.reshape(steps, len(weights), -1, width)
    return np.einsum("trbf,rf->trb", by_row, weights).reshape(steps, environments)


def fit(x: Array, target: Array, valid: NDArray[np.bool_], rows: int) -> Array:
    """Ridge regression (X'X + 1e-5 n I) w = X'y per row, over valid steps; weights (R, F).

    Args:
        x: features (T, E, F).
        target: discounted returns (T, E).
        valid: steps that happened (T, E).
        rows: R, the environments of a row stand together.
    """
    width = x.shape[2]
    masked = (x * valid[:, :, None]).reshape(len(x), rows, -1, width).swapaxes(0, 1).reshape(rows, -1, width)
    y = (target * valid).reshape(len(x), rows, -1).swapaxes(0, 1).reshape(rows, -1, 1)
    n = valid.reshape(len(x), rows, -1).sum(axis=(0, 2))[:, None, None]
    gram = masked.swapaxes(1, 2) @ masked + RIDGE * n * np.eye(width)
    return np.asarray(np.linalg.solve(gram, masked.swapaxes(1, 2) @ y)[..., 0])
