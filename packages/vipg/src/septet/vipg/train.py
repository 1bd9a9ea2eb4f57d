"""The `train` verb: one method with all its variants, one task, all seeds in lockstep."""

import ctypes
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from septet.card import Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.progress import Progress
from septet.rl.loop import Iteration
from septet.scores import TIMING, score_rows, write_scores, write_timing
from septet.vipg import posterior
from septet.vipg.agent import Agent
from septet.vipg.config import ActionSpace, Environment, Job, Posterior
from septet.vipg.precursor import Precursor

PAPER = "vipg"
PACKAGES = ["septet", "septet.sampler", "septet.rl", "septet.vipg"]
LIBRARIES = ["numpy", "numba", "torch", "mujoco", "gymnasium", "polars"]
Arrays = dict[str, NDArray[Any]]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    watch = Stopwatch()
    torch.set_num_threads(job.threads)
    keep_memory()
    with (
        closing(Fitting(job) if isinstance(job.method, Posterior) else Training(job)) as run,
        Checkpoints(out / "checkpoint", identity(job.model_dump(mode="json"), PACKAGES)) as store,
    ):
        done = 0
        if (saved := store.load()) is not None:
            done, run.state = saved

        progress = Progress(f"vipg {job.method.name} on {job.task.name}", run.parts, run.unit, store.folder, done)
        while done < run.parts:
            run.advance(done)
            done += 1
            progress.update(done)
            store.safe_point(done, lambda: run.state, f"{run.unit} {done}")
        frames, steps = run.finish()
        run.close()

        shared = job.method.model_dump(mode="json", exclude={"name", "alphas", "variants"})
        card = watch.card(
            paper=PAPER, verb="train", task=job.task.name,
            methods={label: {**shared, **special} for label, special in _variants(job).items()},
            seeds=job.seeds, config=job, packages=PACKAGES, libraries=LIBRARIES, steps=steps,
        )  # fmt: skip
        write_timing(out / "timing.parquet", [pl.DataFrame(run.timing(watch.seconds), TIMING)])
        write_scores(out / "scores.parquet", frames)
        card.write(out / "run.json")


def keep_memory() -> None:
    """Let freed memory stay with the process: glibc gives large arrays back, and faults them in again each time."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        allocator.mallopt(-4, 0)  # M_MMAP_MAX


def _variants(job: Job) -> dict[str, dict[str, Any]]:
    """Each method label and the setting that is its own."""
    labels, method = job.method.labels(), job.method
    if isinstance(method, Posterior):
        return {label: {"variant": variant} for label, variant in zip(labels, method.variants, strict=True)}
    return {label: {"alpha": alpha} for label, alpha in zip(labels, method.alphas, strict=True)}


class Training:
    """Iterations of a method on an environment; rows by variant, then seed."""

    unit = "iteration"

    def __init__(self, job: Job) -> None:
        assert isinstance(job.task, Environment)
        self.job, self.parts = job, job.task.iterations
        self.agent: Agent | Precursor = Precursor(job) if isinstance(job.method, ActionSpace) else Agent(job)
        self.steps: list[NDArray[np.int64]] = []  # (R,), cumulated
        self.metrics: dict[str, dict[int, NDArray[np.float64]]] = {}
        self.seconds: list[dict[str, float]] = []

    def advance(self, part: int) -> None:
        """One iteration."""
        found: Iteration = self.agent.iterate(part)
        before = self.steps[-1] if self.steps else np.zeros(self.agent.rows, np.int64)
        self.steps.append(before + found.steps.astype(np.int64))
        self.seconds.append(found.seconds)
        for name, values in found.scores.items():
            self.metrics.setdefault(name, {})[part] = values

    @property
    def state(self) -> Arrays:
        """The agent's state and what has been written down."""
        own: Arrays = {f"agent/{name}": value for name, value in self.agent.state.items()}
        own["steps"] = np.array(self.steps)
        for name, values in self.metrics.items():
            own[f"metric/{name}"] = np.array(list(values.values()))
            own[f"at/{name}"] = np.array(list(values))
        for phase in self.seconds[0]:
            own[f"seconds/{phase}"] = np.array([each[phase] for each in self.seconds])
        return own

    @state.setter
    def state(self, saved: Arrays) -> None:
        def part(name: str) -> Arrays:
            return {key.removeprefix(name + "/"): value for key, value in saved.items() if key.startswith(name + "/")}

        self.agent.state = part("agent")
        self.steps = list(saved["steps"])
        at = part("at")
        self.metrics = {
            name: dict(zip(at[name].tolist(), values, strict=True)) for name, values in part("metric").items()
        }
        phases = part("seconds")
        self.seconds = [dict(zip(phases, map(float, each), strict=True)) for each in zip(*phases.values(), strict=True)]

    def finish(self) -> tuple[list[pl.DataFrame], int]:
        """Score tables, and environment steps over all rows.

        Curves stand at the number of episodes, which is the same for every method, as whole episodes differ in
        length; the metric `environment_steps` tells how many steps they were.
        """
        job, count = self.job, len(self.job.seeds)
        frames = []
        ends = np.array(self.steps)
        assert isinstance(job.task, Environment)
        marks = job.task.episodes * np.arange(1, self.parts + 1)
        last = self.agent.sampled() if job.sampled_policies else None
        for v, label in enumerate(job.method.labels()):
            rows = slice(v * count, (v + 1) * count)
            frames.append(self._rows(label, marks, {"environment_steps": ends[:, rows].T.astype(np.float64)}))
            for name, values in sorted(self.metrics.items()):
                column = np.stack([each[rows] for each in values.values()], axis=1)
                frames.append(self._rows(label, marks[list(values)], {name: column}))
            if last is not None:
                total, diversity = (each[rows] for each in last)
                score = self.agent.score(total)
                final = {
                    "diversity": diversity,
                    "sampled_score": score.mean(axis=1),
                    "sampled_best": score.max(axis=1),
                    "sampled_worst": score.min(axis=1),
                    "sampled_std": score.std(axis=1),
                }
                frames.append(self._rows(label, marks[-1:], {name: each[:, None] for name, each in final.items()}))
                frames.append(self._rows(label, np.arange(score.shape[1]), {"sampled_policy": score}))
        return frames, int(ends[-1].sum())

    def _rows(self, label: str, steps: NDArray[Any], metrics: dict[str, NDArray[np.float64]]) -> pl.DataFrame:
        marks = [int(step) for step in steps]
        return score_rows(PAPER, label, self.job.task.name, seeds=self.job.seeds, steps=marks, metrics=metrics)

    def timing(self, seconds: float) -> list[dict[str, Any]]:
        """Seconds of each phase of each iteration; all variants and seeds run together."""
        of = {"paper": PAPER, "method": self.job.method.labels()[0], "task": self.job.task.name}
        return [
            {**of, "seed": self.job.seeds[0], "step": part + 1, "phase": phase, "seconds": value}
            for part, each in enumerate(self.seconds)
            for phase, value in each.items()
        ]

    def close(self) -> None:
        """Let go of the environments."""
        self.agent.close()


