"""Files with their own checksum: what they are to others, and that any change of a byte is seen."""

import hashlib
import json
import subprocess
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from septet import sealed
from septet.card import RunCard
from septet.errors import InputError
from septet.reseal import reseal
from septet.scores import read_scores, score_rows, write_scores, write_timing
from septet.sealed import KEY, PLACEHOLDER, ZEROS, read_sealed_json, verify, write_json

DATA = {"a": 1.5, "b": [1, 2], "c": {"ü": None, "seed": 2**62 + 1}}


def refused(path, words="checksum"):
    with pytest.raises(InputError) as error:
        read_sealed_json(path, "a note")
    line = str(error.value)
    assert line.startswith(f"{path}: expected a note, found ") and words in line and "\n" not in line
    return line


@pytest.mark.parametrize("indent", [None, 1, 4])
@pytest.mark.parametrize("data", [DATA, [DATA], [DATA, {}, {"x": ZEROS}]], ids=["object", "row", "rows"])
def test_what_is_written_is_read_back_and_is_plain_json_to_others(data, indent, tmp_path):
    file = tmp_path / "note.json"
    write_json(file, data, indent)
    assert read_sealed_json(file, "a note") == data
    rows = json.loads(file.read_text(encoding="utf-8"))
    digits = {row[KEY] for row in (rows if isinstance(rows, list) else [rows])}
    (digest,) = digits
    zeroed = file.read_bytes().replace(digest.encode(), ZEROS.encode())
    assert hashlib.sha256(zeroed).hexdigest() == digest
    copy = tmp_path / "copied alone.json"
    copy.write_bytes(file.read_bytes())
    assert read_sealed_json(copy, "a note") == data


@pytest.mark.parametrize("data", [DATA, [DATA, {"x": 1}]], ids=["object", "rows"])
def test_every_flipped_bit_is_seen(data, tmp_path):
    file = tmp_path / "note.json"
    write_json(file, data)
    whole = file.read_bytes()
    spoiled = bytearray(whole)
    for place in range(len(whole)):
        spoiled[place] ^= 1 << place % 8
        file.write_bytes(spoiled)
        with pytest.raises(InputError) as error:
            read_sealed_json(file, "a note")
        assert "\n" not in str(error.value)
        spoiled[place] = whole[place]


def test_hand_edits_are_one_line_that_says_what_to_do(tmp_path):
    file = tmp_path / "note.json"
    write_json(file, DATA)
    text = file.read_text(encoding="utf-8")
    for edited in (
        text.replace("1.5", "1.6"),
        text.replace(" 1.5", " 1.50"),
        text.replace("null", "0"),
        text.replace("\n", "\r\n"),
        text + "\n",
        text.replace("4611686018427387905", "4611686018427387904"),
    ):
        assert edited != text
        file.write_bytes(edited.encode())
        line = refused(file, "another checksum")
        assert "remove it and run again" in line and "python -m septet seal" in line
    for gone in (json.dumps(DATA), json.dumps({**DATA, KEY: "x"}), json.dumps({**DATA, KEY: None}), "[]"):
        file.write_text(gone)
        refused(file, "no checksum")
    for torn in (text[:-2], text[: len(text) // 2], "", text.replace('"a": 1.5', '"a": 1.5, "a": 1.5')):
        file.write_text(torn)
        refused(file, "")
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999"):
        file.write_text(text.replace("1.5", number))
        refused(file, "not a JSON number")


def test_rows_cannot_be_dropped_swapped_or_taken_from_another_list(tmp_path):
    file, other = tmp_path / "rows.json", tmp_path / "other.json"
    write_json(file, [{"x": 1}, {"x": 2}, {"x": 3}])
    write_json(other, [{"x": 4}])
    rows, (strange,) = (json.loads(path.read_text()) for path in (file, other))
    for edited in (rows[:2], rows[1:], rows[::-1], [*rows, strange], [strange, *rows[1:]]):
        file.write_text(json.dumps(edited, indent=1) + "\n")
        refused(file, "another checksum")
    file.write_text(json.dumps(rows, indent=1) + "\n")
    assert read_sealed_json(file, "a note") == [{"x": 1}, {"x": 2}, {"x": 3}]


def test_a_value_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "note.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_safetensors_keep_it_in_their_metadata(tmp_path):
    import numpy as np

    file = tmp_path / "x.safetensors"
    save_file({"x": np.arange(3)}, file, metadata={"note": "n", **PLACEHOLDER})
    sealed.seal(file)
    verify(file, "arrays")
    assert load_file(file)["x"].tolist() == [0, 1, 2]
    spoiled = bytearray(file.read_bytes())
    spoiled[-1] ^= 1
    file.write_bytes(spoiled)
    with pytest.raises(InputError, match="another checksum"):
        verify(file, "arrays")


@pytest.mark.parametrize("before", range(-70, 5, 7))
def test_a_checksum_across_the_parts_that_are_read_is_found(before, tmp_path):
    """Files are read a mebibyte at a time."""
    file = tmp_path / "long.json"
    write_json(file, {"fill": "x" * ((1 << 20) + before), "y": 1}, indent=None)
    assert read_sealed_json(file, "a note")["y"] == 1
    spoiled = bytearray(file.read_bytes())
    spoiled[100] ^= 1
    file.write_bytes(spoiled)
    refused(file, "another checksum")


ROWS = score_rows("p", "m", "t", seeds=[0, 2**62 + 1], steps=[1, 2], metrics={"r": [[1, 2], [3, 4.5]]})


def pandas_writes(path):
    pd.read_parquet(path).to_parquet(path)


def pandas_writes_categories(path):
    frame = pd.read_parquet(path)
    frame["step"] = frame["step"].astype("int32")
    frame["metric"] = frame["metric"].astype("category")
    frame[[*reversed(frame.columns)]].to_parquet(path, index=False)


def pyarrow_writes(path):
    table = pq.read_table(path)
    strings = [pa.field(f.name, pa.large_string() if f.type == pa.string() else f.type) for f in table.schema]
    pq.write_table(table.cast(pa.schema(strings)), path, compression="snappy")


def pyarrow_keeps_the_metadata(path):
    """A checksum that was copied into another file is not that file's."""
    table = pq.read_table(path).replace_schema_metadata(pl.read_parquet_metadata(path))
    pq.write_table(table, path)


def polars_writes(path):
    pl.read_parquet(path).write_parquet(path)


WRITERS = [pandas_writes, pandas_writes_categories, pyarrow_writes, pyarrow_keeps_the_metadata, polars_writes]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("way", ["seal", "write_scores"])
def test_a_table_that_another_program_wrote_has_a_way_back(write, way, tmp_path):
    file = tmp_path / "scores.parquet"
    write_scores(file, [ROWS])
    before = file.read_bytes()
    write(file)
    with pytest.raises(InputError) as error:
        read_scores(file)
    assert "python -m septet seal FILE" in str(error.value) and "\n" not in str(error.value)
    if way == "seal":
        reseal(file)
    elif write is not pandas_writes_categories:
        assert "septet.scores.write_scores" in str(error.value) or write is pyarrow_keeps_the_metadata
        write_scores(file, [pl.read_parquet(file)])
    else:
        return
    assert file.read_bytes() == before  # the same values give the same bytes, so the card beside it holds again


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.drop("metric"), "expected columns"),
        (lambda t: t.with_columns(extra=pl.lit(1)), "expected columns"),
        (lambda t: t.with_columns(pl.col("seed").cast(pl.Float64) + 0.5), "seed: expected Int64"),
        (lambda t: t.with_columns(seed=pl.lit(2**63, dtype=pl.UInt64)), "seed: expected Int64"),
        (lambda t: t.with_columns(value=pl.lit("x")), "value: expected Float64"),
        (lambda t: t.with_columns(value=pl.lit(None, dtype=pl.Float64)), "none missing"),
        (lambda t: t.with_columns(value=pl.lit(float("nan"))), "finite values"),
        (lambda t: t.with_columns(value=pl.lit(float("-inf"))), "finite values"),
        (lambda t: t.with_columns(method=pl.lit(None, dtype=pl.String)), "none missing"),
        (lambda t: pl.concat([t, t]), "found twice"),
        (lambda t: t.head(0), "at least one row"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_not_sealed(change, words, tmp_path):
    file = tmp_path / "scores.parquet"
    change(ROWS).write_parquet(file)
    before = file.read_bytes()
    with pytest.raises(InputError) as error:
        reseal(file)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1", b"text\n" * 30, None])
def test_what_is_no_table_is_not_sealed(content, tmp_path):
    file = tmp_path / "scores.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as error:
        reseal(file)
    assert "\n" not in str(error.value)


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "septet", *map(str, arguments)], capture_output=True, text=True)


