"""The lineage of a figure's point: `make trace POINT=...`.

A point is named in one of two ways:

    RUN[/METRIC[/SEED[/STEP]]]          RUN is the id of a run card, or its first six characters or more
    FIGURE/PAPER/METHOD/TASK/SEED       METHOD may itself hold a slash, as in ts/exp-0.99

What comes back leads from the figure through the tables to the run: its configuration, seed, data, package sources,
lock, image and host, and the command that makes it again.
"""

import argparse
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from septet.card import RunCard, lock_digest
from septet.config import Settings
from septet.errors import InputError
from septet.files import sha256, source_digest
from septet.reading import is_file, is_folder, readable
from septet.report.figure_files import read_figure
from septet.report.rerun import rerun_command
from septet.report.tables import Paper, paper_of, papers_in, runs_of
from septet.workflow_config import papers_here

FORMS = "RUN[/METRIC[/SEED[/STEP]]] or FIGURE/PAPER/METHOD/TASK/SEED"


class Point(Settings):
    """What a name of a point says; none where it says nothing."""

    figure: str | None = None
    paper: str
    run: str
    method: str | None = None
    task: str
    metric: str | None = None
    seed: int | None = None
    step: int | None = None


Link = tuple[str, str]
"""One link of the chain: what it is, and a line on it."""


def trace(name: str, results: Path) -> list[Link]:
    """The lineage of a point, from the figure down to the command.

    Args:
        results: a folder with one folder per paper: `results/<scale>` or `published`.

    Raises:
        InputError: there is no such point, or the results are damaged.
    """
    point, paper, card = find(name, results)
    return [
        *_figure(point, results),
        ("table", _file(results / paper.id / "scores.parquet")),
        *_values(name, point, paper, card),
        *run_links(card, results, paper.scale, point.seed),
    ]


