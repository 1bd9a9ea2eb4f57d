"""One paper's scores and run cards, and what is summarised from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.card import RunCard, check_tables
from septet.config import Settings, validate
from septet.errors import InputError
from septet.reading import entries, is_file
from septet.report.source import check_place
from septet.report.statistics import Array, area_under_curve, bootstrap_means, percentile_interval
from septet.scores import TIMING, read_scores, read_timing
from septet.sealed import read_sealed_json
from septet.seeding import stream

SUMMARY = pl.Schema(
    {
        "method": pl.String,
        "task": pl.String,
        "step": pl.Int64,
        "seeds": pl.Int64,
        "mean": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "run": pl.String,
    }
)
"""Columns of the summaries over seeds."""
EVERY = pl.lit(True)
Thing = TypeVar("Thing")
CONTENDED = 0.5
"""Share of a job's time with a process waiting for a processor from which a machine counts as busy: cores that are
shared slow a job's processor time, too."""


class NotRun(InputError):
    """What a figure shows is not among the runs."""


def first(found: Iterable[Thing]) -> Thing:
    """The first of what a figure may show. Raises NotRun if there is none."""
    for one in found:
        return one
    raise NotRun("figure", expected="a task that it shows", found="none of them")


@dataclass(frozen=True)
class Paper:
    """The results of one paper at one scale."""

    id: str
    scores: pl.DataFrame
    """The score table, see `septet.scores`."""
    cards: list[RunCard]
    """The run cards behind it; each row belongs to exactly one."""
    scale: str
    timing: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TIMING))
    """The timing table, see `septet.scores`."""
    table: str = ""
    """SHA-256 of the file of the score table."""


def read_paper(folder: Path) -> Paper:
    """Read a paper's folder: `scores.parquet`, `timing.parquet` and `runs.json`.

    Raises:
        InputError: a file is missing, changed, torn or of another form, the tables are not those of the run cards, or
            the rows are not of one paper.
    """
    return _paper(folder, read_runs(folder / "runs.json"))


def paper_of(results: Path, paper: str) -> Paper:
    """Read one paper of a results folder; raises as `read_paper` and `runs_of` do."""
    return _paper(results / paper, runs_of(results, paper))


def _paper(folder: Path, runs: "Runs") -> Paper:
    scores, timing = read_scores(folder / "scores.parquet"), read_timing(folder / "timing.parquet")
    check_tables(folder / "runs.json", runs.tables)
    papers = sorted({*scores["paper"].unique(), *(card.paper for card in runs.runs)})
    if len(papers) != 1:
        raise InputError(str(folder), expected="scores and run cards of one paper", found=", ".join(papers))
    return Paper(papers[0], scores, runs.runs, runs.scale, timing, runs.tables["scores.parquet"])


def timed(paper: Paper) -> Paper:
    """The paper with its times as scores, each iteration of a run taken for one repetition.

    The first iteration is left out: it starts processes and fills caches. The seed is replaced by
    the number of the iteration, 1 for the second one. The metrics are `seconds(P)` for each phase P
    of the timing table and for `iteration`, their sum, and `share(P)`, the phase's part of that sum.
    """
    key = ["paper", "method", "task", "step"]
    own = paper.timing.group_by(*key, "phase", maintain_order=True).agg(pl.col("seconds").sum())
    whole = own.group_by(key, maintain_order=True).agg(pl.col("seconds").sum(), phase=pl.lit("iteration"))
    share = own.join(whole, on=key, suffix="_whole").with_columns(pl.col("seconds") / pl.col("seconds_whole"))
    named = [
        rows.select(*key, pl.format(f"{name}({{}})", "phase").alias("metric"), pl.col("seconds").alias("value"))
        for name, rows in (("seconds", own), ("seconds", whole), ("share", share))
    ]
    iteration = (pl.col("step").rank("dense").over("method", "task") - 1).cast(pl.Int64)
    scores = (
        pl.concat(named).with_columns(seed=iteration).filter(pl.col("seed") > 0).with_columns(step=pl.lit(0, pl.Int64))
    )
    scores = scores.select(paper.scores.columns).sort(pl.all())
    cards = []
    for card in paper.cards:
        mine = scores.filter(pl.col("task") == card.task, pl.col("method").is_in(list(card.methods)))
        cards.append(card.model_copy(update={"seeds": mine["seed"].unique().sort().to_list()}))
    return Paper(paper.id, scores, cards, paper.scale, paper.timing)


class Runs(Settings):
    """The run cards of one paper at one scale: `runs.json`."""

    scale: str
    runs: list[RunCard]
    tables: dict[str, str]
    """SHA-256 of the tables next to it: file name -> digest."""


def read_runs(path: Path) -> Runs:
    """Read `runs.json`; raises InputError if it is missing, changed, or holds something else than run cards."""
    data = read_sealed_json(path, "a JSON file of run cards with its checksum")
    if not isinstance(data, dict):
        raise InputError(str(path), expected="a JSON mapping with scale and runs", found=data)
    return validate(Runs, data, str(path))


