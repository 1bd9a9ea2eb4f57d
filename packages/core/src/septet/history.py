"""What a training job has measured so far, and the rows of the score and timing tables that it makes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from septet.scores import TIMING, score_rows

Array = NDArray[np.float64]


class History:
    """K records of S seeds: the steps done, metrics, and seconds by phase; NaN marks a missing value.

    A metric or a phase may start late and may be missing from any record: its values stay with their own records.

    Args:
        seeds: S.
    """

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds
        self._steps: list[NDArray[np.int64]] = []
        # "metric" or "seconds" -> name -> record -> value
        self._columns: dict[str, dict[str, dict[int, Array]]] = {"metric": {}, "seconds": {}}

    def __len__(self) -> int:
        """K."""
        return len(self._steps)

    def add(
        self, steps: ArrayLike, metrics: Mapping[str, ArrayLike], seconds: Mapping[str, float] | None = None
    ) -> None:
        """Append a record.

        Args:
            steps: steps done since the start of the job, ``(S,)`` or one number.
            metrics: name -> values ``(..., S)``; seconds: phase -> wall time.

        Raises:
            ValueError: values of another shape than before, or steps that are not one for each seed.
        """
        row = np.broadcast_to(np.asarray(steps, np.int64), (self.seeds,))
        for kind, values in (("metric", metrics), ("seconds", seconds or {})):
            for name, given in values.items():
                value = np.array(given, np.float64)
                column = self._columns[kind].setdefault(name, {})
                before = next(iter(column.values()), value)
                if value.shape != before.shape or (kind == "metric" and value.shape[-1:] != (self.seeds,)):
                    expected = before.shape if len(column) else f"(..., {self.seeds})"
                    raise ValueError(f"history: expected {name} of shape {expected}, found {value.shape}")
                column[len(self)] = value
        self._steps.append(row.copy())

    @property
    def steps(self) -> NDArray[np.int64]:
        """Steps at each record ``(K, S)``, from the start of the job."""
        return np.array(self._steps, np.int64).reshape(len(self), self.seeds)

    @property
    def last_steps(self) -> NDArray[np.int64]:
        """Steps at the last record ``(S,)``; 0 before the first."""
        return self._steps[-1].copy() if self._steps else np.zeros(self.seeds, np.int64)

    @property
    def metrics(self) -> dict[str, Array]:
        """Name -> values ``(K, ..., S)``; NaN where a record has none."""
        return {name: self._whole(column) for name, column in self._columns["metric"].items()}

    @property
    def seconds(self) -> dict[str, Array]:
        """Phase -> wall time ``(K,)``; NaN where a record has none."""
        return {name: self._whole(column) for name, column in self._columns["seconds"].items()}

    def last(self) -> dict[str, Array]:
        """The metrics of the last record: name -> values ``(..., S)``."""
        record = len(self) - 1
        return {name: column[record] for name, column in self._columns["metric"].items() if record in column}

    def score_rows(
        self,
        paper: str,
        method: str,
        task: str,
        seeds: Sequence[int],
        *,
        steps: Sequence[int] | None = None,
        hold: Collection[str] = (),
    ) -> list[pl.DataFrame]:
        """Rows of the score table: each metric ``(K, S)`` of each seed at the records where it has a value.

        Args:
            steps: the step of each record in the table, if it is not the number of steps done.
            hold: metrics whose last value is repeated until the next one.
        """
        frames = []
        for name, column in self.metrics.items():
            values = _held(column) if name in hold else column
            for s, seed in enumerate(seeds):
                known = np.flatnonzero(~np.isnan(values[:, s])).tolist()
                if known:
                    at = self.steps[known, s].tolist() if steps is None else [steps[k] for k in known]
                    metrics = {name: values[None, known, s]}
                    frames.append(score_rows(paper, method, task, seeds=[seed], steps=at, metrics=metrics))
        return frames

    def timing_rows(
        self, paper: str, method: str, task: str, seeds: Sequence[int], *, steps: Sequence[int] | None = None
    ) -> pl.DataFrame:
        """Rows of the timing table: seconds of each phase, all seeds together, under the first seed and its steps.

        Args:
            steps: as in `score_rows`.
        """
        at = self.steps[:, 0].tolist() if steps is None else steps
        rows = [
            (paper, method, task, seeds[0], int(at[k]), phase, float(seconds))
            for phase, column in self._columns["seconds"].items()
            for k, seconds in column.items()
        ]
        return pl.DataFrame(rows, TIMING, orient="row")

    def _whole(self, column: Mapping[int, Array]) -> Array:
        values = np.array(list(column.values()))
        whole = np.full((len(self), *values.shape[1:]), np.nan)
        whole[list(column)] = values
        return whole

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """The steps, and of each metric and phase its values and their records; to set is to restore."""
        arrays: dict[str, NDArray[Any]] = {"steps": self.steps}
        for kind, columns in self._columns.items():
            for name, column in columns.items():
                arrays[f"{kind}/{name}"] = np.array(list(column.values()))
                arrays[f"record of {kind}/{name}"] = np.array(list(column))
        return arrays

    @state.setter
    def state(self, saved: Mapping[str, NDArray[Any]]) -> None:
        self._steps = list(saved["steps"])
        self._columns = {"metric": {}, "seconds": {}}
        for key, values in saved.items():
            kind, _, name = key.partition("/")
            if kind in self._columns:
                records = saved[f"record of {key}"].tolist()
                self._columns[kind][name] = dict(zip(records, values, strict=True))


def _held(column: Array) -> Array:
    """The column ``(K, S)`` with the last value in the place of each NaN after it."""
    records = np.arange(len(column))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(column), 0, records))
    return np.take_along_axis(column, last, axis=0)
