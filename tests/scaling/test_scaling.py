"""Ten times the work costs ten times as much at most, where it may not cost nothing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

spec = importlib.util.spec_from_file_location("dag", Path(__file__).with_name("dag.py"))
dag = importlib.util.module_from_spec(spec)
sys.modules["dag"] = dag
spec.loader.exec_module(dag)

FLAT = """
import resource, sys
from pathlib import Path
from septet.scores import scan_scores
import polars as pl
rows = scan_scores(Path(sys.argv[1])).filter(pl.col("metric") == "rare").select(pl.len()).collect()
print(rows.item(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_the_plan_of_scale_paper_is_there_in_seconds():
    one = dag.plan(1)
    print(one)
    assert one.jobs > 200
    assert one.cpu_seconds < 15  # about four on an idle machine


@pytest.mark.nightly
def test_the_plan_grows_with_its_jobs_and_no_faster():
    small, large = dag.plan(4), dag.plan(40)
    print(small, large)
    assert large.jobs > 9000
    assert large.cpu_seconds / large.jobs < 2 * small.cpu_seconds / small.jobs
    assert large.megabytes < 2000


@pytest.mark.parametrize("rows", [200_000, 6_400_000])
def test_a_score_table_is_read_lazily_and_memory_stays_flat(rows, tmp_path):
    """One metric of a large table is read without the others."""
    index = pl.int_range(rows, eager=True)
    pl.DataFrame(
        {
            "paper": pl.repeat("p", rows, eager=True),
            "method": pl.repeat("m", rows, eager=True),
            "task": pl.repeat("t", rows, eager=True),
            "seed": index % 8,
            "step": index // 8,
            "metric": pl.Series(["rare" if k == 0 else "often" for k in range(1000)] * (rows // 1000)).sort(),
            "value": (index * 0.618) % 1.0,
        }
    ).write_parquet(tmp_path / "scores.parquet", compression="zstd", row_group_size=100_000)
    done = subprocess.run(
        [sys.executable, "-c", FLAT, str(tmp_path / "scores.parquet")], capture_output=True, text=True, check=True
    )
    found, megabytes = map(int, done.stdout.split())
    print(rows, megabytes)
    assert found == rows // 1000
    assert megabytes < 260  # the table alone would be 600 MB at the larger size
