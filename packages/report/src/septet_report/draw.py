"""Figures to files: one Vega-Lite specification gives the page's figure and the SVG, PDF and PNG."""

import importlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from septet.errors import InputError
from septet.files import replacing, write_text
from septet_report import theme
from septet_report.tables import Paper, read_paper

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
"""The Vega-Lite version that Altair writes, as vl-convert names it."""


@dataclass(frozen=True)
class Figure:
    """One figure of a paper."""

    name: str
    """File name without suffix; lower case, digits, underscores."""
    title: str
    """A few words: what is shown."""
    caption: str
    """What to see, the axes, what the band is; also the text that replaces the image for who cannot see it."""
    draw: Callable[[Paper], alt.TopLevelMixin]
    """Builds the chart from the results alone."""


def draw(results: Path, out: Path, paper: str) -> None:
    """Draw every figure of a paper.

    Args:
        results: the folder `results/<scale>`.
        out: folder for `<name>.{svg,pdf,png,json}`.

    Raises:
        InputError: the results are missing, or the paper has no figures.
    """
    figures = figures_of(paper)
    table = read_paper(results / paper)
    for place, figure in enumerate(figures):
        export(figure.draw(table), out, figure.name, title=figure.title, caption=figure.caption, place=place)


def figures_of(paper: str) -> list[Figure]:
    """The list `FIGURES` of module `septet_report.papers.<paper>`; InputError if there is no such module."""
    module = f"septet_report.papers.{paper}"
    if importlib.util.find_spec(module) is None:
        raise InputError("paper", expected="a paper with figures", found=paper)
    figures: list[Figure] = importlib.import_module(module).FIGURES
    return figures


def export(
    chart: alt.TopLevelMixin, folder: Path, name: str, *, title: str, caption: str, place: int = 0
) -> dict[str, Any]:
    """Write a chart as `name.json` (specification with its data), `name.svg`, `name.pdf` and `name.png` (2x).

    Nothing is fetched: data come inside the specification, fonts and libraries with vl-convert.

    Args:
        place: rank among the paper's figures.

    Returns:
        The specification, with the house theme and `usermeta.septet` = `{title, caption, name, place}`.
    """
    spec: dict[str, Any] = chart.to_dict()
    spec["config"] = theme.CONFIG
    spec["usermeta"] = {"septet": {"title": title, "caption": caption, "name": name, "place": place}}
    # No base URL is allowed, so a chart that points at a remote file fails instead of fetching it.
    svg = vl_convert.vegalite_to_svg(_on_paper(spec), vl_version=VEGA_LITE, allowed_base_urls=[])
    write_text(folder / f"{name}.svg", svg)
    for suffix, data in (("pdf", vl_convert.svg_to_pdf(svg)), ("png", vl_convert.svg_to_png(svg, scale=2.0))):
        with replacing(folder / f"{name}.{suffix}") as temporary:
            temporary.write_bytes(data)
    write_text(folder / f"{name}.json", json.dumps(spec, ensure_ascii=False, allow_nan=False) + "\n")
    return spec


def _on_paper(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification without its invisible layers: they catch the pointer, and only weigh in a file."""
    for part in ("layer", "concat", "hconcat", "vconcat"):
        if part in spec:
            spec = {**spec, part: [_on_paper(view) for view in spec[part] if not _invisible(view)]}
    return spec


def _invisible(view: dict[str, Any]) -> bool:
    mark = view.get("mark")
    return isinstance(mark, dict) and mark.get("opacity") == 0
