r"""When is the meta signal real? Trials from one saved student, each data set judged twice (section 8).

A trial draws D0, learns from it and is evaluated. Judging the same D0 twice, with other mini-batches and other
starts of the evaluation, splits the variance of the meta-reward into what D0 carries and what it does not:

.. math::
    \rho = \mathrm{Cov}(R'_1, R'_2) / \sqrt{\mathrm{Var}(R'_1)\,\mathrm{Var}(R'_2)}

And disjoint groups of M trials give estimates of the meta-policy gradient, whose cosine tells how much of one
estimate is signal: 0 if none.

A setting with ``replay: true`` asks what the same D0 is worth where the student meets it, in the replay: its trial
students learn from B and D0 together. `alignment` is the correlation of their returns with the meta-rewards of the
first setting on the same data sets.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from septet.metaexplore.config import Job, Method, Study
from septet.metaexplore.curve import PAPER
from septet.metaexplore.student import Array
from septet.metaexplore.teacher import Lesson, Teacher, meta_gradient
from septet.metaexplore.train import (
    LIBRARIES,
    PACKAGES,
    Learner,
    draw,
    evaluate,
    explore,
    first_evaluation,
    meta_cycle,
    trials_of,
)
from septet.nonfinite import check_finite
from septet.rl.shapes import Float32, Net
from septet.run import Run
from septet.scores import score_rows

GROUPS = (2, 4, 8)
"""M of the cosines; of each as many pairs of groups as there are trials for."""
METRICS = ["reliability", *(f"cosine[{m}]" for m in GROUPS), "meta_std", "gain", "alignment"]
EXPLORING = {"explorer", "explore_steps", "sigma", "sigma_floor", "sigma_ceiling"}
"""Settings on which D0 depends; settings of a study that agree in them are judged on the same data sets."""
JUDGED = 1_000_000
"""Number of the first cycle that a study uses for its own random numbers: no training gets there."""


def reliability(first: Array, second: Array) -> Array:
    """Correlation over K data sets of two judgements ``(S, K)``: the share of variance from the data; ``(S,)``."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (first, second))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(a)), where=scale > 0)


def cosine(first: Array, second: Array) -> float:
    """Cosine of two vectors; 0 if one is 0."""
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / scale) if scale > 0 else 0.0


def agreement(scores: Array, reward: Array, trials: int) -> float:
    """Mean cosine of gradient estimates from disjoint groups of M trials; NaN if there are less than 2 M.

    Args:
        scores: gradient of log pi_e, averaged over the steps, of each trial ``(K, P)``; reward: ``(K,)``; trials: M.
    """
    groups = [slice(k, k + trials) for k in range(0, len(reward) - trials + 1, trials)]
    made = [(reward[group] - reward[group].mean()) @ scores[group] for group in groups]
    pairs = [cosine(a, b) for a, b in zip(made[::2], made[1::2], strict=False)]
    return float(np.mean(pairs)) if pairs else float("nan")


def study(job: Job, out: Path) -> None:
    """Train a student and judge, at each stage and under each setting, its meta-rewards; write as `train` does."""
    assert isinstance(job.method, Study)
    seeds = job.method.seeds
    with (
        Run(
            out, job, paper=PAPER, method=job.method.name, task=job.task.name, seeds=seeds, packages=PACKAGES,
            libraries=LIBRARIES,
        ) as run,
        closing(Learner(job.method.learner, job.task, seeds, job.root_seed)) as learner,
    ):  # fmt: skip
        signal = Signal(job.method)
        first_evaluation(learner)
        state = {"learner": learner, "signal": signal}
        for _ in run.loop(signal.total, state, unit="judgements", done=lambda: signal.judged):
            stage, setting = divmod(signal.judged, len(signal.settings))
            if signal.cycles < job.method.stages[stage]:
                meta_cycle(learner, signal.cycles)
                signal.cycles += 1
            else:
                signal.judge(learner, stage, setting)
        run.write(signal.score_rows(job.task.name), methods=signal.methods(), steps=learner.steps * len(seeds))


