"""`python -m septet.ops VERB`: plan, trace, compare, live; publish, crate, track."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from septet.cli import Verb, main
from septet.config import Settings
from septet.errors import InputError
from septet.ops.benchmarks import gather
from septet.reading import is_folder
from septet.report import published, tables
from septet.report.published_models import size_of_models
from septet.sealed import write_json
from septet.workflow_config import SCALES

PaperId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Publish(Settings):
    """Configuration of `publish`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    papers: list[PaperId] = []
    """Ids of the papers to publish; if empty, all that the folder has."""
    add: bool = False
    """Keep jobs that are published already and were not run again: a scale is published in pieces."""
    benchmarks: Path = Path("benchmarks")
    """The folder where Snakemake keeps what it measured of each job, with one folder per scale."""


class Crate(Settings):
    """Configuration of `crate`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    checkout: Path


class Track(Settings):
    """Configuration of `track`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    papers: list[PaperId] = []
    """Ids of the papers to track; if empty, all that the folder has."""
    sinks: list[Literal["wandb", "tensorboard"]] = ["wandb", "tensorboard"]


def publish(settings: Publish, out: Path) -> None:
    """Copy scores, run cards and small models, with checksums, to where figures can be redrawn from."""
    papers = _finished(settings.results, settings.papers)
    scale = tables.one_scale([tables.paper_of(settings.results, paper) for paper in papers])
    benchmarks = gather(settings.benchmarks / scale, out / "benchmarks.json")
    for place in published.publish(settings.results, papers, out, add=settings.add):
        print(f"{place}: model left out: too large", file=sys.stderr)
    print(f"{out}: {size_of_models(out) / 1e6:.2f} MB of models")
    if benchmarks:
        write_json(out / "benchmarks.json", benchmarks)


def crate(settings: Crate, out: Path) -> None:
    """Describe the run as an RO-Crate."""
    from septet.ops.crate import write_crate

    write_crate(settings.results, settings.checkout, out)


def track(settings: Track, out: Path) -> None:
    """Write scores and run cards for W&B and TensorBoard, what is not yet written of them."""
    from septet.ops.track import summary
    from septet.ops.track import track as write

    papers = _finished(settings.results, settings.papers)
    print(summary(write(settings.results, papers, list(settings.sinks), out), out), file=sys.stderr)


def _finished(results: Path, papers: list[str]) -> list[str]:
    """The papers asked for, or all there are; InputError with what to run if there is none, or one has no tables."""
    there = tables.papers_in(results) if is_folder(results) else []
    missing = [paper for paper in papers if paper not in there]
    if missing or not there:
        scale = results.name if results.name in SCALES else "..."
        run = f"make reproduce SCALE={scale}" + (f" PAPERS={','.join(missing)}" if missing else "")
        found = f"none of {', '.join(missing or ['any paper'])}"
        raise InputError(str(results), expected=f"a finished run: {run}", found=found)
    return list(papers) or there


if __name__ == "__main__":
    main(
        "septet.ops",
        {"publish": Verb(Publish, publish), "crate": Verb(Crate, crate), "track": Verb(Track, track)},
        programs={name: f"septet.ops.{name}" for name in ("plan", "trace", "compare", "live")},
    )
