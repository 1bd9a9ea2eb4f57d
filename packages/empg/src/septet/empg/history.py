"""What a run has measured so far, as arrays that a checkpoint can hold, and the score table made of them."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from septet.empg.behaviours import NAMES
from septet.scores import TIMING, score_rows

Array = NDArray[np.float64]
STEP = (
    "reward", "length", "correct", "correct_length", "wrong_length", "truncated", "zero_variance_groups",
    "negative_log_likelihood", "kl", "gradient", "trained", *NAMES,
)  # fmt: skip
"""Measured at every step on the training batch; `zero_variance_groups` is the share of prompts whose completions all
score alike."""
TEST = ("accuracy", "sampled", "test_length", "test_length_correct")
MEASURED = {"step": STEP, "test": TEST}
PHASES = ("generate", "grade", "update")
TABLE_LAST = 10
"""Evaluations behind an entry of the paper's table (section 3)."""


class History:
    """Measurements of S seeds over T steps with P evaluations; one seed after the other, unlike `septet.history`.

    Args:
        seeds: S.
        steps: T.
        every: steps between evaluations; one comes before the first step, and one after the last.
        examples: completions that are kept as text, with the most tokens of each.
    """

    checkpointed = ("arrays",)

    def __init__(self, seeds: int, steps: int, every: int, examples: tuple[int, int]) -> None:
        self.points = sorted({*range(0, steps + 1, every), steps})
        self.arrays: dict[str, NDArray[Any]] = {
            **{f"step.{name}": np.full((seeds, steps), np.nan) for name in STEP},
            **{f"test.{name}": np.full((seeds, len(self.points)), np.nan) for name in TEST},
            "seconds": np.zeros((seeds, steps, len(PHASES))),
            "examples": np.full((2, seeds, *examples), -1, dtype=np.int64),
        }

    def step(self, seed: int, step: int, values: dict[str, float], seconds: list[float]) -> None:
        """Note one step, counted from 0."""
        for name, value in values.items():
            self.arrays[f"step.{name}"][seed, step] = value
        self.arrays["seconds"][seed, step] = seconds

    def test(self, seed: int, point: int, values: dict[str, float]) -> None:
        """Note one evaluation."""
        for name, value in values.items():
            self.arrays[f"test.{name}"][seed, point] = value

    def tested(self, seed: int, point: int, names: Iterable[str]) -> dict[str, float]:
        """What an evaluation found."""
        return {name: float(self.arrays[f"test.{name}"][seed, point]) for name in names}

    def scores(self, seed: int) -> Array:
        """``(P,)``, what an evaluation is judged by: accuracy if it is measured, else that of sampled completions."""
        accuracy, sampled = (self.arrays[f"test.{name}"][seed] for name in ("accuracy", "sampled"))
        return np.asarray(np.where(np.isfinite(accuracy), accuracy, sampled))

    def example(self, when: int, seed: int, completions: list[list[int]]) -> None:
        """Keep completions before (`when` 0) or after (1) the training."""
        kept = self.arrays["examples"][when, seed]
        for row, tokens in zip(kept, completions, strict=False):
            row[: len(tokens)] = tokens


def score_tables(
    history: History, paper: str, label: str, task: str, seeds: list[int], text: bool
) -> list[pl.DataFrame]:
    """Rows of the score table.

    Training metrics are means over the steps since the evaluation before; lengths by correctness are pooled over
    these steps and stand where every seed has such an answer. `score` is the mean of the last ten evaluations.

    Args:
        text: the completions are language, so count behaviours.
    """
    points = np.array(history.points)
    step, test = ({name: history.arrays[f"{kind}.{name}"] for name in names} for kind, names in MEASURED.items())

    def window(values: Array) -> Array:
        return np.stack([values[:, start:end].mean(1) for start, end in pairwise(points)], 1)

    def rows(at: NDArray[np.int64], **metrics: Array) -> pl.DataFrame:
        return score_rows(paper, label, task, seeds=seeds, steps=at.tolist(), metrics=metrics)

    left_out = {"correct", "correct_length", "wrong_length", *(() if text else NAMES)}
    frames = [rows(points[1:], **{name: window(step[name]) for name in STEP if name not in left_out})]
    completions = np.rint((step["correct_length"] + step["wrong_length"]) / step["length"])
    wrong = window(completions) - window(step["correct"])
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = {
            "length_correct": window(step["correct_length"]) / window(step["correct"]),
            "length_wrong": window(step["wrong_length"]) / wrong,
        }
    for at, group in ((points[1:], lengths), (points, test)):
        for name, values in group.items():
            whole = np.isfinite(values).all(0)
            if whole.any():
                frames.append(rows(at[whole], **{name: values[:, whole]}))
    main = "accuracy" if np.isfinite(test["accuracy"]).all() else "sampled"
    return [*frames, rows(points[-1:], score=test[main][:, -TABLE_LAST:].mean(1, keepdims=True))]


def timing_table(history: History, paper: str, label: str, task: str, seed: int) -> pl.DataFrame:
    """Seconds of each phase of each step, all seeds together."""
    rows = [
        (paper, label, task, seed, step, phase, seconds)
        for step, phases in enumerate(history.arrays["seconds"].sum(0).tolist(), 1)
        for phase, seconds in zip(PHASES, phases, strict=True)
    ]
    return pl.DataFrame(rows, schema=TIMING, orient="row")
