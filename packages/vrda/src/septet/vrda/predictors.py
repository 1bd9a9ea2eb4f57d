"""The predictors of a finished job as files: weights to rank candidates of lists with the same features."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.errors import InputError
from septet.model_files import read_model
from septet.vrda.config import Job
from septet.vrda.rerank import Weights
from septet.vrda.summaries import READ

Array = NDArray[Any]
KINDS = ("last", "averaged")
"""Predictors of a learner; the averaged one is the sum of all, whose scale no choice depends on."""


def flat(weights: Weights) -> Array:
    """The weights of the features, then that of the unpenalised one, scaled to at most 1, float32 ``(n + 1,)``."""
    row = np.append(weights[0], weights[1])
    return np.asarray(row / max(float(np.abs(row).max()), 1e-300), dtype=np.float32)


def predictors(job: Job, weights: Array, curves: Array) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of `model/` and the fields of its card: the non-zero weights of each label of the score table.

    Args:
        weights: rows of `flat`, ``(L, 2, n + 1)``, without lambdas if nothing is kept.
        curves: what was read of the first shuffle at the end, ``(L, len(READ))``.
    """
    arrays: dict[str, Array] = {}
    labels: dict[str, float] = {}
    for l1, both, read in zip(job.method.l1, weights, curves, strict=False):
        for kind, row in zip(KINDS, both, strict=True):
            if kind in job.method.predictions(l1):
                columns = np.flatnonzero(row)
                arrays[f"columns.{len(labels)}"] = columns.astype(np.int32)
                arrays[f"values.{len(labels)}"] = row[columns]
                labels[job.method.label(l1, kind)] = float(read[READ.index(f"f_{kind}")])
    return arrays, {"labels": list(labels), "f": list(labels.values()), "features": weights.shape[-1] - 1}


def load_predictor(path: Path, label: str) -> Weights:
    """Load a predictor of a finished job's first shuffle, for `septet.vrda.rerank.choose`.

    Args:
        path: the folder of the job, or `model/` in it.
        label: of the method with its lambda and prediction, as in the score table.

    Returns:
        Weights of the features, ``(n,)``, and that of the unpenalised one.

    Raises:
        InputError: no such model or predictor.
    """
    card, arrays = read_model(path, "vrda")
    if label not in card["labels"]:
        raise InputError("load_predictor: label", expected=f"one of {', '.join(card['labels'])}", found=label)
    row = card["labels"].index(label)
    weights = np.zeros(card["features"] + 1)
    weights[arrays[f"columns.{row}"]] = arrays[f"values.{row}"]
    return weights[:-1], float(weights[-1])
