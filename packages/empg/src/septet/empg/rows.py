"""Rows of a user's table, a JSONL or Parquet file."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from septet.errors import InputError
from septet.reading import readable

Row = TypeVar("Row")
KINDS = (".jsonl", ".jsonl.gz", ".parquet")


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, each a mapping of column to value; one at least.

    Raises:
        InputError: the file is missing, damaged, empty or of another kind; of JSONL, the line is named.
    """
    if not file.name.endswith(KINDS):
        raise InputError(str(file), expected=f"a file of rows, {', '.join(KINDS)}", found=file.suffix or "no suffix")
    if file.suffix == ".parquet":
        with readable(file, "a Parquet file"):
            try:
                rows = pl.read_parquet(file).to_dicts()
            except pl.exceptions.PolarsError as error:
                raise InputError(str(file), expected="a Parquet file", found=str(error).partition("\n")[0]) from None
    else:
        rows = list(json_lines(file, "a JSON object", _mapping))
    if not rows:
        raise InputError(str(file), expected="rows", found="none")
    return rows


def _mapping(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise TypeError(f"{type(row).__name__} {row!r:.50}")
    return row


def json_lines(file: Path, expected: str, read: Callable[[Any], Row]) -> Iterator[Row]:
    """The rows of a file of JSON lines as `read` returns them; blank lines are left out.

    Raises:
        InputError: the file cannot be read, or a line, which is named, is not what is expected.
    """
    with readable(file, "a file of JSON lines"):
        data = file.read_bytes()
    number = 0
    try:
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8")
        for number, line in enumerate(text.split("\n"), 1):  # noqa: B007  # the message needs it
            if line.strip():
                yield read(json.loads(line))
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{file}:{number}", expected=expected, found=str(error)) from None


def prompt_of(value: Any, where: str) -> str | list[dict[str, str]]:
    """A text, or a chat as a list of turns, each with `role` and `content`.

    Raises:
        InputError: it is neither.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(map(_is_turn, value)):
        return [{"role": turn["role"], "content": turn["content"]} for turn in value]
    found = "nothing" if value in (None, "") else value
    raise InputError(where, expected="a text, or a list of turns with role and content", found=found)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in ("role", "content"))
