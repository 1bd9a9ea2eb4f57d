"""Each claim's estimate, its interval over seeds, and the verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from septet.card import RunCard
from septet.config import Settings, validate
from septet.errors import InputError
from septet.reading import is_file
from septet.report import judging, tables
from septet.report.claims import Claim, ClaimsFile, Greater, Less, Relation, Within
from septet.report.estimands import Contrast, Quantity
from septet.report.inference import TAIL
from septet.report.judging import MOST_SEEDS, NotJudged
from septet.report.methods import Method
from septet.report.tables import CONTENDED, Paper
from septet.sealed import read_sealed_json, write_json

Outcome = Literal["reproduced", "not reproduced", "undecided", "not judged at this scale"]
BUSY = 1.5
"""Wall time over processor time from which a machine counts as busy; a job alone on its cores stays near or below 1."""
OUTCOMES: tuple[Outcome, ...] = ("reproduced", "not reproduced", "undecided", "not judged at this scale")


class Verdict(Settings):
    """One row of `verdicts.json`; what repeats the claim is explained there (`septet.report.claims.Claim`)."""

    paper: str
    claim: str
    statement: str
    source: str
    reported: str
    ours: bool
    unit: str
    line: str
    """What the estimate is held against, such as `> 0`."""
    estimate: float | None
    """The estimate on all seeds; none if not judged."""
    low: float | None
    """Lower end of the 95 % interval; none if the seeds set no bound."""
    high: float | None
    """Upper end of the 95 % interval; none if the seeds set no bound."""
    verdict: Outcome
    reason: str
    scale: str
    seeds: int
    """Number of seeds (of iterations, for a claim about time) behind the estimate."""
    runs: list[str]
    """Ids of the run cards behind the estimate."""
    replicates: Literal["seeds", "iterations"] = "seeds"
    """What `seeds` counts."""
    judged_on: str = ""
    """The paper's task, a stand-in, or generated data."""
    pilot: str = ""
    number: str = "direction only"
    number_verdict: Outcome | None = None
    """Whether it agrees with that number; none without one."""
    by_construction: str = ""
    note: str = ""
    method: str = ""
    p: float | None = None
    """Two-sided p-value of the line; none if it was not judged or so few seeds support no verdict."""
    seeds_needed: int | None = None
    """Seeds that would probably decide an undecided claim; none if it is decided or no such number was found."""
    core_hours: float | None = None
    """What a run with so many seeds would cost, from the run cards."""


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


def judge(file: ClaimsFile, paper: Paper | None, scale: str) -> list[Verdict]:
    """The verdicts on all claims of one paper.

    Args:
        paper: its results, or none if there are none at this scale.
        scale: the scale of these results.

    Raises:
        InputError: the claims file asks for a setting that the run cards cannot give.
    """
    return [
        judge_claim(claim, file.paper.id, paper, scale).model_copy(update={"judged_on": file.ground(claim)})
        for claim in file.claims
    ]


def judge_claim(claim: Claim, paper_id: str, paper: Paper | None, scale: str) -> Verdict:
    """The verdict on one claim; arguments and errors as of `judge`."""
    fixed = {"paper": paper_id, "claim": claim.id, **as_claimed(claim), "scale": scale}
    try:
        if scale not in claim.scales:
            raise NotJudged(f"judged only at scale {' or '.join(claim.scales)}")
        if paper is None:
            raise NotJudged("there are no results of this paper")
        judged = _judged(claim, paper)
    except NotJudged as error:
        judged = {"estimate": None, "low": None, "high": None, "seeds": 0, "runs": []}
        judged |= {"verdict": "not judged at this scale", "reason": str(error)}
    return Verdict(**fixed, **judged)


def as_claimed(claim: Claim) -> dict[str, Any]:
    """The fields of a verdict that repeat its claim."""
    return {
        **claim.model_dump(include={"statement", "source", "reported", "by_construction", "note", "pilot"}),
        "unit": claim.unit_shown,
        "ours": claim.ours,
        "replicates": "iterations" if claim.is_timed else "seeds",
        "line": line_text(claim.relation),
        "number": f"{claim.number.value:g} ± {claim.number.share:.0%}" if claim.number else "direction only",
    }


