"""The `train` verb: a killed run ends with the bytes of the uninterrupted one; bad input is one line."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from metaexplore.config import Job
from metaexplore.cycle import Cycle
from metaexplore.train import train as train_job
from septet.errors import NotFinite

JOB = {
    "method": {"name": "m", "hidden": [16, 16], "trials": 2, "explore_steps": 50, "evaluate_steps": 50, "visits": True},
    "task": {"name": "t", "environment": "DeceptiveNavigation", "steps": 20_000},
    "seeds": [1, 2, 3],
    "points": 6,
    "tests": 2,
}


def started(out, job=JOB):
    command = [sys.executable, "-m", "metaexplore", "train", "--config", "-", "--out", str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    return process


def test_killed_in_the_middle_of_a_cycle_and_resumed_gives_the_same_bytes(tmp_path):
    whole = started(tmp_path / "whole")
    assert whole.wait(300) == 0, whole.stderr.read()
    codes = []
    while not codes or codes[-1] == 85:
        process = started(tmp_path / "cut")
        if len(codes) < 2:
            begun = time.monotonic()
            while time.monotonic() - begun < 60 and not (tmp_path / "cut/checkpoint/progress.json").exists():
                time.sleep(0.05)
            time.sleep(0.4)
            process.send_signal(signal.SIGTERM if not codes else signal.SIGUSR1)
        codes.append(process.wait(300))
    assert codes[-1] == 0 and 85 in codes
    one, two = ((tmp_path / name / "scores.parquet").read_bytes() for name in ("whole", "cut"))
    assert one == two
    scores = pl.read_parquet(tmp_path / "cut/scores.parquet")
    assert scores.filter(metric="return")["step"].unique().sort().to_list() == [20_000 * k // 6 for k in range(1, 7)]
    card = json.loads((tmp_path / "cut/run.json").read_text())
    assert card["steps"] <= 3 * 20_000 and list(card["methods"]) == ["m"]
    assert not (tmp_path / "cut/checkpoint").exists()


def test_a_student_that_is_no_number_stops_with_its_name(tmp_path, monkeypatch):
    train = Cycle.train

    def spoiled(self):
        self.students.actor[1, 0] = np.nan
        train(self)

    monkeypatch.setattr(Cycle, "train", spoiled)
    job = Job.model_validate({**JOB, "task": {**JOB["task"], "steps": 2000}})
    with pytest.raises(NotFinite, match=r"is not finite \(seed 2\)"):
        train_job(job, tmp_path)
    assert not (tmp_path / "scores.parquet").exists()


def test_bad_configuration_is_one_line(tmp_path):
    for change, word in (({"trials": 2, "student": "continue"}, "continue"), ({"sigma": 3.0}, "sigma_ceiling")):
        process = started(tmp_path / "out", {**JOB, "method": {**JOB["method"], **change}})
        assert process.wait(60) == 2
        error = process.stderr.read()
        assert word in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
