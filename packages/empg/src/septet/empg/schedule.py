"""The learning rate of each step."""

import math


def learning_rate_factor(step: int, steps: int, warmup: int, schedule: str) -> float:
    """Factor of the learning rate in a step, counted from 0: a linear rise over `warmup` steps, then the schedule.

    After the warm-up, with x the share of the remaining steps that are done: 1, ``1 - x`` or ``(1 + cos(pi x)) / 2``.

    Args:
        step: steps done.
        steps: steps of the whole run.
        warmup: steps of the rise; in the first it is ``1 / warmup``.
        schedule: `constant`, `linear` or `cosine`.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[schedule]
