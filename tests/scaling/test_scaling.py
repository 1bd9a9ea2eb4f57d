"""Ten times the work costs ten times as much at most, where it may not cost nothing."""

import subprocess
import sys

import dag
import pytest

BUILD = """
import sys
from pathlib import Path
import polars as pl
from septet.parquet import write_table
rows = int(sys.argv[2])
index = pl.int_range(rows, eager=True)
words = {name: pl.repeat(name[0], rows, eager=True) for name in ("paper", "method", "task")}
metric = (index % 1000).sort().cast(pl.String)
columns = {**words, "seed": index % 8, "step": index // 8, "metric": metric, "value": (index * 0.618) % 1.0}
write_table(pl.DataFrame(columns), Path(sys.argv[1]))
"""
READ = """
import sys
from pathlib import Path
import polars as pl
from septet.scores import scan_scores
rows = scan_scores(Path(sys.argv[1])).filter(pl.col("metric") == "0").select(pl.len()).collect()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(rows.item(), int(peak.split()[1]) // 1024)
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
    file = str(tmp_path / "scores.parquet")
    subprocess.run([sys.executable, "-c", BUILD, file, str(rows)], check=True)
    done = subprocess.run([sys.executable, "-c", READ, file], capture_output=True, text=True, check=True)
    found, megabytes = map(int, done.stdout.split())
    print(f"{rows:,} rows: {megabytes} MB")
    assert found == rows // 1000
    assert megabytes < 260  # the whole larger table is twice that
