"""Parquet tables that carry a checksum, so that a damaged one is refused before a Parquet reader sees it.

Such readers trust what they find: on some damaged bytes polars panics, on others it ends the process, most it does not
notice at all. The checksum is an entry of Parquet's own key-value metadata, see `septet.sealed`.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from septet.errors import InputError
from septet.files import replacing
from septet.sealed import KEY, PLACEHOLDER, seal, verify


def write_table(table: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table in one step; the same table gives the same bytes."""
    with replacing(path) as temporary:
        table.write_parquet(
            temporary,
            compression="zstd",
            compression_level=19,
            row_group_size=1_000_000,  # with the usual quarter of it files are 2 % larger
            metadata={**(metadata or {}), **PLACEHOLDER},
        )
        seal(temporary)


def read_table(path: Path, wanted: str) -> pl.DataFrame:
    """Read a table; `wanted` says in errors what is expected. Raises InputError if the file is missing or damaged."""
    verify(path, wanted)
    try:
        return pl.scan_parquet(path, glob=False).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(str(path), expected=wanted, found=str(error).partition("\n")[0]) from None


def metadata_of(path: Path) -> dict[str, str]:
    """What was written into a table's metadata; verify the table first."""
    return {name: text for name, text in pl.read_parquet_metadata(path).items() if name not in (KEY, "ARROW:schema")}
