"""Publish a paper's results with a manifest of checksums, and adopt published ones."""

import shutil
from pathlib import Path

from septet.files import replacing, sha256
from septet.reading import is_file, readable
from septet.report.published_models import models_of, write_models
from septet.report.source import FILES, Manifest, check, read_manifest
from septet.report.tables import one_scale, paper_of
from septet.sealed import write_json


def publish(results: Path, papers: list[str], out: Path) -> list[str]:
    """Copy each paper's scores, times and run cards, reduce its models, and write a manifest with their checksums.

    What is there of other papers stays, whatever scale it is of.

    Returns:
        What was left out: a line for each model that is too large.

    Raises:
        InputError: a paper's results are missing or do not parse, or a model is damaged; nothing is written then.
    """
    read = [paper_of(results, paper) for paper in papers]
    one_scale(read)
    models = {paper.id: models_of(results, paper.id, {card.id for card in paper.cards}) for paper in read}
    files = _kept(out, papers)
    for paper, (small, _) in models.items():
        for file in FILES:
            copy(results / paper / file, out / paper / file)
        for name in (*FILES, *write_models(small, out / paper)):
            files[f"{paper}/{name}"] = sha256(out / paper / name)
    write_json(out / "manifest.json", Manifest(files=dict(sorted(files.items()))).model_dump())
    return [f"{paper}/{place}" for paper, (_, large) in models.items() for place in large]


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
