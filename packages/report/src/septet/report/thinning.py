"""Fewer points on a line that looks the same: a panel is some 250 pixels wide, whatever was measured."""

import numpy as np
from numpy.typing import NDArray

from septet.report.statistics import Array


def largest_triangles(x: Array, y: Array, count: int) -> NDArray[np.int64]:
    """Which of the points (x, y) to keep so that the line through them looks most alike.

    Largest triangle, three buckets (Steinarsson 2013, "Downsampling Time Series for Visual Representation",
    section 4.2): between the ends, of every bucket of neighbours the point that spans the largest
    triangle with the point kept before and the mean of the next bucket. What is kept was measured.

    Args:
        x: shape ``(n,)``, ascending.
        y: shape ``(n,)``.
        count: how many to keep, 3 or more.

    Returns:
        Shape ``(min(n, count),)``, ascending indices; the first and the last point are among them.
    """
    if len(x) <= count:
        return np.arange(len(x))
    edges = np.linspace(1, len(x) - 1, count - 1).astype(np.int64)
    kept = [0]
    for place in range(count - 2):
        start, end = edges[place], edges[place + 1]
        after = slice(end, edges[place + 2]) if place + 2 < len(edges) else slice(len(x) - 1, len(x))
        across, up = x[after].mean() - x[kept[-1]], y[after].mean() - y[kept[-1]]
        areas = np.abs(across * (y[start:end] - y[kept[-1]]) - (x[start:end] - x[kept[-1]]) * up)
        kept.append(int(start + areas.argmax()))
    return np.array([*kept, len(x) - 1])
