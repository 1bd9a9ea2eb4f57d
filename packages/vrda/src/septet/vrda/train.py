"""The `train` verb: one learner with all its lambdas, one task, all shuffles."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.files import sha256
from septet.nonfinite import check_finite
from septet.run import Run
from septet.scores import score_rows
from septet.seeding import stream
from septet.vrda.baselines import Schedule
from septet.vrda.config import Job, Method
from septet.vrda.lists import NBest, read_lists, read_note
from septet.vrda.rerank import Batch, DualAveraging, Gradient, Learner, choose, passes, vote
from septet.vrda.vrda import Regulariser

Array = NDArray[Any]
PAPER = "vrda"
PACKAGES = ["septet", f"septet.{PAPER}"]
LIBRARIES = ["numpy", "numba", "polars", "scipy"]
CURVES = [f"{name}_{kind}" for kind in ("last", "averaged") for name in ("f", "nonzeros")] + ["mistakes"]
BOUND = ["bound", "strength"]
READ = [*CURVES, *BOUND]
ENDS = ["f_voted"]


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

        # loop
        for done in run.loop(len(units), {"curves": curves, "ends": ends}, unit="runs", data=origin):
            l1, seed = units[done]
            unit = learn(job, l1, seed, lists, test, steps)
            for values in unit:
                check_finite(f"a metric at l1 {method.l1[l1]}", values[None], done, [seeds[seed]], "run")
            same = slice(None) if method.learner == "maxent" else seed
            curves[l1, same], ends[l1, same] = unit

        # write
        methods, frames = score_tables(job, curves, ends, steps.tolist())
        run.write(frames, methods=methods, steps=len(method.l1) * len(seeds) * job.epochs * len(lists.gold))


def learn(job: Job, l1: int, seed: int, lists: NBest, test: NBest, steps: Array) -> tuple[Array, Array]:
    """One lambda, one shuffle: metrics at each step, shape ``(P, len(READ))``, and at the end, ``(len(ENDS),)``."""
    method, penalty = job.method, job.method.l1[l1]
    curves, ends = np.zeros((len(steps), len(READ))), np.zeros(len(ENDS))
    if method.learner == "maxent":
        weights = Batch(lists, penalty).solve()
        score = [test.f_score(choose(test, weights)), float(np.count_nonzero(weights[0]))]
        mistakes = int((lists.quality[choose(lists, weights)] < lists.quality[lists.target]).sum())
        curves[:] = [*score, *score, float(mistakes), 0.0, 0.0]
        return curves, ends
    learner = make(method, penalty, lists, int(steps[-1]))
    shuffles = [
        stream(job.root_seed, "shuffle", job.task.name, job.seeds[seed], epoch).permutation(len(lists.gold))
        for epoch in range(job.epochs)
    ]
    for at, (_, order) in enumerate(passes(np.concatenate(shuffles), steps)):
        learner.learn(order)
        row = []
        for weights in (learner.last(), learner.averaged()):
            row += [test.f_score(choose(test, weights)), float(np.count_nonzero(weights[0]))]
        bound = learner.bound() if method.bound and isinstance(learner, DualAveraging) else (0.0, 0.0)
        curves[at] = [*row, float(learner.mistakes), *bound]
    if penalty in method.vote_l1 and isinstance(learner, DualAveraging):
        ends[0] = test.f_score(vote(test, learner, learner.updates()))
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


def score_tables(
    job: Job, curves: Array, ends: Array, steps: list[int]
) -> tuple[dict[str, dict[str, object]], list[pl.DataFrame]]:
    """The method labels with their settings, and the rows of the score table.

    A label is a predictor, ``name/l1-LAMBDA/{last,averaged,voted}``, with metrics f and nonzeros;
    what belongs to the run (mistakes, its bound, strength of regularisation) stands with `last`.
    """
    methods: dict[str, dict[str, object]] = {}
    frames = []

    def add(label: str, at: list[int], metrics: dict[str, Array]) -> None:
        frames.append(score_rows(PAPER, label, job.task.name, seeds=job.seeds, steps=at, metrics=metrics))

    settings = job.method.model_dump(mode="json", exclude={"name", "l1", "vote_l1", "bound"})
    for index, l1 in enumerate(job.method.l1):
        curve = {name: curves[index, :, :, at] for at, name in enumerate(READ)}
        end = {name: ends[index, :, at, None] for at, name in enumerate(ENDS)}
        for kind in job.method.predictions(l1):
            label = job.method.label(l1, kind)
            methods[label] = {**settings, "l1": l1, "prediction": kind}
            if kind == "voted":
                add(label, steps[-1:], {"f": end["f_voted"]})
            else:
                add(label, steps, {"f": curve[f"f_{kind}"], "nonzeros": curve[f"nonzeros_{kind}"]})
        label = job.method.label(l1, "last")
        add(label, steps, {"mistakes": curve["mistakes"]})
        if job.method.bound:
            share = curve["mistakes"] / np.maximum(curve["bound"], 1.0)
            add(label, steps, {**{name: curve[name] for name in BOUND}, "bound_share": share})
    return methods, frames
