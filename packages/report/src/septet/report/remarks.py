"""What a reader has to know about a verdict, in short sentences for page and tables."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from septet.report import corrections
from septet.report.formatting import interval_text
from septet.report.judging import MOST_SEEDS
from septet.report.verdicts import Verdict

EARLIER_METHOD = "percentile bootstrap"
"""What the verdicts of `earlier.json` rested on."""


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


def remarks(verdict: Verdict, holm: set[corrections.Key], discovery: set[corrections.Key]) -> list[str]:
    """The sentences on one verdict.

    Args:
        holm: what survives Holm's correction, of all verdicts of the page.
        discovery: what survives the false-discovery rate.
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
        found.append(_corrected((verdict.paper, verdict.claim), holm, discovery))
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


def all_remarks(verdicts: Sequence[Verdict]) -> dict[corrections.Key, list[str]]:
    """The sentences on each verdict of one page."""
    holm, discovery = corrections.holm(verdicts), corrections.false_discovery(verdicts)
    return {(one.paper, one.claim): remarks(one, holm, discovery) for one in verdicts}


def _corrected(key: corrections.Key, holm: set[corrections.Key], discovery: set[corrections.Key]) -> str:
    if key in holm:
        return "Survives Holm's correction for all verdicts of the page."
    if key in discovery:
        return "Survives a false-discovery rate of 5 %, not Holm's correction."
    return "Survives no correction for all verdicts of the page."
