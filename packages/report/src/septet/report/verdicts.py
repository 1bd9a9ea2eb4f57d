"""Each claim's estimate, its bootstrap interval over seeds, and the verdict."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from septet.card import RunCard
from septet.config import Settings, validate
from septet.errors import InputError
from septet.reading import is_file
from septet.report import estimands, tables
from septet.report.claims import (
    Advantage,
    AtLeast,
    Claim,
    ClaimsFile,
    Estimand,
    Greater,
    Improvement,
    Less,
    Level,
    Ratio,
    Relation,
    RelativeAdvantage,
    ShiftOfBest,
    Within,
)
from septet.report.statistics import Array, bootstrap, percentile_interval
from septet.report.tables import Paper
from septet.sealed import read_sealed_json, write_json
from septet.seeding import stream

Outcome = Literal["reproduced", "not reproduced", "undecided", "not judged at this scale"]
OUTCOMES: tuple[Outcome, ...] = ("reproduced", "not reproduced", "undecided", "not judged at this scale")
LEAST_SEEDS = 5
RESAMPLES = 10_000


class Verdict(Settings):
    """One row of `verdicts.json`."""

    paper: str
    """Id of the paper."""
    claim: str
    """Id of the claim."""
    statement: str
    """The claim in our words."""
    source: str
    """Where the paper says it."""
    reported: str
    """The paper's number as text."""
    ours: bool
    """True for a claim that we added."""
    unit: str
    """Unit of the estimate."""
    line: str
    """What the estimate is held against, such as `> 0`."""
    estimate: float | None
    """The estimate on all seeds; none if not judged."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end of the 95 % interval."""
    verdict: Outcome
    """The verdict."""
    reason: str
    """Why this verdict, in a few words."""
    scale: str
    """The scale of the runs."""
    seeds: int
    """Number of seeds (of iterations, for a claim about time) that the estimate stands on."""
    runs: list[str]
    """Ids of the run cards that the estimate stands on."""


def read_verdicts(path: Path) -> list[Verdict]:
    """Read `verdicts.json`; raises InputError if it is missing, changed, or of another form."""
    rows = read_sealed_json(path, "a JSON list of verdicts with its checksum")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(str(path), expected="a JSON list of verdicts", found=rows)
    return [validate(Verdict, row, f"{path}: {place}") for place, row in enumerate(rows)]


def write_verdicts(path: Path, found: list[Verdict]) -> None:
    """Write them as a JSON list; each row carries the checksum of the whole file. InputError if there is no row."""
    if not found:
        raise InputError("claims", expected="at least one", found="none")
    write_json(path, [verdict.model_dump(mode="json") for verdict in found])


class NotJudged(Exception):
    """The claim cannot be judged on these results; the text says why."""


def judge(file: ClaimsFile, paper: Paper | None, scale: str, resamples: int = RESAMPLES) -> list[Verdict]:
    """The verdicts on all claims of one paper.

    Args:
        paper: its results, or none if there are none at this scale.
        scale: the scale of these results.

    Raises:
        InputError: the claims file asks for a setting that the run cards cannot give.
    """
    return [judge_claim(claim, file.paper.id, paper, scale, resamples) for claim in file.claims]


def judge_claim(claim: Claim, paper_id: str, paper: Paper | None, scale: str, resamples: int = RESAMPLES) -> Verdict:
    """The verdict on one claim; arguments and errors as of `judge`."""
    fixed = {"paper": paper_id, "claim": claim.id, **as_claimed(claim), "scale": scale}
    try:
        judged = _judged(claim, paper_id, judgeable(claim, paper, scale), resamples)
    except NotJudged as error:
        judged = {"estimate": None, "low": None, "high": None, "seeds": 0, "runs": []}
        judged |= {"verdict": "not judged at this scale", "reason": str(error)}
    return Verdict(**fixed, **judged)


def as_claimed(claim: Claim) -> dict[str, Any]:
    """The fields of a verdict that repeat its claim."""
    return {
        **claim.model_dump(include={"statement", "source", "reported", "ours", "unit"}),
        "line": line_text(claim.relation),
    }


