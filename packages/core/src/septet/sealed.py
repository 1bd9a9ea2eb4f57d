"""Files that carry their own checksum, so that one that was changed or damaged is refused before it is used.

The checksum is the SHA-256 of the file with the 64 digits of the checksum as zeros. It is where the format has room
for text: under a key of a JSON object, in the metadata of Parquet and safetensors. So a copy keeps it, and other
programs read the file as any other.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from septet.errors import InputError
from septet.files import replacing
from septet.reading import read_json, readable

KEY = "septet_sha256"
ZEROS = "0" * 64
PLACEHOLDER = {KEY: ZEROS}
"""What a writer puts into the file's metadata before `seal`."""

_SEAL = re.compile(KEY.encode() + rb'(?:\x18\x40|": ?")([0-9a-f]{64})')  # in Parquet Thrift, in the others JSON
_LONGEST = len(KEY) + 4 + 64
TABLES = ("scores.parquet", "timing.parquet")
"""The tables next to a run card."""


def seal(path: Path) -> None:
    """Fill in the checksum of a file that was written with `PLACEHOLDER`."""
    whole = path.read_bytes()
    digits = hashlib.sha256(whole).hexdigest().encode()
    sealed, count = _SEAL.subn(lambda found: found[0][:-64] + digits, whole)
    if not count:
        raise RuntimeError(f"no place for a checksum in {path}")
    path.write_bytes(sealed)


def verify(path: Path, expected: str) -> None:
    """Check a file against its checksum; it is read in parts, so memory stays flat.

    Args:
        expected: what the file ought to be, for the message.

    Raises:
        InputError: the file cannot be read, has no checksum, or another one.
    """
    with readable(path, expected), path.open("rb") as file:
        found, digits = _checksums(file)
    if found != {digits}:
        what = "another checksum: it was changed or damaged" if found else "no checksum: another program wrote it"
        raise InputError(str(path), expected=expected, found=f"{what}; {_way_back(path)}")


def _way_back(path: Path) -> str:
    again = "remove it and run again"
    if path.suffix != ".json" and path.name not in TABLES:
        return again
    command = f"{again}, or accept it with `python -m septet seal FILE`"
    return f"{command} (in Python: septet.scores.write_scores)" if path.name in TABLES else command


def _checksums(file: BinaryIO) -> tuple[set[bytes], bytes]:
    """The checksums that a file carries, and the one that it should."""
    total, held, found = hashlib.sha256(), b"", set[bytes]()
    while part := file.read(1 << 20):
        held += part
        end = 0
        for match in _SEAL.finditer(held):
            found.add(match[1])
            end = match.end()
        held = _SEAL.sub(lambda match: match[0][:-64] + ZEROS.encode(), held)
        done = max(end, len(held) - _LONGEST)  # a checksum may begin in this part and end in the next
        total.update(held[:done])
        held = held[done:]
    total.update(held)
    return found, total.hexdigest().encode()


def write_json(path: Path, data: Mapping[str, Any] | Sequence[Mapping[str, Any]], indent: int | None = 1) -> None:
    """Write a JSON object, or a list of at least one, with its checksum, whole or not at all.

    In a list each object carries the checksum of the whole file.
    """
    if isinstance(data, Mapping):
        marked: object = {**data, **PLACEHOLDER}
    else:
        marked = [{**row, **PLACEHOLDER} for row in data]
    with replacing(path) as temporary:
        text = json.dumps(marked, indent=indent, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        seal(temporary)


def read_sealed_json(path: Path, expected: str) -> Any:
    """Read what `write_json` wrote, without the checksum.

    Raises:
        InputError: the file cannot be read, is not JSON, or its checksum is missing or differs.
    """
    data = read_json(path, expected)
    verify(path, expected)
    return without_checksum(data)


def without_checksum(data: Any) -> Any:
    """JSON data without the checksum's key."""
    if isinstance(data, dict):
        return {key: value for key, value in data.items() if key != KEY}
    return [without_checksum(row) if isinstance(row, dict) else row for row in data] if isinstance(data, list) else data
