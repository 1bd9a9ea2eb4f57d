"""The shared training loop: resume, iterate, save, stop when asked, write three files.

A package's `train` reads::

    with Run(out, job, paper="mine", ...) as run:
        learner, history = build(job), History(len(job.seeds))
        for iteration in run.loop(job.iterations, {"learner": learner, "history": history}):
            found = learner.iterate(iteration)
            history.add(found.steps, found.scores, found.seconds)
        run.write(history.score_rows(*run.key, job.seeds), ...)
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import polars as pl

from septet.card import RunCard, Stopwatch
from septet.checkpoint import Checkpoints, identity
from septet.config import Settings, without_places
from septet.progress import Progress
from septet.scores import TIMING, write_scores, write_timing
from septet.state import load_state_dict, state_dict


class Processes(Protocol):
    """The processes that run one job together: they save and stop between the same two iterations."""

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""

    def any(self, mine: bool) -> bool:
        """Return whether `mine` holds in any process; every process must call this."""


class Run:
    """One training job, from its start to its three files; a context that locks the output folder.

    Args:
        out: output folder.
        job: the resolved configuration.
        paper, method, task, seeds: the job's name in tables, run card and log.
        packages: our import packages that run; a checkpoint of other sources is not loaded.
        libraries: distributions whose versions may change the result.
        processes: the processes of the job, if it has several; one of them writes.

    Attributes:
        key: paper, method and task, the first arguments of functions that make rows.
        iteration: iterations done.
    """

    def __init__(
        self,
        out: Path,
        job: Settings,
        *,
        paper: str,
        method: str,
        task: str,
        seeds: list[int],
        packages: list[str],
        libraries: list[str],
        processes: Processes | None = None,
    ) -> None:
        self.out, self.job, self.seeds = out, job, seeds
        self.packages, self.libraries = packages, libraries
        self.key = paper, method, task
        self.iteration, self.data = 0, ""
        self._leads = processes is None or processes.leads
        self._any_process = bool if processes is None else processes.any
        self._watch = Stopwatch()
        self._checkpoints = Checkpoints(out / "checkpoint", {}, self._leads)
        self._state: Any = None
        self._measured: dict[str, float] = {}

    @property
    def scratch(self) -> Path:
        """Folder beside the checkpoints for files that an unfinished job keeps; it is removed when the job is done."""
        return self._checkpoints.folder

    def note(self, **measured: float) -> None:
        """Show what the last iteration measured in the job's progress, until the next call."""
        self._measured = measured

    def __enter__(self) -> Self:
        """Lock the output folder. Raises InputError if it is locked by another run."""
        self._checkpoints.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the checkpoint if the job is done; keep it after an exception."""
        self._checkpoints.__exit__(kind, error, traceback)

    def loop(
        self,
        total: int,
        state: Any,
        *,
        unit: str = "iterations",
        done: Callable[[], int] | None = None,
        data: str = "simulated",
    ) -> Iterator[int]:
        """Load `state` from the job's checkpoint, if there is one, and yield the number of each iteration to do.

        Between two iterations the state is saved if that is due (`Checkpoints.interval`) or the job was asked to stop.

        Args:
            total: units of the whole job.
            state: everything that the next iteration depends on, restored in place; see `septet.state`.
            unit: name of the counted units; done: returns the units done so far, by default the iterations.
            data: origin of the data; a checkpoint with other data is not loaded.

        Raises:
            Interrupted: the job was asked to stop; its state is saved.
        """
        self._checkpoints.job = identity(without_places(self.job), self.packages, data)
        self._state, self.data = {"job": state, "watch": self._watch}, data
        if (saved := self._checkpoints.load()) is not None:
            self.iteration, arrays = saved
            load_state_dict(self._state, arrays)
        count = done or (lambda: self.iteration)
        progress = None
        if self._leads:
            label = "{} {} on {}".format(*self.key)
            progress = Progress(label, total, unit, self._checkpoints.folder, count())
        while count() < total:
            yield self.iteration
            self.iteration += 1
            if progress:
                progress.update(count(), self._measured)
            where = f"{count():,} of {total:,} {unit}"
            self._checkpoints.safe_point(self.iteration, lambda: state_dict(self._state), where, self._any_process)

    def save(self) -> str:
        """Save the state, which must be the one before this iteration, and return the status."""
        saved = self._checkpoints.keep(self.iteration, lambda: state_dict(self._state))
        return f"at iteration {self.iteration}, {saved}"

    @property
    def seconds(self) -> float:
        """Wall time of the job, of all its starts together."""
        return self._watch.seconds

    def write(
        self,
        scores: Sequence[pl.DataFrame],
        *,
        methods: dict[str, dict[str, Any]],
        steps: int,
        timing: pl.DataFrame | None = None,
        beside: Callable[[RunCard], None] | None = None,
    ) -> None:
        """Write OUT/timing.parquet, OUT/scores.parquet and finally OUT/run.json, in the leading process.

        Args:
            scores: rows of the score table.
            methods: each method label of the score table and the settings behind it.
            steps: environment steps or examples, over all seeds and methods.
            timing: rows of the timing table; by default one, the wall time of the job at its last step.
            beside: writes further files that name the run card, after the tables and before the card.
        """
        if not self._leads:
            return
        card = self._watch.card(
            paper=self.key[0],
            verb="train",
            task=self.key[2],
            methods=methods,
            seeds=self.seeds,
            config=self.job,
            packages=self.packages,
            libraries=self.libraries,
            steps=steps,
            data=self.data,
        )
        if timing is None:
            last = max(int(frame["step"].max()) for frame in scores)  # type: ignore[arg-type]
            timing = pl.DataFrame([(*self.key, self.seeds[0], last, "train", self.seconds)], TIMING, orient="row")
        write_timing(self.out / "timing.parquet", [timing])
        write_scores(self.out / "scores.parquet", scores)
        if beside is not None:
            beside(card)
        card.write(self.out / "run.json")
