"""The predictors that a job leaves choose what the job chose."""

import signal

import numpy as np
import polars as pl
import pytest

from septet.cli import stop_request
from septet.errors import InputError, Interrupted
from septet.model_files import read_model
from septet.scores import read_scores
from septet.vrda.config import Job, Method, Preparation, Task
from septet.vrda.lists import read_lists
from septet.vrda.predictors import load_predictor
from septet.vrda.prepare import prepare
from septet.vrda.rerank import choose
from septet.vrda.train import train


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    out = tmp_path_factory.mktemp("lists")
    prepare(Preparation(task=Task(name="t", train_lists=80, test_lists=40, least=2), data_source="generated"), out)
    return out / "lists.safetensors"


def job(lists, **method):
    task = Task(name="t", train_lists=80, test_lists=40)
    return Job(method=Method(name="m", **method), task=task, data_file=str(lists), seeds=[0, 3], epochs=2, reads=[1, 2])


METHODS = [{"l1": [0.0, 0.01]}, {"learner": "tg", "l1": [0.01]}, {"learner": "maxent", "loss": "log", "l1": [0.05]}]


@pytest.mark.parametrize("method", METHODS, ids=["vrda", "tg", "maxent"])
def test_a_loaded_predictor_has_the_f_of_the_table(method, lists, tmp_path):
    train(job(lists, **method), tmp_path)
    test = read_lists(lists, "test")
    card, _ = read_model(tmp_path, "vrda")
    table = read_scores(tmp_path / "scores.parquet").filter(pl.col("metric") == "f", pl.col("seed") == 0)
    assert len(card["labels"]) == sum(len(m) for m in [card["f"]]) >= len(method["l1"])
    for label, f in zip(card["labels"], card["f"], strict=True):
        rows = table.filter(pl.col("method") == label).sort("step")
        weights = load_predictor(tmp_path, label)
        assert test.f_score(choose(test, weights)) == pytest.approx(rows["value"][-1], abs=1e-12)
        assert f == rows["value"][-1] and np.count_nonzero(weights[0]) > 0
    with pytest.raises(InputError, match="load_predictor: label: expected one of m"):
        load_predictor(tmp_path, "other")


def test_the_model_is_the_same_after_a_resume_and_the_scores_know_nothing_of_it(lists, tmp_path):
    wanted = job(lists, l1=[0.0, 0.01])
    train(wanted, tmp_path / "whole")
    stop_request.signal = signal.SIGTERM
    try:
        with pytest.raises(Interrupted):
            train(wanted, tmp_path / "parts")
    finally:
        stop_request.signal = None
    train(wanted, tmp_path / "parts")
    train(wanted.model_copy(update={"keep_model": "none"}), tmp_path / "none")
    assert not (tmp_path / "none/model").exists()
    model, scores = "model/arrays.safetensors", "scores.parquet"
    whole = (tmp_path / "whole" / model).read_bytes()
    assert whole == (tmp_path / "parts" / model).read_bytes() and len(whole) < 200_000
    assert len({(tmp_path / name / scores).read_bytes() for name in ("whole", "parts", "none")}) == 1
