"""Decay factors of a schedule, and the effective sample size they leave."""

import numpy as np
from numpy.typing import NDArray

from septet.dynts.schedules import Schedule


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
