"""Figures of a bench file, `published/bench/<package>.json`: rows that were measured, not scores of runs."""

from pathlib import Path

import polars as pl

from septet.card import RunCard
from septet.config import Settings, validate
from septet.errors import InputError
from septet.files import sha256
from septet.report.draw import export, figures_in
from septet.sealed import read_sealed_json


class Row(Settings):
    """One row of a bench file, see `septet.bench.row`."""

    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    limit_ratio: float | None


class Bench(Settings):
    """A bench file."""

    rows: list[Row]
    card: RunCard


def read_bench(file: Path) -> Bench:
    """Read a bench file; raises InputError if it is missing, changed, or holds something else."""
    data = read_sealed_json(file, "a JSON file of `python -m PACKAGE bench` with its checksum")
    if not isinstance(data, dict):
        raise InputError(str(file), expected="a JSON mapping with rows and card", found=type(data).__name__)
    return validate(Bench, data, str(file))


def draw_bench(file: Path, paper: str, out: Path) -> None:
    """Draw the bench figures of a paper, the list `FIGURES` of `septet.report.papers.<paper>_bench`.

    Args:
        file: the bench file.
        out: folder for `<name>.{svg,pdf,png,json}`.

    Raises:
        InputError: the file is missing or of another form, lacks rows, or the paper has no bench figures.
    """
    figures = figures_in(f"{paper}_bench")
    if not figures:
        raise InputError("paper", expected="a paper with bench figures", found=paper)
    bench = read_bench(file)
    rows = pl.DataFrame(
        [(row.name, row.value, row.unit, bench.card.id) for row in bench.rows],
        schema={"name": pl.String, "value": pl.Float64, "unit": pl.String, "run": pl.String},
        orient="row",
    )
    for place, figure in enumerate(figures):
        about = {"title": figure.title, "caption": figure.caption, "source": sha256(file)}
        export(figure.draw(rows), out, figure.name, place=place, **about)
