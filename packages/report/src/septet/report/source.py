"""The files of a finished run that figures are redrawn from, checked without reading a table.

The workflow asks while it builds the DAG, so this module imports nothing that Snakemake does not bring along.
"""

from pathlib import Path

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
        InputError: a file is missing, was changed, is not the one that the run cards name, or differs from the
            manifest in `source`.
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
    tables = cards.get("tables") if isinstance(cards, dict) else None
    if not isinstance(tables, dict):
        raise InputError(str(folder / "runs.json"), expected="a JSON mapping with scale, runs and tables", found=cards)
    check_tables(folder / "runs.json", tables)


def read_manifest(path: Path) -> Manifest:
    """Read `manifest.json`; raises InputError if it is missing, changed, or of another form."""
    data = read_sealed_json(path, "a manifest with its checksum")
    return validate(Manifest, data if isinstance(data, dict) else {}, str(path))
