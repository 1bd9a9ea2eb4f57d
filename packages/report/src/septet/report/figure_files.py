"""A figure that was drawn: its panels as small pictures, and what lies behind each of their points."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from septet.errors import InputError
from septet.files import sha256
from septet.reading import is_file, readable
from septet.report.compact_svg import Picture
from septet.sealed import read_sealed_json, write_json

SUFFIXES = ("svg", "csv", "md", "tex")
"""The files next to a figure's JSON whose bytes depend on the figure alone; a PDF contains its creation time."""


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
    source: str = ""
    """SHA-256 of the file of scores (of the bench file) that it shows."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files next to it: suffix -> digest."""


_DRAWN = TypeAdapter(Drawn)


def write_figure(path: Path, figure: Drawn) -> None:
    """Write a figure's panels as JSON with its checksum; after the files next to it, which it names."""
    beside = {suffix: sha256(file) for suffix in SUFFIXES if (file := path.with_suffix(f".{suffix}")).is_file()}
    write_json(path, _DRAWN.dump_python(replace(figure, files=beside)), indent=None)


def read_figure(path: Path) -> Drawn:
    """Read what `write_figure` wrote, and check the files next to it, if they exist.

    Raises:
        InputError: it is not a figure, was changed, or has another name; a file next to it was changed.
    """
    what = "a figure drawn by `draw`"
    try:
        figure = _DRAWN.validate_python(read_sealed_json(path, f"{what} with its checksum"))
    except ValidationError:
        raise InputError(str(path), expected=what, found="another file") from None
    if figure.name != path.stem:
        raise InputError(str(path), expected=f"the figure {path.stem}", found=figure.name)
    for suffix, digest in figure.files.items():
        file = path.with_suffix(f".{suffix}")
        if not is_file(file):
            continue
        with readable(file):
            found = sha256(file)
        if found != digest:
            where = f"{found[:12]}: it was changed or damaged; remove it and run again"
            raise InputError(str(file), expected=f"SHA-256 {digest[:12]}, as {path.name} says", found=where)
    return figure
