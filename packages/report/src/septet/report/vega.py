"""Draw a chart with Vega, and find where each of its points lies."""

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import vl_convert

from septet.report import compact_svg, theme
from septet.report.figure_files import Panel, Point

Spec = dict[str, Any]
LETTER = 0.55 * theme.CONFIG["title"]["fontSize"]
"""Pixels of a letter of a title, on average."""
BESIDE = 40
"""Pixels beside a plot that its title may use: the labels of lines stand there."""


def _load_fonts() -> None:
    """Have vl-convert load the fonts that it brings along and none of the system.

    It does so once, at its first conversion, whether here or elsewhere. Figures are then the same on any machine, and
    twice as fast where the system has Liberation Sans, too: its file would be mapped into memory for every text.
    """
    before = os.environ.get("FONTCONFIG_FILE")
    os.environ["FONTCONFIG_FILE"] = str(Path(__file__).with_name("fonts.conf"))
    try:
        vl_convert.svg_to_png('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><text>a</text></svg>')
    finally:
        del os.environ["FONTCONFIG_FILE"]
        if before is not None:
            os.environ["FONTCONFIG_FILE"] = before


_load_fonts()


def panel(spec: Spec, version: str) -> Panel:
    """The picture of a chart, and its points.

    Args:
        version: the Vega-Lite version of the specification, as vl-convert names it.
    """
    view = {name: part for name, part in spec.items() if name not in ("config", "usermeta")}
    rows: list[Mapping[str, Any]] = []
    titles: dict[str, str] = {}
    tagged = _tagged(view, spec.get("datasets", {}), spec.get("data"), rows, titles)
    config = {name: part for name, part in spec.get("config", {}).items() if name != "aria"}
    title = view.get("title", "")
    if isinstance(title, str) and title:
        tagged["title"] = textwrap.wrap(title, int((_width(view) + BESIDE) / LETTER))
    # No base URL is allowed, so a chart that points at a remote file fails instead of fetching it.
    drawn = vl_convert.vegalite_to_svg({**tagged, "config": config}, vl_version=version, allowed_base_urls=[])
    picture, places = compact_svg.compact(drawn)
    points = [Point(round(x, 1), round(y, 1), rows[index]) for index, (x, y) in sorted(places.items())]
    return Panel(title if isinstance(title, str) else str(title.get("text", "")), picture, points, titles)


def _width(view: Spec) -> float:
    """Pixels of a view's plot, without axes and labels."""
    found = view.get("width", theme.CONFIG["view"]["continuousWidth"])
    return float(found) if isinstance(found, int | float) else float(theme.CONFIG["view"]["continuousWidth"])


def _tagged(
    view: Spec, datasets: Mapping[str, Any], above: Any, rows: list[Mapping[str, Any]], titles: dict[str, str]
) -> Spec:
    """The view with its data inside and every mark that has a tooltip tagged with the number of its row."""
    view = {name: part for name, part in view.items() if name != "datasets"}
    data = view.pop("data", above)
    if "layer" in view:
        view["layer"] = [_tagged(part, datasets, data, rows, titles) for part in view["layer"]]
        return view
    if data and "url" in data:
        return {**view, "data": data}  # Vega is to refuse it
    values = datasets[data["name"]] if data and "name" in data else (data or {}).get("values", [])
    values = json.loads(values) if isinstance(values, str) else values
    told = list(_told(view.get("encoding", {})))
    if told:
        titles.update(told)
        first = len(rows)
        rows += values
        values = [{**row, "_tag": f"{compact_svg.TAG}{first + place}"} for place, row in enumerate(values)]
        mark = view["mark"] if isinstance(view["mark"], dict) else {"type": view["mark"]}
        encoding = {name: part for name, part in view["encoding"].items() if name != "tooltip"}
        description = {"field": "_tag", "type": "nominal"}
        view = {**view, "mark": {**mark, "aria": True}, "encoding": {**encoding, "description": description}}
    return {**view, "data": {"values": values}}


def _told(encoding: Spec) -> Iterator[tuple[str, str]]:
    """The columns that a tooltip names, with their titles."""
    given = encoding.get("tooltip", [])
    for one in given if isinstance(given, list) else [given]:
        yield one["field"], one.get("title", one["field"])
