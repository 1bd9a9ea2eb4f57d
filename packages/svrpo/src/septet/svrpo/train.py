"""The `train` verb: one method, one task, all seeds in lockstep."""

from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from septet.history import History
from septet.rl.loop import Iteration
from septet.run import Run
from septet.scores import score_rows
from septet.svrpo.config import InnerLoop, Job

PAPER = "svrpo"
PACKAGES = ["septet", "septet.sampler", "septet.rl", f"septet.{PAPER}"]
LIBRARIES = ["numpy", "numba", "torch", "mujoco", "polars"]
Array = NDArray[np.float64]
FINAL_SHARE = 0.1
"""`final_return` is the mean return over this share of the iterations, the last ones."""


class Learner(Protocol):
    """A method on a task, all seeds in lockstep: `septet.rl.loop.Learner`, and scores at the end."""

    def iterate(self, iteration: int) -> Iteration:
        """Collect and learn. Raises NotFinite when a tensor is no number."""

    def final_scores(self) -> dict[str, Array]:
        """Metrics by inner position, (S, m)."""

    def close(self) -> None:
        """Let go of environments and threads."""


def build(job: Job) -> Learner:
    """The learner of a job's method."""
    if isinstance(job.method, InnerLoop):
        from septet.svrpo.trust_region import TrustRegionLearner

        return TrustRegionLearner(job, job.method)
    from septet.svrpo.first_order import FirstOrderLearner

    return FirstOrderLearner(job, job.method)


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    torch.set_num_threads(1)  # a job's own threads work on different seeds
    method, task, seeds = job.method, job.task, job.seeds
    with Run(
        out, job, paper=PAPER, method=method.name, task=task.name, seeds=seeds, packages=PACKAGES, libraries=LIBRARIES,
    ) as run:  # fmt: skip
        # environment, policy, method
        history = History(len(seeds))
        with closing(build(job)) as learner:
            # loop
            for iteration in run.loop(task.iterations, {"learner": learner, "history": history}):
                found = learner.iterate(iteration)
                history.add(history.last_steps + found.steps, found.scores, found.seconds)

        # write
        run.write(
            score_tables(job, history, learner.final_scores()),
            methods={method.name: method.model_dump(mode="json", exclude={"name"})},
            steps=int(history.last_steps.sum()),
            timing=history.timing_rows(*run.key, seeds),
        )


def score_tables(job: Job, history: History, positions: dict[str, Array]) -> list[pl.DataFrame]:
    """The rows of the score table.

    Curves have the environment steps per seed as their step; metrics by inner position, named `..._at`, have the
    position, counted from 1.
    """
    method, task = job.method.name, job.task
    steps = history.steps[:, 0].tolist()
    curves = {name: values.T for name, values in history.metrics.items()}
    last = max(1, round(FINAL_SHARE * task.iterations))
    ends = {"final_return": history.metrics["return"][-last:].mean(0)[:, None]}
    if "variance_ratio_at" in positions and positions["variance_ratio_at"].shape[1] > 1:
        later = positions["variance_ratio_at"][:, 1:]  # at the first step it is 0 by construction
        ends["variance_ratio"] = later.mean(1)[:, None]
        ends["variance_ratio_largest"] = later.max(1)[:, None]
    frames = [score_rows(PAPER, method, task.name, seeds=job.seeds, steps=steps, metrics=curves)]
    frames.append(score_rows(PAPER, method, task.name, seeds=job.seeds, steps=steps[-1:], metrics=ends))
    if positions:
        places = list(range(1, next(iter(positions.values())).shape[1] + 1))
        frames.append(score_rows(PAPER, method, task.name, seeds=job.seeds, steps=places, metrics=positions))
    return frames
