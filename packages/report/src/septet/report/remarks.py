"""What a reader has to know about a verdict, in short sentences for page and tables."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from septet.report.formatting import interval_text
from septet.report.judging import MOST_SEEDS
from septet.report.verdicts import Verdict

EARLIER_METHOD = "percentile bootstrap"
"""What the verdicts of `earlier.json` rested on."""
LEVEL = 0.05
"""Error rate of all verdicts of a page together."""
Key = tuple[str, str]
"""Paper and claim."""


@cache
def earlier() -> dict[str, dict[str, Any]]:
    """The verdicts as they were before the tests that hold their rate: `paper/claim` -> verdict, interval, seeds."""
    found: dict[str, dict[str, Any]] = json.loads(files("septet.report").joinpath("earlier.json").read_text("utf-8"))
    return found


def change(verdict: Verdict) -> tuple[str, str] | None:
    """What the verdict was, and why it is another one now; none if it is the same or the claim is new."""
    before = earlier().get(f"{verdict.paper}/{verdict.claim}")
    if before is None or before["verdict"] == verdict.verdict:
        return None
    was = f"{before['verdict']}, {interval_text(before['estimate'], before['low'], before['high'])}"
    was += f" over {before['seeds']} ({EARLIER_METHOD})"
    at = "" if verdict.scale == "laptop" else f"scale {verdict.scale}; "
    if verdict.p is None:
        return was, at + verdict.reason
    same = verdict.estimate is not None and abs(verdict.estimate - before["estimate"]) <= 1e-5 * abs(verdict.estimate)
    return was, f"{at}{'' if same else 'other runs or another claim; '}now judged by {verdict.method}"


def remarks(verdict: Verdict, survivors: Mapping[str, set[Key]]) -> list[str]:
    """The sentences on one verdict.

    Args:
        survivors: a sentence on a correction for all verdicts of the page -> what survives it, the strictest first.
    """
    found = []
    if verdict.by_construction:
        found.append(f"By construction: {verdict.by_construction}. Counted apart.")
    if verdict.number_verdict is not None:
        found.append(f"Against the paper's {verdict.number}: {verdict.number_verdict}.")
    elif not verdict.ours and verdict.number == "direction only":
        found.append("Direction only: no number of the paper is comparable.")
    if verdict.note:
        found.append(f"{verdict.note.rstrip('.')}.")
    if verdict.verdict in ("reproduced", "not reproduced") and not verdict.by_construction:
        key, none = (verdict.paper, verdict.claim), "Survives no correction for all verdicts of the page."
        found.append(next((sentence for sentence, keys in survivors.items() if key in keys), none))
    if verdict.verdict == "undecided" and not verdict.by_construction:
        found.append(needs(verdict))
    if changed := change(verdict):
        found.append(f"Was {changed[0]}. Changed: {changed[1]}.")
    return found


def needs(verdict: Verdict) -> str:
    """How many seeds would decide an undecided verdict."""
    unit = verdict.replicates
    if verdict.seeds_needed is None:
        return f"No number of {unit} up to {MOST_SEEDS:,} would decide it: the estimate is too near to the line."
    cost = "" if verdict.core_hours is None else f", {verdict.core_hours:g} core-hours"
    return f"About {verdict.seeds_needed:,} {unit} would decide it{cost}, if more are as these."


def all_remarks(verdicts: Sequence[Verdict]) -> dict[Key, list[str]]:
    """The sentences on each verdict of one page."""
    survivors = {
        "Survives Holm's correction for all verdicts of the page.": holm(verdicts),
        "Survives a false-discovery rate of 5 %, not Holm's correction.": false_discovery(verdicts),
    }
    return {(one.paper, one.claim): remarks(one, survivors) for one in verdicts}


def family(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts that are corrected together: the judged ones, without what is true by construction."""
    return [one for one in verdicts if one.estimate is not None and not one.by_construction]


def holm(verdicts: Sequence[Verdict]) -> set[Key]:
    """Decided verdicts that are all right with 95 % probability: Holm's step-down procedure on two-sided p-values."""
    ordered = sorted(family(verdicts), key=_p)
    found: set[Key] = set()
    for place, one in enumerate(ordered):
        if _p(one) > LEVEL / (len(ordered) - place):
            break
        found.add((one.paper, one.claim))
    return found


def false_discovery(verdicts: Sequence[Verdict]) -> set[Key]:
    """Decided verdicts with at most one in twenty expected to be wrong: Benjamini and Hochberg's procedure."""
    ordered = sorted(family(verdicts), key=_p)
    held = [place for place, one in enumerate(ordered, 1) if _p(one) <= LEVEL * place / len(ordered)]
    return {(one.paper, one.claim) for one in ordered[: max(held, default=0)]}


def _p(verdict: Verdict) -> float:
    return 1.0 if verdict.p is None else verdict.p
