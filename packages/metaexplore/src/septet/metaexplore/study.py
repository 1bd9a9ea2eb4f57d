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

from typing import Any

import numpy as np
import polars as pl

from septet.metaexplore.config import Job, Method, Study
from septet.metaexplore.curve import PAPER
from septet.metaexplore.cycle import Cycle
from septet.metaexplore.explorers import TeacherExplorer
from septet.metaexplore.nets import Float32
from septet.metaexplore.student import Array, Networks, State, repeat
from septet.metaexplore.teacher import meta_gradient
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


class Signal:
    """The study on one task: a student is trained, stopped at some cycles, and judged under every setting."""

    def __init__(self, job: Job) -> None:
        assert isinstance(job.method, Study)
        self.study = job.method
        self.job = job
        self.seeds = job.replicates
        self.base = job.method.learner
        self.cycle = Cycle(self.base, job.task, self.seeds, job.root_seed)
        self.settings = list(self.study.settings)
        self.found = np.full((len(self.study.stages), len(self.settings), len(METRICS), len(self.seeds)), np.nan)
        self.steps = np.zeros(len(self.study.stages), dtype=np.int64)
        self.first = np.zeros((len(self.seeds), self.study.trials))  # meta-rewards of the stage's first setting
        self.unit = 0  # judgements so far
        # of the stage, under settings that do not differ in it; made again after a restart
        self.drawn: dict[tuple[object, ...], tuple[Float32, list[Array]]] = {}
        self.untaught: dict[tuple[object, ...], list[Array]] = {}

    @property
    def total(self) -> int:
        """Judgements in all."""
        return len(self.study.stages) * len(self.settings)

    @property
    def done(self) -> int:
        """Judgements so far."""
        return self.unit

    def advance(self) -> None:
        """One phase of training, or one judgement."""
        stage, setting = divmod(self.unit, len(self.settings))
        if self.cycle.cycle < self.study.stages[stage]:
            self.cycle.advance()
            return
        self.steps[stage] = self.cycle.steps
        given = dict(self.study.settings[self.settings[setting]])
        in_replay = bool(given.pop("replay", False))
        method = Method.model_validate({**self.base.model_dump(), **given})
        found, returns = self._judged(method.model_copy(update={"trials": self.study.trials}), in_replay)
        if setting == 0:
            self.first = returns
        elif in_replay:
            found[METRICS.index("alignment")] = reliability(self.first, returns)
        self.found[stage, setting] = found
        self.unit += 1

    def _judged(self, method: Method, in_replay: bool) -> tuple[Array, Array]:
        """The metrics ``(METRICS, S)`` under a setting, and the returns of the trial students ``(S, K)``."""
        count, returns = len(self.seeds), []
        cycle = self._stopped(method)
        try:
            data, scores = self._drawn(cycle)
            for repetition in range(2):
                cycle.cycle, cycle.new = JUDGED + repetition, [data]
                if in_replay:
                    self._learn_from_all(cycle, data)
                else:
                    cycle.trial()
                cycle.evaluate()
                returns.append(cycle.trial_return)
        finally:
            cycle.close()
        references = self._untaught(method)
        reward = (returns[0] + returns[1]) / 2
        angles = [[agreement(scores[s], reward[s], m) for s in range(count)] for m in GROUPS]
        spread = np.sqrt(sum(r.var(axis=1, ddof=1) for r in returns) / 2)
        gain = sum(r.mean(axis=1) - ref for r, ref in zip(returns, references, strict=True)) / 2
        unknown = np.full(count, np.nan)  # `alignment` needs a setting that learned from the replay
        found = np.stack([reliability(*returns), *np.array(angles), spread, np.asarray(gain), unknown])
        return found, reward

    def _stopped(self, method: Method) -> Cycle:
        """A cycle of its own, with the student and the teacher that the study stopped."""
        source = self.cycle
        cycle = Cycle(method, self.job.task, self.seeds, self.job.root_seed, begin=False)
        assert isinstance(cycle.explorer, TeacherExplorer) and isinstance(source.explorer, TeacherExplorer)
        cycle.students = Networks(*(array.copy() for array in source.students))
        cycle.updates, cycle.mean, cycle.scale = source.updates, source.mean, source.scale
        cycle.explorer.teacher.state, cycle.explorer.q = source.explorer.teacher.state, source.explorer.q
        cycle.cycle = JUDGED
        return cycle

    def _drawn(self, cycle: Cycle) -> tuple[Float32, list[Array]]:
        """The data sets D0 ``(S, K T, ...)`` and their `_scores`, drawn once for settings that explore alike."""
        of_explorer = cycle.method.model_dump(include=EXPLORING)
        key = (self.cycle.cycle, *of_explorer.values())
        if key not in self.drawn:
            assert isinstance(cycle.explorer, TeacherExplorer)
            cycle.explore()
            self.drawn[key] = cycle.new[0], self._scores(cycle.explorer)
        return self.drawn[key]

    def _untaught(self, method: Method) -> list[Array]:
        """R of the student that the study stopped, from the starts of each judgement: two of ``(S,)``."""
        key = (self.cycle.cycle, method.evaluate_steps, method.starts)
        if key not in self.untaught:
            cycle, found = self._stopped(method.model_copy(update={"trials": 1, "reference": "reuse"})), []
            try:
                for repetition in range(2):
                    cycle.cycle, cycle.trials = JUDGED + repetition, cycle.students
                    cycle.evaluate()
                    found.append(cycle.trial_return[:, 0])
            finally:
                cycle.close()
            self.untaught[key] = found
        return self.untaught[key]

    def _learn_from_all(self, cycle: Cycle, data: Float32) -> None:
        """Trial students that learn from the replay and their own D0, uniformly."""
        trials = self.study.trials
        held = np.repeat(self.cycle.replay.records[:, : len(self.cycle.replay)], trials, axis=0)
        records = np.concatenate([held, data.reshape(len(held), -1, data.shape[2])], axis=1)
        rows = cycle.draw("trial", cycle.method.trial_updates, records.shape[1])
        cycle.trials = repeat(cycle.students, trials)
        cycle.learn(cycle.trials, records, rows)

    def _scores(self, explorer: TeacherExplorer) -> list[Array]:
        """Gradients of log pi_e of the trials, averaged over their steps: ``(K, P)`` per seed."""
        teacher = explorer.teacher
        scores = []
        for s, sigma in enumerate(teacher.sigma):
            weights = None if teacher.family == "local" else teacher.flat[s, :-1].copy()
            rows = []
            for k in range(explorer.action.shape[1]):
                one = slice(k, k + 1)
                given = explorer.inputs[s, one], explorer.action[s, one], explorer.mean[s, one]
                of_mean, of_sigma = meta_gradient(weights, teacher.shape, *given, float(sigma), np.ones(1))
                rows.append(np.append(of_mean, of_sigma))
            scores.append(np.array(rows, dtype=np.float64))
        return scores

    def tables(self) -> tuple[dict[str, dict[str, Any]], list[pl.DataFrame]]:
        """A label per setting, ``name/setting``, and the rows of the score table."""
        job, methods, frames = self.job, {}, []
        for k, setting in enumerate(self.settings):
            label = f"{self.study.name}/{setting}"
            methods[label] = {**self.base.model_dump(mode="json", exclude={"name"}), **self.study.settings[setting]}
            every = {name: self.found[:, k, m].T for m, name in enumerate(METRICS)}
            metrics = {name: values for name, values in every.items() if np.isfinite(values).all()}
            steps = self.steps.tolist()
            frames.append(score_rows(PAPER, label, job.task.name, seeds=self.seeds, steps=steps, metrics=metrics))
        return methods, frames

    @property
    def state(self) -> State:
        """Everything that the next unit depends on; to set is to restore."""
        own: State = {"study/found": self.found.copy(), "study/steps": self.steps.copy()}
        own |= {"study/first": self.first.copy(), "study/unit": np.array([self.unit])}
        return {**own, **{f"cycle/{name}": array for name, array in self.cycle.state.items()}}

    @state.setter
    def state(self, saved: State) -> None:
        self.found[:], self.steps[:] = saved["study/found"], saved["study/steps"]
        self.first = saved["study/first"].copy()
        self.unit = int(saved["study/unit"][0])
        self.cycle.state = {n.removeprefix("cycle/"): array for n, array in saved.items() if n.startswith("cycle/")}

    def close(self) -> None:
        """Let go of the environments."""
        self.cycle.close()
