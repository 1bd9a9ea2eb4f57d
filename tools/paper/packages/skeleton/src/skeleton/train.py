"""The `train` verb: one method on one task, all seeds in lockstep."""

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl

from septet.card import Stopwatch
from septet.checkpoint import Checkpoints
from septet.cli import stop_request
from septet.errors import Interrupted
from septet.files import source_digest
from septet.progress import Progress
from septet.scores import TIMING, score_rows, write_scores, write_timing
from septet.seeding import stream
from skeleton.config import Job
from skeleton.method import shrunk, squared_error

PAPER = "skeleton"
PACKAGES = ["septet", "skeleton"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    watch = Stopwatch()

    # data or environment, model: S worlds theta (S, d), seen through noise of variance 1
    theta = np.stack([stream(job.root_seed, "world", seed).normal(size=job.task.dimension) for seed in job.seeds])
    total, errors, done = np.zeros_like(theta), np.zeros((len(job.seeds), job.rounds)), 0
    store = Checkpoints(out / "checkpoint", _identity(job))
    if (saved := store.load()) is not None:
        done, state = saved
        total, errors = state["total"], state["errors"]

    # loop
    progress = Progress(f"{PAPER} {job.method.name} on {job.task.name}", job.rounds, "rounds", store.folder, done)
    while done < job.rounds:
        noise = [stream(job.root_seed, "noise", seed, done).normal(size=job.task.dimension) for seed in job.seeds]
        total += theta + np.stack(noise)
        done += 1
        mean = total / done
        errors[:, done - 1] = squared_error(shrunk(mean, 1.0 / done) if job.method.shrink else mean, theta)
        progress.update(done)
        stopped = stop_request.signal is not None
        if stopped or store.due():
            store.save(done, {"total": total, "errors": errors})
        if stopped:
            progress.finish()
            raise Interrupted(f"stopped by signal {stop_request.signal} at round {done}, state saved")

    # write
    name, task = job.method.name, job.task.name
    card = watch.card(
        paper=PAPER,
        verb="train",
        task=task,
        methods={name: job.method.model_dump(mode="json", exclude={"name"})},
        seeds=job.seeds,
        config=job,
        packages=PACKAGES,
        libraries=["numpy", "polars"],
        steps=len(job.seeds) * job.rounds,
    )
    row = {"paper": PAPER, "method": name, "task": task, "seed": job.seeds[0], "step": job.rounds, "phase": "train"}
    write_timing(out / "timing.parquet", [pl.DataFrame([{**row, "seconds": watch.seconds}], TIMING)])
    steps = list(range(1, job.rounds + 1))
    metrics = {"squared_error": errors}
    write_scores(
        out / "scores.parquet", [score_rows(PAPER, name, task, seeds=job.seeds, steps=steps, metrics=metrics)]
    )
    card.write(out / "run.json")
    progress.finish()
    store.clear()


def _identity(job: Job) -> str:
    """Name of the job for its checkpoints: state that other settings or other code left is not taken."""
    settings = json.dumps([job.model_dump(mode="json"), [source_digest(name) for name in PACKAGES]], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:16]
