"""The score table of a job: what was read of each predictor, over the epochs as in the paper, and over lambdas."""

from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.scores import TIMING, score_rows
from septet.vrda.config import Job

Array = NDArray[Any]
PAPER = "vrda"
CURVES = [f"{name}_{kind}" for kind in ("last", "averaged") for name in ("f", "nonzeros")] + ["mistakes"]
BOUND = ["bound", "strength"]
READ = [*CURVES, "seconds"]
"""What is read of a run at each step; `seconds` are processor seconds of learning since the step before."""
ENDS = ["f_voted", *BOUND]
"""What is read at the end of a run: the vote and the bound cost as much as many passes."""
SPARSE = 173_000 / 1_219_273
"""Share of the features that the paper's best model has (section 6): 14 %."""


def over_epochs(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation over the ends of epochs, as the paper reports; shapes ``(S, P)`` to ``(S,)``."""
    return values.mean(axis=1), values.std(axis=1, ddof=min(1, values.shape[1] - 1))


def in_order(values: Array) -> Array:
    """Share of the pairs of settings whose later one has the larger value; shapes ``(L, S)`` to ``(S,)``."""
    pairs = [values[i] < values[j] for i, j in combinations(range(len(values)), 2)]
    return np.mean(np.asarray(pairs, dtype=np.float64), axis=0)


def score_tables(
    job: Job, curves: Array, ends: Array, steps: list[int], features: int, first_best: float
) -> tuple[dict[str, dict[str, object]], list[pl.DataFrame]]:
    """The method labels with their settings, and the rows of the score table.

    A label is a predictor, ``name/l1-LAMBDA/{last,averaged,voted}``, with metrics `f` and `nonzeros` at each step.
    At the last step it also has `f_epochs` and `nonzeros_epochs`, means over the ends of all epochs, `f_spread`, the
    standard deviation of F over them, `share`, `nonzeros_epochs` of all features, and `f_if_sparse`: `f_epochs` of a
    predictor that uses no more features than the paper's best one, and the F of the first pass otherwise; of the
    perceptron, which claims no sparsity, `f_epochs`. `f_half` and `f_spread_half` are of half the epochs.
    What belongs to the run (mistakes, its bound, strength of regularisation) is a metric of `last`, and what belongs to
    all lambdas of ``name/range``; there `f_if_sparse` is that of the best predictor of a shuffle.

    Args:
        job: the job.
        curves: shape ``(L, S, P, len(READ))``; ends: shape ``(L, S, len(ENDS))``.
        steps: the P steps.
        features: features of the lists.
        first_best: F of the first pass on the test lists.
    """
    methods: dict[str, dict[str, object]] = {}
    frames = []
    epochs = [at for at, epoch in enumerate(job.reads) if float(epoch).is_integer()]
    half = epochs[: (len(epochs) + 1) // 2]

    best = np.full(len(job.seeds), first_best)

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
                continue
            f, nonzeros = curve[f"f_{kind}"], curve[f"nonzeros_{kind}"]
            add(label, steps, {"f": f, "nonzeros": nonzeros})
            (mean, spread), (size, _) = over_epochs(f[:, epochs]), over_epochs(nonzeros[:, epochs])
            found = {"f_epochs": mean, "f_spread": spread, "nonzeros_epochs": size, "share": size / features}
            found["f_half"], found["f_spread_half"] = over_epochs(f[:, half])
            sparse = (size <= SPARSE * features) | (job.method.learner == "perceptron")
            found["f_if_sparse"] = np.where(sparse, mean, first_best)
            best = np.maximum(best, found["f_if_sparse"])
            add(label, steps[-1:], {name: values[:, None] for name, values in found.items()})
        label = job.method.label(l1, "last")
        add(label, steps, {"mistakes": curve["mistakes"]})
        if job.method.bound:
            share = curve["mistakes"][:, -1:] / np.maximum(end["bound"], 1.0)
            add(label, steps[-1:], {**{name: end[name] for name in BOUND}, "bound_share": share})
    if job.method.has_range:
        methods[job.method.range_label] = settings
        by = {name: curves[..., at] for at, name in enumerate(READ)}
        first, last = by["mistakes"][:, :, job.reads.index(1)], by["mistakes"][:, :, -1]
        found = {
            "mistakes_rise": in_order(last),
            "weights_fall": in_order(-by["nonzeros_last"][:, :, epochs].mean(axis=-1)),
            "f_falls": in_order(-by["f_averaged"][:, :, epochs].mean(axis=-1)),
            "f_if_sparse": best,
            "growth": (last / (job.epochs * np.maximum(first, 1.0))).max(axis=0),
        }
        add(job.method.range_label, steps[-1:], {name: values[:, None] for name, values in found.items()})
    return methods, frames


def timing_table(job: Job, curves: Array, steps: list[int]) -> pl.DataFrame:
    """Processor seconds of learning up to each epoch's end since the end before: rows of the timing table."""
    rows = []
    seconds = curves[..., READ.index("seconds")].cumsum(axis=-1)
    ends = [at for at, epoch in enumerate(job.reads) if float(epoch).is_integer()]
    for index, l1 in enumerate(job.method.l1):
        for seed, spent in zip(job.seeds, np.diff(seconds[index][:, ends], prepend=0.0), strict=True):
            of = {"paper": PAPER, "method": job.method.label(l1, "last"), "task": job.task.name, "seed": seed}
            rows += [
                {**of, "step": steps[at], "phase": "learn", "seconds": float(one)}
                for at, one in zip(ends, spent, strict=True)
            ]
    return pl.DataFrame(rows, TIMING)