def run_links(card: RunCard, results: Path, scale: str, seed: int | None = None) -> list[Link]:
    """The links below the table: the run, what it was made from and on, and how to make it again."""
    method = str(card.config["method"]["name"])
    folder = results / card.paper / "runs" / method / card.task
    place = str(folder / "run.json") if is_file(folder / "run.json") else str(results / card.paper / "runs.json")
    seeds = ", ".join(map(str, card.seeds))
    return [
        ("run", f"{card.id}, {card.verb} of {method} on {card.task}, {scale}; its card is in {place}"),
        ("seed", f"{seed} of {seeds}" if seed is not None else seeds),
        ("configuration", json.dumps(card.config)),
        ("data", card.data),
        *_prepared(card),
        *(("package", f"{name} {digest}, {_source(name, digest)}") for name, digest in card.sources.items()),
        ("lock", f"{card.lock or 'none'}, {_same(card.lock, lock_digest())}"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
        ("image", card.image or "none: it ran natively"),
        ("host", ", ".join(f"{name} {value}" for name, value in card.host.items())),
        ("time", f"{card.started}, {card.wall_seconds} s (paused {card.paused_seconds:.0f}), {card.cpu_seconds} CPU s"),
        ("in the workflow", rerun_command(card, scale)),
        ("on its own", command(card, seed)),
    ]


def _prepared(card: RunCard) -> list[Link]:
    """The files that the data and the model's weights were prepared into, if the run read any."""
    return [
        (f"prepared {what}", _file(Path(file)) if is_file(Path(file)) else f"{file}, not here: run it in the workflow")
        for what in ("data", "weights")
        if (file := card.config.get(f"{what}_file"))
    ]


def command(card: RunCard, seed: int | None = None, out: str = "regrown") -> str:
    """The shell command that makes a run again without the workflow; one seed of it, if one is named."""
    config = dict(card.config)
    if seed is not None and config.get("seeds") == card.seeds:
        config["seeds"] = [seed]
    run = f"python -m septet.{program_of(card.paper)} {card.verb} --config - --out {out}"
    if model := card.host.get("computes_as"):
        run = f"python -m septet.processor {model} -- {run}"
    return f"printf %s {shlex.quote(json.dumps(config))} | {run}"


def program_of(paper: str) -> str:
    """The package that runs a paper's jobs."""
    row = papers_here().get(paper)
    return (row.program if row else None) or paper


def find(name: str, results: Path) -> tuple[Point, Paper, RunCard]:
    """The point that a name means, with its paper's results and its run card.

    Raises:
        InputError: the name has neither form, or there is no such run, figure, paper, method, task, seed or step.
    """
    parts = name.split("/")
    if re.fullmatch(r"[0-9a-f]{6,12}", parts[0]):
        return _by_run(name, parts, results)
    if len(parts) >= 5:
        return _by_figure(name, parts, results)
    raise InputError("POINT", expected=FORMS, found=name)


def _by_run(name: str, parts: list[str], results: Path) -> tuple[Point, Paper, RunCard]:
    found = [
        (name, card)
        for name in papers_in(results)
        for card in runs_of(results, name).runs
        if card.id.startswith(parts[0])
    ]
    if len(found) != 1:
        ids = [card.id for _, card in found]
        many = f"{len(ids)} runs: {', '.join(ids)}" if ids else f"no run {parts[0]}"
        raise InputError(f"POINT {name}", expected=f"a run of {results}", found=many)
    paper_id, card = found[0]
    if len(parts) > 4:
        raise InputError("POINT", expected=FORMS, found=name)
    point = Point(
        paper=card.paper,
        run=card.id,
        task=card.task,
        metric=parts[1] if len(parts) > 1 else None,
        seed=_number(name, "seed", parts[2]) if len(parts) > 2 else None,
        step=_number(name, "step", parts[3]) if len(parts) > 3 else None,
    )
    return point, paper_of(results, paper_id), card


def _by_figure(name: str, parts: list[str], results: Path) -> tuple[Point, Paper, RunCard]:
    figure, paper_id, method, task = parts[0], parts[1], "/".join(parts[2:-2]), parts[-2]
    papers = papers_in(results)
    if paper_id not in papers:
        raise InputError(f"POINT {name}: paper", expected=_few(papers), found=paper_id)
    from septet.report.draw import figures_in  # and so what draws: only where a figure is named

    figures = [figure.name for module in (paper_id, f"{paper_id}_bench") for figure in figures_in(module)]
    if figure not in figures:
        raise InputError(f"POINT {name}: figure", expected=_few(figures), found=figure)
    seed = _number(name, "seed", parts[-1])
    paper = paper_of(results, paper_id)
    cards = [card for card in paper.cards if card.task == task and method in card.methods]
    if not cards:
        known = sorted({f"{label}/{card.task}" for card in paper.cards for label in card.methods if card.task == task})
        known = known or sorted({card.task for card in paper.cards})
        raise InputError(f"POINT {name}: method and task", expected=_few(known), found=f"{method}/{task}")
    for card in cards:
        if seed in card.seeds:
            return Point(figure=figure, paper=paper_id, run=card.id, method=method, task=task, seed=seed), paper, card
    raise InputError(f"POINT {name}: seed", expected=_few(cards[0].seeds), found=seed)


def _values(name: str, point: Point, paper: Paper, card: RunCard) -> list[Link]:
    """The rows of the score table behind the point; the last step if none is named."""
    labels = [point.method] if point.method else list(card.methods)
    rows = paper.scores.filter(
        pl.col("task") == card.task, pl.col("method").is_in(labels), pl.col("seed").is_in(card.seeds)
    )
    for column in ("metric", "seed", "step"):
        asked = getattr(point, column)
        if asked is not None:
            known = rows[column].unique().sort().to_list()
            if asked not in known:
                raise InputError(f"POINT {name}: {column}", expected=_few(known), found=asked)
            rows = rows.filter(pl.col(column) == asked)
    if point.metric is None and point.seed is None:
        return [("rows", f"{len(rows)} of the score table")]
    if point.step is None:
        rows = rows.filter(pl.col("step") == pl.col("step").max().over("method", "metric", "seed"))
    shown = rows.sort("method", "metric", "seed").head(40)
    return [
        ("row", f"{method}, seed {seed}, step {step}: {metric} = {value!r}")
        for method, seed, step, metric, value in shown.select("method", "seed", "step", "metric", "value").iter_rows()
    ]


def _figure(point: Point, results: Path) -> list[Link]:
    if point.figure is None:
        return []
    drawn = results / "figures" / point.paper / f"{point.figure}.json"
    links = [("figure", f"{point.figure} of {point.paper}, drawn by septet.report.papers.{point.paper}")]
    if not is_file(drawn):
        return [*links, ("drawing", "not drawn in these results")]
    shows = any(point.run in str(one.row.get("run", "")) for panel in read_figure(drawn).panels for one in panel.points)
    seen = "it shows this run" if shows else "it does not show this run"
    return [*links, ("drawing", f"{_file(drawn)}, {seen}")]


def _file(path: Path) -> str:
    with readable(path):
        return f"{path} (SHA-256 {sha256(path)})"


def _source(name: str, digest: str) -> str:
    try:
        return _same(digest, source_digest(name))
    except ModuleNotFoundError:
        return "not installed here"


def _same(recorded: str | None, here: str | None) -> str:
    return "the same as here" if recorded == here else "another one is here"


def _number(name: str, what: str, text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise InputError(f"POINT {name}: {what}", expected="a whole number", found=text)
    return int(text)


def _few(known: Sequence[Any]) -> str:
    shown = ", ".join(map(str, known[:12]))
    return f"one of {shown}" + (f" and {len(known) - 12} more" if len(known) > 12 else "")


def trace_in(name: str, folders: Sequence[Path]) -> tuple[Path, list[Link]]:
    """The lineage of a point in the first folder that knows it; the first folder's complaint if none does."""
    there = [folder for folder in folders if is_folder(folder) and papers_in(folder)]
    if not there:
        raise InputError("results", expected="a folder with runs", found=", ".join(map(str, folders)))
    complaint = None
    for folder in there:
        try:
            return folder, trace(name, folder)
        except InputError as error:
            complaint = complaint or error
    assert complaint is not None
    raise complaint


def main(arguments: Sequence[str]) -> None:
    """Print the lineage of a point."""
    parser = argparse.ArgumentParser(prog="python -m septet.ops trace", allow_abbrev=False)
    parser.add_argument("results", nargs="+", type=Path, help="folders to look in, such as results/laptop published")
    parser.add_argument("point", help=FORMS)
    given = parser.parse_args(arguments)
    folder, links = trace_in(given.point, given.results)
    print(f"{'point':16} {given.point} in {folder}")
    for what, line in links:
        print(f"{what:16} {line}")
