"""Decay schedules: how fast past samples lose weight, and the effective sample size they leave."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FORMS = "none, exp-GAMMA, poly-C-ALPHA, harm-C or window-LENGTH"
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
    """

    kind: Literal["none", "exp", "poly", "harm", "window"]
    rate: float = 1.0
    power: float = 1.0

    @property
    def window(self) -> int:
        """Length of the sliding window in rounds; 0 when nothing is dropped."""
        return int(self.rate) if self.kind == "window" else 0

    @property
    def forgetting(self) -> float:
        """1 - gamma for a constant decay (0 without one); what the U-shaped curves are drawn against."""
        return round(1.0 - self.rate, 12) if self.kind == "exp" else 0.0


def parse(text: str) -> Schedule:
    """Read a schedule such as ``exp-0.999``.

    Raises:
        ValueError: the form is unknown or a parameter is out of range.
    """
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(text):
            schedule = Schedule(kind, *(float(group) for group in match.groups()))  # type: ignore[arg-type]
            break
    else:
        raise ValueError(f"a schedule of the form {FORMS}")
    if kind == "exp" and not 0.0 < schedule.rate <= 1.0:
        raise ValueError("exp-GAMMA with 0 < GAMMA <= 1")
    if kind == "poly" and not (schedule.rate > 0.0 and 0.0 < schedule.power < 1.0):
        raise ValueError("poly-C-ALPHA with C > 0 and 0 < ALPHA < 1")
    if kind in ("harm", "window") and schedule.rate <= 0.0:
        raise ValueError(f"{kind}-N with N > 0")
    return schedule


def decay(schedule: Schedule, rounds: NDArray[np.int64]) -> NDArray[np.float64]:
    r"""Decay factor of each round, section 2.3 of the method page.

    .. math:: \gamma_t = 1,\quad \gamma,\quad 1 - c\,t^{-\alpha},\quad 1 - c/t

    for `none` and `window`, `exp`, `poly`, `harm`. The last two are negative or zero in the first
    rounds; there the schedule forgets all it may: they are held at 0.5.

    Args:
        rounds: the round numbers t, from 1, of shape ``(T,)``.

    Returns:
        gamma of shape ``(T,)`` in (0, 1].
    """
    t = rounds.astype(np.float64)
    if schedule.kind == "exp":
        return np.full_like(t, schedule.rate)
    if schedule.kind in ("poly", "harm"):
        return np.maximum(1.0 - schedule.rate * t**-schedule.power, 0.5)
    return np.ones_like(t)


def effective_samples(schedule: Schedule, horizon: int) -> NDArray[np.float64]:
    r"""Effective sample size after each round, :math:`N_t = 1 + \gamma_t N_{t-1}` with :math:`N_0 = 0`.

    It tends to :math:`1/(1-\gamma)` for a constant decay, grows like :math:`t^\alpha/c` and
    :math:`t/(1+c)` for the polynomial and harmonic ones; a window holds at most its length.

    Returns:
        N of shape ``(horizon,)``.
    """
    rounds = np.arange(1, horizon + 1)
    if schedule.window:
        return np.minimum(rounds, schedule.window).astype(np.float64)
    total = 0.0
    samples = np.empty(horizon)
    for index, gamma in enumerate(decay(schedule, rounds)):
        total = samples[index] = 1.0 + gamma * total
    return samples


def matched_decay(walk_variance: float, observation_noise: float) -> float:
    r"""Decay that balances lag and noise for a scalar random walk, :math:`\gamma^* = 1 - \sqrt{q/r}`.

    Args:
        walk_variance: q, variance of one step of the weights.
        observation_noise: r, effective noise variance of one round, about
            :math:`1/(\bar\kappa\,\mathbb E[\phi_i^2]\,\pi_a)`.
    """
    return float(1.0 - np.sqrt(walk_variance / observation_noise))
