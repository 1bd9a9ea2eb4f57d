"""The verbs from the outside: prepare, train, stop and resume, bad input."""

import json
import signal
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from septet.card import RunCard
from septet.cli import stop_request
from septet.data import sha256
from septet.errors import Interrupted, NotFinite
from septet.scores import read_scores
from septet.vrda.config import Experiments, Job, Method, Preparation, Task, number
from septet.vrda.lists import read_lists
from septet.vrda.prepare import prepare
from septet.vrda.summaries import SPARSE, in_order, over_epochs
from septet.vrda.train import train


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    out = tmp_path_factory.mktemp("lists")
    prepare(Preparation(task=Task(name="t", train_lists=80, test_lists=40, least=2), data_source="generated"), out)
    return str(out / "lists.safetensors")


def job(lists, **method):
    return Job(
        method=Method(name="m", **method),
        task=Task(name="t", train_lists=80, test_lists=40),
        data_file=lists,
        seeds=[0, 3],
        epochs=2,
        reads=[0.5, 1, 2],
    )


METHODS = [
    {"learner": "vrda", "l1": [0.0, 0.01], "vote_l1": [0.01], "bound": True},
    {"learner": "vrda", "loss": "log", "l1": [0.001]},
    {"learner": "perceptron", "vote_l1": [0.0]},
    {"learner": "rda", "l1": [0.001]},
    {"learner": "rda", "loss": "log", "l1": [0.0, 0.001, 0.01]},
    {"learner": "tg", "l1": [0.01]},
    {"learner": "fobos", "l1": [0.01]},
    {"learner": "maxent", "loss": "log", "l1": [0.05]},
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m['learner']}-{m.get('loss', 'hinge')}")
def test_train_writes_finite_scores_and_a_card(lists, tmp_path, method):
    train(job(lists, **method), tmp_path)
    scores = read_scores(tmp_path / "scores.parquet")
    card = RunCard.read(tmp_path / "run.json")
    assert scores["value"].is_finite().all()
    assert set(scores["method"]) == set(card.methods) == set(job(lists, **method).method.labels())
    assert card.data.startswith("generated")
    assert sorted(set(scores["seed"])) == [0, 3]
    assert not (tmp_path / "checkpoint").exists()
    f = scores.filter(pl.col("metric") == "f")["value"]
    assert f.is_between(0, 1).all()
    if method.get("bound"):
        assert (scores.filter(pl.col("metric") == "bound_share")["value"] <= 1).all()


def test_a_seed_is_the_same_alone(lists, tmp_path):
    both = job(lists, l1=[0.01])
    train(both, tmp_path / "both")
    train(both.model_copy(update={"seeds": [3]}), tmp_path / "alone")
    a = read_scores(tmp_path / "both" / "scores.parquet").filter(pl.col("seed") == 3)
    assert a.equals(read_scores(tmp_path / "alone" / "scores.parquet"))


def test_stopped_and_resumed_gives_the_same_bytes(lists, tmp_path):
    wanted = job(lists, l1=[0.0, 0.01], bound=True)
    train(wanted, tmp_path / "whole")
    stops = 0
    while True:
        stop_request.signal = signal.SIGTERM
        try:
            train(wanted, tmp_path / "parts")
            break
        except Interrupted:
            stops += 1
            assert not (tmp_path / "parts" / "scores.parquet").exists()
            if stops == 4:
                stop_request.signal = None
                train(wanted, tmp_path / "parts")
                break
        finally:
            stop_request.signal = None
    assert stops == 4
    assert sha256(tmp_path / "parts" / "scores.parquet") == sha256(tmp_path / "whole" / "scores.parquet")


def test_a_metric_that_is_no_number_stops_with_its_place(lists, tmp_path, monkeypatch):
    import septet.vrda.train as module

    whole = module.learn

    def spoiled(job, l1, seed, *rest):
        curves, ends, weights = whole(job, l1, seed, *rest)
        if seed == 1:
            curves[0, 0] = np.nan
        return curves, ends, weights

    monkeypatch.setattr(module, "learn", spoiled)
    with pytest.raises(NotFinite, match=r"run 1: a metric at l1 0\.01 is not finite \(seed 3\)"):
        train(job(lists, l1=[0.01]), tmp_path)
    assert not (tmp_path / "scores.parquet").exists()


