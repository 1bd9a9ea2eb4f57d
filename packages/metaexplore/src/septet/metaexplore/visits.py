"""Where explorer and student go: 2-D histograms of states, and how much two of them overlap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.metaexplore.student import Array

BINS = 12


class Plane(NamedTuple):
    """Two coordinates of an observation."""

    columns: tuple[int, int]
    limits: tuple[float, float]
    """Half widths of the plane, around 0."""


PLANES = {
    "Pendulum-v1": Plane((1, 2), (np.pi, 8.0)),  # angle (made of cosine and sine), angular velocity
    "InvertedPendulum-v5": Plane((1, 3), (0.25, 4.0)),  # pole angle, angular velocity
    "InvertedDoublePendulum-v5": Plane((1, 6), (0.4, 4.0)),  # sine of the first pole, its angular velocity
    "Hopper-v5": Plane((1, 5), (0.3, 4.0)),  # torso angle, forward velocity
    "HalfCheetah-v5": Plane((1, 8), (np.pi, 6.0)),  # torso angle, forward velocity
    "Reacher-v5": Plane((8, 9), (0.4, 0.4)),  # x and y to the target
    "DeceptiveNavigation": Plane((0, 1), (1.0, 1.0)),  # x, y
}
"""Planes of section 4, figure 3."""


def plane_of(task: str) -> Plane:
    """The plane of a task; the first two coordinates where `PLANES` has none."""
    return PLANES.get(task, Plane((0, 1), (3.0, 3.0)))


def projected(task: str, observation: NDArray[np.floating]) -> Array:
    """Observations ``(..., O)`` in their plane, ``(..., 2)``; the angle of Pendulum-v1 from its sine and cosine."""
    plane = plane_of(task)
    first, second = (np.asarray(observation[..., column], dtype=np.float64) for column in plane.columns)
    if task == "Pendulum-v1":
        first = np.arctan2(observation[..., 1], observation[..., 0])
    limits = np.array(plane.limits)
    flat: Array = np.clip(np.stack([first, second], axis=-1) / limits, -1.0, 1.0) * limits
    return flat


def histogram(points: Array, half: Sequence[float]) -> Array:
    """Shares ``(BINS, BINS)`` of points ``(n, 2)``; rows with NaN do not count."""
    known = points[~np.isnan(points).any(axis=-1)]
    edges = [np.linspace(-h, h, BINS + 1) for h in half]
    counts, _, _ = np.histogram2d(known[:, 0], known[:, 1], bins=edges)
    shares: Array = counts / max(counts.sum(), 1.0)
    return shares


def overlap(first: Array, second: Array) -> float:
    r"""Histogram intersection :math:`\sum_b \min(p_b, q_b)`: 1 for equal shares, 0 for disjoint ones."""
    return float(np.minimum(first, second).sum())