def check_claim(path: Path, verdict: Verdict, claim: Claim) -> None:
    """Check that a verdict is on a claim as it stands today; InputError names the file and the field if it is not."""
    for name, today in as_claimed(claim).items():
        found = getattr(verdict, name)
        if found != today:
            where, expected = f"{path}: {verdict.claim}.{name}", f"{str(today)[:80]!r}, as the claim is now"
            raise InputError(where, expected=expected, found=f"{str(found)[:80]!r}; remove the file and judge again")


def check_runs(path: Path, found: list[Verdict], results: Path) -> None:
    """Check that verdicts are on the runs of a results folder, as far as it has runs of their papers.

    Args:
        path: the file of the verdicts, for the message.

    Raises:
        InputError: a verdict is of another scale, or names a run that `runs.json` does not have.
    """
    for paper in dict.fromkeys(one.paper for one in found):
        if not is_file(results / paper / "runs.json"):
            continue
        runs = tables.runs_of(results, paper)
        known = {card.id for card in runs.runs}
        for one in (one for one in found if one.paper == paper):
            where, again = f"{path}: {one.claim}", "remove the file and judge again"
            if one.scale != runs.scale:
                raise InputError(f"{where}.scale", expected=runs.scale, found=f"{one.scale}; {again}")
            if odd := set(one.runs) - known:
                expected = f"runs of {results / paper / 'runs.json'}"
                raise InputError(f"{where}.runs", expected=expected, found=f"{min(odd)}; {again}")


def _judged(claim: Claim, paper_id: str, paper: Paper, resamples: int) -> dict[str, Any]:
    """What the results say about a claim: the fields of its verdict that depend on them."""
    paper = tables.timed(paper) if claim.is_timed else paper
    scores, seeds = seed_array(claim, paper)
    cards = _cards_behind(claim, paper, seeds)
    statistic = Statistic(claim, paper)
    estimate = float(statistic(scores[None])[0])
    draws = bootstrap(statistic, scores, stream(0, "verdict", paper_id, claim.id), resamples)
    if not np.isfinite(draws).all():
        raise NotJudged("the estimate divides by zero on some resamples")
    low, high = (float(end) for end in percentile_interval(draws, len(seeds)))
    verdict, reason = outcome(claim.relation, low, high)
    return {
        "estimate": estimate,
        "low": low,
        "high": high,
        "verdict": verdict,
        "reason": reason,
        "seeds": len(seeds),
        "runs": [card.id for card in cards],
    }


def band(relation: Relation) -> tuple[float, float]:
    """The claimed side as a range of values: ``(lower line, upper line)``, infinite where it is open."""
    match relation:
        case Greater() | AtLeast():
            return relation.than - relation.tolerance, np.inf
        case Less():
            return -np.inf, relation.than + relation.tolerance
        case Within():
            return relation.center - relation.tolerance, relation.center + relation.tolerance


def outcome(relation: Relation, low: float, high: float) -> tuple[Outcome, str]:
    """The verdict on an interval, and the reason.

    Reproduced if the interval lies wholly on the claimed side of the line, not reproduced if wholly
    on the other side, undecided if the line runs through it. A line belongs to the claimed side for
    `at_least` and `within`, and to the other side for `greater` and `less`.
    """
    lower, upper = band(relation)
    closed = isinstance(relation, AtLeast | Within)
    inside = lower <= low and high <= upper if closed else lower < low and high < upper
    outside = high < lower or low > upper if closed else high <= lower or low >= upper
    if inside:
        return "reproduced", f"the whole interval is {line_text(relation)}"
    if outside:
        return "not reproduced", f"no part of the interval is {line_text(relation)}"
    return "undecided", f"only a part of the interval is {line_text(relation)}"


def line_text(relation: Relation) -> str:
    """The claimed side in words, with the tolerance worked in: `> 0`, `≥ -0.5`, `between 0.9 and 1.1`."""
    lower, upper = band(relation)
    match relation:
        case Greater():
            return f"> {lower:g}"
        case AtLeast():
            return f"≥ {lower:g}"
        case Less():
            return f"< {upper:g}"
        case Within():
            return f"between {lower:g} and {upper:g}"


