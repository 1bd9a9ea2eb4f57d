"""`python -m septet.report VERB`: evaluate, judge, draw, bench_figures, page, publish, adopt, crate, track.

The modules that draw are imported by the verbs that draw: judging must not wait for a plotting library.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from septet.cli import Verb, main
from septet.config import Settings
from septet.errors import InputError
from septet.reading import is_folder
from septet.report import claims, collect, tables, tabulate, verdicts
from septet.report.benchmarks import gather
from septet.sealed import write_json
from septet.workflow_config import SCALES

PaperId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Evaluate(Settings):
    """Configuration of `evaluate`."""

    paper: PaperId
    """Id of the paper."""
    scale: str
    """The scale of the runs."""
    runs: list[Path]
    """Run folders, each with `scores.parquet` and `run.json`."""


class Judge(Settings):
    """Configuration of `judge`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    claims: list[Path]
    """Claims files, one per paper."""


class Draw(Settings):
    """Configuration of `draw`."""

    paper: PaperId
    """Id of the paper."""
    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    figure: str | None = None
    """Name of the one figure to draw; none for all."""


class BenchFigures(Settings):
    """Configuration of `bench_figures`."""

    paper: PaperId
    """Id of the paper."""
    file: Path
    """The bench file, as `published/bench/<package>.json`."""


class Page(Settings):
    """Configuration of `page`."""

    results: Path
    """The folder `results/<scale>`, with verdicts, figures and one folder per paper."""
    claims: list[Path]
    """Claims files, one per paper."""
    verdicts: list[Path]
    """Files of verdicts, of all these claims together."""


class Publish(Settings):
    """Configuration of `publish`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    papers: list[PaperId] = []
    """Ids of the papers to publish; if empty, all that the folder has."""
    benchmarks: Path = Path("benchmarks")
    """The folder where Snakemake keeps what it measured of each job, with one folder per scale."""


class Adopt(Settings):
    """Configuration of `adopt`."""

    source: Path
    """A published folder, or a `results/<scale>` folder brought back from elsewhere."""
    paper: PaperId
    """Id of the paper."""


class Crate(Settings):
    """Configuration of `crate`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    house: Path
    """The checkout whose workflow made them."""


class Track(Settings):
    """Configuration of `track`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    papers: list[PaperId] = []
    """Ids of the papers to track; if empty, all that the folder has."""
    sinks: list[Literal["wandb", "tensorboard"]] = ["wandb", "tensorboard"]
    """What to write for."""


def evaluate(settings: Evaluate, out: Path) -> None:
    """Merge the runs of one paper."""
    collect.evaluate(settings.paper, settings.scale, settings.runs, out)


def judge(settings: Judge, out: Path) -> None:
    """Decide for each claim whether it was reproduced."""
    if not is_folder(settings.results):
        raise InputError("results", expected="a folder", found=str(settings.results))
    files = claims.read_all(settings.claims)
    names = [file.paper.id for file in files]
    papers = {name: tables.paper_of(settings.results, name) for name in names if is_folder(settings.results / name)}
    scale = collect.one_scale(list(papers.values()))
    found = [one for file in files for one in verdicts.judge(file, papers.get(file.paper.id), scale)]
    verdicts.write_verdicts(out / "verdicts.json", found)
    tabulate.write_tables(out / "verdicts", *tabulate.claims(found))


def draw(settings: Draw, out: Path) -> None:
    """Draw the figures of one paper."""
    from septet.report.draw import draw as draw_figures

    draw_figures(settings.results, out, settings.paper, settings.figure)


def bench_figures(settings: BenchFigures, out: Path) -> None:
    """Draw the figures of one paper's bench."""
    from septet.report.bench import draw_bench

    draw_bench(settings.file, settings.paper, out)


def page(settings: Page, out: Path) -> None:
    """Write the report page."""
    from septet.report.page import page as write_page

    write_page(settings.results, claims.read_all(settings.claims), settings.verdicts, out)


def publish(settings: Publish, out: Path) -> None:
    """Copy scores and run cards, with checksums, to where figures can be redrawn from."""
    papers = _finished(settings.results, settings.papers)
    scale = collect.one_scale([tables.paper_of(settings.results, paper) for paper in papers])
    benchmarks = gather(settings.benchmarks / scale, out / "benchmarks.json")
    collect.publish(settings.results, papers, out)
    if benchmarks:
        write_json(out / "benchmarks.json", benchmarks)


def adopt(settings: Adopt, out: Path) -> None:
    """Take over one paper's published scores and run cards."""
    collect.adopt(settings.source, settings.paper, out)


def crate(settings: Crate, out: Path) -> None:
    """Describe the run as an RO-Crate."""
    from septet.report.crate import write_crate

    write_crate(settings.results, settings.house, out)


def track(settings: Track, out: Path) -> None:
    """Write scores and run cards for W&B and TensorBoard, what is not yet written of them."""
    from septet.report.track import summary
    from septet.report.track import track as write

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
        "septet.report",
        {
            "evaluate": Verb(Evaluate, evaluate),
            "judge": Verb(Judge, judge),
            "draw": Verb(Draw, draw),
            "bench_figures": Verb(BenchFigures, bench_figures),
            "page": Verb(Page, page),
            "publish": Verb(Publish, publish),
            "adopt": Verb(Adopt, adopt),
            "crate": Verb(Crate, crate),
            "track": Verb(Track, track),
        },
    )
