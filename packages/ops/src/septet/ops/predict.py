"""A job's wall time from recorded ones, with how far off such a prediction is.

A record gives a rate, seconds per unit of work. A job takes the geometric mean of the rates of the nearest records:
of the same method and task if there is one; else of the task's other methods, of the method's other tasks, or of the
whole family, whichever has predicted the family's own records best when each was left out. The half-width of the
interval is, on the logarithmic scale, the 90 % quantile of those errors and that of scaling (`SCALING`) together.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from septet.ops.benchmarks import Benchmark, Recorded, other_job
from septet.ops.scaling import threads, work

SCALING = math.log(2.0)
"""Error of scaling a job's own record to another size; docs/after-a-run.md tells how that was checked."""
FIXED = 1.0
"""Seconds of a record that may have gone into compiling and filling caches and do not grow with the work: the lower end
takes them off, the upper end adds as many."""
THREADS = math.log(2.0)
"""More on the upper end where a job has more threads than any record: they may be used by half."""
LEVEL = 0.9

Prediction = tuple[float, float, float, str]
Kin = Callable[[Benchmark, Benchmark], bool]

NEAR: dict[str, Kin] = {
    "the same task, other methods": lambda one, other: one.task == other.task,
    "the same method, other tasks": lambda one, other: one.method == other.method,
    "other runs of the family": lambda one, other: True,
}


class Predictor:
    """Predicts jobs from the records of their family.

    Args:
        jobs: rule, wildcards and configuration of every job of the run; the timed iterations are at theirs.
    """

    def __init__(self, recorded: Recorded, jobs: Sequence[tuple[str, dict[str, str], dict[str, Any] | None]]) -> None:
        self._records = [*recorded.jobs, *_timed(recorded, jobs)]
        self._errors = {
            (family, name): _left_out([one for one in self._records if one.family == family], kin)
            for family in {one.family for one in self._records}
            for name, kin in NEAR.items()
        }

    def __call__(
        self, rule: str, wildcards: dict[str, str], config: dict[str, Any] | None, benchmark: str | None
    ) -> Prediction | None:
        """Wall seconds, lower and upper end, and what they stand on; none if nothing recorded compares."""
        target = _target(rule, wildcards, config, benchmark)
        if target is None:
            return None
        family = [one for one in self._records if one.family == target.family]
        own = [one for one in family if (one.method, one.task) == (target.method, target.task)]
        if own:
            return self._scaled(target, own, config, f"its own record ({len(own)})", 0.0)
        choices = []
        for name, kin in NEAR.items():
            near = [one for one in family if kin(one, target)]
            if near:
                choices.append((self._errors[target.family, name], name, near))
        if not choices:
            return None
        error, name, near = min(choices, key=lambda choice: choice[0])
        return self._scaled(target, near, config, name, error) if math.isfinite(error) else None

    def _scaled(
        self, target: Benchmark, near: Sequence[Benchmark], config: dict[str, Any] | None, basis: str, error: float
    ) -> Prediction:
        own_threads = threads(config) if config else 1
        loop = _rate(near) * target.work / own_threads
        start = float(np.median([one.start for one in near]))
        spread = math.hypot(error, SCALING)
        more = THREADS if own_threads > 1 else 0.0
        grows = 1 - float(np.mean([min(FIXED / max(one.seconds, 1e-3), LEVEL) for one in near]))
        low = (start + loop * grows) * math.exp(-spread)
        return start + loop, low, FIXED + start * math.exp(spread) + loop * math.exp(spread + more), basis


def _target(
    rule: str, wildcards: dict[str, str], config: dict[str, Any] | None, benchmark: str | None
) -> Benchmark | None:
    """The job as a record without a time; none if no rule says how much work it is."""
    if config is not None:
        paper = rule.removesuffix("_train")
        amount = work(paper, wildcards["task"], config)
        return Benchmark(paper, wildcards["method"], wildcards["task"], amount, 0.0, 0.0) if amount else None
    if benchmark is None:
        return None
    family, label = other_job(benchmark.split("/", 2)[-1])  # below benchmarks/<scale>/
    return Benchmark(family, label, "", 1.0, 0.0, 0.0)


def _timed(recorded: Recorded, jobs: Sequence[tuple[str, dict[str, str], dict[str, Any] | None]]) -> list[Benchmark]:
    """The iterations timed by hand as records of the jobs whose configuration they were timed at."""
    found = []
    for rule, wildcards, config in jobs:
        for row in recorded.timed:
            if config and (rule, wildcards["method"], wildcards["task"]) == (
                f"{row.paper}_train",
                row.method,
                row.task,
            ):
                units = len(config["seeds"]) * config["task"]["iterations"]
                amount = work(row.paper, row.task, config)
                assert amount is not None
                found.append(Benchmark(row.paper, row.method, row.task, amount, units * row.cpu_seconds, 0.0))
    return found


def _rate(records: Sequence[Benchmark]) -> float:
    """Geometric mean of seconds per unit of work."""
    return math.exp(float(np.mean([math.log(max(one.seconds, 1e-3) / one.work) for one in records])))


def _left_out(family: Sequence[Benchmark], kin: Kin) -> float:
    """90 % quantile of |log(predicted / recorded)| over a family's records, each predicted from its kin but itself.

    Infinite if no record has kin.
    """
    errors = []
    for place, one in enumerate(family):
        near = [other for other_place, other in enumerate(family) if other_place != place and kin(other, one)]
        if near:
            errors.append(abs(math.log(_rate(near) / _rate([one]))))
    return float(np.quantile(errors, LEVEL)) if errors else math.inf
