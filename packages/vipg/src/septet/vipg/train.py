"""The `train` verb: one method with all its variants, one task, all seeds in lockstep."""

import ctypes
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from septet.history import History
from septet.rl import models
from septet.rl.models import Kept
from septet.run import Run
from septet.scores import TIMING, score_rows
from septet.vipg import environments, posterior
from septet.vipg.action_space import ActionSpaceAgent
from septet.vipg.agent import Agent
from septet.vipg.config import ActionSpace, Environment, Job, Posterior

PAPER = "vipg"
PACKAGES = ["septet", "septet.sampler", "septet.rl", "septet.vipg"]
LIBRARIES = ["numpy", "numba", "torch", "mujoco", "gymnasium", "polars"]
Array = NDArray[np.float64]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    torch.set_num_threads(job.threads)
    keep_memory()
    with Run(
        out, job, paper=PAPER, method=job.method.name, task=job.task.name, seeds=job.seeds, packages=PACKAGES,
        libraries=LIBRARIES,
    ) as run:  # fmt: skip
        if isinstance(job.method, Posterior):
            fit_posterior(job, job.method, run)
        else:
            train_policies(job, run)


def train_policies(job: Job, run: Run) -> None:
    """Iterations on an environment; all variants and seeds run together.

    Curves stand at the number of episodes, which is the same for every method, as whole episodes differ in length;
    the metric `environment_steps` is how many steps they were.
    """
    task, labels, seeds = job.task, job.method.labels(), job.seeds
    assert isinstance(task, Environment)
    histories = [History(len(seeds)) for _ in labels]
    places = [slice(v * len(seeds), (v + 1) * len(seeds)) for v in range(len(labels))]  # of the agent's rows
    with closing(ActionSpaceAgent(job) if isinstance(job.method, ActionSpace) else Agent(job)) as agent:
        own = environments.__name__ if task.environment in environments.OWN else None
        where = models.Environment(name=task.environment, options=task.options, registers=own)
        kept = Kept(run, agent, job.keep_model, where, labels)
        for iteration in run.loop(task.iterations, {"agent": agent, "histories": histories, "kept": kept}):
            found = kept.iterate(iteration)
            for history, rows in zip(histories, places, strict=True):
                steps = history.last_steps + found.steps[rows].astype(np.int64)
                scores = {name: values[rows] for name, values in found.scores.items()}
                history.add(steps, {"environment_steps": steps, **scores}, found.seconds)
        sampled = agent.sampled() if job.sampled_policies else None

    episodes = [task.episodes * (k + 1) for k in range(task.iterations)]
    frames = []
    for label, history, rows in zip(labels, histories, places, strict=True):
        frames += history.score_rows(PAPER, label, task.name, seeds, steps=episodes)
        if sampled is not None:
            frames += sampled_rows(job, label, episodes[-1], *(values[rows] for values in sampled))
    run.write(
        frames,
        methods=variants(job),
        steps=sum(int(history.last_steps.sum()) for history in histories),
        timing=histories[0].timing_rows(PAPER, labels[0], task.name, seeds, steps=range(1, task.iterations + 1)),
        beside=kept.write,
    )


def sampled_rows(job: Job, label: str, episodes: int, total: Array, diversity: Array) -> list[pl.DataFrame]:
    """Rows for policies that were drawn from the sampler at the end.

    Args:
        total: their returns (S, n); diversity: how far they differ (S,).
    """
    assert isinstance(job.task, Environment)
    score, of = job.task.score(total), (PAPER, label, job.task.name)
    final = {
        "diversity": diversity,
        "sampled_score": score.mean(axis=1),
        "sampled_best": score.max(axis=1),
        "sampled_worst": score.min(axis=1),
        "sampled_std": score.std(axis=1),
    }
    ends = {name: values[:, None] for name, values in final.items()}
    return [
        score_rows(*of, seeds=job.seeds, steps=[episodes], metrics=ends),
        score_rows(*of, seeds=job.seeds, steps=range(score.shape[1]), metrics={"sampled_policy": score}),
    ]


def fit_posterior(job: Job, method: Posterior, run: Run) -> None:
    """Variants of the samplers fitted to a known posterior, one after the other, all seeds together."""
    seeds, task = job.seeds, job.task.name
    found: dict[str, dict[str, Array]] = {variant: {} for variant in method.variants}  # metrics (S,)
    samples: dict[str, Array] = {}  # of the first seed, (n, d)
    for number in run.loop(len(method.variants), {"found": found, "samples": samples}, unit="variants"):
        variant = method.variants[number]
        found[variant], drawn = posterior.measure(job, variant, *posterior.fit(job, variant))
        samples[variant] = drawn[0]

    frames = []
    for variant, label in zip(method.variants, method.labels(), strict=True):
        columns = {name: values[:, None] for name, values in found[variant].items()}
        frames.append(score_rows(PAPER, label, task, seeds=seeds, steps=[method.steps], metrics=columns))
        shown = {"sample_x": samples[variant][None, :, 0], "sample_y": samples[variant][None, :, 1]}
        places = range(len(samples[variant]))
        frames.append(score_rows(PAPER, label, task, seeds=seeds[:1], steps=places, metrics=shown))
    run.write(
        frames,
        methods=variants(job),
        steps=len(method.variants) * len(seeds) * method.steps,
        timing=pl.DataFrame([(*run.key, seeds[0], method.steps, "learn", run.seconds)], TIMING, orient="row"),
    )


def variants(job: Job) -> dict[str, dict[str, Any]]:
    """Each method label and its settings: what all variants share, and the one that is its own."""
    method, name = job.method, "variant" if isinstance(job.method, Posterior) else "alpha"
    shared = method.model_dump(mode="json", exclude={"name", "alphas", "variants"})
    own = method.variants if isinstance(method, Posterior) else method.alphas
    return {label: {**shared, name: value} for label, value in zip(method.labels(), own, strict=True)}


def keep_memory() -> None:
    """Let freed memory stay with the process: glibc gives large arrays back, and faults them in again each time."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        allocator.mallopt(-4, 0)  # M_MMAP_MAX
