"""The `train` verb: one method on one task, all seeds in lockstep."""

from pathlib import Path

import numpy as np

from septet.history import History
from septet.run import Run
from septet.seeding import stream
from septet.skeleton.config import Job
from septet.skeleton.method import shrunk, squared_error

PAPER = "skeleton"
PACKAGES = ["septet", f"septet.{PAPER}"]
LIBRARIES = ["numpy", "polars"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    seeds, name, task = job.seeds, job.method.name, job.task
    with Run(
        out, job, paper=PAPER, method=name, task=task.name, seeds=seeds, packages=PACKAGES, libraries=LIBRARIES
    ) as run:
        # data or environment, model: S worlds theta (S, d), seen through noise of variance 1
        theta = np.stack([stream(job.root_seed, "world", seed).normal(size=task.dimension) for seed in seeds])
        total, history = np.zeros_like(theta), History(len(seeds))

        # loop
        for k in run.loop(job.rounds, {"total": total, "history": history}, unit="rounds"):
            total += theta + np.stack(
                [stream(job.root_seed, "noise", seed, k).normal(size=task.dimension) for seed in seeds]
            )
            mean = total / (k + 1)
            found = shrunk(mean, 1.0 / (k + 1)) if job.method.shrink else mean
            history.add(k + 1, {"squared_error": squared_error(found, theta)})

        # write
        run.write(
            history.score_rows(*run.key, seeds),
            methods={name: job.method.model_dump(mode="json", exclude={"name"})},
            steps=len(seeds) * job.rounds,
        )
