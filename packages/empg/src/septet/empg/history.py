"""What a run has measured so far, as arrays that a checkpoint can hold, and the score table made of them."""

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
    points = history.points
    steps = {name: history.arrays[f"step.{name}"] for name in STEP}

    def window(values: Array) -> Array:
        parts = [values[:, start:end].mean(1) for start, end in pairwise(points)]
        return np.stack(parts, 1)

    shown = [
        "reward",
        "length",
        "truncated",
        "zero_variance_groups",
        "negative_log_likelihood",
        "kl",
        "gradient",
        "trained",
    ]
    table = {name: window(steps[name]) for name in [*shown, *(NAMES if text else ())]}
    wrong = window(_completions(steps)) - window(steps["correct"])
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = {
            "length_correct": window(steps["correct_length"]) / window(steps["correct"]),
            "length_wrong": window(steps["wrong_length"]) / wrong,
        }
    frames = [score_rows(paper, label, task, seeds=seeds, steps=points[1:], metrics=table)]
    tests = {name: history.arrays[f"test.{name}"] for name in TEST}
    for at, group in ((points[1:], lengths), (points, tests)):
        for name, values in group.items():
            whole: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(0))
            if whole.any():
                there = [point for point, fine in zip(at, whole, strict=True) if fine]
                frames.append(
                    score_rows(paper, label, task, seeds=seeds, steps=there, metrics={name: values[:, whole]})
                )
    main = "accuracy" if np.isfinite(tests["accuracy"]).all() else "sampled"
    last = {"score": tests[main][:, -TABLE_LAST:].mean(1, keepdims=True)}
    frames.append(score_rows(paper, label, task, seeds=seeds, steps=points[-1:], metrics=last))
    return frames


def _completions(steps: dict[str, Array]) -> Array:
    """Completions of each step: their lengths add up to those of correct and wrong ones."""
    return np.rint((steps["correct_length"] + steps["wrong_length"]) / steps["length"])


def timing_table(history: History, paper: str, label: str, task: str, seed: int) -> pl.DataFrame:
    """Seconds of each phase of each step, all seeds together."""
    seconds = history.arrays["seconds"].sum(0)
    rows = [
        (paper, label, task, seed, step + 1, phase, float(seconds[step, place]))
        for step in range(len(seconds))
        for place, phase in enumerate(PHASES)
    ]
    return pl.DataFrame(rows, schema=TIMING, orient="row")