class Signal:
    """The judgements of a study: metrics of each stage and setting.

    Attributes:
        found: metrics, ``(stages, settings, METRICS, S)``; steps: environment steps at each stage.
        first: meta-rewards of the stage's first setting, ``(S, K)``.
        cycles: of training so far; judged: judgements so far.
    """

    checkpointed = ("found", "steps", "first", "cycles", "judged")

    def __init__(self, study: Study) -> None:
        self.study, self.settings = study, list(study.settings)
        count, stages = len(study.seeds), len(study.stages)
        self.found = np.full((stages, len(self.settings), len(METRICS), count), np.nan)
        self.steps = np.zeros(stages, dtype=np.int64)
        self.first = np.zeros((count, study.trials))
        self.cycles = self.judged = 0
        # of the stage, under settings that do not differ in it; computed again after a restart
        self.drawn: dict[tuple[object, ...], tuple[Float32, list[Array]]] = {}
        self.untaught: dict[tuple[object, ...], list[Array]] = {}

    @property
    def total(self) -> int:
        """Judgements in all."""
        return len(self.study.stages) * len(self.settings)

    def judge(self, learner: Learner, stage: int, setting: int) -> None:
        """Judge the student as it is, under one setting."""
        given = dict(self.study.settings[self.settings[setting]])
        in_replay = bool(given.pop("replay", False))
        method = Method.model_validate({**self.study.learner.model_dump(), **given, "trials": self.study.trials})
        data, scores = self._drawn(learner, method)
        returns = judged(learner, method, data, in_replay)
        reward = (returns[0] + returns[1]) / 2
        spread = np.sqrt(sum(r.var(axis=1, ddof=1) for r in returns) / 2)
        untaught = self._untaught(learner, method)
        gain = sum(r.mean(axis=1) - ref for r, ref in zip(returns, untaught, strict=True)) / 2
        values = {"reliability": reliability(*returns), "meta_std": spread, "gain": np.asarray(gain)}
        for m in GROUPS:
            values[f"cosine[{m}]"] = np.array([agreement(*of_seed, m) for of_seed in zip(scores, reward, strict=True)])
        if setting == 0:
            self.first[:] = reward
        elif in_replay:
            values["alignment"] = reliability(self.first, reward)
        for name, value in values.items():
            self.found[stage, setting, METRICS.index(name)] = value
        self.steps[stage] = learner.steps
        self.judged += 1

    def _drawn(self, learner: Learner, method: Method) -> tuple[Float32, list[Array]]:
        """Data sets D0 ``(S K, T, ...)`` and their `scores`, drawn once for settings that explore alike."""
        key = (self.cycles, *method.model_dump(include=EXPLORING).values())
        if key not in self.drawn:
            with closing(learner.environments("explore", method.trials)) as exploring:
                d0, lesson = explore(learner, method, exploring, JUDGED)
            self.drawn[key] = d0.records, scores(learner.teacher, learner.teacher_shape, lesson)
        return self.drawn[key]

    def _untaught(self, learner: Learner, method: Method) -> list[Array]:
        """R of the student itself, from the starts of each judgement: two of ``(S,)``."""
        key = (self.cycles, method.evaluate_steps, method.starts)
        if key not in self.untaught:
            with closing(learner.environments("evaluate", 1)) as evaluating:
                found = [evaluate(evaluating, learner.student, method, JUDGED + k).returns for k in range(2)]
            self.untaught[key] = [returns[:, 0] for returns in found]
        return self.untaught[key]

    def methods(self) -> dict[str, dict[str, Any]]:
        """A label per setting, ``name/setting``, and what it differs in."""
        base = self.study.learner.model_dump(mode="json", exclude={"name"})
        return {f"{self.study.name}/{name}": {**base, **given} for name, given in self.study.settings.items()}

    def score_rows(self, task: str) -> list[pl.DataFrame]:
        """The rows of the score table."""
        frames = []
        for k, label in enumerate(self.methods()):
            every = {name: self.found[:, k, m].T for m, name in enumerate(METRICS)}
            metrics = {name: values for name, values in every.items() if np.isfinite(values).all()}
            steps = self.steps.tolist()
            frames.append(score_rows(PAPER, label, task, seeds=self.study.seeds, steps=steps, metrics=metrics))
        return frames


def judged(learner: Learner, method: Method, data: Float32, in_replay: bool) -> list[Array]:
    """Returns of the trial students of each data set, judged twice: two of ``(S, K)``.

    Args:
        data: D0 of each trial, ``(S K, T, ...)``.
        in_replay: a trial student learns from the replay and its D0 together, uniformly.
    """
    if in_replay:
        held = learner.replay.records[:, : len(learner.replay)]
        data = np.concatenate([np.repeat(held, method.trials, axis=0), data], axis=1)
    returns = []
    with closing(learner.environments("evaluate", method.trials)) as evaluating:
        for number in (JUDGED, JUDGED + 1):
            rows = draw(learner, "trial", number, method, method.trial_updates, data.shape[1])
            trial, _ = trials_of(learner, method, data, rows)
            returns.append(evaluate(evaluating, trial, method, number).returns)
            check_finite("the meta-reward", returns[-1], number, learner.seeds)
    return returns


def scores(teacher: Teacher, shape: Net, lesson: Lesson) -> list[Array]:
    """Gradients of log pi_e of the trials, averaged over their steps: ``(K, P)`` for each seed."""
    found = []
    for s, (weights, sigma) in enumerate(zip(teacher.weights, teacher.sigma, strict=True)):
        rows = []
        for k in range(lesson.action.shape[1]):
            one = slice(k, k + 1)
            given = lesson.inputs[s, one], lesson.action[s, one], lesson.mean[s, one]
            rows.append(np.append(*meta_gradient(weights, shape, *given, float(sigma), np.ones(1))))
        found.append(np.array(rows))
    return found
