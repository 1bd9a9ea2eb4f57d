"""The score table (`scores.parquet`) and the timing table (`timing.parquet`).

Both are tidy: one row, one number. The score table depends on nothing but the job, so the same job
gives the same bytes; whatever depends on the clock goes to the timing table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from septet.errors import InputError
from septet.parquet import read_table, write_table
from septet.reading import readable
from septet.sealed import verify

_WHERE = {"paper": pl.String, "method": pl.String, "task": pl.String, "seed": pl.Int64, "step": pl.Int64}
SCORES = pl.Schema({**_WHERE, "metric": pl.String, "value": pl.Float64})
TIMING = pl.Schema({**_WHERE, "phase": pl.String, "seconds": pl.Float64})
WANTED = "a complete Parquet table with its checksum"
"""What errors say that a table is."""


def score_rows(
    paper: str,
    method: str,
    task: str,
    *,
    seeds: Sequence[int],
    steps: Sequence[int],
    metrics: Mapping[str, ArrayLike],
) -> pl.DataFrame:
    """Rows of the score table for one method on one task.

    Args:
        seeds: the S seeds of the batch.
        steps: the P steps at which the metrics were read.
        metrics: name -> values of shape ``(S, P)``.

    Raises:
        ValueError: a metric has another shape, or holds a value that is not finite.
    """
    shape = (len(seeds), len(steps))
    names = {"paper": pl.lit(paper), "method": pl.lit(method), "task": pl.lit(task)}
    of_seed = np.repeat(np.asarray(seeds, np.int64), len(steps))
    at = np.tile(np.asarray(steps, np.int64), len(seeds))
    frames = []
    for metric, given in metrics.items():
        values = np.asarray(given, dtype=np.float64)
        if values.shape != shape:
            raise ValueError(f"metric {metric} of {method} on {task} has shape {values.shape}, not {shape}")
        if not np.isfinite(values).all():
            seed, step = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(
                f"metric {metric} of {method} on {task} is not finite: seed {seeds[seed]}, step {steps[step]}"
            )
        numbers = pl.DataFrame({"seed": of_seed, "step": at, "value": values.ravel()})
        frames.append(numbers.with_columns(metric=pl.lit(metric), **names))
    return pl.concat(frames).select(SCORES.names())


def write_scores(path: Path, frames: Sequence[pl.DataFrame]) -> None:
    """Write a score table with its checksum, sorted, in one step.

    It also takes a table that another program wrote: ``write_scores(path, [polars.read_parquet(path)])``.

    Raises:
        InputError: the columns differ from the contract, there is no row, a row is repeated, or a value is missing,
            NaN or infinite.
    """
    _write(path, frames, SCORES)


def write_timing(path: Path, frames: Sequence[pl.DataFrame]) -> None:
    """Write a timing table, sorted, in one step; raises as `write_scores` does."""
    _write(path, frames, TIMING)


def read_scores(path: Path) -> pl.DataFrame:
    """Read a score table.

    Raises:
        InputError: the file is missing, torn, or has other columns than the contract.
    """
    return _read(path, SCORES)


def read_timing(path: Path) -> pl.DataFrame:
    """Read a timing table; raises as `read_scores` does."""
    return _read(path, TIMING)


def scan_scores(path: Path) -> pl.LazyFrame:
    """A score table to be read lazily; its checksum and columns are checked now. Raises as `read_scores` does."""
    verify(path, WANTED)
    frame = pl.scan_parquet(path, glob=False)
    _check_columns(path, frame.collect_schema(), SCORES)
    return frame


def rewrite(path: Path) -> None:
    """Write a score or timing table that another program wrote again, as `write_scores` and `write_timing` would.

    Columns may come in any order and in types that hold the same values: pandas' categories, 32-bit integers.

    Raises:
        InputError: it is not a Parquet file, its columns differ, or a value does not fit its column.
    """
    try:
        with readable(path):
            path.open("rb").close()
        table = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(str(path), expected="a Parquet file", found=str(error).partition("\n")[0]) from None
    schema = TIMING if "phase" in table.columns else SCORES
    if set(table.columns) != set(schema):
        raise InputError(str(path), expected=f"columns {_columns(schema)}", found=_columns(table.schema))
    columns = []
    for name, kind in schema.items():
        given = table[name]
        try:
            column = given.cast(kind)
            same = given.is_null().any() or (column.cast(given.dtype) == given).all()
        except pl.exceptions.PolarsError:
            same = False
        if not same:
            raise InputError(f"{path}: {name}", expected=str(kind), found=f"{given.dtype} with other values")
        columns.append(column)
    _write(path, [pl.DataFrame(columns)], schema)


def _read(path: Path, schema: pl.Schema) -> pl.DataFrame:
    table = read_table(path, WANTED)
    _check_columns(path, table.schema, schema)
    return table


def _write(path: Path, frames: Sequence[pl.DataFrame], schema: pl.Schema) -> None:
    for frame in frames:
        _check_columns(path, frame.schema, schema)
    table = pl.concat(frames) if frames else pl.DataFrame(schema=schema)
    if table.is_empty():
        raise InputError(str(path), expected="at least one row", found="none")
    *key, number = schema.names()
    lacking = table.filter(pl.any_horizontal(pl.all().is_null()) | ~pl.col(number).is_finite())
    if not lacking.is_empty():
        raise InputError(str(path), expected="finite values, and none missing", found=str(lacking.row(0)))
    twice = table.filter(table.select(key).is_duplicated())
    if not twice.is_empty():
        raise InputError(str(path), expected="one row per key", found=f"twice {twice.select(key).row(0)}")
    write_table(table.sort(key), path)


def _check_columns(path: Path, found: pl.Schema, expected: pl.Schema) -> None:
    if found != expected:
        raise InputError(str(path), expected=f"columns {_columns(expected)}", found=_columns(found))


def _columns(schema: pl.Schema) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in schema.items())
