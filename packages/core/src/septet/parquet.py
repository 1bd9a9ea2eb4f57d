"""Parquet tables that carry a checksum, so that a damaged one is refused before a Parquet reader sees it.

Such readers trust what they find: on some damaged bytes polars panics, on others it ends the process, most it does not
notice at all. The SHA-256 of all other bytes stands between the data and the footer, where Parquet allows a gap: to any
other program the file is plain Parquet.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import polars as pl

from septet.errors import InputError
from septet.files import replacing

MARK = b"septet sha256 "
SEAL = len(MARK) + hashlib.sha256().digest_size
MAGIC = b"PAR1"
TAIL = 4 + len(MAGIC)
"""A Parquet file ends in the footer's length, 4 bytes, and the magic number."""


def write_table(table: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table in one step; the same table gives the same bytes."""
    with replacing(path) as temporary:
        table.write_parquet(
            temporary, compression="zstd", compression_level=12, metadata=dict(metadata) if metadata else None
        )
        whole = temporary.read_bytes()
        place = len(whole) - TAIL - int.from_bytes(whole[-TAIL:-4], "little")
        digest = hashlib.sha256(whole).digest()
        temporary.write_bytes(whole[:place] + MARK + digest + whole[place:])


def read_table(path: Path, wanted: str) -> pl.DataFrame:
    """Read a table; `wanted` says in errors what is expected. Raises InputError if the file is missing or damaged."""
    return collect(scan_table(path, wanted), path, wanted)


def scan_table(path: Path, wanted: str) -> pl.LazyFrame:
    """A table to be read lazily; its checksum is verified now. Raises as `read_table` does."""
    try:
        with path.open("rb") as file:
            if not _sealed(file):
                raise InputError(str(path), expected=wanted, found="a file without its checksum, or with another one")
        return pl.scan_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(str(path), expected=wanted, found=str(error).partition("\n")[0]) from None


def collect(frame: pl.LazyFrame, path: Path, wanted: str) -> pl.DataFrame:
    """Read what was scanned of `path`; raises as `read_table` does."""
    try:
        return frame.collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(str(path), expected=wanted, found=str(error).partition("\n")[0]) from None


def metadata_of(path: Path) -> dict[str, str]:
    """What was written into a table's footer; verify the table first."""
    return pl.read_parquet_metadata(path)


def _sealed(file: BinaryIO) -> bool:
    """Whether a file carries the checksum of its other bytes; it is read in parts, so memory stays flat."""
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL))
    place = size - TAIL - int.from_bytes(file.read(4), "little") - SEAL
    if place < len(MAGIC):
        return False
    file.seek(place)
    seal = file.read(SEAL)
    file.seek(0)
    digest = hashlib.sha256()
    left = place
    while left and (part := file.read(min(left, 1 << 20))):
        digest.update(part)
        left -= len(part)
    file.seek(place + SEAL)
    while part := file.read(1 << 20):
        digest.update(part)
    return seal == MARK + digest.digest()
