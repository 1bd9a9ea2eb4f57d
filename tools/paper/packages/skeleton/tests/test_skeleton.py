"""The method against numbers computed by hand, and its job as a whole."""

import numpy as np
import pytest

from septet.cli import stop_request
from septet.errors import Interrupted
from septet.scores import read_scores
from septet.skeleton.config import Experiments, Job
from septet.skeleton.method import shrunk, squared_error
from septet.skeleton.train import train

EXPERIMENTS = Experiments()


def job(**settings):
    method = EXPERIMENTS.methods["shrunk"].model_copy(update={"name": "shrunk"})
    task = EXPERIMENTS.tasks["gaussian"].model_copy(update={"name": "gaussian"})
    return Job(method=method, task=task, **{"seeds": [0, 1, 2], "rounds": 20, **settings})


def test_shrinking_by_hand():
    x = np.array([3.0, 0.0, 4.0])  # |x|² = 25, so the factor is 1 - 1/25
    assert np.allclose(shrunk(x, 1.0), 0.96 * x)
    assert np.array_equal(shrunk(x, 100.0), np.zeros(3))  # never past zero
    assert squared_error(x, np.zeros(3)) == 25.0


def test_the_same_job_gives_the_same_bytes_and_a_seed_alone_the_rows_of_its_batch(tmp_path):
    for name, given in (("first", job()), ("again", job()), ("alone", job(seeds=[1]))):
        train(given, tmp_path / name)
    first, again = (tmp_path / name / "scores.parquet" for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert read_scores(first).filter(seed=1).equals(read_scores(tmp_path / "alone/scores.parquet"))


def test_a_stopped_job_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    train(job(), tmp_path / "whole")
    monkeypatch.setattr(stop_request, "signal", 15)
    for _ in range(3):  # stopped after every round
        with pytest.raises(Interrupted, match="state saved"):
            train(job(), tmp_path / "stopped")
    monkeypatch.setattr(stop_request, "signal", None)
    train(job(), tmp_path / "stopped")
    whole, stopped = (tmp_path / name / "scores.parquet" for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()