def run(verb, config, out):
    return subprocess.run(
        [sys.executable, "-m", "septet.vrda", verb, "--config", "-", "--out", str(out)],
        input=json.dumps(config),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("verb", "config", "message"),
    [
        ("prepare", {"task": {}, "data_dir": "/nowhere"}, "data_dir /nowhere: expected the file craft-50best/train"),
        ("prepare", {"task": {"train_lists": 3}}, "task.train_lists: expected greater than or equal to 20, found 3"),
        ("train", {"method": {}, "task": {}, "data_file": "none"}, "none: expected lists made by"),
        ("train", {"method": {"l1": [-1]}, "task": {}, "data_file": "x"}, "method.l1: expected numbers that rise"),
        (
            "train",
            {"method": {"lr": 1}, "task": {}, "data_file": "x"},
            "method: expected one of the keys bound, eta, ",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, verb, config, message):
    done = run(verb, config, tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_checksum_is_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "craft-50best").mkdir(exist_ok=True)
        (tmp_path / "craft-50best" / f"{split}.jsonl.gz").write_bytes(b"other")
    done = run("prepare", {"task": {}, "data_dir": str(tmp_path)}, tmp_path / "out")
    assert done.returncode == 2
    assert "expected SHA-256 2e8572f1af2e" in done.stderr


def test_without_data_the_lists_are_generated_and_say_so(tmp_path, monkeypatch):
    monkeypatch.delenv("SEPTET_DATA", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    done = run("prepare", {"task": {"train_lists": 20, "test_lists": 20, "least": 1}}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "data set craft-treebank: expected SEPTET_DATA, or an answer from https://" in done.stderr
    assert "; using generated lists" in done.stderr


def test_generated_lists_look_like_the_real_ones(lists):
    train_lists = read_lists(lists, "train")
    assert 30 < np.diff(train_lists.starts).mean() <= 50
    assert 0.75 < train_lists.f_score(train_lists.starts[:-1]) < 0.9
    assert 0.92 < train_lists.f_score(train_lists.target) < 0.98


def test_defaults_hold_together():
    experiments = Experiments()
    assert set(experiments.runs) <= set(experiments.tasks)
    assert [number(x) for x in (0.0, 3e-4, 0.01, 2.5e-5, 1.0)] == ["0", "3e-4", "1e-2", "2.5e-5", "1e0"]


def test_the_bound_holds_at_the_end_of_each_run(lists, tmp_path):
    for epochs in (1, 2):
        wanted = job(lists, l1=[0.0, 0.01], bound=True).model_copy(
            update={"epochs": epochs, "reads": [0.5, *range(1, epochs + 1)]}
        )
        train(wanted, tmp_path / str(epochs))
        scores = read_scores(tmp_path / str(epochs) / "scores.parquet")
        scores = scores.filter(pl.col("metric").is_in(["mistakes", "bound"]), pl.col("step") == 80 * epochs)
        found = scores.pivot("metric", index=["method", "seed"], values="value")
        assert len(found) == 2 * 2
        assert (found["mistakes"] > 0).all()
        assert (found["mistakes"] <= found["bound"]).all()


def test_summaries_are_those_of_the_curves(lists, tmp_path):
    """Means and deviations over the ends of epochs, and shares of pairs over lambdas, from the table's own curves."""
    wanted = job(lists, l1=[0.0, 0.01, 0.05], loss="log", gamma=1000.0).model_copy(
        update={"epochs": 4, "reads": [0.5, 1.0, 2.0, 3.0, 4.0]}
    )
    train(wanted, tmp_path)
    scores = read_scores(tmp_path / "scores.parquet")

    def read(metric, label, seed=3):
        rows = scores.filter(pl.col("metric") == metric, pl.col("method") == label, pl.col("seed") == seed)
        return rows.sort("step")["value"].to_numpy()

    f, nonzeros = read("f", "m/l1-1e-2/averaged")[1:], read("nonzeros", "m/l1-1e-2/averaged")[1:]
    assert read("f_epochs", "m/l1-1e-2/averaged") == pytest.approx(f.mean())
    assert read("f_spread", "m/l1-1e-2/averaged") == pytest.approx(np.std(f, ddof=1))
    assert read("f_half", "m/l1-1e-2/averaged") == pytest.approx(f[:2].mean())
    assert read("f_spread_half", "m/l1-1e-2/averaged") == pytest.approx(abs(f[0] - f[1]) / np.sqrt(2))
    assert read("nonzeros_epochs", "m/l1-1e-2/averaged") == pytest.approx(nonzeros.mean())
    test, features = read_lists(lists, "test"), read_lists(lists, "train").features
    dense, sparse = read("share", "m/l1-1e-2/averaged"), read("share", "m/l1-5e-2/last")
    assert dense == pytest.approx(nonzeros.mean() / features)
    assert dense > SPARSE > sparse
    assert read("f_if_sparse", "m/l1-1e-2/averaged") == pytest.approx(test.f_score(test.starts[:-1]))
    assert read("f_if_sparse", "m/l1-5e-2/last") == read("f_epochs", "m/l1-5e-2/last")
    every = [read("f_if_sparse", f"m/l1-{l1}/{kind}") for l1 in ("0", "1e-2", "5e-2") for kind in ("last", "averaged")]
    assert read("f_if_sparse", "m/range") == max(every)
    mistakes = [read("mistakes", f"m/l1-{l1}/last") for l1 in ("0", "1e-2", "5e-2")]
    rises = [mistakes[i][-1] < mistakes[j][-1] for i, j in ((0, 1), (0, 2), (1, 2))]
    assert read("mistakes_rise", "m/range") == pytest.approx(np.mean(rises))
    assert read("growth", "m/range") == pytest.approx(max(m[-1] / (4 * m[1]) for m in mistakes))
    times = pl.read_parquet(tmp_path / "timing.parquet").filter(pl.col("phase") == "learn")
    assert times.group_by("method").len().sort("method")["len"].to_list() == [4 * 2] * 3
    assert (times["seconds"] > 0).all()


def test_shares_of_pairs_by_hand():
    assert in_order(np.array([[1.0, 1.0], [2.0, 3.0], [3.0, 2.0]])).tolist() == [1.0, pytest.approx(2 / 3)]
    mean, spread = over_epochs(np.array([[1.0, 2.0, 3.0]]))
    assert (mean.tolist(), spread.tolist()) == ([2.0], [1.0])
    assert over_epochs(np.array([[1.0]]))[1].tolist() == [0.0]
