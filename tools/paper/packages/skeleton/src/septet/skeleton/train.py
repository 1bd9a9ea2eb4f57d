"""The `train` verb: one method on one task, all seeds in lockstep."""

from pathlib import Path

import numpy as np
import polars as pl

from septet.card import Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.progress import Progress
from septet.scores import TIMING, score_rows, write_scores, write_timing
from septet.seeding import stream
from septet.skeleton.config import Job
from septet.skeleton.method import shrunk, squared_error

PAPER = "skeleton"
PACKAGES = ["septet", f"septet.{PAPER}"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    watch = Stopwatch()
    seeds, name, task = job.seeds, job.method.name, job.task.name

    # data or environment, model: S worlds theta (S, d), seen through noise of variance 1
    theta = np.stack([stream(job.root_seed, "world", seed).normal(size=job.task.dimension) for seed in seeds])
    state, done = {"total": np.zeros_like(theta), "errors": np.zeros((len(seeds), job.rounds))}, 0
    with Checkpoints(out / "checkpoint", identity(job.model_dump(mode="json"), PACKAGES)) as store:
        if (saved := store.load()) is not None:
            done, state = saved
        total, errors = state["total"], state["errors"]

        # loop
        progress = Progress(f"{PAPER} {name} on {task}", job.rounds, "rounds", store.folder, done)
        while done < job.rounds:
            noise = [stream(job.root_seed, "noise", seed, done).normal(size=job.task.dimension) for seed in seeds]
            total += theta + np.stack(noise)
            done += 1
            mean = total / done
            errors[:, done - 1] = squared_error(shrunk(mean, 1.0 / done) if job.method.shrink else mean, theta)
            progress.update(done)
            store.safe_point(done, lambda: state, f"round {done} of {job.rounds}")

        # write
        card = watch.card(
            paper=PAPER,
            verb="train",
            task=task,
            methods={name: job.method.model_dump(mode="json", exclude={"name"})},
            seeds=seeds,
            config=job,
            packages=PACKAGES,
            libraries=["numpy", "polars"],
            steps=len(seeds) * job.rounds,
        )
        row = {"paper": PAPER, "method": name, "task": task, "seed": seeds[0], "step": job.rounds, "phase": "train"}
        write_timing(out / "timing.parquet", [pl.DataFrame([{**row, "seconds": watch.seconds}], TIMING)])
        steps, metrics = list(range(1, job.rounds + 1)), {"squared_error": errors}
        write_scores(out / "scores.parquet", [score_rows(PAPER, name, task, seeds=seeds, steps=steps, metrics=metrics)])
        card.write(out / "run.json")
