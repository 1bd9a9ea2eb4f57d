"""The score table: its rows, what it refuses, and the same bytes for the same job."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet import scores
from septet.errors import InputError
from septet.parquet import write_table
from septet.scores import SCORES, TIMING, read_scores, scan_scores, score_rows, write_scores, write_timing


def table(seeds=range(3), steps=(10, 20), method="m", metric="regret"):
    values = [[seed + step / 100 for step in steps] for seed in seeds]
    return score_rows("p", method, "t", seeds=seeds, steps=steps, metrics={metric: values})


def test_rows_by_hand():
    rows = score_rows(
        "p", "m", "t", seeds=[7, 3], steps=[1, 5], metrics={"a": [[1, 2], [3, 4]], "b": np.array([[5.0, 6], [7, 8]])}
    )
    assert rows.schema == SCORES
    assert rows.select("seed", "step", "metric", "value").rows() == [
        (7, 1, "a", 1.0),
        (7, 5, "a", 2.0),
        (3, 1, "a", 3.0),
        (3, 5, "a", 4.0),
        (7, 1, "b", 5.0),
        (7, 5, "b", 6.0),
        (3, 1, "b", 7.0),
        (3, 5, "b", 8.0),
    ]
    assert rows.select("paper", "method", "task").unique().rows() == [("p", "m", "t")]


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0, 2.0, 3.0]], [[1.0], [2.0]], 1.0, [[[1.0, 2.0]]]])
def test_a_metric_of_another_shape_is_refused(values):
    with pytest.raises(ValueError, match=r"metric loss of m on t has shape .*, not \(1, 2\)"):
        score_rows("p", "m", "t", seeds=[0], steps=[1, 2], metrics={"loss": values})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_refused_with_its_place(bad):
    with pytest.raises(ValueError, match="loss of m on t is not finite: seed 9, step 2"):
        score_rows("p", "m", "t", seeds=[4, 9], steps=[1, 2], metrics={"loss": [[0, 0], [0, bad]]})


def test_what_is_written_is_read_back(tmp_path):
    file = tmp_path / "deep/er/scores.parquet"
    write_scores(file, [table(), table(method="n")])
    both = pl.concat([table(), table(method="n")])
    assert read_scores(file).equals(both.sort("method", "seed", "step"))
    assert [path.name for path in file.parent.iterdir()] == ["scores.parquet"]


@pytest.mark.parametrize(
    "frame",
    [
        table().drop("metric"),
        table().with_columns(extra=pl.lit(1)),
        table().with_columns(pl.col("seed").cast(pl.Int32)),
        table().with_columns(pl.col("value").cast(pl.Float32)),
        table().select(reversed(SCORES.names())),
        table().rename({"metric": "phase", "value": "seconds"}),
        pl.DataFrame(),
    ],
)
def test_other_columns_are_refused_in_one_line_when_written_and_when_read(frame, tmp_path):
    file = tmp_path / "scores.parquet"
    with pytest.raises(InputError) as error:
        write_scores(file, [table(), frame])
    assert "\n" not in str(error.value) and str(file) in str(error.value) and "value Float64" in str(error.value)
    assert not list(tmp_path.iterdir())
    write_table(frame, file)
    for read in (read_scores, scan_scores):
        with pytest.raises(InputError) as error:
            read(file)
        assert "\n" not in str(error.value) and str(file) in str(error.value)


@pytest.mark.parametrize("frames", [[], [pl.DataFrame(schema=SCORES)]])
def test_a_table_without_rows_is_refused(frames, tmp_path):
    with pytest.raises(InputError, match="at least one row"):
        write_scores(tmp_path / "scores.parquet", frames)
    assert not list(tmp_path.iterdir())


def test_a_row_that_stands_twice_is_refused_and_named(tmp_path):
    again = table(seeds=[2], steps=[20]).with_columns(value=pl.lit(0.0))
    with pytest.raises(InputError, match=r"one row per key, found twice \('p', 'm', 't', 2, 20, 'regret'\)"):
        write_scores(tmp_path / "scores.parquet", [table(), again])
    write_scores(tmp_path / "scores.parquet", [table(), again.with_columns(metric=pl.lit("loss"))])


def test_times_have_a_table_of_their_own(tmp_path):
    row = {"paper": "p", "method": "m", "task": "t", "seed": 0, "step": 1, "phase": "train", "seconds": 1.5}
    write_timing(tmp_path / "timing.parquet", [pl.DataFrame([row], TIMING)])
    assert pl.read_parquet(tmp_path / "timing.parquet").rows(named=True) == [row]
    with pytest.raises(InputError, match="seconds Float64"):
        write_timing(tmp_path / "timing.parquet", [table()])
    with pytest.raises(InputError, match="one row per key"):
        write_timing(tmp_path / "timing.parquet", [pl.DataFrame([row, row], TIMING)])
    with pytest.raises(InputError, match="value Float64"):
        read_scores(tmp_path / "timing.parquet")


ROWS = pl.concat([table(seeds=range(20), steps=range(10), method=name) for name in ("b", "a", "ä")])


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(len(ROWS))), cuts=st.lists(st.integers(0, len(ROWS)), max_size=4))
def test_rows_in_any_order_and_in_any_frames_give_the_same_bytes(order, cuts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    write_scores(folder / "one", [ROWS])
    mixed, edges = ROWS[order], [0, *sorted(cuts), len(ROWS)]
    write_scores(folder / "two", [mixed[start:end] for start, end in pairwise(edges)])
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


@pytest.mark.parametrize("keep", [0, 3, 12, 0.5, -9, -1])
def test_a_truncated_table_is_one_line(keep, tmp_path):
    file = tmp_path / "scores.parquet"
    write_scores(file, [table()])
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    for read in (read_scores, scan_scores):
        with pytest.raises(InputError, match="expected a complete Parquet table") as error:
            read(file)
        assert "\n" not in str(error.value) and str(file) in str(error.value)


def test_a_table_torn_in_the_middle_is_one_line(tmp_path):
    file = tmp_path / "scores.parquet"
    write_scores(file, [table()])
    whole = file.read_bytes()
    file.write_bytes(whole[:4] + bytes(100) + whole[104:])  # the footer, and so the scan, is whole
    with pytest.raises(InputError, match="expected a complete Parquet table") as error:
        read_scores(file)
    assert "\n" not in str(error.value) and str(file) in str(error.value)


@pytest.mark.parametrize("make", ["nothing", "text", "folder"])
def test_what_is_no_table_is_one_line(make, tmp_path):
    file = tmp_path / "scores.parquet"
    if make == "text":
        file.write_text("paper,method\n" * 100)
    elif make == "folder":
        file.mkdir()
    with pytest.raises(InputError, match=r"scores\.parquet: expected a complete Parquet table") as error:
        scan_scores(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a[1]", "[a]*", "task=t"])
def test_a_path_is_no_pattern_and_holds_no_columns(name, tmp_path):
    write_scores(tmp_path / name / "scores.parquet", [table()])
    assert read_scores(tmp_path / name / "scores.parquet").equals(table())


def test_a_scan_reads_its_columns_now_and_its_rows_later(tmp_path):
    file = tmp_path / "scores.parquet"
    write_scores(file, [table()])
    lazy = scan_scores(file)
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.filter(seed=1).select("value").collect()["value"].to_list() == pytest.approx([1.1, 1.2])


def test_a_failure_in_the_middle_leaves_the_old_table_and_no_temporary_file(tmp_path, monkeypatch):
    file = tmp_path / "scores.parquet"
    write_scores(file, [table()])
    before = file.read_bytes()

    def torn(frame, target, **options):
        target.write_bytes(before[:50])
        raise OSError("No space left on device")

    monkeypatch.setattr(scores.pl.DataFrame, "write_parquet", torn)
    with pytest.raises(OSError, match="No space"):
        write_scores(file, [table(method="other")])
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
