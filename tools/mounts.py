"""Print what a container mounts beside its work folder, for `apptainer --mount "$(python tools/mounts.py)"`.

The package sources and the lock; SEPTET_DATA; and where symbolic links of the work folder lead, at the place where the
container looks for it: `results`, a scale's or a paper's folder, `logs` or a data folder may lie on another disk. This
runs on the machine of the job, as it starts. One mount a line, as CSV, so that a path may hold any character.
"""

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path

WRITTEN = ("results", "logs", "benchmarks", "published", ".cache")  # jobs write to these
DEEPEST = 6  # results/<scale>/<paper>/runs/<method>/<task>
DATA = "/septet/data"


def mounts(folder: Path, data: str | None) -> list[list[str]]:
    """Fields of each mount of a job in `folder`; `data` is the value of SEPTET_DATA."""
    made = [
        mount(folder / "packages", "/septet/packages", read_only=True),
        mount(folder / "requirements.lock", "/septet/requirements.lock", read_only=True),
    ]
    seen, above = [str(folder)], (os.path.realpath(folder),)
    linked: dict[str, list[str]] = {}
    if data:
        made.append(mount(Path(data).absolute(), DATA, read_only=True))
        seen.append(DATA)
        add(linked, links(Path(data).absolute(), DATA, DEEPEST, above), read_only=True)
    for entry in sorted(folder.iterdir()):
        if entry.name in WRITTEN:
            add(linked, links(entry, str(entry), DEEPEST, above), read_only=False)
        elif not entry.name.startswith("."):  # a data folder, say
            add(linked, links(entry, str(entry), 2, above), read_only=True)
    for place, fields in sorted(linked.items()):  # a folder before what lies in it
        if not any(within(place, part) for part in seen) and not within(str(folder), place):
            made.append(fields)
    return made


def add(linked: dict[str, list[str]], found: Iterator[tuple[Path, str]], read_only: bool) -> None:
    """Enter the mounts of links, except to nothing; what is to be written stays so."""
    for source, place in found:
        if source.exists() and not (read_only and place in linked):
            linked[place] = mount(source, place, read_only)


def mount(source: Path, place: str, read_only: bool) -> list[str]:
    """The fields of one mount; Apptainer wants as many in every line."""
    return ["type=bind", f"source={source}", f"destination={place}", "ro" if read_only else "type=bind"]


def within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it, by name."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def links(path: Path, place: str, depth: int, above: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Where links lead that are `path` or lie below it: the target, and where the container looks for it.

    `place` is where the container sees `path`. A target need not exist; links to a folder `above` are not followed.
    """
    here = os.path.realpath(path)
    if path.is_symlink():
        place = os.path.normpath(Path(place).parent / path.readlink())  # by name, as it stands in the container
        yield Path(here), place
    if depth and path.is_dir() and not any(within(part, here) for part in above):
        try:
            with os.scandir(path) as entries:
                names = sorted(entry.name for entry in entries if entry.is_symlink() or entry.is_dir())
        except PermissionError:
            return  # a job cannot read it either
        for name in names:
            yield from links(path / name, f"{place}/{name}", depth - 1, (*above, here))


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding=sys.getfilesystemencoding(), errors="surrogateescape")  # paths, byte for byte
    csv.writer(sys.stdout, lineterminator="\n").writerows(mounts(Path.cwd(), os.environ.get("SEPTET_DATA")))
