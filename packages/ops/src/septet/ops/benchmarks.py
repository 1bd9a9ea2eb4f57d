"""Recorded times of jobs: what the plan predicts from.

They come from a folder such as published/: the run cards of training jobs (`<paper>/runs.json`), what Snakemake
measured of the other jobs (`benchmarks.json`), and iterations that were timed by hand (`timed.json`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from septet.config import Settings, validate
from septet.errors import InputError
from septet.ops.scaling import threads, work
from septet.reading import is_file, is_folder, parse_json, read_json, readable, walk
from septet.report.tables import Paper, paper_of, papers_in
from septet.sealed import read_sealed_json
from septet.workflow_config import SCALES


@dataclass(frozen=True)
class Benchmark:
    """The recorded time of one job."""

    family: str
    """Jobs whose times can be scaled into each other: a paper's training jobs, or one kind of other job."""
    method: str
    task: str
    work: float
    """Amount of work, see `septet.ops.scaling`."""
    seconds: float
    """Wall seconds of the work itself, times the threads that it ran on."""
    start: float
    """Wall seconds of starting up, which do not grow with the work."""


class Usage(Settings):
    """What Snakemake measured of one job (`benchmark:`)."""

    seconds: float
    """Wall seconds."""
    cpu_seconds: float | None
    """CPU seconds; none if the job was too short to be sampled."""
    memory_mb: float | None
    """Largest resident memory."""


class Timed(Settings):
    """One iteration of one seed that was timed by hand, for tasks that no run card covers."""

    paper: str
    task: str
    method: str
    cpu_seconds: float
    """Of one iteration of one seed, at the configuration of scale `paper`."""
    source: str


@dataclass(frozen=True)
class Recorded:
    """All benchmarks of a folder."""

    jobs: list[Benchmark]
    timed: list[Timed]


def read(folder: Path) -> Recorded:
    """All benchmarks below `folder`.

    Raises:
        InputError: the folder is missing, or a file in it is torn or of another form.
    """
    if not is_folder(folder):
        raise InputError("benchmarks", expected="a folder like published/", found=str(folder))
    jobs = []
    for one in (folder, *(folder / scale for scale in SCALES if is_folder(folder / scale))):  # published/ has scales
        jobs += [job for paper in papers_in(one) for job in _of_cards(paper_of(one, paper))]
        for name, given in _measured(one / "benchmarks.json").items():
            usage = validate(Usage, given, f"{one / 'benchmarks.json'}: {name}")
            family, label = other_job(name)
            if family != "train":
                jobs.append(Benchmark(family, label, "", 1.0, usage.seconds, 0.0))
    timed = folder / "timed.json"  # written by hand, so without a checksum
    rows = _mapping(timed, read_json(timed, "a JSON mapping")).get("rows", []) if is_file(timed) else []
    return Recorded(jobs, [validate(Timed, row, f"{folder / 'timed.json'}: {place}") for place, row in enumerate(rows)])


def other_job(file: str) -> tuple[str, str]:
    """Family and label of a job that is not a training job, from the name of its benchmark file below its scale.

    `dynts/figures.jsonl` is of family `figures`; a training job has a method and a task: `dynts/ts/static.jsonl`.
    """
    parts = Path(file).with_suffix("").parts
    if "prepare" in parts[-1] or "prepare" in parts:
        return f"{parts[0]}_prepare", "/".join(parts[1:])
    if len(parts) > 2:
        return "train", parts[0]
    return parts[-1], parts[0] if len(parts) == 2 else ""


def gather(folder: Path, before: Path) -> dict[str, Any]:
    """What Snakemake measured of the jobs that have no run card, below `benchmarks/<scale>`: the new `benchmarks.json`.

    Lines in `before` of papers that were not measured stay as they are: not all are run and published at a
    time, and results may have been brought back from elsewhere.

    Returns:
        File below `folder` -> usage; empty if it measured nothing.
    """
    found = {}
    for file in walk(folder) if is_folder(folder) else ():
        name = file.relative_to(folder).as_posix()
        if file.suffix != ".jsonl" or other_job(name)[0] == "train":
            continue
        if (row := _last_row(file)) is not None:
            found[name] = {
                "seconds": round(float(row["s"]), 3),
                "cpu_seconds": _number(row.get("cpu_time")),
                "memory_mb": _number(row.get("max_rss")),
            }
    papers = {name.partition("/")[0] for name in found}
    kept = {name: row for name, row in _measured(before).items() if name.partition("/")[0] not in papers}
    return dict(sorted({**kept, **found}.items())) if found else {}


def _last_row(file: Path) -> dict[str, Any] | None:
    """What Snakemake wrote last into a file of measurements; none if it is empty."""
    try:
        with readable(file):
            lines = file.read_text(encoding="utf-8").splitlines()
        row = parse_json(lines[-1]) if lines else None
        if row is not None:
            float(row["s"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        expected = "a JSON line of Snakemake's benchmark"
        raise InputError(str(file), expected=expected, found=f"{error}; remove it") from None
    return row


def _of_cards(paper: Paper) -> Iterable[Benchmark]:
    """A benchmark for each run card whose paper has a scaling rule.

    The work took what the timing table says, as far as it says anything; the rest was starting up.
    """
    loops = {(m, t): s for m, t, s in paper.timing.group_by("method", "task").agg(pl.col("seconds").sum()).iter_rows()}
    for card in paper.cards:
        amount = work(paper.id, card.task, card.config)
        if amount is not None:
            method, wall = str(card.config["method"]["name"]), card.wall_seconds
            loop = sum(loops.get((label, card.task), 0.0) for label in {*card.methods, method})
            loop = min(loop or wall, wall)
            yield Benchmark(card.paper, method, card.task, amount, loop * threads(card.config), wall - loop)


def _measured(path: Path) -> dict[str, Any]:
    """What `gather` wrote, if it did."""
    return _mapping(path, read_sealed_json(path, "a JSON mapping with its checksum")) if is_file(path) else {}


def _mapping(path: Path, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InputError(str(path), expected="a JSON mapping", found=data)
    return data


def _number(value: object) -> float | None:
    return round(float(value), 3) if isinstance(value, int | float) else None
