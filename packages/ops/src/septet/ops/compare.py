"""Which verdicts and numbers moved between two runs: `make compare A=published B=results/laptop`.

Each claim's estimate is compared, B less A, and the last score of each method on each task in a metric that claims
read. The interval of the difference is ``d ± t_{n-1} s`` with s the standard error over seeds, paired where both runs
have the same seeds. It is as wide as the number of comparisons asks for (Bonferroni): if nothing has moved, none of the
intervals leaves zero out with a probability of 95 %. A number moved if its interval lies wholly further from zero than
the tolerance, a share of A's value. A verdict that is another one while its numbers agree within that interval has
crossed its line: that happens to a claim near its line in any two runs, and is listed, but does not count as a move.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.special import stdtrit

from septet.config import Settings
from septet.errors import InputError
from septet.files import write_text
from septet.reading import is_file, is_folder
from septet.report import judging, tables, verdicts
from septet.report.claims import Claim, read_claims
from septet.report.published import same_as_published
from septet.report.statistics import Array
from septet.report.tables import Paper, paper_of, papers_in

LEVEL = 0.95
TOLERANCE = 0.01


class Difference(Settings):
    """One number of both runs."""

    paper: str
    kind: str
    """`claim` or `score`."""
    name: str
    """Id of the claim, or `method on task: metric`."""
    a: float | None
    b: float | None
    difference: float | None
    """b - a; none if one of the runs has no such number."""
    low: float | None
    high: float | None
    verdict_a: str | None = None
    verdict_b: str | None = None
    moved: bool
    """The number moved, or is in one of the runs only."""
    crossed: bool
    """The verdict is another one, and the numbers agree within their joint interval."""
    counts: bool = True
    """False for a claim about time, which moves with the machine."""


class Comparison(Settings):
    """What `compare` found."""

    a: str
    b: str
    scale: str
    level: float
    tolerance: float
    compared: int
    identical: list[str]
    """Papers whose score tables are the same, or differ as a table and its published copy, which is rounded."""
    only_in_a: list[str]
    only_in_b: list[str]
    differences: list[Difference]

    @property
    def moved(self) -> list[Difference]:
        """The numbers that moved and count."""
        return [one for one in self.differences if one.moved and one.counts]

    @property
    def crossed(self) -> list[Difference]:
        """The verdicts that crossed their line, their numbers agreeing."""
        return [one for one in self.differences if one.crossed]


class _Pair(NamedTuple):
    """One number of both runs."""

    about: dict[str, Any]
    """Fields of `Difference`."""
    error: float = 0.0
    """Standard error of the difference."""
    seeds: int = 0
    """Seeds of the run that has fewer."""


def compare(a: Path, b: Path, claims: Path, tolerance: float = TOLERANCE) -> Comparison:
    """Compare two folders with one folder per paper.

    Args:
        claims: folder of the claims files, one per paper.
        tolerance: share of A's value that counts as no move.

    Raises:
        InputError: a folder is missing, no paper is in both, a table is torn, or the scales differ.
    """
    names_a, names_b = _papers(a), _papers(b)
    shared = sorted(names_a & names_b)
    if not shared:
        raise InputError(str(b), expected=f"a paper of {a}", found=", ".join(sorted(names_b)) or "no paper")
    identical, pairs, scales = [], [], set()
    for name in shared:
        one, two = paper_of(a, name), paper_of(b, name)
        scales.add(one.scale)
        if one.scale != two.scale:
            raise InputError(str(b / name), expected=f"runs of scale {one.scale}", found=two.scale)
        claimed = read_claims(claims / f"{name}.yaml").claims if is_file(claims / f"{name}.yaml") else []
        if same_as_published(one.scores, two.scores):
            identical.append(name)
            continue
        metrics = {claim.column for claim in claimed if not claim.is_timed}  # the others are diagnostics
        pairs += [*(_claim(claim, one, two) for claim in claimed), *_scores(one, two, metrics)]
    count = sum(pair.about["a"] is not None and pair.about["b"] is not None for pair in pairs)
    return Comparison(
        a=str(a),
        b=str(b),
        scale=", ".join(sorted(scales)),
        level=LEVEL,
        tolerance=tolerance,
        compared=count,
        identical=identical,
        only_in_a=sorted(names_a - names_b),
        only_in_b=sorted(names_b - names_a),
        differences=[_difference(pair, count, tolerance) for pair in pairs],
    )


def _papers(folder: Path) -> set[str]:
    if not is_folder(folder):
        raise InputError(str(folder), expected="a folder with one folder per paper", found="none")
    return set(papers_in(folder))


def _claim(claim: Claim, a: Paper, b: Paper) -> _Pair:
    """A claim's estimate on both runs; no number where it is not judged on one of them."""
    judged = [verdicts.judge_claim(claim, paper.id, paper, paper.scale) for paper in (a, b)]
    about = {
        "paper": a.id,
        "kind": "claim",
        "name": claim.id,
        "a": judged[0].estimate,
        "b": judged[1].estimate,
        "verdict_a": judged[0].verdict,
        "verdict_b": judged[1].verdict,
        "counts": not claim.is_timed,
    }
    if any(one.estimate is None for one in judged):
        return _Pair(about)
    pulls, seeds = zip(*(_influence(claim, paper) for paper in (a, b)), strict=True)
    error = _error(pulls[0], pulls[1], paired=seeds[0] == seeds[1])
    return _Pair(about, error, min(map(len, seeds)))


def _influence(claim: Claim, paper: Paper) -> tuple[Array, list[int]]:
    """How far each seed pulls the claim's estimate, and the seeds."""
    results = tables.timed(paper) if claim.is_timed else paper
    scores, seeds = judging.seed_array(claim, results)
    return judging.quantity_of(claim, results, scores).influence(), seeds


