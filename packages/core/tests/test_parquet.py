"""Tables with a checksum: plain Parquet to others, and any damage is seen before a Parquet reader looks at it."""

import hashlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.errors import InputError
from septet.parquet import metadata_of, read_table, write_table
from septet.sealed import KEY, ZEROS

TABLE = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "ü"], "c": [[0.5], [], [1.0, 2.0]]})


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A file and its bytes."""
    file = tmp_path_factory.mktemp("sealed") / "table.parquet"
    write_table(TABLE, file, {"origin": "here"})
    return file, file.read_bytes()


def test_others_read_plain_parquet(sealed):
    file, content = sealed
    assert pl.read_parquet(file).equals(TABLE) and read_table(file, "a table").equals(TABLE)
    assert metadata_of(file) == {"origin": "here"}
    digits = pl.read_parquet_metadata(file)[KEY]
    assert content.count(digits.encode()) == 1
    assert hashlib.sha256(content.replace(digits.encode(), ZEROS.encode())).hexdigest() == digits
    again = file.with_name("again.parquet")
    write_table(TABLE, again, {"origin": "here"})
    assert again.read_bytes() == content


def refused(file):
    with pytest.raises(InputError, match=r"table\.parquet: expected a table, found") as error:
        read_table(file, "a table")
    assert "\n" not in str(error.value)


def test_every_flipped_bit_is_seen(sealed):
    """Of such files polars reads some without a word, panics on others, and on a few ends the process."""
    file, content = sealed
    spoiled = bytearray(content)
    for place in range(len(spoiled)):
        bit = 1 << place % 8
        spoiled[place] ^= bit
        file.write_bytes(spoiled)
        refused(file)
        spoiled[place] ^= bit
    file.write_bytes(content)
    assert read_table(file, "a table").equals(TABLE)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_part_that_is_lost_or_moved_is_seen(sealed, data):
    file, content = sealed
    start, end = sorted(data.draw(st.lists(st.integers(0, len(content)), min_size=2, max_size=2, unique=True)))
    put = data.draw(st.sampled_from([b"", content[:end], bytes(8), content[-8:]]))
    spoiled = content[:start] + put + content[end:]
    if spoiled != content:
        file.write_bytes(spoiled)
        refused(file)
        file.write_bytes(content)


@pytest.mark.parametrize("make", ["nothing", "folder", "empty", "text", "without a checksum"])
def test_what_is_no_such_table_is_one_line(make, tmp_path):
    file = tmp_path / "table.parquet"
    match make:
        case "folder":
            file.mkdir()
        case "empty":
            file.touch()
        case "text":
            file.write_text("a,b\n" * 100)
        case "without a checksum":
            TABLE.write_parquet(file)
    refused(file)
