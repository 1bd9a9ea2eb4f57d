"""Posterior contours with samples: the figure of the known posteriors."""

import math
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from septet.card import RunCard
from septet.report import charts, tables, theme
from septet.report.draw import figure
from septet.report.statistics import Array
from septet.report.tables import Paper

TITLES = {
    "surface": {
        "mean_field": "mean field", "full": "full Gaussian", "low_rank": "low rank", "planar": "planar flow",
        "coupling": "coupling flow", "svgd": "SVGD, 16 particles", "amortised_svgd": "amortised SVGD",
    },
    "quadratic": {
        "mean_field": "Gaussian: mean field", "full": "Gaussian: full",
        "full_collapse": "Gaussian: full, no log-determinant",
    },
}  # fmt: skip
LEVELS = (0.9, 0.5, 0.1, 0.01)
POINTS, SHOWN, SIZE = 81, 250, 190
REACH = 3.2


@figure("Known posteriors and what each sampler makes of them")
def posterior(paper: Paper) -> charts.Panels:
    """Contours of the posterior at 90, 50, 10 and 1 % of its highest density, and samples of one seed. First the return
    with four peaks, by family and by the Stein methods; then the quadratic return, whose posterior is a Gaussian: mean
    field, full, and what is left without the log-determinant.
    """
    drawn = []
    for task, variants in TITLES.items():
        for card in (card for card in paper.cards if card.task == task):
            lines = charts.inline(contours(log_density(card), REACH))
            samples = _samples(paper, task)
            by = {label.partition("/")[2]: label for label in card.methods}
            for variant in (name for name in variants if name in by):
                rows = samples.filter(pl.col("method") == by[variant]).head(SHOWN)
                drawn.append(charts.titled(_panel(lines, rows), variants[variant]))
    return drawn


def log_density(card: RunCard) -> Any:
    """The posterior's log-density of places (n, 2), not normalised, from the task in a run card."""
    task = card.config["task"]
    scale, alpha = task["prior_scale"], task["alpha"]

    def surface(x: Array) -> Array:
        far = np.square(x[:, None] - np.array(task["centres"])).sum(axis=2)
        value = (np.array(task["heights"]) * np.exp(-0.5 * far / np.square(task["widths"]))).sum(axis=1)
        return np.asarray(value / alpha - 0.5 * np.square(x).sum(axis=1) / scale**2)

    def quadratic(x: Array) -> Array:
        away = x - np.array(task["centre"])
        value = -0.5 * np.einsum("ni,ij,nj->n", away, np.array(task["curvature"]), away)
        return np.asarray(value / alpha - 0.5 * np.square(x).sum(axis=1) / scale**2)

    return surface if task["kind"] == "surface" else quadratic


def contours(log_p: Any, reach: float, points: int = POINTS) -> list[dict[str, float]]:
    """Line pieces (x, y, x2, y2, level) where a density crosses shares of its highest value: marching triangles.

    Each square of the grid is cut into two triangles; in one, the crossing is a straight piece between two edges.
    """
    axis = np.linspace(-reach, reach, points)
    places = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    height = log_p(places)
    height = height - height.max()
    corner = np.arange(points * points).reshape(points, points)
    square = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    triangles = np.stack([square[:3], (square[0], *square[2:])])
    start = np.moveaxis(triangles, (0, 1), (2, 3)).reshape(-1, 3)  # of each edge of a triangle
    end = np.roll(start, -1, axis=1)
    pieces = []
    for level in LEVELS:
        f = height - math.log(level)
        crossed = (f[start] > 0) != (f[end] > 0)  # two edges of a triangle, or none
        a, b = start[crossed], end[crossed]
        at = places[a] + (f[a] / (f[a] - f[b]))[:, None] * (places[b] - places[a])
        for x, y, x2, y2 in np.round(at, 3).reshape(-1, 4).tolist():
            pieces.append({"x": x, "y": y, "x2": x2, "y2": y2, "level": level})
    return pieces


def _samples(paper: Paper, task: str) -> pl.DataFrame:
    """Columns method, step, x, y, run of the samples that were written down."""
    rows = paper.scores.filter(pl.col("task") == task)
    parts = [rows.filter(pl.col("metric") == f"sample_{axis}") for axis in "xy"]
    both = parts[0].join(parts[1], on=["method", "task", "seed", "step"], suffix="_y").sort("method", "step")
    with_runs = tables.with_runs(paper, both.select(*rows.columns, "value_y"))
    return with_runs.select("method", "step", pl.col("value").alias("x"), pl.col("value_y").alias("y"), "run")


def _panel(lines: alt.InlineData, rows: pl.DataFrame) -> alt.LayerChart:
    scale, axis = alt.Scale(domain=[-REACH, REACH], nice=False), alt.Axis(tickCount=5, grid=False)
    x = alt.X("x:Q", title="weight 1", scale=scale, axis=axis)
    y = alt.Y("y:Q", title="weight 2", scale=scale, axis=axis)
    rule = alt.Chart(lines).mark_rule(strokeWidth=0.8, color=theme.GREY)
    contour = rule.encode(x=x, y=y, x2=alt.X2("x2:Q"), y2=alt.Y2("y2:Q"))
    values = [
        {"x": round(row["x"], 3), "y": round(row["y"], 3), "run": row["run"]}
        for row in rows.filter(pl.col("x").abs() < REACH, pl.col("y").abs() < REACH).iter_rows(named=True)
    ]
    size, opacity = (26, 1.0) if len(values) <= 50 else (9, 0.55)
    point = alt.Chart(charts.inline(values)).mark_point(filled=True, size=size, opacity=opacity, color=theme.BLUE)
    dot = point.encode(x=x, y=y, tooltip=alt.Tooltip("run:N", title="run card"))
    return alt.LayerChart(layer=[contour, dot], width=SIZE, height=SIZE)
