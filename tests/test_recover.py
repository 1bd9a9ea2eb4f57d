"""What `make recover` does first: end what a killed run left, here and in the queue, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import recover as tool

ROOT = Path(__file__).parents[1]


@pytest.fixture
def no_queue(tmp_path):
    """An environment without SLURM's programs."""
    empty = tmp_path / "bin"
    empty.mkdir()
    return {**os.environ, "PATH": str(empty)}


@pytest.fixture
def queue(tmp_path):
    """An environment with a stand-in for SLURM: a file `queue` of lines `number|name|folder`, and `scancel`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    listed = tmp_path / "queue"
    listed.touch()
    for name, text in {
        "squeue": f'[ "$*" = "-h --me -o %A|%j|%Z" ] && exec /bin/cat {listed}',
        "scancel": f'for job in "$@"; do /bin/sed -i "/^$job|/d" {listed}; done; exit 1',  # as if one had just ended
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    return {**os.environ, "PATH": str(programs)}


def recover(folder, environment, *arguments):
    return subprocess.run(
        [sys.executable, tool.__file__, *arguments], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def broken(queue):
    """`queue`, whose controller is away."""
    squeue = Path(queue["PATH"]) / "squeue"
    squeue.write_text("#!/bin/sh\necho 'squeue: warning' >&2\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    return queue


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


def test_only_jobs_that_snakemake_submitted_from_here_are_cancelled(tmp_path, queue):
    here, run = tmp_path / "here | there", "septet_01234567-89ab-cdef-0123-456789abcdef"
    here.mkdir()
    rows = [
        f"11|{run}|{here}",
        f"12|{run}|{here}",  # the job that recover runs in
        f"13|jupyter|{here}",
        f"14|septet_notebook|{here}",
        f"15|make recover|{here}",
        f"16|{run}|{tmp_path}",
        f"17|not_{run}|{here}",
    ]
    (tmp_path / "queue").write_text("".join(f"{row}\n" for row in rows))
    done = recover(here, {**queue, "SLURM_JOB_ID": "12"})
    assert done.returncode == 0, done.stderr
    assert "ending SLURM jobs 11\n" in done.stderr
    assert "not ours, left alone: SLURM jobs 13 (jupyter), 14 (septet_notebook), 15 (make recover)" in done.stderr
    assert (tmp_path / "queue").read_text().splitlines() == rows[1:]


def test_orphans_end_although_no_controller_answers(tmp_path, queue):
    mine = orphan(tmp_path / "mine")
    try:
        done = recover(tmp_path / "mine", broken(queue))
        assert done.returncode == 0 and mine.wait(5) == 85
        assert done.stderr.splitlines()[0] == (
            "recover: squeue does not answer, only processes of this machine are looked for: "
            "Unable to contact slurm controller"
        )
    finally:
        mine.kill()
        mine.wait()


def test_on_a_cluster_a_silent_queue_is_no_empty_queue(tmp_path, queue, monkeypatch, capsys):
    """Otherwise the jobs that still run would be submitted again."""
    monkeypatch.setattr(tool, "OUTAGE", 0)
    monkeypatch.setenv("PATH", broken(queue)["PATH"])
    (tmp_path / "mine").mkdir()
    assert tool.main(tmp_path / "mine", ROOT / "profiles/slurm") == 1
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tool.main(tmp_path / "mine", ROOT / "profiles/slurm-gpu") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("its jobs may still run" in line for line in said)
    unknown = recover(tmp_path / "mine", queue, "--profile", "profiles/none")
    assert unknown.returncode == 1 and unknown.stderr.count("\n") == 1 and "profiles/none" in unknown.stderr


def test_a_suspended_orphan_ends_and_an_editor_with_such_a_command_in_its_arguments_does_not(tmp_path, no_queue):
    mine = orphan(tmp_path / "mine")
    code = "import time; print('', flush=True); time.sleep(60)"
    editor = subprocess.Popen(
        [sys.executable, "-c", code, "+/dynts train --config - --out results"],
        cwd=tmp_path / "mine", stdout=subprocess.PIPE,
    )  # fmt: skip
    editor.stdout.readline()
    mine.send_signal(signal.SIGSTOP)
    try:
        done = recover(tmp_path / "mine", no_queue)
        assert done.returncode == 0 and done.stderr == f"recover: ending processes {mine.pid}\n"
        assert mine.wait(5) == 85 and editor.poll() is None
    finally:
        for process in (mine, editor):
            process.kill()
            process.wait()
