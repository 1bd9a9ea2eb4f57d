"""A job's wall time from recorded ones, with how far off such a prediction is.

A record gives a rate, seconds per unit of work. A job takes the geometric mean of the rates of the nearest records:
of the same method and task if there is one; else of the task's other methods, of the method's other tasks, or of the
whole family, whichever has predicted the family's own records best when each was left out. The half-width of the
interval is, on the logarithmic scale, the 90 % quantile of those errors and that of scaling (`SCALING`) together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from septet.config import Settings
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


class Job(Settings):
    """One job, as `tools/jobs.py` prints it."""

    rule: str
    wildcards: dict[str, str]
    threads: int
    resources: dict[str, int]
    benchmark: str | None
    """Path of the file that Snakemake writes the job's times to."""
    waits_for: list[int]
    """Places in the list of the jobs that must end before."""
    done: bool
    """Its outputs are there and up to date."""
    config: dict[str, Any] | None
    """The resolved configuration of a training job."""


class Predictor:
    """Predicts jobs from the records of their family.

    Args:
        jobs: every job of the run; the timed iterations are at their configurations.
    """

    def __init__(self, recorded: Recorded, jobs: Sequence[Job]) -> None:
        self._records = [*recorded.jobs, *_timed(recorded, jobs)]
        self._errors = {
            (family, name): _left_out([one for one in self._records if one.family == family], kin)
            for family in {one.family for one in self._records}
            for name, kin in NEAR.items()
        }

    def __call__(self, job: Job) -> Prediction | None:
        """Wall seconds, lower and upper end, and what they stand on; none if nothing recorded compares."""
        target = _target(job)
        if target is None:
            return None
        family = [one for one in self._records if one.family == target.family]
        own = [one for one in family if (one.method, one.task) == (target.method, target.task)]
        if own:
            return _scaled(target, own, job, f"its own record ({len(own)})", 0.0)
        choices = [
            (self._errors[target.family, name], name, near)
            for name, kin in NEAR.items()
            if (near := [one for one in family if kin(one, target)])
        ]
        error, name, near = min(choices, key=lambda choice: choice[0], default=(math.inf, "", []))
        return _scaled(target, near, job, name, error) if math.isfinite(error) else None


def _scaled(target: Benchmark, near: Sequence[Benchmark], job: Job, basis: str, error: float) -> Prediction:
    own_threads = threads(job.config) if job.config else 1
    loop = _rate(near) * target.work / own_threads
    start = float(np.median([one.start for one in near]))
    spread = math.hypot(error, SCALING)
    more = THREADS if own_threads > 1 else 0.0
    grows = 1 - float(np.mean([min(FIXED / max(one.seconds, 1e-3), LEVEL) for one in near]))
    low = (start + loop * grows) * math.exp(-spread)
    return start + loop, low, FIXED + start * math.exp(spread) + loop * math.exp(spread + more), basis


def _target(job: Job) -> Benchmark | None:
    """The job as a record without a time; none if no rule says how much work it is."""
    if job.config is not None:
        paper, method, task = job.rule.removesuffix("_train"), job.wildcards["method"], job.wildcards["task"]
        amount = work(paper, task, job.config)
        return Benchmark(paper, method, task, amount, 0.0, 0.0) if amount else None
    if job.benchmark is None:
        return None
    family, label = other_job(job.benchmark.split("/", 2)[-1])  # below benchmarks/<scale>/
    return Benchmark(family, label, "", 1.0, 0.0, 0.0)


def _timed(recorded: Recorded, jobs: Sequence[Job]) -> list[Benchmark]:
    """The iterations timed by hand as records of the jobs whose configuration they were timed at."""
    found = []
    for job in jobs:
        if job.config is None or (target := _target(job)) is None:
            continue
        for row in recorded.timed:
            if (target.family, target.method, target.task) == (row.paper, row.method, row.task):
                seconds = len(job.config["seeds"]) * job.config["task"]["iterations"] * row.cpu_seconds
                found.append(replace(target, seconds=seconds))
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
