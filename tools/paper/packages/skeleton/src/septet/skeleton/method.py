"""The method: pure functions of arrays that read like the paper."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def shrunk(x: Array, variance: float) -> Array:
    r"""Positive-part James-Stein estimate of the mean of one Gaussian vector (TODO: section and equation).

    .. math:: \hat\theta = \max\Big(0,\ 1 - \frac{(d - 2)\,\sigma^2}{\|x\|^2}\Big)\,x

    Args:
        x: observations ``(..., d)``, d >= 3.
        variance: sigma squared of each coordinate.

    Returns:
        Same shape.
    """
    square = (x**2).sum(axis=-1, keepdims=True)
    return np.maximum(0.0, 1.0 - (x.shape[-1] - 2) * variance / square) * x


def squared_error(estimate: Array, theta: Array) -> Array:
    """|estimate - theta|² of vectors ``(..., d)``: shape ``(...)``."""
    return np.asarray(((estimate - theta) ** 2).sum(axis=-1))
