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
from septet.ops.predict import Job, Predictor
from septet.ops.scaling import in_words, threads
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
        end: [
            Task(_seconds(one, end), job.threads, tuple(job.waits_for), threads(job.config or {})) for job, one in both
        ]
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


def text(plan: Plan) -> str:
    """The plan as lines of a table, and what it is based on."""
    head = (
        f"{'paper':12}{'rule':10}{'jobs':>5}  {'core-hours':>24}  {'GPU-hours':>24}  {'memory':>7}  {'longest job':>11}"
    )
    lines = [f"scale {plan.scale}: {plan.jobs} jobs, {plan.done} of them done", "", head]
    lines += [_line(row) for row in plan.rows]
    cores = [row for row in plan.rows if row.gpu_hours is None]
    gpu = [row for row in plan.rows if row.gpu_hours is not None]
    lines += ["", f"core-hours without the GPU jobs: {_sum(cores, 'core_hours')}"]
    if gpu:
        lines.append(f"GPU-hours: {_sum(gpu, 'gpu_hours')}, {gpu[0].basis}")
    lines.append(f"longest path: {clock(plan.longest_path_s)}")
    lines += [
        f"wall time on {wall.cores} cores: {clock(wall.wall_s)} ({clock(wall.low)} to {clock(wall.high)})"
        for wall in plan.walls
    ]
    lines += ["", "what it stands on:"]
    for row in plan.rows:
        rule = in_words(row.paper) if row.rule == "train" and row.gpu_hours is None else ""
        lines.append(f"  {row.paper} {row.rule}: {'; '.join(filter(None, (row.basis, rule)))}")
    lines += [
        f"no benchmark: {row.paper} {row.rule}, {row.unknown} of {row.jobs} jobs; not in the estimate, "
        "their time limit is in the upper end"
        for row in plan.rows
        if row.unknown
    ]
    lines += [
        f"over the time limit: {row.paper} {row.rule}, {row.late} of {row.jobs} jobs; the first attempt will be cut "
        "and the next one goes on"
        for row in plan.rows
        if row.late
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    core = "-" if row.core_hours is None else _interval(row.core_hours, row.low, row.high)
    gpu = "-" if row.gpu_hours is None else _interval(row.gpu_hours, row.low, row.high)
    if row.gpu_hours is not None:
        core = f"{row.core_hours:.3g}"
    longest = "?" if row.wall_s is None else clock(row.wall_s)
    memory = f"{row.memory_mb / 1000:.1f} GB"
    return f"{row.paper:12}{row.rule:10}{row.jobs:>5}  {core:>24}  {gpu:>24}  {memory:>7}  {longest:>11}"


def _sum(rows: list[Row], hours: str) -> str:
    value = sum(getattr(row, hours) or 0.0 for row in rows)
    return _interval(value, sum(row.low for row in rows), sum(row.high or 0 for row in rows))


def _interval(value: float, low: float, high: float | None) -> str:
    return f"{value:.3g} ({low:.3g} to {'?' if high is None else f'{high:.3g}'})"


def clock(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= 60):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def read_jobs(given: str) -> list[Job]:
    """The jobs that `tools/jobs.py` printed; InputError if it is something else."""
    try:
        rows = parse_json(given)
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
