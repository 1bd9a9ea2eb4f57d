"""Rows of a user's table, a JSONL or Parquet file."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import polars as pl

from septet.errors import InputError
from septet.reading import readable

KINDS = (".jsonl", ".jsonl.gz", ".parquet")


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, each a mapping of column to value; one at least.

    Raises:
        InputError: the file is missing, damaged, empty or of another kind; of JSONL, the line is named.
    """
    if not file.name.endswith(KINDS):
        raise InputError(str(file), expected=f"a file of rows, {', '.join(KINDS)}", found=file.suffix or "no suffix")
    rows = _parquet(file) if file.suffix == ".parquet" else _json_lines(file)
    if not rows:
        raise InputError(str(file), expected="rows", found="none")
    return rows


def _parquet(file: Path) -> list[dict[str, Any]]:
    with readable(file, "a Parquet file"):
        try:
            return pl.read_parquet(file).to_dicts()
        except pl.exceptions.PolarsError as error:
            raise InputError(str(file), expected="a Parquet file", found=str(error).partition("\n")[0]) from None


def _json_lines(file: Path) -> list[dict[str, Any]]:
    rows, number = [], 0
    with readable(file, "a file of JSON lines"):
        data = file.read_bytes()
    try:
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8")
        for number, line in enumerate(text.split("\n"), 1):  # noqa: B007  # the message needs it
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise TypeError(f"{type(row).__name__} {line[:50]}")
                rows.append(row)
    except (OSError, EOFError, zlib.error, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{file}:{number}", expected="a JSON object", found=str(error)) from None
    return rows


def prompt_of(value: Any, where: str) -> str | list[dict[str, str]]:
    """A text, or a chat as a list of turns, each with `role` and `content`.

    Raises:
        InputError: it is neither.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(_is_turn(turn) for turn in value):
        return [{"role": turn["role"], "content": turn["content"]} for turn in value]
    found = "nothing" if value in (None, "") else value
    raise InputError(where, expected="a text, or a list of turns with role and content", found=found)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in ("role", "content"))