def runs_of(results: Path, paper: str) -> Runs:
    """The run cards of one paper of a results folder.

    Raises:
        InputError: as `read_runs`, or the cards are of another paper, or of another scale than the folder is named for.
    """
    path = results / paper / "runs.json"
    runs = read_runs(path)
    check_place(path, runs.scale, [(card.id, card.paper) for card in runs.runs])
    return runs


def papers_in(results: Path) -> list[str]:
    """The papers that have run cards in a results folder, sorted; raises InputError if a folder may not be read."""
    return [folder.name for folder in entries(results) if is_file(folder / "runs.json")]


def one_scale(papers: list[Paper]) -> str:
    """The scale that all papers were run at; InputError if they differ or there is no paper."""
    scales = sorted({paper.scale for paper in papers})
    if len(scales) != 1:
        raise InputError("papers", expected="runs of one scale", found=", ".join(scales) or "no paper")
    return scales[0]


def with_runs(paper: Paper, rows: pl.DataFrame | None = None) -> pl.DataFrame:
    """The score table (or `rows` with its key) with a column `run`: the id of the run card of each row.

    Raises:
        InputError: a row has no run card.
    """
    rows = paper.scores if rows is None else rows
    owners = pl.DataFrame(
        [(m, card.task, s, card.id) for card in paper.cards for m in card.methods for s in card.seeds],
        schema={"method": pl.String, "task": pl.String, "seed": pl.Int64, "run": pl.String},
        orient="row",
    )
    joined = rows.join(owners, on=["method", "task", "seed"], how="left", maintain_order="left")
    orphans = joined.filter(pl.col("run").is_null())
    if not orphans.is_empty():
        row = orphans.select("method", "task", "seed").row(0)
        raise InputError(f"run cards of {paper.id}", expected=f"a card that covers {row}", found="none")
    return joined


def curves(paper: Paper, metric: str, where: pl.Expr = EVERY, *, resamples: int = 2_000) -> pl.DataFrame:
    """Each method's curve of `metric`, summarised over seeds.

    Args:
        where: which rows of the score table; a figure asks for those that it shows, as each curve has its bootstrap.

    Returns:
        Columns `method, task, step, seeds, mean, low, high, run`: the mean over seeds with its 95 %
        bootstrap interval, from the step on at which every seed has a value; `run` holds the ids of the run cards
        behind the point, space between.

    Raises:
        InputError: there is no such metric, or a curve with a gap (see `curve_of_each_seed`).
    """
    return _summarised(paper, metric, where, resamples, slice(None))


def levels(paper: Paper, metric: str, where: pl.Expr = EVERY, *, resamples: int = 2_000) -> pl.DataFrame:
    """The last point of each curve: arguments, columns and errors as of `curves`."""
    return _summarised(paper, metric, where, resamples, slice(-1, None))


def _summarised(paper: Paper, metric: str, where: pl.Expr, resamples: int, part: slice) -> pl.DataFrame:
    """`curves` at the steps of `part`."""
    rows = with_runs(paper, _rows(paper, metric).filter(where))
    columns: dict[str, list[Any]] = {name: [] for name in SUMMARY}
    for (method, task), own in rows.group_by("method", "task", maintain_order=True):
        values, steps = curve_of_each_seed(f"scores of {paper.id}: {metric} of {method} on {task}", own)
        values, steps = values[:, part], steps[part]
        draws = bootstrap_means(values, stream(0, "curve", paper.id, metric, method, task), resamples)
        low, high = percentile_interval(draws, len(values))
        columns["mean"] += values.mean(axis=0).tolist()
        for name, numbers in (("step", steps), ("low", low), ("high", high)):
            columns[name] += numbers.tolist()
        same = {"method": method, "task": task, "seeds": len(values), "run": " ".join(own["run"].unique().sort())}
        for name, what in same.items():
            columns[name] += [what] * len(steps)
    return pl.DataFrame(columns, schema=SUMMARY)


def mean_over_steps(paper: Paper, metric: str) -> Paper:
    """The paper with one metric alone, of each seed its mean over the steps, at step 0."""
    key = ["paper", "method", "task", "seed", "metric"]
    rows = paper.scores.filter(pl.col("metric") == metric).group_by(key).agg(pl.col("value").mean())
    flat = rows.with_columns(step=pl.lit(0, pl.Int64)).select(paper.scores.columns)
    return Paper(paper.id, flat, paper.cards, paper.scale, paper.timing)


def settings(paper: Paper, attribute: str) -> dict[str, float]:
    """Method label -> the numeric setting `attribute` of its run cards, where it has one.

    Raises:
        InputError: two run cards give one label two values.
    """
    found: dict[str, float] = {}
    for card in paper.cards:
        for label, given in card.methods.items():
            value = given.get(attribute)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if found.setdefault(label, float(value)) != float(value):
                where = f"run cards of {paper.id}: {label}.{attribute}"
                raise InputError(where, expected=f"{found[label]:g}", found=value)
    return found


