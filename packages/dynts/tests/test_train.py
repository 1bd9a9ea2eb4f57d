"""The train verb as a whole: determinism, batches, and what the paper's abstract says."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from septet.card import RunCard
from septet.dynts.config import GRID, Experiments, Job
from septet.dynts.engines import engine
from septet.dynts.train import train
from septet.dynts.upworthy import Preparation, prepare
from septet.scores import read_scores
from septet.state import load_state_dict, state_dict
from septet.testing import forgotten

EXPERIMENTS = Experiments()
PLAIN = {f"ts/{schedule}" for schedule in GRID}


def job(method, task, seeds=(0, 1, 2), **settings):
    return Job(
        method=EXPERIMENTS.methods[method].model_copy(update={"name": method}),
        task=EXPERIMENTS.tasks[task].model_copy(update={"name": task}),
        seeds=list(seeds),
        **settings,
    )


@pytest.fixture(scope="session")
def headlines(tmp_path_factory):
    out = tmp_path_factory.mktemp("stand-in")
    prepare(Preparation(data_source="generated"), out)
    return str(out / "upworthy.parquet")


CASES = [
    ("ts", "tau200"),
    ("ts_window", "tau200"),
    ("ts_kalman", "reset1000"),
    ("beta", "tau200"),
    ("ucb1", "static"),
    ("ucb", "shared1000"),
    ("ts_diagonal", "shared1000"),
    ("tracker", "headlines"),
    ("headline_ts", "headline_bandit"),
]


def run(case, out, headlines, **settings):
    method, task = case
    settings = {"horizon": 200, "points": 10, **settings}
    train(job(method, task, data_file=headlines if "headline" in task else None, **settings), out)
    return out / "scores.parquet"


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_the_same_job_gives_the_same_bytes_and_a_seed_alone_the_rows_of_its_batch(case, tmp_path, headlines):
    first, again = (run(case, tmp_path / name, headlines) for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    alone = read_scores(run(case, tmp_path / "alone", headlines, seeds=[1]))
    batch = read_scores(first).filter(pl.col("seed") == 1)
    key = ["method", "metric", "step"]
    shared = alone.join(batch, on=key, suffix="_batch")  # the path of one weight is that of the first seed only
    assert len(shared) >= len(batch) > 0
    assert np.allclose(shared["value"], shared["value_batch"], rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_all_that_a_block_depends_on_is_declared(case, headlines):
    method, task = case
    settings = {"horizon": 1000, "points": 10, "data_file": headlines if "headline" in task else None}
    whole, first, second = (engine(job(method, task, **settings)) for _ in range(3))
    made = ["block", "before", "discount", "generators", "world"]  # made when a block begins
    for block in range(2):
        first.advance(block)
        whole.advance(block)
    load_state_dict(second, state_dict(first))
    assert forgotten(first, second, made) <= {"weights"}  # of the block as well
    for block in range(2, 4):
        whole.advance(block)
        second.advance(block)
    assert forgotten(whole, second) == set()


@pytest.mark.parametrize("case", [("ts", "tau200"), ("beta", "reset1000"), ("ucb", "shared1000")], ids="-".join)
def test_neither_points_nor_horizon_change_what_is_played(case, tmp_path):
    few = read_scores(run(case, tmp_path / "few", None, horizon=600, points=5))
    for name, more in (("points", {"horizon": 600, "points": 10}), ("horizon", {"horizon": 960, "points": 8})):
        other = read_scores(run(case, tmp_path / name, None, **more))
        key = ["method", "metric", "step", "seed"]
        both = few.filter(metric="regret").join(other.filter(metric="regret"), on=key, suffix="_other")
        assert len(both) == len(few.filter(metric="regret"))
        assert both["value"].equals(both["value_other"])


def test_adding_a_seed_moves_no_other(tmp_path, headlines):
    few = read_scores(run(("ts", "tau200"), tmp_path / "few", headlines, seeds=[4, 7]))
    more = read_scores(run(("ts", "tau200"), tmp_path / "more", headlines, seeds=[9, 7, 4]))
    both = few.filter(metric="regret").join(more, on=["method", "metric", "step", "seed"], suffix="_more")
    assert len(both) == len(few.filter(metric="regret"))
    assert both["value"].equals(both["value_more"])


def test_the_run_card_says_what_ran(tmp_path, headlines):
    run(("ts", "tau200"), tmp_path, headlines)
    card = RunCard.read(tmp_path / "run.json")
    assert set(card.methods) == set(read_scores(tmp_path / "scores.parquet")["method"].unique())
    assert card.methods["ts/exp-0.99"]["forgetting"] == 0.01
    assert card.steps == len(card.methods) * 3 * 200 and card.data == "simulated"
    again = Job.model_validate(card.config)  # the card's configuration is a job
    train(again, tmp_path / "again")
    assert (tmp_path / "again/scores.parquet").read_bytes() == (tmp_path / "scores.parquet").read_bytes()
    assert RunCard.read(tmp_path / "again/run.json").id == card.id


def command(config, out):
    return [sys.executable, "-m", "septet.dynts", "train", "--config", str(config), "--out", str(out)]


# What the abstract says, at a size that a test can afford, on seeds that no report uses.


def final_regret(method, task, tmp_path, horizon, seeds=range(500, 510)):
    train(job(method, task, seeds=seeds, horizon=horizon), tmp_path / method / task)
    scores = read_scores(tmp_path / method / task / "scores.parquet").filter(metric="regret", step=horizon)
    return {label: rows.sort("seed")["value"].to_numpy() for (label,), rows in scores.group_by("method")}


def test_discounting_hurts_in_a_static_world_and_helps_in_a_moving_one(tmp_path):
    static = final_regret("ts", "static", tmp_path, 3000)
    assert (static["ts/exp-0.99"] - static["ts/none"]).mean() > 0
    moving = final_regret("ts", "tau200", tmp_path, 3000)
    gain = moving["ts/none"] - moving["ts/exp-0.998"]
    assert gain.mean() > 4 * gain.std(ddof=1) / np.sqrt(len(gain))


def test_the_best_decay_forgets_faster_when_the_world_moves_faster(tmp_path):
    best = []
    for task in ("static", "tau1000", "tau200"):
        regret = final_regret("ts", task, tmp_path, 3000)
        grid = {label: values.mean() for label, values in regret.items() if label in PLAIN}
        winner = min(grid, key=grid.__getitem__)
        best.append(0.0 if winner == "ts/none" else 1.0 - float(winner.removeprefix("ts/exp-")))
    assert best[0] < best[1] < best[2]


def test_log_loss_on_real_headlines_is_lower_with_a_slow_discount(real_data, tmp_path):
    prepare(Preparation(data_dir=str(real_data), data_source="real"), tmp_path)
    table = str(tmp_path / "upworthy.parquet")
    train(job("tracker", "headlines", seeds=[500, 501, 502], data_file=table), tmp_path / "run")
    scores = read_scores(tmp_path / "run/scores.parquet").filter(pl.col("step") == pl.col("step").max())
    loss = {label: rows["value"].mean() for (label,), rows in scores.group_by("method")}
    assert loss["tracker/exp-0.999"] < loss["tracker/none"] < loss["tracker/constant"]
    assert loss["tracker/true-rates"] < loss["tracker/exp-0.999"]


def test_read_only_and_missing_data_leave_nothing(tmp_path):
    config = tmp_path / "job.json"
    config.write_text(json.dumps(job("tracker", "headlines", data_file="nowhere.parquet").model_dump(mode="json")))
    done = subprocess.run(command(config, tmp_path / "out"), capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "nowhere.parquet" in done.stderr
    assert list(tmp_path.iterdir()) == [config]


def test_an_arm_that_greedy_leaves_alone_keeps_a_variance(tmp_path):
    """Uncapped, its covariance grows by gamma^-t: beyond 1e15 the next click would leave a negative variance."""
    base = EXPERIMENTS.methods["greedy"].model_copy(update={"name": "greedy", "schedules": ["exp-0.9-uncapped"]})
    settings = {**job("greedy", "tau200", seeds=(14, 18), horizon=5000, points=5).model_dump(mode="json")}
    train(Job.model_validate({**settings, "method": base.model_dump(mode="json")}), tmp_path)
    assert read_scores(tmp_path / "scores.parquet")["value"].is_finite().all()
