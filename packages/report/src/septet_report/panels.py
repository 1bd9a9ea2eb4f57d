"""A figure taken apart: its panels as small pictures, and what lies behind each of their points."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import vl_convert

from septet.errors import InputError
from septet.files import write_text
from septet.reading import read_json
from septet_report import svg
from septet_report.svg import Picture

Spec = dict[str, Any]
INSIDE = ("layer", "concat", "hconcat", "vconcat")


@dataclass(frozen=True)
class Point:
    """One point of a panel."""

    x: float
    """Pixels from the left edge of the panel."""
    y: float
    """Pixels from its top."""
    row: Mapping[str, Any]
    """The row of data behind it: `series`, `mean`, `low`, `high`, `run` and the like."""


@dataclass(frozen=True)
class Panel:
    """One panel of a figure."""

    title: str
    picture: Picture
    points: list[Point]
    titles: dict[str, str]
    """Column of the rows -> what a reader calls it; the columns worth telling, in order."""


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn."""

    name: str
    title: str
    caption: str
    place: int
    """Rank among the paper's figures."""
    panels: list[Panel]


def write_figure(path: Path, figure: Drawn) -> None:
    """Write a figure's panels as JSON."""
    write_text(path, json.dumps(asdict(figure), ensure_ascii=False, allow_nan=False) + "\n")


def read_figure(path: Path) -> Drawn:
    """Read what `write_figure` wrote; InputError if it is something else."""
    try:
        data = read_json(path, "a figure drawn by `draw`")
        read = [_read_panel(panel) for panel in data.pop("panels")]
        return Drawn(**data, panels=read)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(str(path), expected="a figure drawn by `draw`", found="another file") from None


def _read_panel(data: dict[str, Any]) -> Panel:
    picture = data["picture"]
    shown = Picture(float(picture["width"]), float(picture["height"]), str(picture["body"]))
    points = [Point(float(one["x"]), float(one["y"]), dict(one["row"])) for one in data["points"]]
    return Panel(str(data["title"]), shown, points, dict(data["titles"]))


def panels(spec: Spec, version: str) -> list[Panel]:
    """The panels of a specification: those of a concatenation, or the whole as one.

    Args:
        version: the Vega-Lite version of the specification, as vl-convert names it.
    """
    views = spec.get("concat") or [{name: part for name, part in spec.items() if name not in ("config", "usermeta")}]
    return [_panel(view, spec, version) for view in views]


def _panel(view: Spec, spec: Spec, version: str) -> Panel:
    rows: list[Mapping[str, Any]] = []
    titles: dict[str, str] = {}
    tagged = _tagged(view, spec.get("datasets", {}), spec.get("data"), rows, titles)
    config = {name: part for name, part in spec.get("config", {}).items() if name != "aria"}
    # No base URL is allowed, so a chart that points at a remote file fails instead of fetching it.
    drawn = vl_convert.vegalite_to_svg({**tagged, "config": config}, vl_version=version, allowed_base_urls=[])
    picture, places = svg.compact(drawn)
    points = [Point(round(x, 1), round(y, 1), rows[index]) for index, (x, y) in sorted(places.items())]
    title = view.get("title", "")
    return Panel(title if isinstance(title, str) else str(title.get("text", "")), picture, points, titles)


def _tagged(
    view: Spec, datasets: Mapping[str, Any], above: Any, rows: list[Mapping[str, Any]], titles: dict[str, str]
) -> Spec:
    """The view with its data inside and every mark that has a tooltip tagged with the number of its row."""
    view = {name: part for name, part in view.items() if name != "datasets"}
    data = view.pop("data", above)
    for name in INSIDE:
        if name in view:
            view[name] = [_tagged(part, datasets, data, rows, titles) for part in view[name]]
            return view
    if data and "url" in data:
        return {**view, "data": data}  # Vega is to refuse it
    values = datasets[data["name"]] if data and "name" in data else (data or {}).get("values", [])
    told = list(_told(view.get("encoding", {})))
    if told:
        titles.update(told)
        first = len(rows)
        rows += values
        values = [{**row, "_tag": f"{svg.TAG}{first + place}"} for place, row in enumerate(values)]
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
