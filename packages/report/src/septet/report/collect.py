"""Merging runs into a results folder, publishing results, and adopting published ones."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from septet.card import RunCard, check_tables, table_digests
from septet.config import Settings, validate
from septet.errors import InputError
from septet.files import replacing, sha256
from septet.reading import is_file, readable
from septet.report.tables import Paper, Runs, begun, paper_of
from septet.scores import read_scores, read_timing, write_scores, write_timing
from septet.sealed import TABLES, read_sealed_json, write_json

FILES = (*TABLES, "runs.json")


class Manifest(Settings):
    """What `publish` wrote: a checksum for each file."""

    files: dict[str, str]
    """Path below the published folder -> SHA-256."""


def evaluate(paper: str, scale: str, runs: list[Path], out: Path) -> None:
    """Merge the score tables, timing tables and run cards of one paper's runs.

    Args:
        runs: folders that each hold `scores.parquet`, `timing.parquet` and `run.json`.
        out: folder for `scores.parquet`, `timing.parquet` and `runs.json`.

    Raises:
        InputError: no run, a run of another paper, the same run or the same scores twice, a table that is not the
            one of its card, or does not hold exactly the methods, task and seeds that it names, or a curve with a gap
            (see `tables.begun`).
    """
    if not runs:
        raise InputError("runs", expected="at least one run folder", found="none")
    frames: list[pl.DataFrame] = []
    timings: list[pl.DataFrame] = []
    cards: list[RunCard] = []
    owners: dict[tuple[str, str, int], Path] = {}
    for run in runs:
        card = RunCard.read(run / "run.json")
        scores, timing = read_scores(run / "scores.parquet"), read_timing(run / "timing.parquet")
        check_tables(run / "run.json", card.tables)
        _check_run(run, paper, card, scores, timing)
        if card.id in {other.id for other in cards}:
            raise InputError(str(run), expected="each run once", found=f"a second run {card.id}")
        for key in scores.select("method", "task", "seed").unique().sort(pl.all()).iter_rows():
            if key in owners:
                raise InputError(str(run), expected="scores that no other run holds", found=f"{key} of {owners[key]}")
            owners[key] = run
        frames.append(scores)
        timings.append(timing)
        cards.append(card)
    write_scores(out / "scores.parquet", frames)
    write_timing(out / "timing.parquet", timings)
    cards.sort(key=lambda card: (card.task, card.id))
    merged = Runs(scale=scale, runs=cards, tables=table_digests(out))
    write_json(out / "runs.json", merged.model_dump(mode="json"))


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


def one_scale(papers: list[Paper]) -> str:
    """The scale that all papers were run at; InputError if they differ or there is no paper."""
    scales = sorted({paper.scale for paper in papers})
    if len(scales) != 1:
        raise InputError("papers", expected="runs of one scale", found=", ".join(scales) or "no paper")
    return scales[0]


def copy(source: Path, target: Path) -> None:
    """Copy one file, whole or not at all."""
    with readable(source):
        source.open("rb").close()
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _check_run(run: Path, paper: str, card: RunCard, scores: pl.DataFrame, timing: pl.DataFrame) -> None:
    tables = {"scores.parquet": scores, "timing.parquet": timing}
    papers = {name: _unique(table, "paper") for name, table in tables.items()}
    for file, found in {"run.json": [card.paper], **papers}.items():
        if found != [paper]:
            raise InputError(f"{run / file}: paper", expected=paper, found=", ".join(found) or "no row")
    for column, listed in (("method", card.methods), ("task", [card.task]), ("seed", card.seeds)):
        _check_same(f"{run}: {column}s", set(listed), set(_unique(scores, column)))
    for (method,), rows in scores.group_by(["method"], maintain_order=True):
        _check_same(f"{run}: seeds of {method}", set(card.seeds), set(_unique(rows, "seed")))
    for (method, metric), rows in scores.group_by(["method", "metric"], maintain_order=True):
        begun(f"{run}: {metric} of {method}", rows)


def _check_same(where: str, listed: set[Any], present: set[Any]) -> None:
    for name, group, lacks in (("run card", listed, present), ("score table", present, listed)):
        if group - lacks:
            raise InputError(where, expected="the same in run card and score table", found=_only(name, group - lacks))


def _only(name: str, extra: Iterable[Any]) -> str:
    return f"only in the {name}: {', '.join(sorted(map(str, extra)))}"


def _unique(scores: pl.DataFrame, column: str) -> list[Any]:
    return scores[column].unique().sort().to_list()


def _read_manifest(path: Path) -> Manifest:
    data = read_sealed_json(path, "a manifest with its checksum")
    return validate(Manifest, data if isinstance(data, dict) else {}, str(path))
