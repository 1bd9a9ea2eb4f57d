"""The `train` verb: one method on one task, all seeds in lockstep."""

import importlib
import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from septet.card import Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.progress import Progress
from septet.rl.config import BaseJob, Job
from septet.rl.loop import Iteration, Learner
from septet.sampler.samplers import SamplerDied
from septet.scores import TIMING, score_rows, write_scores, write_timing

LEARNERS = {
    "vpg": "septet.rl.vpg.VPGLearner",
    "trpo": "septet.rl.trpo.TRPOLearner",
    "ppo": "septet.rl.ppo.PPOLearner",
    "ddpg": "septet.rl.ddpg.DDPGLearner",
}
PEER = "septet.rl.validation.PeerLearner"
LIBRARIES, PEERS = ["numpy", "numba", "torch", "mujoco", "gymnasium", "polars"], ["stable-baselines3", "sb3-contrib"]
PACKAGES = ["septet", "septet.sampler", "septet.rl"]


def build(job: Job) -> Learner:
    """The learner of a job's method."""
    ours = job.method.implementation == "septet"
    module, _, name = (LEARNERS[job.method.algorithm] if ours else PEER).rpartition(".")
    learner: Learner = getattr(importlib.import_module(module), name)(job)
    return learner


def train(job: BaseJob, out: Path, make: Callable[[Any], Learner] | None = None) -> None:
    """Train one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json.

    Args:
        make: makes the learner of a job, for papers built on this package; `build` if none.
    """
    watch, learner_of = Stopwatch(), cast(Callable[[BaseJob], Learner], make or build)
    torch.set_num_threads(1)

    # environments, model
    with (
        closing(learner_of(job)) as learner,
        Checkpoints(out / "checkpoint", identity(job.model_dump(mode="json"), PACKAGES)) as store,
    ):
        history = History(len(job.seeds))
        iteration = 0
        if (saved := store.load()) is not None:
            iteration, arrays = saved
            learner.state = _part("learner", arrays)
            history.state = _part("history", arrays)

        def state() -> dict[str, NDArray[Any]]:
            return _named("learner", learner.state) | _named("history", history.state)

        # loop
        total = learner.iterations
        label = f"{job.paper} {job.method.label} on {job.task.label}"
        progress = Progress(label, total, "iterations", store.folder, iteration)
        while iteration < total:
            try:
                history.add(learner.iterate(iteration))
            except SamplerDied as error:
                error.add_note(f"at iteration {iteration}, {store.keep(iteration, state)}")
                raise
            iteration += 1
            progress.update(iteration)
            store.safe_point(iteration, state, f"iteration {iteration}")

        # write
        learner.close()  # the card counts the processes that have ended
        card = watch.card(
            paper=job.paper,
            verb="train",
            task=job.task.label,
            methods={job.method.label: job.method.model_dump(mode="json", exclude={"name"})},
            seeds=job.seeds,
            config=job,
            packages=PACKAGES,
            libraries=[*LIBRARIES, *(PEERS if job.method.implementation == "stable_baselines3" else [])],
            steps=int(history.steps[-1].sum()),
        )
        write_timing(out / "timing.parquet", [history.timing(job, learner.window)])
        write_scores(out / "scores.parquet", history.scores(job, learner.window))
        card.write(out / "run.json")


class History:
    """What the iterations left: cumulated steps, metrics and seconds.

    NaN is no value, and leaves a gap in the table: of a metric that starts late or rests, and of the return until a
    seed's first episode has ended. From then on the last return stands.
    """

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds
        self.steps: list[NDArray[np.int64]] = []
        self.metrics: dict[str, list[NDArray[np.float64]]] = {}
        self.seconds: dict[str, list[float]] = {}

    def add(self, found: Iteration) -> None:
        """Append an iteration."""
        none = np.full(self.seeds, math.nan)
        for name in found.scores.keys() - self.metrics.keys():
            self.metrics[name] = [none] * len(self.steps)
        for name, values in self.metrics.items():
            given = found.scores.get(name, none)
            last = values[-1] if name == "return" and values else none
            values.append(np.where(np.isnan(given), last, given))
        before = self.steps[-1] if self.steps else np.zeros(self.seeds, np.int64)
        self.steps.append(before + np.asarray(found.steps, np.int64))
        for phase, value in found.seconds.items():
            self.seconds.setdefault(phase, []).append(value)

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays; to set is to restore."""
        return {
            "steps": np.array(self.steps),
            **_named("metric", {name: np.array(values) for name, values in self.metrics.items()}),
            **_named("seconds", {phase: np.array(values) for phase, values in self.seconds.items()}),
        }

    @state.setter
    def state(self, saved: dict[str, NDArray[Any]]) -> None:
        self.steps = list(saved["steps"])
        self.metrics = {name: list(values) for name, values in _part("metric", saved).items()}
        self.seconds = {phase: values.tolist() for phase, values in _part("seconds", saved).items()}

    def scores(self, job: BaseJob, window: int) -> list[pl.DataFrame]:
        """Rows of the score table: every metric of every seed.

        The step of a row is that of the plan, the same for all seeds and methods. Where whole episodes make an
        iteration longer, the metric `environment_steps` says how many steps a seed has taken.

        Args:
            window: environment steps of a seed in an iteration, at least.
        """
        steps = window * np.arange(1, len(self.steps) + 1)
        metrics = {name: np.array(values).T for name, values in self.metrics.items()}
        taken = np.array(self.steps).T
        if (taken != steps).any():
            metrics["environment_steps"] = taken.astype(np.float64)
        of = job.paper, job.method.label, job.task.label
        return [
            score_rows(*of, seeds=[seed], steps=steps[known].tolist(), metrics={name: values[s : s + 1, known]})
            for name, values in metrics.items()
            for s, seed in enumerate(job.seeds)
            if (known := ~np.isnan(values[s])).any()
        ]

    def timing(self, job: BaseJob, window: int) -> pl.DataFrame:
        """Rows of the timing table: seconds of each phase of each iteration of all seeds, under the first one's."""
        of = {"paper": job.paper, "method": job.method.label, "task": job.task.label, "seed": job.seeds[0]}
        rows = [
            {**of, "step": window * (k + 1), "phase": phase, "seconds": seconds}
            for phase, values in self.seconds.items()
            for k, seconds in enumerate(values)
        ]
        return pl.DataFrame(rows, TIMING)


def _named(part: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{part}/{name}": array for name, array in arrays.items()}


def _part(name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(name + "/"): value for key, value in arrays.items() if key.startswith(name + "/")}
