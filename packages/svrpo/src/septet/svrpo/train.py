"""The `train` verb: one method, one task, all seeds in lockstep; or the gradients alone, on a bandit."""

from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from septet.history import History
from septet.rl.models import Environment, Kept
from septet.run import Run
from septet.scores import score_rows
from septet.svrpo.bandit import Measurement
from septet.svrpo.config import ESTIMATORS, Estimators, GaussianBandit, InnerLoop, Job
from septet.svrpo.first_order import FirstOrderLearner
from septet.svrpo.trust_region import TrustRegionLearner

PAPER = "svrpo"
PACKAGES = ["septet", "septet.sampler", "septet.rl", f"septet.{PAPER}"]
LIBRARIES = ["numpy", "numba", "torch", "mujoco", "polars"]
Array = NDArray[np.float64]
FINAL_SHARE = 0.1
"""`final_return` is the mean return over this share of the iterations, the last ones."""


def build(job: Job) -> TrustRegionLearner | FirstOrderLearner:
    """The learner of a job's method."""
    if isinstance(job.method, InnerLoop):
        return TrustRegionLearner(job, job.method)
    assert not isinstance(job.method, Estimators)
    return FirstOrderLearner(job, job.method)


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    torch.set_num_threads(1)  # a job's own threads work on different seeds
    threadpool_limits(1, "blas")
    with Run(
        out, job, paper=PAPER, method=job.method.name, task=job.task.name, seeds=job.seeds, packages=PACKAGES,
        libraries=LIBRARIES,
    ) as run:  # fmt: skip
        if isinstance(job.method, Estimators):
            measure(job, job.method, run)
        else:
            train_policies(job, run)


def train_policies(job: Job, run: Run) -> None:
    """Iterations of a method on an environment."""
    # environment, policy, method
    method, history = job.method, History(len(job.seeds))
    with closing(build(job)) as learner:
        kept = Kept(run, learner, job.keep_model, Environment(name=job.simulation.environment))
        # loop
        for iteration in run.loop(job.simulation.iterations, {"learner": learner, "history": history, "kept": kept}):
            found = kept.iterate(iteration)
            history.add(history.last_steps + found.steps, found.scores, found.seconds)

    # write
    run.write(
        score_tables(job, history, learner.final_scores()),
        methods={method.name: method.model_dump(mode="json", exclude={"name"})},
        steps=int(history.last_steps.sum()),
        timing=history.timing_rows(*run.key, job.seeds),
        beside=kept.write,
    )


def measure(job: Job, method: Estimators, run: Run) -> None:
    """Bias and variance of the gradients of an inner step on a bandit; a step is a thousandth of a nat."""
    task = job.task
    assert isinstance(task, GaussianBandit)
    measurement = Measurement(job, method, task)
    for batch in run.loop(method.batches, measurement, unit="batches"):
        measurement.add(batch)
    labels = dict(zip(ESTIMATORS, method.labels(), strict=True))
    run.write(
        [
            score_rows(PAPER, labels[name], task.name, seeds=job.seeds, steps=task.divergences, metrics=metrics)
            for name, metrics in measurement.scores().items()
        ],
        methods={
            label: {**method.model_dump(mode="json", exclude={"name"}), "gradient": kind, "ratio": ratio}
            for label, (kind, ratio) in zip(labels.values(), ESTIMATORS.values(), strict=True)
        },
        steps=method.batches * task.batch_size * len(job.seeds),
    )


def score_tables(job: Job, history: History, positions: dict[str, Array]) -> list[pl.DataFrame]:
    """The rows of the score table.

    Curves have the environment steps per seed as their step; metrics by inner position, named `..._at`, have the
    position, counted from 1.
    """
    key, seeds = (PAPER, job.method.name, job.task.name), job.seeds
    last = max(1, round(FINAL_SHARE * job.simulation.iterations))
    ends = {"final_return": history.metrics["return"][-last:].mean(0)[:, None]}
    if "variance_ratio_at" in positions and positions["variance_ratio_at"].shape[1] > 1:
        later = positions["variance_ratio_at"][:, 1:]  # at the first step it is 0 by construction
        ends["variance_ratio"] = later.mean(1)[:, None]
        ends["variance_ratio_largest"] = later.max(1)[:, None]
    frames = history.score_rows(*key, seeds)
    frames.append(score_rows(*key, seeds=seeds, steps=history.last_steps[:1].tolist(), metrics=ends))
    for name, values in positions.items():
        frames.append(score_rows(*key, seeds=seeds, steps=range(1, values.shape[1] + 1), metrics={name: values}))
    return frames