class Fitting:
    """Variants of the samplers fitted to a known posterior, one after the other."""

    unit = "variant"

    def __init__(self, job: Job) -> None:
        assert isinstance(job.method, Posterior)
        self.job, self.method = job, job.method
        self.parts = len(self.method.variants)
        self.found: dict[str, Arrays] = {}

    def advance(self, part: int) -> None:
        """One variant, all seeds."""
        variant = self.method.variants[part]
        sampler, phi = posterior.fit(self.job, variant)
        metrics, samples = posterior.measure(self.job, variant, sampler, phi)
        self.found[variant] = {**metrics, "samples": samples}

    @property
    def state(self) -> Arrays:
        """Metrics and samples of the variants that are done."""
        return {f"{variant}/{name}": each for variant, of in self.found.items() for name, each in of.items()}

    @state.setter
    def state(self, saved: Arrays) -> None:
        for key, value in saved.items():
            variant, _, name = key.partition("/")
            self.found.setdefault(variant, {})[name] = value

    def finish(self) -> tuple[list[pl.DataFrame], int]:
        """Score tables; samples of the first seed stand as metrics sample_x and sample_y at steps 0, 1, ..."""
        job, frames = self.job, []
        for variant, label in zip(self.method.variants, job.method.labels(), strict=True):
            metrics = dict(self.found[variant])
            samples = metrics.pop("samples")[:1]
            columns = {name: np.asarray(each)[:, None] for name, each in metrics.items()}
            frames.append(
                score_rows(PAPER, label, job.task.name, seeds=job.seeds, steps=[self.method.steps], metrics=columns)
            )
            shown = {"sample_x": samples[..., 0], "sample_y": samples[..., 1]}
            steps = list(range(samples.shape[1]))
            frames.append(score_rows(PAPER, label, job.task.name, seeds=job.seeds[:1], steps=steps, metrics=shown))
        return frames, self.parts * len(job.seeds) * self.method.steps

    def timing(self, seconds: float) -> list[dict[str, Any]]:
        """Seconds of the whole job."""
        of = {"paper": PAPER, "method": self.job.method.name, "task": self.job.task.name, "seed": self.job.seeds[0]}
        return [{**of, "step": self.method.steps, "phase": "learn", "seconds": seconds}]

    def close(self) -> None:
        """Nothing to let go of."""
