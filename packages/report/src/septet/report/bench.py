"""Figures of a bench file, `published/bench/<package>.json`: rows that were measured, not scores of runs."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import polars as pl

from septet.card import RunCard
from septet.config import Settings, validate
from septet.errors import InputError
from septet.files import sha256
from septet.report.draw import export
from septet.sealed import read_sealed_json


class Row(Settings):
    """One row of a bench file."""

    name: str
    """What was measured."""
    value: float
    """Its median."""
    unit: str
    """Unit of the value."""
    peer: str | None
    """The peer that was measured."""
    peer_value: float | None
    """The peer's median."""
    ratio: float | None
    """value / peer_value."""
    limit_ratio: float | None
    """Share of the physical limit."""


class Bench(Settings):
    """A bench file."""

    rows: list[Row]
    """What was measured."""
    card: RunCard
    """The run card of the bench."""


@dataclass(frozen=True)
class BenchFigure:
    """One figure of a bench file; its parts are those of `septet.report.draw.Figure`."""

    name: str
    title: str
    caption: str
    draw: Callable[[pl.DataFrame], alt.TopLevelMixin]
    """Builds the chart from the columns `name, value, unit, run`."""


def read_bench(file: Path) -> Bench:
    """Read a bench file; raises InputError if it is missing, changed, or holds something else."""
    data = read_sealed_json(file, "a JSON file of `python -m PACKAGE bench` with its checksum")
    if not isinstance(data, dict):
        raise InputError(str(file), expected="a JSON mapping with rows and card", found=type(data).__name__)
    return validate(Bench, data, str(file))


def draw_bench(file: Path, paper: str, out: Path) -> None:
    """Draw the bench figures of a paper, the list `BENCH_FIGURES` of `septet.report.papers.<paper>_bench`.

    Args:
        file: the bench file.
        out: folder for `<name>.{svg,pdf,png,json}`.

    Raises:
        InputError: the file is missing or of another form, lacks rows, or the paper has no bench figures.
    """
    module = f"septet.report.papers.{paper}_bench"
    if importlib.util.find_spec(module) is None:
        raise InputError("paper", expected="a paper with bench figures", found=paper)
    figures: list[BenchFigure] = importlib.import_module(module).BENCH_FIGURES
    bench = read_bench(file)
    rows = pl.DataFrame(
        [(row.name, row.value, row.unit, bench.card.id) for row in bench.rows],
        schema={"name": pl.String, "value": pl.Float64, "unit": pl.String, "run": pl.String},
        orient="row",
    )
    for place, figure in enumerate(figures):
        about = {"title": figure.title, "caption": figure.caption, "source": sha256(file)}
        export(figure.draw(rows), out, figure.name, place=place, **about)
