"""The workflow itself on the cluster: the same bytes as natively, also when jobs run out of time."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("cluster")]
HERE = Path(__file__).parent
TABLE = "results/smoke/dynts/runs/ts/tau200/scores.parquet"
LONGER = 'dynts={"horizon": 1200000, "points": 400}'


def start(house, cluster, *arguments):
    """Snakemake in a copy of the checkout, with profiles/slurm, on the cluster."""
    return subprocess.Popen(
        [
            sys.executable, str(HERE / "often" / "snakemake"), "--profile", "profiles/slurm",
            "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5", "--jobs", "6",
            "--config", "scale=smoke", *arguments,
        ],
        cwd=house.folder, env=house.environment(PATH=cluster.environment()["PATH"], OMP_NUM_THREADS="1"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(run, seconds=400):
    """Its output; a snakemake that hangs is killed."""
    try:
        said, _ = run.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.kill()
        said, _ = run.communicate()
        pytest.fail(f"snakemake did not end within {seconds} s:\n{said[-3000:]}")
    assert run.returncode == 0, said[-3000:]
    return said


def test_small_jobs_of_every_package_give_the_same_bytes_in_their_images(boxes, native, cluster):
    finish(start(boxes, cluster, "--", *native.small_digests()))
    assert boxes.small_digests() == native.small_digests()
    assert all(card["image"].endswith(".sif") for card in boxes.small_cards())


def test_a_job_out_of_time_goes_on_from_its_state(boxes, cluster, tmp_path):
    """SLURM ends the job at its limit; the table is that of an uninterrupted run, byte for byte.

    Results lie on another disk: `results` is a link.
    """
    if not (boxes.folder / "results").exists():
        (tmp_path / "scratch").mkdir()
        (boxes.folder / "results").symlink_to(tmp_path / "scratch")
    whole = boxes.snakemake(
        "--profile", "profiles/local", "--cores", "1", "--config", "scale=smoke", LONGER, "--", TABLE
    )  # fmt: skip
    assert whole.returncode == 0, whole.stdout[-3000:]
    table = boxes.folder / TABLE
    expected = table.read_bytes()
    shutil.rmtree(table.parent)

    run = start(boxes, cluster, LONGER, "--", TABLE)
    end = time.monotonic() + 120
    while not (table.parent / "checkpoint/progress.json").exists():
        assert time.monotonic() < end and run.poll() is None, finish(run, 1)
        time.sleep(0.1)
    (job,) = cluster.running("dynts_train", boxes.folder)
    cluster.slurm("scontrol", "update", f"jobid={job}", "EndTime=now+2")
    finish(run)
    first, second = [row[1] for row in cluster.accounts("dynts_train", boxes.folder)[-2:]]
    assert first in ("TIMEOUT", "FAILED") and second == "COMPLETED"  # FAILED: it saved and ended before its limit came
    told = next((boxes.folder / "logs/slurm").rglob(f"{job}.log")).read_text()
    assert "stopped by signal 15" in told and "state saved" in told
    assert table.read_bytes() == expected
