"""The `train` verb: one method, one task, all seeds in lockstep."""

from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from septet.card import Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.progress import Progress
from septet.rl.loop import Iteration
from septet.scores import TIMING, score_rows, write_scores, write_timing
from septet.svrpo.config import InnerLoop, Job

PAPER = "svrpo"
PACKAGES = ["septet", "septet.sampler", "septet.rl", f"septet.{PAPER}"]
Array = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]
FINAL_SHARE = 0.1
"""`final_return` is the mean return over this share of the iterations, the last ones."""


class Learner(Protocol):
    """A method on a task, all seeds in lockstep: `septet.rl.loop.Learner`, and scores at the end."""

    state: Arrays

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
    watch = Stopwatch()
    torch.set_num_threads(1)  # a job's own threads work on different seeds

    # environment, policy, method
    with (
        closing(build(job)) as learner,
        Checkpoints(out / "checkpoint", identity(job.model_dump(mode="json"), PACKAGES)) as store,
    ):
        history: dict[str, Array] = {}  # metric or phase -> (iterations, S)
        done, iterations = 0, job.task.iterations
        if (saved := store.load()) is not None:
            done, arrays = saved
            history = {name.removeprefix("history."): np.array(x) for name, x in arrays.items() if "history." in name}
            learner.state = arrays

        def state() -> Arrays:
            return {**learner.state, **{f"history.{name}": x for name, x in history.items()}}

        # loop
        label = f"{PAPER} {job.method.name} on {job.task.name}"
        progress = Progress(label, iterations, "iterations", store.folder, done)
        while done < iterations:
            result = learner.iterate(done)
            seconds = {f"seconds.{name}": np.full(len(job.seeds), value) for name, value in result.seconds.items()}
            for name, values in {**result.scores, **seconds}.items():
                history.setdefault(name, np.zeros((iterations, len(job.seeds))))[done] = values
            done += 1
            progress.update(done)
            store.safe_point(done, state, f"iteration {done}")

        # write
        learner.close()
        frames = score_tables(job, history, learner.final_scores())
        card = watch.card(
            paper=PAPER,
            verb="train",
            task=job.task.name,
            methods={job.method.name: job.method.model_dump(mode="json", exclude={"name"})},
            seeds=job.seeds,
            config=job,
            packages=PACKAGES,
            libraries=["numpy", "numba", "torch", "mujoco", "polars"],
            steps=iterations * job.task.batch * len(job.seeds),
        )
        write_timing(out / "timing.parquet", [timing_table(job, history)])
        write_scores(out / "scores.parquet", frames)
        card.write(out / "run.json")


def score_tables(job: Job, history: dict[str, Array], positions: dict[str, Array]) -> list[pl.DataFrame]:
    """The rows of the score table.

    Curves have the environment steps per seed as their step; metrics by inner position, named `..._at`, have the
    position, counted from 1.
    """
    method, task = job.method.name, job.task
    steps = [task.batch * (k + 1) for k in range(task.iterations)]
    curves = {name: values.T for name, values in history.items() if not name.startswith("seconds.")}
    last = max(1, round(FINAL_SHARE * task.iterations))
    ends = {"final_return": history["return"][-last:].mean(0)[:, None]}
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


def timing_table(job: Job, history: dict[str, Array]) -> pl.DataFrame:
    """Seconds of each phase of each iteration, all seeds together, under the first seed's number."""
    rows = [
        {
            "paper": PAPER,
            "method": job.method.name,
            "task": job.task.name,
            "seed": job.seeds[0],
            "step": job.task.batch * (k + 1),
            "phase": name.removeprefix("seconds."),
            "seconds": float(seconds),
        }
        for name, values in history.items()
        if name.startswith("seconds.")
        for k, seconds in enumerate(values[:, 0])
    ]
    return pl.DataFrame(rows, TIMING)
