"""Figures to files: its charts give the page's figure, the SVG, PDF and PNG for a paper, and its table."""

import importlib
import importlib.util
from collections.abc import Callable, Set
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from septet.errors import InputError
from septet.files import replacing, write_text
from septet.reading import entries
from septet.report import compose_svg, tabulate, theme
from septet.report.charts import Panels, nothing
from septet.report.compose_svg import compose
from septet.report.figure_files import Drawn, Panel, read_figure, write_figure
from septet.report.tables import NotRun, paper_of
from septet.report.vega import panel

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
"""The Vega-Lite version that Altair writes, as vl-convert names it."""

DPI = 200
"""Dots per inch of the PNG files."""


@dataclass(frozen=True)
class Figure:
    """One figure of a paper."""

    name: str
    """File name without suffix; lower case, digits, underscores."""
    title: str
    caption: str
    """What to see, the axes, what the band is; also the text that replaces the image for who cannot see it."""
    draw: Callable[[Any], Panels]
    """Builds the panels from the results alone: a `Paper`, or the rows of a bench (`septet.report.bench`)."""


BANDS = "Bands are 95 % bootstrap intervals over seeds."
BANDS_AND_BARS = "Bands and bars are 95 % bootstrap intervals over seeds."


def figure(title: str, note: str = "") -> Callable[[Callable[[Any], Panels]], Figure]:
    """Turn a function that builds the panels into a `Figure` of its name; the caption is its docstring and `note`."""

    def made(build: Callable[[Any], Panels]) -> Figure:
        caption = " ".join(cleandoc(build.__doc__ or "").splitlines())
        return Figure(build.__name__, title, f"{caption} {note}".rstrip(), build)

    return made


def draw(results: Path, out: Path, paper: str, only: str | None = None) -> None:
    """Draw the figures of a paper.

    Args:
        results: the folder `results/<scale>`.
        out: folder for the files of `export`.
        only: name of the one figure to draw; none for all.

    Raises:
        InputError: the results are missing, or the paper has no figures or none of that name.
    """
    figures = figures_of(paper)
    if only is not None and only not in (names := [figure.name for figure in figures]):
        raise InputError("figure", expected=f"one of {', '.join(names)}", found=only)
    table = paper_of(results, paper)
    for place, figure in enumerate(figures):
        if only not in (None, figure.name):
            continue
        with debug_mode(False):  # Altair checks each part of a chart as it is built; Vega draws it, or fails
            about = {"title": figure.title, "caption": figure.caption, "source": table.table}
            export(panels_of(figure, table) or [nothing()], out, figure.name, place=place, **about)
    if only is None:
        _remove_old(out, {figure.name for figure in figures}, table.table)


def panels_of(figure: Figure, results: Any) -> Panels:
    """The panels of a figure; none if what it shows is not among the runs, as of a paper that was run in part."""
    try:
        return figure.draw(results)
    except NotRun:
        return []


def _remove_old(folder: Path, names: Set[str], table: str) -> None:
    """Remove figures that the paper no longer has and that show another table; a file that was edited stays."""
    for path in entries(folder):
        if path.suffix != ".json" or path.stem in names:
            continue
        try:
            old = read_figure(path)
        except InputError:
            continue  # no figure of ours, or changed since
        if old.source != table:
            for file in (*(path.with_suffix(f".{suffix}") for suffix in (*old.files, "pdf", "png")), path):
                file.unlink(missing_ok=True)


def figures_of(paper: str) -> list[Figure]:
    """The figures of a paper; InputError if it has none."""
    figures = figures_in(paper)
    if not figures:
        raise InputError("paper", expected="a paper with figures", found=paper)
    return figures


def figures_in(module: str) -> list[Figure]:
    """The list `FIGURES` of a module of `septet.report.papers`; empty if there is no such module."""
    name = f"septet.report.papers.{module}"
    return importlib.import_module(name).FIGURES if importlib.util.find_spec(name) else []


def export(
    charts: Panels, folder: Path, name: str, *, title: str, caption: str, place: int = 0, source: str = ""
) -> list[Panel]:
    """Write some charts as a figure for a paper, as data, as a table, and as what the page shows.

    `name.svg`, `name.pdf` (fonts embedded) and `name.png` (200 dpi) are of one of the widths of
    `compose_svg.WIDTHS_MM`; `name.csv` holds every point, `name.md` and `name.tex` the level of each series;
    `name.json` holds the panels for the page. Nothing is fetched: fonts and libraries come with vl-convert.

    Args:
        place: rank among the paper's figures.
        source: SHA-256 of the file that it shows.

    Returns:
        The panels.
    """
    drawn = [panel({**chart.to_dict(validate=False), "config": theme.CONFIG}, VEGA_LITE) for chart in charts]
    svg = compose(drawn, title)
    dots = DPI / compose_svg.PIXELS_PER_INCH
    pdf = vl_convert.svg_to_pdf(compose(drawn, title, points=True))
    # vl-convert multiplies by ppi / 72 before it scales
    png = vl_convert.svg_to_png(svg, scale=dots * compose_svg.POINTS_PER_INCH / DPI, ppi=DPI)
    write_text(folder / f"{name}.svg", svg)
    for suffix, data in (("pdf", pdf), ("png", png)):
        with replacing(folder / f"{name}.{suffix}") as temporary:
            temporary.write_bytes(data)
    write_text(folder / f"{name}.csv", tabulate.as_csv(*tabulate.points(drawn)))
    write_text(folder / f"{name}.md", tabulate.as_markdown(*tabulate.levels(drawn)))
    write_text(folder / f"{name}.tex", tabulate.as_latex(*tabulate.levels(drawn)))
    write_figure(folder / f"{name}.json", Drawn(name, title, caption, place, drawn, source))
    return drawn
