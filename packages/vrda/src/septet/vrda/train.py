"""The `train` verb: one learner with all its lambdas, one task, all shuffles."""

from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.card import Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.files import sha256
from septet.nonfinite import check_finite
from septet.progress import Progress
from septet.scores import TIMING, write_scores, write_timing
from septet.seeding import stream
from septet.vrda.baselines import Schedule
from septet.vrda.config import Job, Method
from septet.vrda.lists import NBest, read_lists, read_note
from septet.vrda.rerank import Batch, DualAveraging, Gradient, Learner, choose, passes, vote
from septet.vrda.summaries import ENDS, PAPER, READ, score_tables, timing_table
from septet.vrda.vrda import Regulariser

Array = NDArray[Any]
PACKAGES = ["septet", f"septet.{PAPER}"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    watch = Stopwatch()

    # data
    file = Path(job.data_file)
    lists, test = read_lists(file, "train"), read_lists(file, "test")
    origin = f"{read_note(file)}; file {sha256(file)[:12]}"

    # state: what has been read so far, one unit per lambda and shuffle
    units = [(l1, seed) for l1 in range(len(job.method.l1)) for seed in range(len(job.seeds))]
    steps = np.round(np.array(job.reads) * len(lists.gold)).astype(np.int64)
    state = {
        "curves": np.zeros((len(job.method.l1), len(job.seeds), len(steps), len(READ))),
        "ends": np.zeros((len(job.method.l1), len(job.seeds), len(ENDS))),
    }
    settings = job.model_dump(mode="json", exclude={"data_file"})
    with Checkpoints(out / "checkpoint", identity(settings, PACKAGES, origin)) as store:
        done = 0
        if (saved := store.load()) is not None:
            done, state = saved

        # loop
        progress = Progress(f"vrda {job.method.name} on {job.task.name}", len(units), "runs", store.folder, done)
        while done < len(units):
            l1, seed = units[done]
            unit = run(job, l1, seed, lists, test, steps)
            for values in unit:
                check_finite(f"a metric at l1 {job.method.l1[l1]}", values[None], done, [job.seeds[seed]], "run")
            state["curves"][l1, seed], state["ends"][l1, seed] = unit
            if job.method.learner == "maxent":  # no order of examples, no shuffles
                state["curves"][l1], state["ends"][l1] = unit
                done += len(job.seeds) - 1
            done += 1
            progress.update(done)
            store.safe_point(done, lambda: state, f"run {done} of {len(units)}")

        # write
        at = [int(step) for step in steps]
        first_best = test.f_score(test.starts[:-1])
        methods, frames = score_tables(job, state, at, lists.features, first_best)
        card = watch.card(
            paper=PAPER,
            verb="train",
            task=job.task.name,
            methods=methods,
            seeds=job.seeds,
            config=job,
            packages=PACKAGES,
            libraries=["numpy", "numba", "polars", "scipy"],
            steps=len(units) * job.epochs * len(lists.gold),
            data=origin,
        )
        time = {"paper": PAPER, "method": job.method.name, "task": job.task.name, "seed": job.seeds[0]}
        row = {**time, "step": at[-1], "phase": "train", "seconds": watch.seconds}
        write_timing(out / "timing.parquet", [pl.DataFrame([row], TIMING), timing_table(job, state, at)])
        write_scores(out / "scores.parquet", frames)
        card.write(out / "run.json")


def run(job: Job, l1: int, seed: int, lists: NBest, test: NBest, steps: Array) -> tuple[Array, Array]:
    """One lambda, one shuffle: metrics at each step, shape ``(P, len(READ))``, and at the end, ``(len(ENDS),)``."""
    method, penalty = job.method, job.method.l1[l1]
    curves, ends = np.zeros((len(steps), len(READ))), np.zeros(len(ENDS))
    if method.learner == "maxent":
        weights = Batch(lists, penalty).solve()
        score = [test.f_score(choose(test, weights)), float(np.count_nonzero(weights[0]))]
        mistakes = int((lists.quality[choose(lists, weights)] < lists.quality[lists.target]).sum())
        curves[:] = [*score, *score, float(mistakes), 0.0]
        return curves, ends
    learner = make(method, penalty, lists, int(steps[-1]))
    learner.learn(np.zeros(0, dtype=np.int64))  # compiles: no part of the time of learning
    shuffles = [
        stream(job.root_seed, "shuffle", job.task.name, job.seeds[seed], epoch).permutation(len(lists.gold))
        for epoch in range(job.epochs)
    ]
    for at, (_, order) in enumerate(passes(np.concatenate(shuffles), steps)):
        start = thread_time()
        learner.learn(order)
        seconds, row = thread_time() - start, []
        for weights in (learner.last(), learner.averaged()):
            row += [test.f_score(choose(test, weights)), float(np.count_nonzero(weights[0]))]
        curves[at] = [*row, float(learner.mistakes), seconds]
    if penalty in method.vote_l1 and isinstance(learner, DualAveraging):
        ends[0] = test.f_score(vote(test, learner, learner.updates()))
    if method.bound and isinstance(learner, DualAveraging):
        ends[1:] = learner.bound()
    return curves, ends


def make(method: Method, l1: float, lists: NBest, ticks: int) -> Learner:
    """The learner that `method` names, for `ticks` examples to come."""
    log_loss = method.loss == "log"
    if method.learner in ("tg", "fobos"):
        theta = method.theta if method.theta is not None else np.inf
        schedule = Schedule(method.eta, l1, method.learner == "fobos", method.period, theta)
        return Gradient(lists, schedule, ticks, log_loss=log_loss)
    return DualAveraging(
        lists,
        Regulariser(l1=l1, l2=method.l2, rho=method.rho, gamma=method.gamma),
        ticks,
        log_loss=log_loss,
        every=method.learner == "rda",
        plain=method.learner == "perceptron",
        keep_log=method.bound or l1 in method.vote_l1,
    )
