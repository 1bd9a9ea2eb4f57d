"""Publish a paper's results with a manifest of checksums, and adopt published ones."""

import shutil
from pathlib import Path

from septet.config import Settings, validate
from septet.errors import InputError
from septet.files import replacing, sha256
from septet.reading import is_file, readable
from septet.report.tables import one_scale, paper_of
from septet.sealed import TABLES, read_sealed_json, write_json

FILES = (*TABLES, "runs.json")


class Manifest(Settings):
    """What `publish` wrote: a checksum for each file."""

    files: dict[str, str]
    """Path below the published folder -> SHA-256."""


def publish(results: Path, papers: list[str], out: Path) -> str:
    """Copy each paper's scores, times and run cards, and write a manifest with their checksums.

    What is there of other papers stays, whatever scale it is of.

    Returns:
        The scale of the runs.

    Raises:
        InputError: a paper's results are missing or do not parse; nothing is written then.
    """
    scale = one_scale([paper_of(results, paper) for paper in papers])
    files = _kept(out, papers)
    for name in sorted(f"{paper}/{file}" for paper in papers for file in FILES):
        copy(results / name, out / name)
        files[name] = sha256(out / name)
    write_json(out / "manifest.json", Manifest(files=dict(sorted(files.items()))).model_dump())
    return scale


def _kept(out: Path, papers: list[str]) -> dict[str, str]:
    """The lines of a published folder's manifest that are of other papers."""
    if not is_file(out / "manifest.json"):
        return {}
    lines = _read_manifest(out / "manifest.json").files.items()
    return {name: digest for name, digest in lines if name.partition("/")[0] not in papers}


def adopt(source: Path, paper: str, out: Path) -> None:
    """Take over one paper's scores, times and run cards from a published folder or from results made elsewhere.

    Raises:
        InputError: a file is missing, was changed, differs from the manifest that lies in `source`, or does not parse.
    """
    names = [f"{paper}/{file}" for file in FILES]
    for name in names:
        if not is_file(source / name):
            raise InputError(str(source / name), expected="a file", found="none")
    if is_file(source / "manifest.json"):
        listed = _read_manifest(source / "manifest.json").files
        for name in names:
            with readable(source / name):
                found = sha256(source / name)
            if listed.get(name) != found:
                expected = f"SHA-256 {listed[name]}" if name in listed else "a file of the manifest"
                raise InputError(str(source / name), expected=expected, found=found)
    paper_of(source, paper)
    for file in FILES:
        copy(source / paper / file, out / file)


def copy(source: Path, target: Path) -> None:
    """Copy one file, whole or not at all."""
    with readable(source):
        source.open("rb").close()
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _read_manifest(path: Path) -> Manifest:
    data = read_sealed_json(path, "a manifest with its checksum")
    return validate(Manifest, data if isinstance(data, dict) else {}, str(path))
