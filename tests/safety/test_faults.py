"""Faults of the machine: a full disk, a second run, a clock that jumps, numbers that are none; and secrets."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from septet import checkpoint
from septet.dynts.config import Experiments, Job
from septet.dynts.engines import Engine
from septet.dynts.train import train
from septet.errors import EXIT_BAD_INPUT, EXIT_NO_ROOM, EXIT_NOT_FINITE, NotFinite

EXPERIMENTS = Experiments()


def job(horizon=4000, points=20, **more) -> Job:
    return Job(
        method=EXPERIMENTS.methods["ts"].model_copy(update={"name": "ts"}),
        task=EXPERIMENTS.tasks["static"].model_copy(update={"name": "static"}),
        seeds=[0, 1],
        horizon=horizon,
        points=points,
        **more,
    )


def command(config, out):
    return [sys.executable, "-m", "septet.dynts", "train", "--config", str(config), "--out", str(out)]


def start(config, out, **options):
    environment = {**os.environ, "SEPTET_SAVE_EVERY": "0", "SEPTET_LOCK_WAIT": "0", **options.pop("env", {})}
    return subprocess.run(command(config, out), capture_output=True, text=True, env=environment, **options)


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job().model_dump(mode="json")))
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(job(), folder)
    return (folder / "scores.parquet").read_bytes()


@contextmanager
def small_disk(folder: Path, size: str, need):
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True)
    need(done.returncode == 0, "the right to mount a tmpfs (root)")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def room_is_told(done, out):
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("dynts: ")]
    assert done.returncode == EXIT_NO_ROOM, done.stderr
    assert "not written: " in line and "last good checkpoint: " in line and "Traceback" not in done.stderr
    assert not (out / "scores.parquet").exists()
    return line


def test_a_full_disk_is_told_and_the_job_goes_on_when_there_is_room(config, whole, need, tmp_path):
    with small_disk(tmp_path / "disk", "256k", need):
        out = tmp_path / "disk/out"
        ballast = tmp_path / "disk/ballast"
        ballast.write_bytes(b"0" * 160_000)
        assert "No space left on device" in room_is_told(start(config, out), out)
        assert not list(out.rglob("*.tmp"))
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path / "disk")], check=True)
        assert start(config, out).returncode == 0
        assert (out / "scores.parquet").read_bytes() == whole


def test_a_file_that_may_not_grow_is_told_and_the_older_state_stays(config, whole, tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (25_000, 25_000))

    out = tmp_path / "out"
    assert "File too large" in room_is_told(start(config, out, preexec_fn=limited), out)
    assert start(config, out).returncode == 0
    assert (out / "scores.parquet").read_bytes() == whole


def test_memory_that_is_not_there_is_told_in_one_line(tmp_path):
    config = tmp_path / "job.json"
    config.write_text(json.dumps(job(points=10**13).model_dump(mode="json")))
    done = start(config, tmp_path / "out")
    assert done.returncode == EXIT_NO_ROOM, done.stderr
    assert "not enough memory" in done.stderr and "Traceback" not in done.stderr


def test_a_second_run_in_one_folder_is_refused_and_harms_nothing(tmp_path):
    config, out = tmp_path / "job.json", tmp_path / "out"
    config.write_text(json.dumps(job(horizon=60_000, points=200).model_dump(mode="json")))
    first = subprocess.Popen(command(config, out), stderr=subprocess.PIPE, text=True)
    while first.poll() is None and not (out / "checkpoint/progress.json").exists():
        time.sleep(0.005)
    second = start(config, out)
    assert first.poll() is None, "the first run was too short for this test"
    assert second.returncode == EXIT_BAD_INPUT
    assert second.stderr.count("\n") == 1 and f"found process {first.pid} on " in second.stderr
    assert first.wait(timeout=60) == 0
    assert (out / "scores.parquet").is_file() and not (out / "checkpoint").exists()


def test_a_lock_dies_with_its_process(tmp_path, config):
    out = tmp_path / "out"
    script = "import os, signal, sys; from pathlib import Path; from septet.folder_lock import alone\n"
    script += "with alone(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script, str(out / "checkpoint")])
    assert done.returncode == -signal.SIGKILL and (out / "checkpoint/lock").is_file()
    assert start(config, out).returncode == 0


def test_what_a_killed_process_left_is_swept_up_at_the_next_start(tmp_path, config):
    out = tmp_path / "out"
    (out / "checkpoint").mkdir(parents=True)
    for name in (".scores.parquet.99.tmp", "checkpoint/.000000000001.safetensors.99.tmp"):
        (out / name).write_bytes(b"half")
    assert start(config, out).returncode == 0
    assert sorted(path.name for path in out.iterdir()) == ["model", "run.json", "scores.parquet", "timing.parquet"]


def test_a_clock_that_jumps_changes_no_score(config, whole, tmp_path, monkeypatch):
    now = [1.7e9]

    def jumping():
        now[0] += (-1) ** len(str(int(now[0]))) * 3.2e7 + 86_400 * np.random.default_rng(int(abs(now[0]))).normal()
        return now[0]

    monkeypatch.setattr(time, "time", jumping)
    train(job(), tmp_path / "jumped")
    assert (tmp_path / "jumped/scores.parquet").read_bytes() == whole
    card = json.loads((tmp_path / "jumped/run.json").read_text())
    assert 0 <= card["wall_seconds"] < 600 and card["steps_per_second"] > 0


def spoil(monkeypatch, after: int):
    advance = Engine.advance

    def spoiled(self, point):
        advance(self, point)
        if point == after:
            self.state["mu"][0, 1, 0, 0] = np.nan

    monkeypatch.setattr(Engine, "advance", spoiled)


def test_a_non_finite_value_stops_with_step_tensor_and_checkpoint(tmp_path, monkeypatch):
    spoil(monkeypatch, after=7)
    monkeypatch.setenv(checkpoint.EVERY, "0")
    with pytest.raises(NotFinite, match=r"round 2000: mu is not finite \(seed 1\)") as caught:
        train(job(), tmp_path / "out")
    kept = tmp_path / "out/checkpoint/000000000007.safetensors"
    assert caught.value.__notes__ == [f"last good checkpoint: {kept}"] and kept.is_file()
    monkeypatch.undo()
    train(job(), tmp_path / "out")  # from the state before
    train(job(), tmp_path / "whole")
    assert (tmp_path / "out/scores.parquet").read_bytes() == (tmp_path / "whole/scores.parquet").read_bytes()


NAN = """
import sys, numpy as np
from septet.dynts.engines import Engine
advance = Engine.advance
def spoiled(self, point):
    advance(self, point)
    if point == 7:
        self.state["mu"][0, 1, 0, 0] = np.nan
