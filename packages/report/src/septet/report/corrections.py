"""Which verdicts survive a correction for all of a page together."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import false_discovery_control

from septet.report.verdicts import Verdict

LEVEL = 0.05
Key = tuple[str, str]
"""Paper and claim."""


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
    judged = family(verdicts)
    adjusted = false_discovery_control(np.array([_p(one) for one in judged])) if judged else []
    return {(one.paper, one.claim) for one, p in zip(judged, adjusted, strict=True) if p <= LEVEL}


def _p(verdict: Verdict) -> float:
    return 1.0 if verdict.p is None else verdict.p
