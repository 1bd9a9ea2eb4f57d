"""A training run: the cycle, and what is written down at the points of the learning curve."""

from typing import Any

import numpy as np
import polars as pl

from septet.metaexplore import visits
from septet.metaexplore.config import Job, Method
from septet.metaexplore.cycle import Cycle
from septet.metaexplore.environments import Environments, noise_free_return
from septet.metaexplore.explorers import TeacherExplorer, by_seed
from septet.metaexplore.student import Array, State
from septet.scores import score_rows

PAPER = "metaexplore"
RECENT = 500
"""States of the explorer that its histogram is made of: as many for every method, for overlaps grow with the number."""
TAUGHT = ["meta_reward", "meta_std", "sigma", "distance", "teacher_return", "trial_return", "gradient_norm"]


class Curve:
    """A method on a task, with the student's noise-free return at fixed numbers of environment steps.

    The return at step g is that of the student as the last cycle that ended by step g left it: inside a cycle the
    student that is in use does not change. The test episodes that measure it are seen by no method.
    """

    def __init__(self, job: Job) -> None:
        assert isinstance(job.method, Method)
        self.job, self.method, self.seeds = job, job.method, job.replicates
        self.cycle = Cycle(job.method, job.task, self.seeds, job.root_seed)
        task = job.task
        self.tests = Environments(task.environment, task.options, self.seeds, job.tests, job.root_seed, "test")
        self.grid = [job.task.steps * (k + 1) // job.points for k in range(job.points)]
        self.names = ["return", "overlap", "critic_loss", *(TAUGHT if job.method.teaches else [])]
        self.found = np.full((job.points, len(self.names), len(self.seeds)), np.nan)
        self.point = 0
        stages = {round(job.points / 6): "early", round(job.points / 2): "middle", job.points - 1: "late"}
        self.stages = list(stages) if job.method.visits else []
        self.histograms = np.zeros((len(stages), 2, len(self.seeds), visits.BINS, visits.BINS))
        self.recent = np.full((len(self.seeds), RECENT, 2), np.nan)
        self.sums = np.zeros((len(TAUGHT), len(self.seeds)))
        self.count = 0

    @property
    def total(self) -> int:
        """Environment steps per seed."""
        return self.job.task.steps

    @property
    def done(self) -> int:
        """Environment steps so far; `total` once the last point is measured."""
        return self.total if self.point == len(self.grid) else min(self.cycle.steps, self.total - 1)

    def advance(self) -> None:
        """One phase of the cycle, or the points that the student has reached."""
        cycle = self.cycle
        if cycle.phase == 0 and cycle.steps + self.method.cycle_steps > self.grid[self.point]:
            self._measure()
            return
        phase = cycle.phases[cycle.phase]
        cycle.advance()
        if phase == "explore":
            self._look()
        elif phase == "teach":
            self._note()

    def tables(self) -> tuple[dict[str, dict[str, Any]], list[pl.DataFrame]]:
        """Method label with its settings, and the rows of the score table."""
        job, label = self.job, self.method.name
        frames = []
        for k, name in enumerate(self.names):
            first = int(np.argmax(np.isfinite(self.found[:, k]).all(axis=1)))
            rows, steps = {name: self.found[first:, k].T}, self.grid[first:]
            frames.append(score_rows(PAPER, label, job.task.name, seeds=self.seeds, steps=steps, metrics=rows))
        for k, point in enumerate(self.stages):
            for who, name in enumerate(("explorer", "student")):
                for i, j in np.ndindex(visits.BINS, visits.BINS):
                    share = self.histograms[k, who, :, i, j]
                    if share.any():
                        rows = {f"visits({name})[{i:02},{j:02}]": share[:, None]}
                        at = [self.grid[point]]
                        frames.append(score_rows(PAPER, label, job.task.name, seeds=self.seeds, steps=at, metrics=rows))
        return {label: self.method.model_dump(mode="json", exclude={"name"})}, frames

    def _measure(self) -> None:
        job, cycle = self.job, self.cycle
        seen: list[Array] = []
        returns = noise_free_return(self.tests, cycle.act, seen)
        states = visits.projected(job.task.environment, np.stack(seen, axis=1))
        own = by_seed(states, len(self.seeds)).reshape(len(self.seeds), -1, 2)
        half = visits.limits(job.task.environment)
        pairs = [(visits.histogram(a, half), visits.histogram(b, half)) for a, b in zip(self.recent, own, strict=True)]
        values = {"return": returns, "overlap": np.array([visits.overlap(*pair) for pair in pairs])}
        values["critic_loss"] = cycle.losses[:, 0]
        if self.count:
            values |= dict(zip(TAUGHT, self.sums / self.count, strict=True))
        while self.point < len(self.grid) and cycle.steps + self.method.cycle_steps > self.grid[self.point]:
            for name, value in values.items():
                self.found[self.point, self.names.index(name)] = value
            if self.point in self.stages:
                self.histograms[self.stages.index(self.point)] = np.moveaxis(np.array(pairs), 0, 1)
            self.point += 1
        self.sums[:], self.count = 0.0, 0

    def _look(self) -> None:
        size = self.cycle.evaluation.observation_size
        states = visits.projected(self.job.task.environment, self.cycle.new[-1][:, -RECENT:, :size])
        self.recent = np.concatenate([self.recent, states], axis=1)[:, -RECENT:]

    def _note(self) -> None:
        cycle = self.cycle
        assert isinstance(cycle.explorer, TeacherExplorer)
        spread, teacher = cycle.explorer.teacher.spread, cycle.explorer.teacher
        means = [cycle.meta_reward.mean(axis=1), spread.std, teacher.sigma, cycle.explorer.distance]
        means += [cycle.teacher_return.mean(axis=1), cycle.trial_return.mean(axis=1), cycle.gradient_norm]
        self.sums += np.array(means)
        self.count += 1

    @property
    def state(self) -> State:
        """Everything that the next phase depends on; to set is to restore."""
        own = {"found": self.found, "histograms": self.histograms, "recent": self.recent, "sums": self.sums}
        own["numbers"] = np.array([self.point, self.count])
        parts = {"cycle": self.cycle.state, "curve": own}
        return {f"{part}/{name}": array.copy() for part, arrays in parts.items() for name, array in arrays.items()}

    @state.setter
    def state(self, saved: State) -> None:
        own = {name.removeprefix("curve/"): array for name, array in saved.items() if name.startswith("curve/")}
        self.cycle.state = {n.removeprefix("cycle/"): array for n, array in saved.items() if n.startswith("cycle/")}
        self.found[:], self.histograms[:], self.recent = own["found"], own["histograms"], own["recent"].copy()
        self.sums[:] = own["sums"]
        self.point, self.count = (int(n) for n in own["numbers"])

    def close(self) -> None:
        """Let go of the environments."""
        self.cycle.close()
        self.tests.close()
