"""Merge the runs of a paper into one score table, one timing table and one list of run cards."""

from pathlib import Path
from typing import Any

import polars as pl

from septet.card import RunCard, check_tables, table_digests
from septet.errors import InputError
from septet.report.tables import Runs, curve_of_each_seed
from septet.scores import read_scores, read_timing, write_scores, write_timing
from septet.sealed import write_json


def evaluate(paper: str, scale: str, runs: list[Path], out: Path) -> None:
    """Merge the score tables, timing tables and run cards of one paper's runs.

    Args:
        runs: folders that each hold `scores.parquet`, `timing.parquet` and `run.json`.
        out: folder for `scores.parquet`, `timing.parquet` and `runs.json`.

    Raises:
        InputError: no run, a run of another paper, the same run or the same scores twice, a table that is not the
            one of its card, or does not hold exactly the methods, task and seeds that it names, or a curve with a gap
            (see `tables.curve_of_each_seed`).
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
        curve_of_each_seed(f"{run}: {metric} of {method}", rows)


def _check_same(where: str, listed: set[Any], present: set[Any]) -> None:
    for name, group, lacks in (("run card", listed, present), ("score table", present, listed)):
        if group - lacks:
            found = f"only in the {name}: {', '.join(sorted(map(str, group - lacks)))}"
            raise InputError(where, expected="the same in run card and score table", found=found)


def _unique(scores: pl.DataFrame, column: str) -> list[Any]:
    return scores[column].unique().sort().to_list()
