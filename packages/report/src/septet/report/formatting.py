"""Numbers and verdicts as text, for the page and the terminal alike."""

import math
import re
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

    An end that the seeds do not bound is infinite. Digits are added until each end is seen to lie on its side of the
    claimed line, as 0.996 does of 1.
    """
    if verdict.estimate is None:
        return "–"
    low = -math.inf if verdict.low is None else verdict.low
    high = math.inf if verdict.high is None else verdict.high
    lines = [float(number) for number in _NUMBER.findall(verdict.line)]
    return f"{interval_text(verdict.estimate, low, high, lines)} {verdict.unit}".strip()


_NUMBER = re.compile(r"-?[0-9.]+(?:e[-+]?[0-9]+)?")
MOST_DECIMALS = 15
"""No double has more that mean anything."""


def interval_text(point: float, low: float, high: float, lines: Sequence[float] = ()) -> str:
    """A number with its interval, such as `46 [40, 52]`, at the digits that the interval's width leaves.

    Args:
        lines: values that no end is rounded onto or across.
    """
    bounded = math.isfinite(low) and math.isfinite(high)
    least = _decimals(low, high) if bounded else _decimals(0.9 * point, 1.1 * point)
    pairs = [(end, line) for end in (low, high) if math.isfinite(end) for line in lines]
    counts = range(least, max(MOST_DECIMALS, least) + 1)
    told = (count for count in counts if all(_side(round(end, count), line) == _side(end, line) for end, line in pairs))
    decimals = next(told, least)
    most = 6 if decimals == least else MOST_DECIMALS
    shown, start, end = (number_text(value, decimals, most) for value in (point, low, high))
    return f"{shown} [{start}, {end}]"


def _side(value: float, line: float) -> int:
    return (value > line) - (value < line)


def number_text(value: float, decimals: int, most: int = 6) -> str:
    """A number with thousands apart and a true minus sign; powers of ten beyond `most` decimals or nine digits."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    plain = f"{value:,.{decimals}f}" if decimals <= most and abs(value) < 1e9 else f"{value:.3g}"
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