def check_claim(path: Path, verdict: Verdict, claim: Claim, ground: str) -> None:
    """Check that a verdict is on the claim as it is today; InputError names the file and the field if it is not.

    Args:
        ground: what the claim is judged on, as its file says.
    """
    for name, today in {**as_claimed(claim), "judged_on": ground}.items():
        found = getattr(verdict, name)
        if found != today:
            where, expected = f"{path}: {verdict.claim}.{name}", f"{str(today)[:80]!r}, as the claim is now"
            raise InputError(where, expected=expected, found=f"{str(found)[:80]!r}; remove the file and judge again")


def best(verdicts: Sequence[Verdict]) -> tuple[Verdict, list[Verdict]]:
    """Of the verdicts on one claim at several scales, the best evidence first: the one that counts, and the others.

    Returns:
        The first that was judged, or the first if none was; and what else was judged.
    """
    judged = [one for one in verdicts if one.estimate is not None]
    return (judged[0], judged[1:]) if judged else (verdicts[0], [])


def check_runs(path: Path, found: Sequence[Verdict], *folders: Path) -> None:
    """Check that verdicts are on the runs of results folders, as far as these have runs of their papers.

    Args:
        path: the file of the verdicts, for the message.
        folders: `results/<scale>` folders; of several, a paper's verdicts may be of the scale of any.

    Raises:
        InputError: a verdict is of another scale, or names a run that `runs.json` does not have.
    """
    for paper in dict.fromkeys(one.paper for one in found):
        there = [folder for folder in folders if is_file(folder / paper / "runs.json")]
        at = {(runs := tables.runs_of(folder, paper)).scale: (folder, runs) for folder in there}
        for one in (one for one in found if one.paper == paper and at):
            where, again = f"{path}: {one.claim}", "remove the file and judge again"
            if one.scale not in at:
                raise InputError(f"{where}.scale", expected=" or ".join(at), found=f"{one.scale}; {again}")
            folder, runs = at[one.scale]
            if odd := set(one.runs) - {card.id for card in runs.runs}:
                expected = f"runs of {folder / paper / 'runs.json'}"
                raise InputError(f"{where}.runs", expected=expected, found=f"{min(odd)}; {again}")


def _judged(claim: Claim, paper: Paper) -> dict[str, Any]:
    """What the results say about a claim: the fields of its verdict that depend on them."""
    paper = tables.timed(paper) if claim.is_timed else paper
    scores, seeds = judging.seed_array(claim, paper)
    cards = _cards_behind(claim, paper, seeds)
    if claim.is_timed and not claim.waits:
        _refuse_busy(cards)
    quantity, method = judging.quantity_of(claim, paper, scores), judging.method_of(claim)
    runs = [card.id for card in cards]
    fixed: dict[str, Any] = {
        "estimate": quantity.estimate,
        "low": None,
        "high": None,
        "seeds": len(seeds),
        "runs": runs,
    }
    weak = _too_weak(quantity, len(seeds), method, "iterations" if claim.is_timed else "seeds")
    if not (isinstance(quantity, Contrast) and (quantity.flat or quantity.unclear)):
        low, high = judging.ends(quantity)
        fixed |= {"low": low if np.isfinite(low) else None, "high": high if np.isfinite(high) else None}
    verdict, reason, p = ("undecided", weak, None) if weak else outcome(claim.relation, quantity)
    if claim.number:
        fixed["number_verdict"] = "undecided" if weak else outcome(claim.number.relation, quantity)[0]
    if verdict == "undecided":
        fixed |= _needed(claim, quantity, method.least, cards)
    return {**fixed, "method": method.name, "verdict": verdict, "reason": reason, "p": p}


