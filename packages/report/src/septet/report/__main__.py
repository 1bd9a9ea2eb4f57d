"""`python -m septet.report VERB`: evaluate, judge, draw, bench_figures, page; show prints the verdicts.

Modules that draw or judge are imported by the verbs that do: merging runs must not wait for SciPy.
"""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: the products are small

from septet.cli import Verb, main
from septet.config import Settings
from septet.report import claims, merge


class Evaluate(Settings):
    """Configuration of `evaluate`."""

    paper: claims.Identifier
    scale: str
    runs: list[Path]
    """Run folders, each with `scores.parquet` and `run.json`."""


class Judge(Settings):
    """Configuration of `judge`."""

    results: Path
    """The folder `results/<scale>`, with one folder per paper."""
    claims: list[Path]


class Draw(Settings):
    """Configuration of `draw`."""

    paper: claims.Identifier
    results: dict[str, Path]
    """Folder below `out` -> the folder `results/<scale>` whose runs are drawn there."""
    figure: str | None = None
    """Name of the one figure to draw; none for all."""


class BenchFigures(Settings):
    """Configuration of `bench_figures`."""

    paper: claims.Identifier
    file: Path
    """The bench file, as `published/bench/<package>.json`."""


class Page(Settings):
    """Configuration of `page`."""

    results: Path
    """The folder `results/<scale>`, with verdicts, figures and one folder per paper."""
    claims: list[Path]
    verdicts: list[Path]
    """Files of verdicts, of all these claims together."""
    source: str = ""
    """The folder that the runs were taken from; if empty, `results`."""
    others: list[Path] = []
    """Files of verdicts on the same claims at other scales, the best evidence first, next to the runs they judge."""
    replicate: Path | None = None
    """Verdicts on another run of the same jobs, elsewhere."""


def evaluate(settings: Evaluate, out: Path) -> None:
    """Merge the runs of one paper."""
    merge.evaluate(settings.paper, settings.scale, settings.runs, out)


def judge(settings: Judge, out: Path) -> None:
    """Decide for each claim whether it was reproduced."""
    from septet.report.judge import judge as decide

    decide(settings.results, claims.read_all(settings.claims), out)


def draw(settings: Draw, out: Path) -> None:
    """Draw the figures of one paper."""
    from septet.report.draw import draw as draw_figures

    for folder, results in settings.results.items():
        draw_figures(results, out / folder, settings.paper, settings.figure)


def bench_figures(settings: BenchFigures, out: Path) -> None:
    """Draw the figures of one paper's bench."""
    from septet.report.bench import draw_bench

    draw_bench(settings.file, settings.paper, out)


def page(settings: Page, out: Path) -> None:
    """Write the report page."""
    from septet.report.page import page as write_page

    given = settings.model_dump(include={"source", "others", "replicate"})
    write_page(settings.results, claims.read_all(settings.claims), settings.verdicts, out, **given)


if __name__ == "__main__":
    main(
        "septet.report",
        {
            "evaluate": Verb(Evaluate, evaluate),
            "judge": Verb(Judge, judge),
            "draw": Verb(Draw, draw),
            "bench_figures": Verb(BenchFigures, bench_figures),
            "page": Verb(Page, page),
        },
        programs={"show": "septet.report.terminal"},
    )