Engine.advance = spoiled
sys.argv[0] = "dynts"
import runpy; runpy.run_module("septet.dynts", run_name="__main__", alter_sys=True)
"""


def test_its_exit_code_is_its_own(config, tmp_path):
    arguments = ["train", "--config", str(config), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", NAN, *arguments], capture_output=True, text=True)
    assert done.returncode == EXIT_NOT_FINITE, done.stderr
    assert "not finite" in done.stderr and "last good checkpoint: none" in done.stderr
    assert "Traceback" not in done.stderr


SECRETS = {
    "WANDB_API_KEY": "w4ndbs3cret0123456789",
    "HF_TOKEN": "hf_s3cr3ttoken987",
    "SOME_PASSWORD": "pa55w0rd-of-mine",
}


def test_secrets_of_the_environment_are_in_no_output(config, tmp_path):
    done = start(config, tmp_path / "out", env=SECRETS)
    assert done.returncode == 0
    config.write_text("{")
    refused = start(config, tmp_path / "other", env=SECRETS)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    written += [text.encode() for one in (done, refused) for text in (one.stdout, one.stderr)]
    assert len(written) > 4
    for name, secret in SECRETS.items():
        for content in written:
            assert secret.encode() not in content and name.encode() not in content
    card = json.loads((tmp_path / "out/run.json").read_text())
    processor = {"processor", "computes_as", "instruction_sets", "code_paths"}
    assert set(card["host"]) == {"name", "machine", "system", "cores", *processor}
