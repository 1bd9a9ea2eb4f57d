"""Numbers and verdicts as text, for the page and the terminal alike."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a figure does not depend on how claims are judged
    from septet.report.verdicts import Outcome, Verdict

SYMBOLS: "dict[Outcome, str]" = {
    "reproduced": "●",
    "not reproduced": "✕",
    "undecided": "◐",
    "not judged at this scale": "○",
}
"""A shape for each verdict, so that no reader depends on its colour."""


def estimate_text(verdict: "Verdict") -> str:
    """The estimate with its interval and unit, such as `46 [40, 52] regret`; a dash if it was not judged.

    An end that the seeds do not bound is infinite.
    """
    if verdict.estimate is None:
        return "–"
    if verdict.low is None or verdict.high is None:
        decimals = _decimals(0.9 * verdict.estimate, 1.1 * verdict.estimate)
        ends = (
            ("−∞" if verdict.low is None else number_text(verdict.low, decimals)),
            ("∞" if verdict.high is None else number_text(verdict.high, decimals)),
        )
        return f"{number_text(verdict.estimate, decimals)} [{ends[0]}, {ends[1]}] {verdict.unit}".strip()
    return f"{interval_text(verdict.estimate, verdict.low, verdict.high)} {verdict.unit}".strip()


def interval_text(point: float, low: float, high: float) -> str:
    """A number with its interval, such as `46 [40, 52]`, at the digits that the interval's width leaves."""
    decimals = _decimals(low, high)
    shown, start, end = (number_text(value, decimals) for value in (point, low, high))
    return f"{shown} [{start}, {end}]"


def number_text(value: float, decimals: int) -> str:
    """A number with thousands apart and a true minus sign; powers of ten where digits would not fit."""
    plain = f"{value:,.{decimals}f}" if decimals <= 6 and abs(value) < 1e9 else f"{value:.3g}"
    return plain.replace("-", "−") if float(plain.replace(",", "")) != 0 else plain.lstrip("-")


def duration_text(seconds: float) -> str:
    """Seconds in the largest unit that leaves a number above one: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as a range where they are one, such as `0 to 9 (10)`."""
    if len(seeds) > 2 and all(b == a + 1 for a, b in pairwise(seeds)):
        return f"{seeds[0]} to {seeds[-1]} ({len(seeds)})"
    return ", ".join(map(str, seeds))


def _decimals(low: float, high: float) -> int:
    """So many decimals that the width of the interval shows two digits; three in all if it has no width."""
    width = abs(high - low) or max(abs(low), 1e-12) / 10
    return max(0, 1 - math.floor(math.log10(width)))
