"""The `train` verb: one method with all its schedules, one task, all seeds in lockstep."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.dynts.config import Job
from septet.dynts.decay import effective_samples
from septet.dynts.engines import Engine, Tracker, engine
from septet.dynts.models import filters
from septet.dynts.tracking import reference_losses
from septet.model_files import write_model
from septet.run import Run
from septet.scores import score_rows

PAPER = "dynts"
PACKAGES = ["septet", f"septet.{PAPER}"]
LIBRARIES = ["numpy", "numba", "polars"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    with Run(
        out, job, paper=PAPER, method=job.method.name, task=job.task.name, seeds=job.seeds, packages=PACKAGES,
        libraries=LIBRARIES,
    ) as run:  # fmt: skip
        # data or environment, model
        bandit = engine(job)

        # loop
        for block in run.loop(
            bandit.rounds, bandit, unit="rounds", done=lambda: bandit.after(run.iteration), data=bandit.origin
        ):
            bandit.advance(block)
            bandit.check_finite(block)

        # write
        methods, frames = score_tables(job, bandit)
        run.write(
            frames,
            methods=methods,
            steps=len(bandit.schedules) * len(job.seeds) * bandit.rounds,
            beside=lambda card: write_model(run, card, *filters(bandit)),
        )


def score_tables(job: Job, bandit: Engine) -> tuple[dict[str, dict[str, object]], list[pl.DataFrame]]:
    """The method labels with their settings, and the rows of the score table.

    Regret is written as a curve of `points` points, the other metrics at the end; for a method with
    `trace`, the posterior variance and effective sample size too as curves, and the path of one weight.
    """
    marks = bandit.marks
    coarse = np.isin(marks, bandit.points)
    last = np.arange(len(marks)) == len(marks) - 1
    shown = {"regret", "posterior_variance"} if job.method.trace else {"regret"}
    curves = bandit.history.metrics  # (marks, V, S)
    if isinstance(bandit, Tracker):
        shown = {"log_loss"}
    methods: dict[str, dict[str, object]] = {}
    frames = []

    def add(label: str, steps: NDArray[np.int64], metrics: dict[str, NDArray[np.float64]]) -> None:
        if metrics:
            seeds = job.seeds[: len(next(iter(metrics.values())))]
            table = score_rows(PAPER, label, job.task.name, seeds=seeds, steps=steps.tolist(), metrics=metrics)
            frames.append(table)

    for index, schedule in enumerate(bandit.schedules):
        label = f"{job.method.name}/{job.method.schedules[index]}"
        methods[label] = {
            **job.method.model_dump(mode="json", exclude={"schedules", "name", "trace"}),
            "schedule": job.method.schedules[index],
            "forgetting": schedule.forgetting,
        }
        of = {name: values[:, index].T for name, values in curves.items()}
        paths = {name: of.pop(name) for name in list(of) if name.startswith("path_")}
        for keep, names in ((coarse, shown & of.keys()), (last, of.keys() - shown)):
            add(label, marks[keep], {name: of[name][:, keep] for name in sorted(names)})
        if "regret" in of:
            fifth = int(np.searchsorted(marks, 0.8 * bandit.rounds))
            slope = (of["regret"][:, -1] - of["regret"][:, fifth]) / (marks[-1] - marks[fifth])
            add(label, marks[last], {"regret_slope": slope[:, None]})
        if job.method.trace and paths:
            samples = effective_samples(schedule, bandit.rounds)[marks[coarse] - 1]
            add(label, marks[coarse], {"effective_samples": samples[None]})
            add(label, marks, {name: path[:1] for name, path in paths.items()})
    if isinstance(bandit, Tracker):
        losses = reference_losses(bandit.clicks, bandit.headlines.rate, bandit.impressions)
        for name, loss in zip(("constant", "true-rates"), losses, strict=True):
            label = f"{job.method.name}/{name}"
            methods[label] = {"reference": name}
            add(label, marks[last], {"log_loss": loss[:, None]})
    return methods, frames
