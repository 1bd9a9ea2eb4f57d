"""The `train` verb: one method (or the study of the meta signal) on one task, all seeds in lockstep."""

import time
from contextlib import closing
from pathlib import Path

import polars as pl

from septet.card import Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.metaexplore.config import Job, Method
from septet.metaexplore.curve import PAPER, Curve
from septet.metaexplore.study import Signal
from septet.progress import Progress
from septet.scores import TIMING, write_scores, write_timing

PACKAGES = ["septet", "septet.sampler", "septet.rl", "septet.metaexplore"]
LIBRARIES = ["numpy", "numba", "mujoco", "gymnasium", "polars"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    watch = Stopwatch()

    # environments, students, teachers
    run: Curve | Signal = Curve(job) if isinstance(job.method, Method) else Signal(job)
    with (
        closing(run),
        Checkpoints(out / "checkpoint", identity(job.model_dump(mode="json"), PACKAGES)) as store,
    ):
        phase = 0
        if (saved := store.load()) is not None:
            phase, run.state = saved
        start = time.perf_counter()

        # loop
        unit = "steps" if isinstance(run, Curve) else "judgements"
        progress = Progress(f"{PAPER} {job.method.name} on {job.task.name}", run.total, unit, store.folder, run.done)
        while run.done < run.total:
            run.advance()
            phase += 1
            progress.update(run.done)
            store.safe_point(phase, lambda: run.state, f"phase {phase}")

        # write
        run.close()
        methods, frames = run.tables()
        card = watch.card(
            paper=PAPER,
            verb="train",
            task=job.task.name,
            methods=methods,
            seeds=run.seeds,
            config=job,
            packages=PACKAGES,
            libraries=LIBRARIES,
            steps=run.cycle.steps * len(run.seeds),
        )
        key = {"paper": PAPER, "method": job.method.name, "task": job.task.name, "seed": run.seeds[0]}
        seconds = time.perf_counter() - start
        row = {**key, "step": run.cycle.steps, "phase": "train", "seconds": seconds}
        write_timing(out / "timing.parquet", [pl.DataFrame([row], TIMING)])
        write_scores(out / "scores.parquet", frames)
        card.write(out / "run.json")
