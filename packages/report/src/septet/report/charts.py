"""The building blocks of the figures: curves with bands, dots with bars, panels by task.

Frames carry one row per point, with columns `mean, low, high, run`; `run` holds the ids of the run cards
behind the point, so that it can be followed back (`septet.report.tables.curves` and `levels` make such
frames). Series are named at the ends of their lines instead of in a legend.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.report import tables, theme
from septet.report.statistics import Array
from septet.report.tables import Paper

LABEL_GAP = theme.SIZE + 2.0
LABEL_ROOM = 8
Panels = Sequence[alt.Chart | alt.LayerChart]
"""The panels of a figure, each with its title; files and page arrange them."""


@dataclass(frozen=True)
class Series:
    """One line or dot colour of a figure; a paper defines its series once, for all its figures."""

    label: str
    """The label in the frame, e.g. a method of the score table."""
    name: str
    """The name that is shown."""
    colour: str
    """One of `theme.PALETTE`."""


def curves(
    frame: pl.DataFrame,
    series: Sequence[Series],
    *,
    x: str = "step",
    column: str = "method",
    x_title: str = "step",
    y_title: str,
    log_x: bool = False,
    log_y: bool = False,
    points: bool = False,
    x_ticks: Mapping[float, str] | None = None,
    y_domain: tuple[float, float] | None = None,
    width: int = 240,
    height: int = 180,
) -> alt.LayerChart:
    """Mean curves with interval bands, each named at its right end.

    Args:
        frame: columns `x`, `column`, `mean`, `low`, `high`, `run`; rows of other series are left out.
        series: what is drawn as far as the frame has it, first one on top.
        x: the column of the horizontal axis.
        column: the column that names the series.
        points: show the points; right where `x` is a setting and not time.
        x_ticks: tick -> its text, where the axis needs other ones than round numbers.
        y_domain: limits of the vertical axis, if panels are to share them; else from the bands.
    """
    series = present(frame, series, column)
    upwards = pl.Enum([one.name for one in reversed(series)])  # what is drawn last lies on top
    rows = _thinned(_named(frame, series, column).sort(pl.col("series").cast(upwards), x), x, width // 2)
    low, high = y_domain or _domain(rows, log_y)
    ends = rows[x].to_numpy()
    x_limits = float(ends.min()), float(ends.max())
    x_scale = _scale(*x_limits, log_x)
    x_axis = alt.X(f"{x}:Q", title=x_title, axis=_axis(x_ticks, x_limits if log_x else None), scale=x_scale)
    y_scale = _scale(low, high, log_y)
    y_axis = alt.Y("mean:Q", title=y_title, axis=_axis(log=(low, high) if log_y else None), scale=y_scale)
    colour = _colour(series)
    base = alt.Chart().encode(x=x_axis, color=colour)
    band = base.mark_area().encode(y=alt.Y("low:Q", title=y_title, scale=y_scale), y2=alt.Y2("high:Q"))
    line = base.mark_line().encode(y=y_axis)
    dot = base.mark_point(filled=True, size=30 if points else 60, opacity=1 if points else 0, cursor="pointer").encode(
        y=y_axis, tooltip=_tooltip(x, x_title, y_title)
    )
    labels = _end_labels(rows, x, series, (low, high), log_y, height)
    here: dict[str, Any] = {"data": inline(labels)}
    end = alt.Chart(**here).encode(x=alt.X(f"{x}:Q"), color=colour)
    leader = end.mark_rule(x2Offset=LABEL_ROOM - 2, xOffset=2, strokeWidth=0.7, opacity=0.6).encode(
        y=alt.Y("mean:Q"), y2=alt.Y2("label_y:Q"), x2=alt.X2(f"{x}:Q")
    )
    text = end.mark_text(align="left", baseline="middle", dx=LABEL_ROOM).encode(
        y=alt.Y("label_y:Q"), text=alt.Text("series:N"), color=alt.Color("ink:N", scale=None)
    )
    data = inline(_values(rows))
    return alt.LayerChart(data=data, layer=[band, line, dot, leader, text], width=width, height=height)


def dots(
    frame: pl.DataFrame,
    series: Sequence[Series],
    *,
    column: str = "method",
    x_title: str,
    reference: float | None = None,
    log_x: bool = False,
    x_domain: tuple[float, float] | None = None,
    width: int = 240,
    row: int = 22,
) -> alt.LayerChart:
    """One row per series: a dot at the mean with its interval as a bar.

    Args:
        frame: columns `column`, `mean`, `low`, `high`, `run`; one row per series.
        series: what is drawn as far as the frame has it, from top to bottom.
        reference: a value to mark with a vertical line, such as 0 for 'no difference'.
        x_domain: limits of the horizontal axis, if panels are to share them; else from the bars.
        row: height of a row in pixels.
    """
    series = present(frame, series, column)
    rows = _named(frame, series, column).sort(pl.col("series").cast(pl.Enum([one.name for one in series])))
    y = alt.Y("series:N", title=None, sort=[one.name for one in series], axis=alt.Axis(labelColor=theme.INK))
    low, high = x_domain or _domain(rows, log_x)
    scale, axis = _scale(low, high, log_x), _axis(log=(low, high) if log_x else None)
    base = alt.Chart().encode(y=y, color=_colour(series))
    bar = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=x_title, scale=scale, axis=axis), x2=alt.X2("high:Q")
    )
    dot = base.mark_point(filled=True, size=36, opacity=1, cursor="pointer").encode(
        x=alt.X("mean:Q", title=x_title, scale=scale, axis=axis), tooltip=_tooltip(None, "", x_title)
    )
    layers: list[alt.Chart] = [bar, dot]
    if reference is not None:
        here: dict[str, Any] = {"data": inline([{"reference": reference}])}
        layers.insert(0, alt.Chart(**here).mark_rule(strokeDash=[3, 3]).encode(x=alt.X("reference:Q")))
    return alt.LayerChart(data=inline(_values(rows)), layer=layers, width=width, height=alt.Step(row))


def panels(frame: pl.DataFrame, tasks: Mapping[str, str], draw: Callable[[pl.DataFrame], alt.LayerChart]) -> Panels:
    """Small multiples: one panel per task, each under the task's name.

    Args:
        tasks: task of the score table -> the name that is shown; gives the order.
        draw: the panel of the rows of one task.
    """
    present = set(frame["task"])
    return [titled(draw(frame.filter(pl.col("task") == task)), name) for task, name in tasks.items() if task in present]


def nothing() -> alt.Chart:
    """What a figure shows whose methods or tasks were not run."""
    text = alt.TextValue("not among the runs")
    return alt.Chart(inline([{}])).mark_text(color=theme.INK).encode(text=text).properties(width=240, height=60)


def titled(chart: alt.LayerChart, title: str) -> alt.LayerChart:
    """Give a chart its title; `properties` would copy all of it first."""
    chart.title = title
    return chart


def by_task(
    frame: pl.DataFrame,
    tasks: Mapping[str, str],
    series: Sequence[Series],
    draw: Callable[..., alt.LayerChart] = curves,
    *,
    column: str = "method",
    **options: Any,
) -> Panels:
    """`panels` of the rows of some series: a panel of `curves` (or `dots`) for each task that has any of them.

    Args:
        options: those of `draw`.
    """
    rows = frame.filter(labelled(series, column))
    return panels(rows, tasks, lambda part: draw(part, series, column=column, **options))


def metric_by_task(
    paper: Paper, metric: str, tasks: Mapping[str, str], series: Sequence[Series], **options: Any
) -> Panels:
    """The curves of a metric, a panel per task. `options` are those of `by_task`."""
    where = labelled(series) & pl.col("task").is_in(list(tasks))
    return by_task(tables.curves(paper, metric, where), tasks, series, **options)


def labelled(series: Sequence[Series], column: str = "method") -> pl.Expr:
    """The rows of some series."""
    return pl.col(column).is_in([one.label for one in series])


def present(frame: pl.DataFrame, series: Sequence[Series], column: str = "method") -> list[Series]:
    """The series that a frame has rows of: a small scale may lack some."""
    here = set(frame[column])
    return [one for one in series if one.label in here]


def inline(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Rows as the data of a chart, in JSON text: Altair copies and checks a list of rows again and again."""
    return alt.InlineData(values=json.dumps(rows))