def seed_array(claim: Claim, paper: Paper) -> tuple[Array, list[int]]:
    """The scores that a claim reads, and the seeds that all its methods share on all its tasks.

    Returns:
        Array of shape ``(M, T, S)``, methods in the order of `Claim.methods`, and the S seeds.

    Raises:
        NotJudged: a method, task or step is missing, or fewer than five seeds are shared.
    """
    rows = paper.scores.filter(pl.col("metric") == claim.column, pl.col("task").is_in(claim.tasks))
    present = {(method, task) for method, task in rows.select("method", "task").unique().iter_rows()}
    missing = [(m, t) for m in claim.methods for t in claim.tasks if (m, t) not in present]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotJudged(f"no {claim.column} of {missing[0][0]} on {missing[0][1]}{more}")
    rows = rows.filter(pl.col("method").is_in(claim.methods))
    step = None if claim.step == "last" else claim.step
    values = tables.per_seed(rows, claim.methods, area=claim.is_area, step=step)
    pairs = len(claim.methods) * len(claim.tasks)
    shared = values.group_by("seed").len().filter(pl.col("len") == pairs)["seed"].sort()
    if len(shared) < LEAST_SEEDS:
        unit = "iterations are needed" if claim.is_timed else "seeds are needed at one step"
        raise NotJudged(f"{LEAST_SEEDS} {unit}, {len(shared)} are shared by all methods")
    ordered = values.filter(pl.col("seed").is_in(shared.implode())).sort(
        pl.col("method").cast(pl.Enum(claim.methods)), pl.col("task").cast(pl.Enum(claim.tasks)), "seed"
    )
    shape = (len(claim.methods), len(claim.tasks), len(shared))
    return ordered["value"].to_numpy().reshape(shape), shared.to_list()


class Statistic:
    """The claim's estimand as a function of an array of shape ``(b, M, T, S)``."""

    def __init__(self, claim: Claim, paper: Paper) -> None:
        self._estimand: Estimand = claim.estimand
        self._sign = 1 if claim.direction == "higher" else -1
        self._settings = _settings(claim.estimand, paper) if isinstance(claim.estimand, ShiftOfBest) else None

    def __call__(self, x: Array) -> Array:
        """The estimand of each of the b arrays."""
        estimand, sign = self._estimand, self._sign
        if isinstance(estimand, ShiftOfBest):
            assert self._settings is not None
            return estimands.shift_of_best(x, self._settings, sign, estimand.aggregate)
        own = x[:, : len(estimand.of)].mean(axis=1)
        rivals = x[:, len(estimand.of) :]
        match estimand:
            case Level():
                return estimands.level(own, estimand.aggregate)
            case Advantage():
                return estimands.advantage(own, rivals, sign, estimand.aggregate)
            case RelativeAdvantage():
                with np.errstate(divide="ignore", invalid="ignore"):
                    return estimands.relative_advantage(own, rivals, sign, estimand.aggregate)
            case Ratio():
                with np.errstate(divide="ignore", invalid="ignore"):
                    return estimands.ratio(own, rivals.mean(axis=1), estimand.aggregate)
            case Improvement():
                return estimands.improvement(own, rivals, sign)


def _settings(estimand: ShiftOfBest, paper: Paper) -> Array:
    known = tables.settings(paper, estimand.attribute)
    for label in estimand.family:
        where = f"run cards of {paper.id}: {label}.{estimand.attribute}"
        if label not in known:
            raise InputError(where, expected="a number", found="none")
        if estimand.log and known[label] <= 0:
            raise InputError(where, expected="a positive number, for its logarithm", found=known[label])
    values = np.array([known[label] for label in estimand.family])
    return np.log10(values) if estimand.log else values


def judgeable(claim: Claim, paper: Paper | None, scale: str) -> Paper:
    """The paper's results, if the claim may be judged on them; raises NotJudged otherwise."""
    if scale not in claim.scales:
        raise NotJudged(f"judged only at scale {' or '.join(claim.scales)}")
    if paper is None:
        raise NotJudged("there are no results of this paper")
    return paper


def _cards_behind(claim: Claim, paper: Paper, seeds: list[int]) -> list[RunCard]:
    """The run cards that the claim's scores come from."""
    cards = [
        card
        for card in paper.cards
        if card.task in claim.tasks and set(claim.methods) & set(card.methods) and set(seeds) & set(card.seeds)
    ]
    if claim.data == "real" and any(card.data.startswith("generated") for card in cards):
        raise NotJudged("needs the real data; these runs used generated data")
    return cards
