"""The learning curve: what is recorded at fixed numbers of environment steps, and the rows of the score table."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from septet.history import History
from septet.metaexplore import visits
from septet.metaexplore.config import Job, Method
from septet.metaexplore.environments import make_environments, noise_free_return
from septet.metaexplore.student import Array
from septet.scores import score_rows

if TYPE_CHECKING:
    from septet.metaexplore.train import Cycle, Learner
PAPER = "metaexplore"
RECENT = 500
"""States of the explorer that its histogram is made of: as many for every method, for overlaps grow with the number."""


class Curve:
    """The student's noise-free return at fixed numbers of environment steps, and diagnostics.

    The return at step g is that of the student as the last cycle that ended by step g left it: inside a cycle the
    student that is in use does not change. The test episodes that measure it are seen by no method.

    Attributes:
        history: a record for each point of the grid that was reached.
        histograms: of explorer and student at the points in `stages`, ``(2, S, BINS, BINS)`` each.
        recent: the explorer's last states, NaN for none, ``(S, RECENT, 2)``.
        sums, count: of the scores of cycles since the last record.
    """

    checkpointed = ("history", "histograms", "recent", "sums", "count")

    def __init__(self, job: Job, method: Method) -> None:
        task, seeds = job.task, job.seeds
        self.job, self.method, self.environment = job, method, task.environment
        self.tests = make_environments(task.environment, task.options, seeds, job.tests, job.root_seed, "test")
        self.grid = [task.steps * (k + 1) // job.points for k in range(job.points)]
        stages = [round(job.points / 6), round(job.points / 2), job.points - 1]  # early, middle, late
        self.stages = sorted(set(stages)) if method.visits else []
        self.history = History(len(seeds))
        self.histograms: list[Array] = []
        self.recent = np.full((len(seeds), RECENT, 2), np.nan)
        self.sums: dict[str, Array] = {}
        self.count = 0

    def note(self, cycle: "Cycle") -> None:
        """Take in a cycle: what its explorer saw, and its scores, of which means are recorded."""
        states = visits.projected(self.environment, cycle.data[0][:, -RECENT:, : self.tests.observation_size])
        self.recent = np.concatenate([self.recent, states], axis=1)[:, -RECENT:]
        for name, values in cycle.scores.items():
            self.sums[name] = self.sums.get(name, 0.0) + values
        self.count += 1

    def measure(self, learner: "Learner") -> Array:
        """Record the points that the student will not have left behind after another cycle, if there are any.

        Returns:
            The student's returns ``(S,)``, NaN where there is no such point.
        """
        reached = learner.steps + self.method.cycle_steps
        points = [k for k, steps in enumerate(self.grid) if steps < reached][len(self.history.steps) :]
        if not points:
            return np.full(len(self.job.seeds), np.nan)
        returns, seen = noise_free_return(self.tests, learner.student.act)
        own = visits.projected(self.environment, seen).reshape(len(returns), -1, 2)
        half = visits.plane_of(self.environment).limits
        explorer, student = (np.stack([visits.histogram(s, half) for s in of]) for of in (self.recent, own))
        overlap = np.array([visits.overlap(*pair) for pair in zip(explorer, student, strict=True)])
        values = {"return": returns, "overlap": overlap, "critic_loss": learner.losses[:, 0]}
        values |= {name: total / self.count for name, total in self.sums.items()}
        for k in points:
            self.history.add(self.grid[k], values)
            if k in self.stages:
                self.histograms.append(np.stack([explorer, student]))
        self.sums, self.count = {}, 0
        return returns

    def score_rows(self) -> list[pl.DataFrame]:
        """The rows of the score table; shares of visited states stand at their point, by cell."""
        key = PAPER, self.method.name, self.job.task.name
        frames = self.history.score_rows(*key, self.job.seeds)
        for stage, pair in zip(self.stages, self.histograms, strict=True):
            for name, shares in zip(("explorer", "student"), pair, strict=True):
                for i, j in np.argwhere(shares.any(axis=0)):
                    cells = {f"visits({name})[{i:02},{j:02}]": shares[:, i, j, None]}
                    frames.append(score_rows(*key, seeds=self.job.seeds, steps=[self.grid[stage]], metrics=cells))
        return frames

    def close(self) -> None:
        """Close the test environments."""
        self.tests.close()