def spread(positions: Array, gap: float, low: float, high: float) -> Array:
    """Positions moved as little as possible so that neighbours keep `gap` and all lie in ``[low, high]``.

    The least-squares solution: with the i-th smallest lowered by ``i gap`` the constraint reads
    'ascending', which is isotonic regression. If the range is too short for all, the gap shrinks.

    Args:
        positions: shape ``(n,)``, in any order.

    Returns:
        Shape ``(n,)``, in the order of `positions`.
    """
    order = np.argsort(positions, kind="stable")
    gap = min(gap, (high - low) / max(len(positions) - 1, 1))
    ranks = gap * np.arange(len(positions))
    moved = _ascending(positions[order] - ranks)
    placed = np.clip(moved, low, high - (ranks[-1] if len(ranks) else 0.0)) + ranks
    result = np.empty(len(positions))
    result[order] = placed
    return result


def _ascending(x: Array) -> Array:
    """Isotonic regression: ``max_{j <= i} min_{k >= i} mean(x_j .. x_k)``. `scipy.optimize` takes .2 s to import."""
    sums = np.concatenate([[0.0], x.cumsum()])
    place = np.arange(len(x))
    count = place - place[:, None] + 1  # of the values from j (row) to k (column)
    means = np.where(count > 0, (sums[1:] - sums[:-1, None]) / np.maximum(count, 1), np.inf)
    least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.where(count > 0, least, -np.inf).max(axis=0, initial=-np.inf))


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


