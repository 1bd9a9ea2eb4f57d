"""The films of a page's policies: filmstrips on the page, each a link to a video next to the page."""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from septet.config import Settings, validate
from septet.errors import InputError
from septet.reading import entries, is_folder, readable
from septet.sealed import read_sealed_json

FOLDER = "videos"
"""Next to the page, with `<paper>/<task>.json` and what it names."""
LARGEST = 40_000
"""Bytes of a filmstrip: it is part of the page."""

FileName = Annotated[str, Field(pattern=r"^[a-z0-9_]+\.(gif|mp4|jpg)$")]


class FilmCard(Settings):
    """What `septet rl videos` says of a film."""

    method: str
    """Label of the method, as in the score table."""
    seed: int
    run: str | None
    judged_by: str
    """Metric that chose the policy."""
    score: float | None
    rounded: str | None
    video: FileName
    strip: FileName
    width: int
    """Of the strip, in pixels."""
    height: int


@dataclass(frozen=True)
class Film:
    """A film on the page."""

    task: str
    card: FilmCard
    strip: str
    """The filmstrip as base64."""


def films_of(page: Path, paper: str, runs: Collection[str]) -> list[Film]:
    """The films of a paper's policies, by task.

    Args:
        page: the folder of the page.
        runs: ids of the runs on the page; films of other runs are left out.

    Raises:
        InputError: a film's card was changed or does not fit; its filmstrip is missing or too large.
    """
    folder = page / FOLDER / paper
    found = []
    for path in entries(folder) if is_folder(folder) else []:
        if path.suffix != ".json":
            continue
        read = read_sealed_json(path, "the card of a film with its checksum")
        card = validate(FilmCard, read if isinstance(read, dict) else {}, str(path))
        if card.run not in runs:
            continue
        strip = folder / card.strip
        with readable(strip, "a filmstrip"):
            content = strip.read_bytes()
        if len(content) > LARGEST:
            raise InputError(str(strip), expected=f"{LARGEST // 1000} kB at most", found=f"{len(content) / 1000:.0f}")
        found.append(Film(path.stem, card, base64.b64encode(content).decode()))
    return found
