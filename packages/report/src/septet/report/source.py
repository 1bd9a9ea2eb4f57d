"""The files of a finished run that figures are redrawn from, checked without reading a table.

The workflow asks while it builds the DAG, so this module imports nothing that Snakemake does not bring along.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from septet.card import check_tables
from septet.config import Settings, validate
from septet.errors import InputError
from septet.files import sha256
from septet.reading import is_file, readable
from septet.sealed import TABLES, read_sealed_json
from septet.workflow_config import SCALES

FILES = (*TABLES, "runs.json")
"""What `evaluate` leaves of a paper."""


class Manifest(Settings):
    """What `publish` wrote: a checksum for each file."""

    files: dict[str, str]
    """Path below the published folder -> SHA-256."""


def evidence(source: Path, paper: str) -> dict[str, Path]:
    """The finished runs of a paper below a folder, the best evidence first.

    Args:
        source: `published/`, with one folder per scale; or one such folder, or a `results/<scale>` folder.

    Returns:
        Scale -> the folder that holds the paper's folder, the largest scale first; the scale is empty where `source`
        itself is that folder. Empty if there are no runs of the paper.
    """
    if (source / paper).is_dir():
        return {"": source}
    return {scale: source / scale for scale in reversed(SCALES) if (source / scale / paper).is_dir()}


def check(source: Path, paper: str) -> None:
    """Check that one paper's files are there and whole.

    Args:
        source: a published folder, or a `results/<scale>` folder brought back from elsewhere.

    Raises:
        InputError: a file is missing, was changed, is not the one that the run cards name, differs from the manifest
            in `source`, or is of another paper or scale than its folder is named for.
    """
    folder = source / paper
    for name in FILES:
        if not is_file(folder / name):
            raise InputError(str(folder / name), expected="a file of a finished run", found="none")
    if is_file(source / "manifest.json"):
        listed = read_manifest(source / "manifest.json").files
        for name in (f"{paper}/{file}" for file in FILES):
            with readable(source / name):
                found = sha256(source / name)
            if listed.get(name) != found:
                expected = f"SHA-256 {listed[name]}" if name in listed else "a file of the manifest"
                raise InputError(str(source / name), expected=expected, found=found)
    cards = read_sealed_json(folder / "runs.json", "a JSON file of run cards with its checksum")
    tables, runs = (cards.get("tables"), cards.get("runs")) if isinstance(cards, dict) else (None, None)
    if not isinstance(tables, dict) or not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise InputError(str(folder / "runs.json"), expected="a JSON mapping with scale, runs and tables", found=cards)
    check_tables(folder / "runs.json", tables)
    check_place(folder / "runs.json", cards.get("scale"), [(run.get("id"), run.get("paper")) for run in runs])


def check_place(path: Path, scale: Any, runs: Iterable[tuple[Any, Any]]) -> None:
    """Check that runs are of the paper and the scale that their folders are named for.

    Args:
        path: `runs.json`, in the paper's folder.
        runs: id and paper of each.
    """
    paper, folder = path.parent.name, path.parents[1].name
    if folder in SCALES and scale != folder:
        raise InputError(f"{path}: scale", expected=f"{folder}, as the folder is named", found=scale)
    for run, of in runs:
        if of != paper:
            raise InputError(f"{path}: run {run}", expected=f"runs of {paper}", found=f"one of {of}")


def read_manifest(path: Path) -> Manifest:
    """Read `manifest.json`; raises InputError if it is missing, changed, or of another form."""
    data = read_sealed_json(path, "a manifest with its checksum")
    return validate(Manifest, data if isinstance(data, dict) else {}, str(path))