def _scores(a: Paper, b: Paper, metrics: set[str]) -> list[_Pair]:
    """The last score of each method on each task, its mean over seeds; of all metrics if none is named."""
    last = [_last(paper, metrics) for paper in (a, b)]
    pairs: list[_Pair] = []
    for key in sorted(last[0].keys() | last[1].keys()):
        one, two = (values.get(key) for values in last)
        name = f"{key[0]} on {key[1]}: {key[2]}"
        means = [None if values is None else float(np.mean(list(values.values()))) for values in (one, two)]
        about = {"paper": a.id, "kind": "score", "name": name, "a": means[0], "b": means[1]}
        if one is None or two is None:
            pairs.append(_Pair(about))
            continue
        paired = one.keys() == two.keys()
        values = np.array([*one.values()]), np.array([two[seed] for seed in (one if paired else two)])
        pairs.append(_Pair(about, _error(*values, paired=paired), min(len(one), len(two))))
    return pairs


def _last(paper: Paper, metrics: set[str]) -> dict[tuple[str, str, str], dict[int, float]]:
    """Method, task, metric -> seed -> the value at the last step."""
    key = ["method", "task", "metric"]
    rows = paper.scores.filter(pl.col("metric").is_in(metrics)) if metrics else paper.scores
    rows = rows.filter(pl.col("step") == pl.col("step").max().over(key))
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    for method, task, metric, seed, value in rows.select(*key, "seed", "value").iter_rows():
        found.setdefault((method, task, metric), {})[seed] = value
    return found


def _error(a: Array, b: Array, paired: bool) -> float:
    """The standard error of the mean of `b` less that of `a`."""
    return _mean_error(b - a) if paired else float(np.hypot(_mean_error(a), _mean_error(b)))


def _mean_error(values: Array) -> float:
    """The standard error of a mean: ``sd / sqrt(n)``; infinite for one value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def _difference(pair: _Pair, count: int, tolerance: float) -> Difference:
    about, error, seeds = pair
    a, b, other = about["a"], about["b"], about.get("verdict_a") != about.get("verdict_b")
    if a is None or b is None:
        gone = (a is None) != (b is None)
        return Difference(**about, difference=None, low=None, high=None, moved=other or gone, crossed=False)
    value, half = b - a, error
    if error not in (0.0, np.inf):
        half = -float(stdtrit(seeds - 1, (1 - LEVEL) / 2 / count)) * error
    margin = tolerance * abs(a)
    moved = value - half > margin or value + half < -margin
    low, high = (value - half, value + half) if np.isfinite(half) else (None, None)
    crossed = other and not moved
    return Difference(**about, difference=value, low=low, high=high, moved=bool(moved), crossed=bool(crossed))


def text(found: Comparison, most: int = 40) -> str:
    """The comparison as lines: what moved, verdicts first, what crossed its line, then the sums."""
    ordered = sorted(found.moved, key=lambda one: (one.verdict_a == one.verdict_b, one.kind, one.paper, one.name))
    lines = [f"moved  {one.paper:12}{one.kind:6} {one.name}{_verdicts(one)}{_numbers(one)}" for one in ordered[:most]]
    if len(ordered) > most:
        lines.append(f"... and {len(ordered) - most} more, in the JSON file")
    lines += [
        f"line   {one.paper:12}{one.kind:6} {one.name}{_verdicts(one)}{_numbers(one)}  (the numbers agree)"
        for one in found.crossed
    ]
    lines += [
        f"time   {one.paper:12}{one.kind:6} {one.name}{_numbers(one)}  (moves with the machine: not counted)"
        for one in found.differences
        if one.moved and not one.counts
    ]
    for names, what in (
        (found.identical, "identical score tables"),
        (found.only_in_a, f"only in {found.a}"),
        (found.only_in_b, f"only in {found.b}"),
    ):
        if names:
            lines.append(f"{what}: {', '.join(names)}")
    if not found.differences:
        lines.append("identical")
    else:
        lines.append(
            f"{len(found.moved)} numbers moved, {len(found.crossed)} verdicts crossed their line with numbers that "
            f"agree, of {found.compared} compared ({found.level:.0%} for all together, tolerance {found.tolerance:.1%})"
        )
    return "\n".join(lines)


def _verdicts(one: Difference) -> str:
    return f"  {one.verdict_a} -> {one.verdict_b}" if one.verdict_a != one.verdict_b else ""


def _numbers(one: Difference) -> str:
    if one.a is None or one.b is None:
        gone = "new in B" if one.a is None else "gone in B"
        return f"  {gone}" if (one.a is None) != (one.b is None) else ""
    ends = "" if one.low is None else f" [{one.low:+.4g}, {one.high:+.4g}]"
    return f"  {one.a:.4g} -> {one.b:.4g}, {one.difference:+.4g}{ends}"


def main(arguments: Sequence[str]) -> None:
    """Compare, print, and exit: 0 no number moved, 1 one moved, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m septet.ops compare", allow_abbrev=False)
    parser.add_argument("a", type=Path, help="folder of the older run, such as published")
    parser.add_argument("b", type=Path, help="folder of the newer run, such as results/laptop")
    parser.add_argument("--claims", type=Path, default=Path("config/claims"), help="folder of the claims files")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="share of A's value that is no move")
    parser.add_argument("--json", type=Path, help="file for the whole comparison")
    given = parser.parse_args(arguments)
    if not given.tolerance >= 0:
        raise InputError("--tolerance", expected="a number from 0 on", found=given.tolerance)
    found = compare(given.a, given.b, given.claims, given.tolerance)
    if given.json:
        write_text(given.json, json.dumps(found.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
    print(text(found))
    sys.exit(1 if found.moved else 0)