def test_the_command_seals_tables_and_cards_and_keeps_them_a_pair(tmp_path):
    card = json.loads(CARD) | {"seeds": [0, 2**62 + 1]}
    write_scores(tmp_path / "scores.parquet", [ROWS])
    write_timing(tmp_path / "timing.parquet", [ROWS.rename({"metric": "phase", "value": "seconds"})])
    RunCard.model_validate(card).write(tmp_path / "run.json")
    RunCard.read(tmp_path / "run.json")
    frame = pd.read_parquet(tmp_path / "scores.parquet")
    frame.assign(value=frame["value"] + 1).to_parquet(tmp_path / "scores.parquet")
    done = command("seal", tmp_path / "scores.parquet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert read_scores(tmp_path / "scores.parquet")["value"].to_list() == [2, 3, 4, 5.5]
    named = RunCard.read(tmp_path / "run.json").tables["scores.parquet"]
    assert named == hashlib.sha256((tmp_path / "scores.parquet").read_bytes()).hexdigest()

    # a card that was changed is not accepted along with a table
    text = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(text.replace('"steps": 1,', '"steps": 2,'))
    tables = [(tmp_path / name).read_bytes() for name in ("scores.parquet", "run.json")]
    done = command("seal", tmp_path / "scores.parquet")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "run.json: expected a card" in done.stderr
    assert [(tmp_path / name).read_bytes() for name in ("scores.parquet", "run.json")] == tables
    assert command("seal", tmp_path / "run.json").returncode == 0
    RunCard.read(tmp_path / "run.json")


@pytest.mark.parametrize("name", ["nowhere.json", "nowhere/scores.parquet", "other.txt", "."])
def test_the_command_refuses_the_rest_in_one_line(name, tmp_path):
    (tmp_path / "other.txt").write_text("x")
    done = command("seal", tmp_path / name)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("septet: ")
    assert command("seal").returncode != 0 and "usage" in command("seal").stderr


CARD = json.dumps(
    {
        "id": "a" * 12, "paper": "p", "verb": "train", "task": "t", "methods": {"m": {}}, "seeds": [0, 1],
        "config": {}, "data": "simulated", "sources": {}, "lock": None, "image": None, "versions": {}, "host": {},
        "started": "2026-01-01T00:00:00Z", "wall_seconds": 1.0, "cpu_seconds": 1.0, "peak_memory_mb": 1.0,
        "steps": 1, "steps_per_second": 1.0,
    }
)  # fmt: skip
