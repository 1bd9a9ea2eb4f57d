"""Headline features and the reading of the archive."""

import polars as pl
import pytest

from septet.data import locate
from septet.dynts.config import Preparation
from septet.dynts.upworthy import (
    FEATURES,
    FLAWED_WEEKS,
    FUNCTION_WORDS,
    UPWORTHY,
    headline_features,
    load,
    prepare,
    read,
    stand_in,
)
from septet.errors import DataUnavailable, InputError
from septet.files import sha256
from septet.parquet import write_table

CSV = "clickability_test_id,test_week,headline,impressions,clicks\n"


def test_features_of_a_headline_by_hand():
    x = headline_features("5 Reasons Why The Sky Is Blue, And You?")
    assert len(x) == FEATURES == 61
    named = dict(zip(FUNCTION_WORDS, x[14:], strict=True))
    assert {word for word, present in named.items() if present} == {"why", "the", "is", "and", "you"}
    assert x[0] == 1.0
    assert x[1] == pytest.approx(39 / 100 - 0.8)  # characters
    assert x[2] == pytest.approx(8 / 15 - 1)  # words: the digit is none
    assert x[3] == pytest.approx(28 / 8 / 2 - 2.2)  # letters per word
    assert x[4:13] == [1, 1, 1, 0, 0, 0, 0, 0, 0.5]  # digit, leads, ?, !, quote, colon, dots, bracket, commas
    assert x[13] == pytest.approx(8 / 39 * 5 - 0.7)


def test_an_empty_headline_has_features_too():
    assert all(abs(value) < 3 for value in headline_features(""))


def test_rows_come_in_the_order_of_time_and_a_test_is_one_group(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(CSV + "b,201402,B one,100,5\na,201403,A one,100,1\nb,201403,B two,100,2\na,201401,A two,50,1\n")
    table = read(file)
    assert table["week"].to_list() == [201401, 201401, 201402, 201402]
    assert table["test"].to_list() == [0, 0, 1, 1]
    assert table["rate"].to_list() == pytest.approx([0.02, 0.01, 0.02, 0.05])


@pytest.mark.parametrize(
    "text",
    [
        "not a table",
        CSV + "a,201401,x,0,0\n",
        CSV + "a,201401,x,10,11\n",
        CSV + "a,201401,x,10,-1\n",
        "clickability_test_id,test_week,headline,impressions\na,201401,x,10\n",
        "",
    ],
)
def test_a_bad_table_is_one_line(text, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read(file)
    assert "\n" not in str(error.value) and str(file) in str(error.value)


def test_a_torn_or_foreign_prepared_table_is_refused(tmp_path):
    prepare(Preparation(data_source="generated"), tmp_path)
    file = tmp_path / "upworthy.parquet"
    table, origin = load(file, clean_weeks=True)
    assert origin.startswith("generated") and len(table) < len(load(file, clean_weeks=False)[0])
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="dynts prepare"):
        load(file, clean_weeks=False)
    write_table(table, file)
    with pytest.raises(InputError, match="found no provenance metadata"):
        load(file, clean_weeks=False)
    write_table(pl.DataFrame({"week": [1]}), file, {"origin": "here"})
    with pytest.raises(InputError, match="without gaps"):
        load(file, clean_weeks=False)


def test_the_stand_in_is_reproducible_and_of_the_archive_s_size():
    one = stand_in(3)
    assert one.equals(stand_in(3)) and not one.equals(stand_in(4))
    assert 20_000 < len(one) < 25_000 and 0.01 < one["rate"].mean() < 0.02


def test_a_wrong_checksum_and_a_missing_file_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        locate(UPWORTHY, tmp_path, tmp_path)
    file = tmp_path / UPWORTHY.file
    file.parent.mkdir()
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match=UPWORTHY.sha256):
        locate(UPWORTHY, tmp_path, tmp_path)


def test_a_download_is_checked_and_kept_and_a_dead_address_is_said(tmp_path):
    original = tmp_path / "original.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(original)
    good = UPWORTHY.model_copy(update={"url": original.as_uri(), "url_sha256": sha256(original)})
    found = locate(good, None, tmp_path / "downloads")
    assert found.read_bytes() == original.read_bytes()
    original.unlink()
    assert locate(good, None, tmp_path / "downloads") == found  # no second download
    found.write_bytes(b"torn")
    with pytest.raises(InputError, match="SHA-256"):
        locate(good, None, tmp_path / "downloads")
    with pytest.raises(DataUnavailable, match="SEPTET_DATA"):
        locate(good, None, tmp_path / "elsewhere")
    assert not any((tmp_path / "elsewhere").glob("*"))


def test_the_real_archive_has_its_published_size(real_data, tmp_path):
    prepare(Preparation(data_dir=str(real_data), data_source="real"), tmp_path)
    table, origin = load(tmp_path / "upworthy.parquet", clean_weeks=False)
    clean, _ = load(tmp_path / "upworthy.parquet", clean_weeks=True)
    assert origin.startswith("upworthy")
    assert (len(table), table["test"].n_unique()) == (22_666, 4_873)
    assert (len(clean), clean["test"].n_unique()) == (18_357, 3_818)
    assert table["week"].is_sorted()


def test_the_archive_s_order_tells_which_headline_did_well(real_data):
    """Clicks lost per 1,000 visitors by always taking a test's first row: why `read` sorts the rows."""
    rows = pl.read_csv(real_data / UPWORTHY.file).filter(~pl.col("test_week").is_between(*FLAWED_WEEKS))
    rows = rows.with_columns(rate=pl.col("clicks") / pl.col("impressions"))
    tests = rows.group_by("clickability_test_id", maintain_order=True).agg(
        first=pl.col("rate").first(), best=pl.col("rate").max(), mean=pl.col("rate").mean()
    )
    first, mean = (1000 * (tests["best"] - tests[name]).mean() for name in ("first", "mean"))
    assert first == pytest.approx(3.51, abs=0.05) and mean == pytest.approx(3.98, abs=0.02)