def _end_labels(
    rows: pl.DataFrame, x: str, series: Sequence[Series], domain: tuple[float, float], log_y: bool, height: int
) -> list[dict[str, Any]]:
    """The last point of each series with `label_y`, where its name fits without touching another."""
    last = rows.filter(pl.col(x) == pl.col(x).max().over("series")).sort("series")
    low, high = (float(v) for v in (np.log10(domain) if log_y else domain))
    ends = last["mean"].to_numpy()
    ends = np.log10(ends) if log_y else ends
    scale = (high - low) / height
    y = spread(ends, LABEL_GAP * scale, low, high)
    y = 10.0**y if log_y else y
    inks = {one.name: theme.ink(one.colour) for one in series}
    ink = pl.col("series").replace_strict(inks, return_dtype=pl.String).alias("ink")
    return _values(last.select(x, "series", "mean", ink).with_columns(pl.Series("label_y", y)))


def _named(frame: pl.DataFrame, series: Sequence[Series], column: str) -> pl.DataFrame:
    names = {one.label: one.name for one in series}
    rows = frame.filter(pl.col(column).is_in(list(names)))
    return rows.with_columns(pl.col(column).replace_strict(names, return_dtype=pl.String).alias("series"))


def _thinned(rows: pl.DataFrame, x: str, count: int) -> pl.DataFrame:
    """At most `count` points per series, as many as the eye can tell apart."""
    parts = rows.partition_by("series", maintain_order=True)
    return pl.concat([part[largest_triangles(part[x].to_numpy(), part["mean"].to_numpy(), count)] for part in parts])


def _colour(series: Sequence[Series]) -> alt.Color:
    scale = alt.Scale(domain=[one.name for one in series], range=[one.colour for one in series])
    return alt.Color("series:N", scale=scale, legend=None)


def _domain(rows: pl.DataFrame, log: bool) -> tuple[float, float]:
    """Limits that hold every band, with a margin of 4 % on either side."""
    ends = np.array([rows["low"].min(), rows["high"].max()], dtype=np.float64)
    ends = np.log10(ends) if log else ends
    margin = 0.04 * (ends[1] - ends[0]) or 0.5
    ends += [-margin, margin]
    ends = 10.0**ends if log else ends
    return float(ends[0]), float(ends[1])


def _scale(low: float, high: float, log: bool) -> alt.Scale:
    if log:
        return alt.Scale(type="log", domain=[low, high], nice=False)
    return alt.Scale(domain=[low, high], nice=False, zero=False)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten within limits; the powers alone over more than two decades."""
    steps = (1, 2, 5) if high / low <= 100 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [tick for power in powers for step in steps if low <= (tick := float(f"{step}e{power}")) <= high]


def _axis(ticks: Mapping[float, str] | None = None, log: tuple[float, float] | None = None) -> alt.Axis:
    """An axis with the ticks given, with those of `log_ticks` within the limits `log`, or with round numbers."""
    if ticks is not None:
        places = [float(tick) for tick in ticks]
        named = f"{json.dumps(list(ticks.values()))}[indexof({json.dumps(places)}, datum.value)]"
        return alt.Axis(values=places, labelExpr=named, labelFlush=False)
    # One notation per tick: Vega's own SI format would write 0.2k next to 1k, and 50m for 0.05.
    text = "abs(datum.value) >= 1e4 ? format(datum.value, '~s') : format(datum.value, ',~g')"
    values: dict[str, Any] = {"values": log_ticks(*log)} if log and len(log_ticks(*log)) > 1 else {"tickCount": 5}
    return alt.Axis(**values, labelExpr=text, labelOverlap="greedy", labelSeparation=6, labelFlush=False)


def _tooltip(x: str | None, x_title: str, y_title: str) -> list[alt.Tooltip]:
    at = [alt.Tooltip(f"{x}:Q", title=x_title, format=",~g")] if x else []
    return [
        alt.Tooltip("series:N", title=" "),
        *at,
        alt.Tooltip("mean:Q", title=y_title, format=",.4~g"),
        alt.Tooltip("low:Q", title="95 % interval from", format=",.4~g"),
        alt.Tooltip("high:Q", title="to", format=",.4~g"),
        alt.Tooltip("run:N", title="run card"),
    ]


def _values(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, floats at six digits: no figure shows more, and the page stays small."""
    return [
        {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows.iter_rows(named=True)
    ]
