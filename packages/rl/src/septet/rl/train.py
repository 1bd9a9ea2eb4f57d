"""The `train` verb: one method on one task, all seeds in lockstep."""

import importlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

import polars as pl
import torch

from septet.history import History
from septet.rl.config import BaseJob, Job
from septet.rl.loop import Learner
from septet.rl.models import Environment, Keeps, Kept
from septet.run import Run
from septet.sampler.samplers import SamplerDied
from septet.scores import score_rows

LEARNERS = {
    "vpg": "septet.rl.vpg.VPGLearner",
    "trpo": "septet.rl.trpo.TRPOLearner",
    "ppo": "septet.rl.ppo.PPOLearner",
    "ddpg": "septet.rl.ddpg.DDPGLearner",
}
PEER = "septet.rl.validation.PeerLearner"
LIBRARIES, PEERS = ["numpy", "numba", "torch", "mujoco", "gymnasium", "polars"], ["stable-baselines3", "sb3-contrib"]
AnyJob = TypeVar("AnyJob", bound=BaseJob)
PACKAGES = ["septet", "septet.sampler", "septet.rl"]


def build(job: Job) -> Learner:
    """The learner of a job's method."""
    ours = job.method.implementation == "septet"
    module, _, name = (LEARNERS[job.method.algorithm] if ours else PEER).rpartition(".")
    return getattr(importlib.import_module(module), name)(job)


def train(job: Job, out: Path) -> None:
    """Train one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    train_with(build, job, out, PACKAGES)


def train_with(build: Callable[[AnyJob], Learner], job: AnyJob, out: Path, packages: list[str]) -> None:
    """Train the learner that `build` makes of a job: papers built on this package bring their own.

    Args:
        packages: the import packages that run.
    """
    torch.set_num_threads(1)
    method, seeds = job.method, job.seeds
    peers = PEERS if method.implementation == "stable_baselines3" else []
    with Run(
        out, job, paper=job.paper, method=method.label, task=job.task.label, seeds=seeds, packages=packages,
        libraries=[*LIBRARIES, *peers],
    ) as run:  # fmt: skip
        # environments, model
        history, environment = History(len(seeds)), Environment(name=job.task.environment)
        with closing(build(job)) as learner:
            keep = job.keep_model if method.implementation == "septet" else "none"
            kept = Kept(run, cast(Keeps, learner), keep, environment)  # of a peer nothing is kept, or asked
            # loop
            for iteration in run.loop(learner.iterations, {"learner": learner, "history": history, "kept": kept}):
                try:
                    found = kept.iterate(iteration)
                except SamplerDied as error:
                    error.add_note(run.save())
                    raise
                history.add(history.last_steps + found.steps, found.scores, found.seconds)

        # write, after the samplers have ended: the card counts their time
        plan = [learner.window * (k + 1) for k in range(len(history))]
        run.write(
            score_tables(history, run.key, seeds, plan),
            methods={method.label: method.model_dump(mode="json", exclude={"name"})},
            steps=int(history.last_steps.sum()),
            timing=history.timing_rows(*run.key, seeds, steps=plan),
            beside=kept.write,
        )


def score_tables(
    history: History, key: tuple[str, str, str], seeds: list[int], plan: Sequence[int]
) -> list[pl.DataFrame]:
    """The rows of the score table; from a seed's first episode on, its last return stands.

    The step of a row is that of the plan, the same for all seeds and methods. Where whole episodes make an iteration
    longer, the metric `environment_steps` says how many steps a seed has taken.

    Args:
        key: paper, method and task.
        plan: environment steps of a seed up to each iteration, at least.
    """
    frames = history.score_rows(*key, seeds, steps=plan, hold=["return"])
    taken = history.steps.T
    if (taken != plan).any():
        frames.append(score_rows(*key, seeds=seeds, steps=plan, metrics={"environment_steps": taken}))
    return frames
