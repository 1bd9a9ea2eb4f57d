"""A figure that was drawn: its panels as small pictures, and what lies behind each of their points."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from septet.errors import InputError
from septet.files import write_text
from septet.reading import read_json
from septet_report.svg import Picture


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
