"""Names of decay schedules: how fast past samples lose weight."""

import re
from dataclasses import dataclass
from typing import Literal

FORMS = "none, exp-GAMMA, poly-C-ALPHA, harm-C or window-LENGTH"
Guard = Literal["prior", "trace", "none"]
GUARDS: tuple[Guard, ...] = ("prior", "trace", "none")
"""What holds a discounted covariance; kernels take the place in this list. See `septet.dynts.filter.restore`."""
_SUFFIXES: dict[str, Guard] = {"-trace": "trace", "-uncapped": "none"}
_NUMBER = r"(\d+(?:\.\d+)?)"
_PATTERNS = {
    "none": re.compile("none"),
    "exp": re.compile(f"exp-{_NUMBER}"),
    "poly": re.compile(f"poly-{_NUMBER}-{_NUMBER}"),
    "harm": re.compile(f"harm-{_NUMBER}"),
    "window": re.compile(r"window-(\d+)"),
}


@dataclass(frozen=True)
class Schedule:
    """One decay schedule.

    Attributes:
        kind: its form.
        rate: gamma of `exp`, c of `poly` and `harm`, the length of `window` in rounds, 1 for `none`.
        power: alpha of `poly`, otherwise 1.
        guard: against wind-up: `prior` keeps the prior's weight and discounts samples only; `trace` (suffix
            ``-trace``) holds each covariance at the prior's trace; `none` (suffix ``-uncapped``) discounts all, of
            single arms up to 1e10 times the prior's trace, where double precision ends.
    """

    kind: Literal["none", "exp", "poly", "harm", "window"]
    rate: float = 1.0
    power: float = 1.0
    guard: Guard = "prior"

    @property
    def window(self) -> int:
        """Length of the sliding window in rounds; 0 when nothing is dropped."""
        return int(self.rate) if self.kind == "window" else 0

    @property
    def forgetting(self) -> float:
        """1 - gamma for a constant decay (0 without one); what the U-shaped curves are drawn against."""
        return round(1.0 - self.rate, 12) if self.kind == "exp" else 0.0


def parse(text: str) -> Schedule:
    """Read a schedule such as ``exp-0.999`` or ``exp-0.999-uncapped``.

    Raises:
        ValueError: the form is unknown or a parameter is out of range.
    """
    guard: Guard = "prior"
    form = text
    for suffix, named in _SUFFIXES.items():
        if text.endswith(suffix):
            guard, form = named, text.removesuffix(suffix)
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(form):
            schedule = Schedule(kind, *(float(group) for group in match.groups()), guard=guard)  # type: ignore
            break
    else:
        raise ValueError(f"a schedule of the form {FORMS}, the middle three also with {' or '.join(_SUFFIXES)}")
    if guard != "prior" and kind in ("none", "window"):
        raise ValueError(f"no guard for {kind}, which discounts nothing (not {text})")
    if kind == "exp" and not 0.0 < schedule.rate <= 1.0:
        raise ValueError("exp-GAMMA with 0 < GAMMA <= 1")
    if kind == "poly" and not (schedule.rate > 0.0 and 0.0 < schedule.power < 1.0):
        raise ValueError("poly-C-ALPHA with C > 0 and 0 < ALPHA < 1")
    if kind in ("harm", "window") and schedule.rate <= 0.0:
        raise ValueError(f"{kind}-N with N > 0")
    return schedule