def _too_weak(quantity: Quantity, seeds: int, method: Method, unit: str) -> str:
    """Why the scores support no verdict at the stated rate, whatever they are; empty if they may."""
    if seeds < method.least:
        return f"{seeds} {unit} support no verdict: {method.why}; {method.least} are needed"
    if isinstance(quantity, Contrast) and quantity.flat:
        return f"all {seeds} {unit} give the same number, which says nothing of their spread"
    if isinstance(quantity, Contrast) and quantity.unclear:
        return "what the estimate divides by is not clear of zero"
    return ""


def _needed(claim: Claim, quantity: Quantity, least: int, cards: list[RunCard]) -> dict[str, Any]:
    """How many seeds would decide the claim if more are as these, and what they cost."""
    lower, upper = band(claim.relation)
    estimate = quantity.estimate
    if isinstance(quantity, Contrast) and quantity.flat:
        asked = [float(least)]
    elif lower < estimate < upper:
        asked = [quantity.needed(line, above) for line, above in ((lower, True), (upper, False)) if abs(line) != np.inf]
    else:
        asked = [quantity.needed(lower, above=False) if estimate <= lower else quantity.needed(upper, above=True)]
    seeds = max(asked)
    if not seeds <= MOST_SEEDS:
        return {}
    number = max(least, int(np.ceil(seeds)))
    shares = ((len({*claim.methods} & {*card.methods}) / len(card.methods) / len(card.seeds), card) for card in cards)
    cost = sum(share * card.cpu_seconds for share, card in shares)
    return {"seeds_needed": number, "core_hours": float(f"{number * cost / 3600:.2g}")}


def band(relation: Relation) -> tuple[float, float]:
    """The claimed side as a range of values: ``(lower line, upper line)``, infinite where it is open."""
    if isinstance(relation, Within):
        return relation.center - relation.tolerance, relation.center + relation.tolerance
    if isinstance(relation, Less):
        return -np.inf, relation.than + relation.tolerance
    return relation.than - relation.tolerance, np.inf


def outcome(relation: Relation, quantity: Quantity) -> tuple[Outcome, str, float]:
    """The verdict on a quantity, the reason, and the two-sided p-value.

    Reproduced if the other side of the line is refuted, not reproduced if the claimed side is, each at 2.5 %. A band
    has two lines: the quantity lies within it if both are cleared, and outside if one of them is.
    """
    lower, upper = band(relation)
    start = quantity.tails(lower) if lower > -np.inf else (0.0, 1.0)
    end = quantity.tails(upper) if upper < np.inf else (1.0, 0.0)
    inside, outside = max(start[0], end[1]), min(start[1], end[0])
    p = min(1.0, 2 * min(inside, outside))
    if inside <= TAIL:
        return "reproduced", f"the whole interval is {line_text(relation)}", p
    if outside <= TAIL:
        return "not reproduced", f"no part of the interval is {line_text(relation)}", p
    return "undecided", f"only a part of the interval is {line_text(relation)}", p


def line_text(relation: Relation) -> str:
    """The claimed side in words, with the tolerance worked in: `> 0`, `≥ -0.5`, `between 0.9 and 1.1`."""
    lower, upper = band(relation)
    if isinstance(relation, Within):
        return f"between {lower:g} and {upper:g}"
    if isinstance(relation, Less):
        return f"< {upper:g}"
    return f"{'>' if isinstance(relation, Greater) else '≥'} {lower:g}"


def _refuse_busy(cards: list[RunCard]) -> None:
    """NotJudged if a job waited for its processor: its times are those of whatever else the machine did."""
    for card in cards:
        if card.wall_seconds > BUSY * card.cpu_seconds:
            raise NotJudged(
                f"the machine was busy: run {card.id} took {card.wall_seconds:.1f} s of wall time and "
                f"{card.cpu_seconds:.1f} s of processor time, more than {BUSY:g} times as much"
            )
        if (card.contention or 0.0) > CONTENDED:
            raise NotJudged(
                f"the machine was busy: in {card.contention:.0%} of the time of run {card.id} a process waited for a "
                f"processor, more than {CONTENDED:.0%}"
            )


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
