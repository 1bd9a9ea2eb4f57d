"""Running moments of observations, and the affine maps made of them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count (S,), mean (S, d) and sum of squared deviations (S, d) of what has been seen."""

    count: Array
    mean: Array
    squares: Array

    @classmethod
    def none(cls, seeds: int, size: int) -> Self:
        """Moments of nothing."""
        return cls(np.zeros(seeds), np.zeros((seeds, size)), np.zeros((seeds, size)))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both samples together.

            n = n_a + n_b,  d = m_b - m_a,  m = m_a + d n_b / n,  M = M_a + M_b + d² n_a n_b / n

        Chan, Golub and LeVeque 1983.
        """
        count = self.count + other.count
        share = (other.count / np.maximum(count, 1.0))[:, None]
        delta = other.mean - self.mean
        squares = self.squares + other.squares + delta**2 * self.count[:, None] * share
        return Moments(count, self.mean + delta * share, squares)

    @property
    def variance(self) -> Array:
        """Population variance (S, d); 1 where fewer than two were seen."""
        few = (self.count < 2)[:, None]
        return np.where(few, 1.0, self.squares / np.maximum(self.count, 1.0)[:, None])


def standard(moments: Moments) -> tuple[Array, Array]:
    """Mean and scale (S, d) of (o - mean) / sqrt(variance + 1e-8)."""
    return moments.mean, 1.0 / np.sqrt(moments.variance + 1e-8)
