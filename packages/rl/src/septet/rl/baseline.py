"""A linear baseline on features of state and time, fitted by ridge regression."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RIDGE = 1e-5


def features(observation: Array, elapsed: NDArray[np.int64]) -> Array:
    """Features [o, o², t/100, (t/100)², (t/100)³, 1] with o clipped to ±10, (..., 2 o + 4).

    Duan et al. 2016, section 4.

    Args:
        observation: (..., o).
        elapsed: steps since the episode began, (...,).
    """
    o, t = np.clip(observation, -10.0, 10.0), elapsed[..., None] / 100.0
    return np.concatenate([o, o**2, t, t**2, t**3, np.ones_like(t)], axis=-1)


def fit(x: Array, target: Array, ridge: float | Array = RIDGE) -> Array:
    """Coefficients (S, d) of ridge regression, (X'X + ridge I) beta = X'y, for each seed.

    Args:
        x: features (S, n, d); rows of zeros do not count.
        target: (S, n).
        ridge: a number, or one for each seed (S, 1, 1).
    """
    transposed = x.swapaxes(1, 2)
    gram = transposed @ x + ridge * np.eye(x.shape[-1])
    return np.asarray(np.linalg.solve(gram, transposed @ target[..., None])[..., 0], np.float64)
