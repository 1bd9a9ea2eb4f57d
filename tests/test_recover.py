"""What `make recover` does first, on a machine without a queue: end what a killed run left, and nothing else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def no_queue(tmp_path):
    """An environment without SLURM's programs."""
    empty = tmp_path / "bin"
    empty.mkdir()
    return {**os.environ, "PATH": str(empty)}


def recover(folder, environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/recover.py")], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def orphan(folder):
    """A process that looks like a training job whose snakemake is gone: told to stop, it exits with 85."""
    folder.mkdir()
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(85)); print('', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, "train", "--config", "-", "--out", "results"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_orphans_of_this_folder_are_told_to_end(tmp_path, no_queue):
    mine, other = orphan(tmp_path / "mine"), orphan(tmp_path / "other")
    try:
        done = recover(tmp_path / "mine", no_queue)
        assert done.returncode == 0 and f"ending processes {mine.pid}" in done.stderr
        assert mine.wait(5) == 85
        assert other.poll() is None, "a job of another folder is left alone"
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_it_refuses_while_a_snakemake_works_here_and_is_silent_when_nothing_is_left(tmp_path, no_queue):
    (tmp_path / "Snakefile").write_text("rule a:\n    output: 'x'\n    shell: 'sleep 60'\n")
    working = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1"], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        refused = recover(tmp_path, no_queue)
        assert refused.returncode == 2 and f"found process {working.pid}" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    finally:
        working.terminate()
        working.kill()
        working.wait()
    left = recover(tmp_path, no_queue)
    assert (left.returncode, left.stderr) == (0, "")
