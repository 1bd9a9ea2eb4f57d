"""The `train` verb: one learner with all its lambdas, one task, all shuffles."""

from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.files import sha256
from septet.model_files import write_model
from septet.nonfinite import check_finite
from septet.run import Run
from septet.scores import TIMING
from septet.seeding import stream
from septet.vrda.baselines import Schedule, maxent
from septet.vrda.config import Job, Method
from septet.vrda.lists import NBest, read_lists, read_note
from septet.vrda.predictors import KINDS, flat, predictors
from septet.vrda.rerank import DualAveraging, Gradient, Weights, choose, vote
from septet.vrda.summaries import ENDS, PAPER, READ, score_tables, timing_table
from septet.vrda.vrda import Regulariser

Array = NDArray[Any]
PACKAGES = ["septet", f"septet.{PAPER}"]
LIBRARIES = ["numpy", "numba", "polars", "scipy"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    method, seeds = job.method, job.seeds
    with Run(
        out, job, paper=PAPER, method=method.name, task=job.task.name, seeds=seeds, packages=PACKAGES,
        libraries=LIBRARIES,
    ) as run:  # fmt: skip
        # data
        file = Path(job.data_file)
        lists, test = read_lists(file, "train"), read_lists(file, "test")
        origin = f"{read_note(file)}; file {sha256(file)[:12]}"

        # state: what has been read so far, one unit per lambda and shuffle; maxent has no shuffles
        shuffles = 1 if method.learner == "maxent" else len(seeds)
        units = [(l1, seed) for l1 in range(len(method.l1)) for seed in range(shuffles)]
        steps = np.round(np.array(job.reads) * len(lists.gold)).astype(np.int64)
        curves = np.zeros((len(method.l1), len(seeds), len(steps), len(READ)))
        ends = np.zeros((len(method.l1), len(seeds), len(ENDS)))
        kept = len(method.l1) if job.keep_model == "last" else 0
        weights = np.zeros((kept, len(KINDS), lists.features + 1), dtype=np.float32)

        # loop
        state = {"curves": curves, "ends": ends, "weights": weights}
        for done in run.loop(len(units), state, unit="runs", data=origin):
            l1, seed = units[done]
            *unit, found = learn(job, l1, seed, lists, test, steps)
            if kept and seed == 0:
                weights[l1] = [flat(each) for each in found]
            for values in unit:
                check_finite(f"a metric at l1 {method.l1[l1]}", values[None], done, [seeds[seed]], "run")
            same = slice(None) if method.learner == "maxent" else seed
            curves[l1, same], ends[l1, same] = unit

        # write
        at, first_best = steps.tolist(), test.f_score(test.starts[:-1])
        methods, frames = score_tables(job, curves, ends, at, lists.features, first_best)
        whole = pl.DataFrame([(*run.key, seeds[0], at[-1], "train", run.seconds)], TIMING, orient="row")
        run.write(
            frames,
            methods=methods,
            steps=len(method.l1) * len(seeds) * job.epochs * len(lists.gold),
            timing=pl.concat([whole, timing_table(job, curves, at)]),
            beside=lambda card: write_model(run, card, *predictors(job, weights, curves[:, 0, -1])),
        )


def learn(
    job: Job, l1: int, seed: int, lists: NBest, test: NBest, steps: Array
) -> tuple[Array, Array, tuple[Weights, Weights]]:
    """One lambda, one shuffle: metrics at each step, shape ``(P, len(READ))``, and at the end, ``(len(ENDS),)``.

    With them the last and the averaged predictor at the end.
    """
    method, penalty = job.method, job.method.l1[l1]
    curves, ends = np.zeros((len(steps), len(READ))), np.zeros(len(ENDS))
    if method.learner == "maxent":
        weights = maxent(lists, penalty)
        score = [test.f_score(choose(test, weights)), float(np.count_nonzero(weights[0]))]
        mistakes = int((lists.quality[choose(lists, weights)] < lists.quality[lists.target]).sum())
        curves[:] = [*score, *score, float(mistakes), 0.0]
        return curves, ends, (weights, weights)
    learner = make(method, penalty, lists, int(steps[-1]))
    learner.learn(np.zeros(0, dtype=np.int64))  # compiles: no part of the time of learning
    shuffles = [
        stream(job.root_seed, "shuffle", job.task.name, job.seeds[seed], epoch).permutation(len(lists.gold))
        for epoch in range(job.epochs)
    ]
    for at, order in enumerate(np.split(np.concatenate(shuffles), steps[:-1])):
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
    return curves, ends, (learner.last(), learner.averaged())


def make(method: Method, l1: float, lists: NBest, ticks: int) -> DualAveraging | Gradient:
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