def per_seed(rows: pl.DataFrame, methods: list[str], *, area: bool, step: int | None) -> pl.DataFrame:
    """One value per method, task and seed, from rows of one metric.

    Args:
        rows: rows of the score table, of the tasks and methods wanted.
        methods: the methods that must share the step that is read.
        area: take the area under each curve instead of a step.
        step: the step that is read; none for the last one that all `methods` share on a task.

    Returns:
        Columns `method, task, seed, value`.
    """
    key = ["method", "task", "seed"]
    if area:  # of the part that the seeds of a method share, so that none is averaged over other steps
        late = pl.col("step") >= pl.col("step").min().over(key).max().over("method", "task")
        groups = rows.filter(late).sort("step").group_by(key, maintain_order=True).agg("step", "value")
        areas = [
            float(area_under_curve(np.asarray(group["value"]), np.asarray(group["step"])))
            for group in groups.iter_rows(named=True)
        ]
        return groups.select(*key, pl.Series("value", areas, dtype=pl.Float64))
    if step is not None:
        return rows.filter(pl.col("step") == step).select(*key, "value")
    shared = rows.group_by("task", "step").agg(pl.col("method").n_unique().alias("count"))
    last = shared.filter(pl.col("count") == len(methods)).group_by("task").agg(pl.col("step").max())
    return rows.join(last, on=["task", "step"], how="semi").select(*key, "value")


def dot(paper: Paper, task: str, label: str, rows: pl.DataFrame, methods: Sequence[str]) -> dict[str, Any]:
    """Mean over seeds of the column `value` with its 95 % bootstrap interval: a row for `septet.report.charts.dots`.

    Args:
        rows: columns `seed, value`.
        methods: the methods behind the value; `run` names their run cards.
    """
    values = rows.sort("seed")["value"].to_numpy()
    draws = bootstrap_means(values[:, None], stream(0, "dot", task, label))
    low, high = percentile_interval(draws[:, 0], len(values))
    row = {"task": task, "method": label, "mean": float(values.mean()), "low": float(low), "high": float(high)}
    return {**row, "run": runs_behind(paper, methods, task)}


def runs_behind(paper: Paper, methods: Sequence[str], task: str) -> str:
    """The ids of the run cards of some methods on a task, space between."""
    return " ".join(sorted({card.id for card in paper.cards if card.task == task and set(methods) & set(card.methods)}))


def differences(
    paper: Paper, values: pl.DataFrame, pairs: Mapping[str, tuple[str, str]], tasks: Iterable[str]
) -> pl.DataFrame:
    """The first minus the second of each pair of methods, seed by seed: a row of `dot` per pair and task.

    Args:
        values: columns `method, task, seed, value`.
        pairs: label -> the two methods; a pair is left out of a task where one of them has no seed of the other.
    """
    points = []
    for task in tasks:
        here = values.filter(pl.col("task") == task)
        for label, pair in pairs.items():
            own, other = (here.filter(pl.col("method") == name).select("seed", "value") for name in pair)
            both = own.join(other, on="seed", suffix="_other")
            both = both.with_columns(value=pl.col("value") - pl.col("value_other"))
            if not both.is_empty():
                points.append(dot(paper, task, label, both, pair))
    return pl.DataFrame(points, schema=None if points else ["task", "method"])


def _rows(paper: Paper, metric: str) -> pl.DataFrame:
    rows = paper.scores.filter(pl.col("metric") == metric)
    if rows.is_empty():
        known = ", ".join(paper.scores["metric"].unique().sort())
        raise NotRun(f"scores of {paper.id}", expected=f"the metric {metric}", found=f"only {known}")
    return rows


def curve_of_each_seed(where: str, rows: pl.DataFrame) -> tuple[Array, NDArray[np.int64]]:
    """One metric of one method on one task, from the step on at which every seed has a value.

    A seed's curve may start later than another's, as a return does where no episode has ended yet. From its first
    row on it has a value at each step that any seed has.

    Args:
        where: names the rows in the error.
        rows: columns `seed, step, value`.

    Returns:
        Values of shape ``(S, P)``, seeds ascending, and the P steps.

    Raises:
        InputError: a curve has a gap, or a row is repeated.
    """
    seeds, row = np.unique(rows["seed"].to_numpy(), return_inverse=True)
    steps, column = np.unique(rows["step"].to_numpy(), return_inverse=True)
    shape = len(seeds), len(steps)
    count = np.bincount(row * len(steps) + column, minlength=len(seeds) * len(steps)).reshape(shape)
    first = (count > 0).argmax(axis=1)
    torn = (count != (np.arange(len(steps)) >= first[:, None])).any(axis=1)
    if torn.any():
        one = int(torn.argmax())
        expected = f"({len(steps) - first[one]} values of seed {seeds[one]} from {steps[first[one]]} on)"
        wanted = f"every seed at every step from its first one on {expected}"
        raise InputError(where, expected=wanted, found=f"{count[one].sum()} values")
    values = np.empty(shape)
    values[row, column] = rows["value"].to_numpy()
    return values[:, first.max() :], steps[first.max() :]
