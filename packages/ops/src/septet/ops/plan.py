"""What a run will cost, before anything is submitted: `make plan SCALE=paper`.

    python tools/jobs.py SNAKEMAKE-OPTIONS | python -m septet.ops plan --out results/paper

The jobs are Snakemake's own. A job's time is a recorded one (`septet.ops.benchmarks`) times the ratio of the two
amounts of work (`septet.ops.scaling`). Which record is the nearest, and how far off such a prediction is, comes from
predicting each record from the others (`Predictor`). A job that nothing recorded compares with is said to have no
benchmark; its time limit then is the upper end.
"""

import argparse
import math
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from septet.config import validate
from septet.errors import InputError
from septet.ops import benchmarks, language_models
from septet.ops.plan_text import text
from septet.ops.predict import Job, Predictor
from septet.ops.schedule import Task, longest_path, makespan
from septet.reading import parse_json
from septet.report.planned import FILE, Estimate, Plan, Row, Wall
from septet.sealed import write_json
from septet.workflow_config import papers_here

CORES = (2, 16, 64, 256)


def make(jobs: Sequence[Job], recorded: benchmarks.Recorded, cores: Sequence[int] = CORES) -> Plan:
    """The plan of a run.

    Args:
        jobs: all jobs of the run, done or not.
        cores: numbers of cores to schedule on.
    """
    predictor = Predictor(recorded, jobs)
    estimates = [_estimate(job, predictor) for job in jobs]
    both = list(zip(jobs, estimates, strict=True))
    tasks = {
        end: [Task(_seconds(one, end), job.threads, tuple(job.waits_for)) for job, one in both]
        for end in ("wall_s", "low", "high")
    }
    walls = [
        Wall(cores=count, **{end: round(makespan(chain, count), 1) for end, chain in tasks.items()}) for count in cores
    ]
    groups: dict[tuple[str, str], list[Estimate]] = defaultdict(list)
    for job, one in both:
        if job.benchmark or job.config:  # a target such as `all` runs nothing
            groups[one.paper, one.rule].append(one)
    return Plan(
        scale=next((job.wildcards["scale"] for job in jobs if "scale" in job.wildcards), ""),
        jobs=sum(len(group) for group in groups.values()),
        done=sum(job.done for job in jobs if job.benchmark or job.config),
        rows=[_row(*key, group) for key, group in sorted(groups.items())],
        longest_path_s=round(longest_path(tasks["wall_s"]), 1),
        walls=walls,
        estimates=[one for group in groups.values() for one in group],
    )


def _estimate(job: Job, predictor: Predictor) -> Estimate:
    limit = job.resources.get("runtime")
    wall: float | None
    high: float | None
    gpus = max((job.resources.get(name, 0) for name in ("gpu", "gpus", "nvidia_gpu")), default=0)
    if job.config is not None and language_models.is_large(job.config):
        gpus = gpus or language_models.gpus(job.config)
        ends = [3600 * hours / gpus for hours in language_models.gpu_hours(job.config)]
        wall, low, high, basis = math.sqrt(ends[0] * ends[1]), ends[0], ends[1], language_models.BASIS
    elif not (job.benchmark or job.config):
        wall, low, high, basis = 0.0, 0.0, 0.0, "runs nothing"
    elif (found := predictor(job)) is not None:
        wall, low, high, basis = found
    else:
        wall, low, high, basis = None, 0.0, 60.0 * limit if limit else None, "no benchmark"
    paper = job.wildcards.get("paper") or job.rule.partition("_")[0]
    return Estimate(
        paper=paper if paper in papers_here() else "all",
        rule=job.rule.removeprefix(f"{paper}_"),
        label="/".join(value for name, value in job.wildcards.items() if name not in ("scale", "paper")),
        threads=job.threads,
        gpus=gpus,
        memory_mb=job.resources.get("mem_mb", 0),
        wall_s=wall,
        low=low,
        high=high,
        limit_s=60.0 * limit if limit else None,
        basis=basis,
    )


def _seconds(one: Estimate, end: str) -> float:
    """An unknown time counts as nothing in the estimate, and as its time limit in the upper end."""
    return float(getattr(one, end) or 0.0)


def _row(paper: str, rule: str, group: list[Estimate]) -> Row:
    known = [one for one in group if one.wall_s is not None]
    gpu = any(one.gpus for one in group)

    def hours(end: str, of: str) -> float:
        return round(sum(_seconds(one, end) * getattr(one, of) for one in group) / 3600, 4)

    return Row(
        paper=paper,
        rule=rule,
        jobs=len(group),
        core_hours=hours("wall_s", "threads") if known else None,
        low=hours("low", "gpus" if gpu else "threads"),
        high=hours("high", "gpus" if gpu else "threads"),
        gpu_hours=hours("wall_s", "gpus") if gpu else None,
        memory_mb=max(one.memory_mb for one in group),
        wall_s=round(max(one.wall_s or 0.0 for one in known), 1) if known else None,
        unknown=len(group) - len(known),
        late=sum(one.limit_s is not None and (one.wall_s or 0.0) > one.limit_s for one in group),
        basis="; ".join(sorted({one.basis for one in group})),
    )


def read_jobs(text: str) -> list[Job]:
    """The jobs that `tools/jobs.py` printed; InputError if it is something else."""
    try:
        rows = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError("standard input", expected="jobs of tools/jobs.py", found=str(error)) from None
    if not isinstance(rows, list) or not rows:
        raise InputError("standard input", expected="jobs of tools/jobs.py", found=rows)
    return [validate(Job, row, f"standard input: job {place}") for place, row in enumerate(rows)]


def main(arguments: Sequence[str]) -> None:
    """Print the plan of the jobs on standard input and write it to `--out`."""
    parser = argparse.ArgumentParser(prog="python -m septet.ops plan", allow_abbrev=False)
    parser.add_argument("--out", required=True, type=Path, help="folder for plan.json, such as results/paper")
    parser.add_argument("--benchmarks", type=Path, default=Path("published"), help="folder of recorded benchmarks")
    parser.add_argument("--cores", type=int, help=f"cores to schedule on; else each of {CORES}")
    given = parser.parse_args(arguments)
    if given.cores is not None and given.cores < 1:
        raise InputError("--cores", expected="a positive number", found=given.cores)
    jobs = read_jobs(sys.stdin.read())
    plan = make(jobs, benchmarks.read(given.benchmarks), [given.cores] if given.cores else CORES)
    write_json(given.out / FILE, plan.model_dump(mode="json"))
    print(text(plan))
    print(f"\nwritten: {os.fspath(given.out / FILE)}")
