"""Publish a paper's results with a manifest of checksums, and adopt published ones."""

import shutil
from pathlib import Path

from septet.files import replacing, sha256
from septet.reading import is_file, readable
from septet.report.source import FILES, Manifest, check, read_manifest
from septet.report.tables import one_scale, paper_of
from septet.sealed import write_json


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
    lines = read_manifest(out / "manifest.json").files.items()
    return {name: digest for name, digest in lines if name.partition("/")[0] not in papers}


def adopt(source: Path, paper: str, out: Path) -> None:
    """Take over one paper's scores, times and run cards from a published folder or from results made elsewhere.

    Raises:
        InputError: a file is missing, was changed, differs from the manifest that lies in `source`, or does not parse.
    """
    check(source, paper)
    paper_of(source, paper)
    for file in FILES:
        copy(source / paper / file, out / file)


def copy(source: Path, target: Path) -> None:
    """Copy one file, whole or not at all."""
    with readable(source):
        source.open("rb").close()
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
