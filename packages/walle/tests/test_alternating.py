"""Pools of samplers that take turns: the same training as each pool alone, and times of every round."""

import polars as pl

from septet.card import RunCard
from septet.walle.config import Job
from septet.walle.train import train

ALONE = ("kl", "beta", "value_loss", "return")
COMMON = {
    "task": {"name": "slow_simulator", "environment": "SlowPendulum", "iteration_steps": 200},
    "seeds": [1000, 1001],
    "steps": 600,
}


def job(**method):
    return Job.model_validate({**COMMON, "method": {"policy_steps": 3, "value_epochs": 1, **method}})


def rows(table):
    return table.sort("metric", "seed", "step")


def test_pools_in_turn_train_as_each_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPTET_SAVE_EVERY", "0")  # a checkpoint after every round
    train(job(algorithm="alternating", name="both", pools=[0, 2]), tmp_path / "both")
    both = pl.read_parquet(tmp_path / "both/scores.parquet")
    for name, pool in (("in_process", 0), ("n2", 2)):
        train(job(algorithm="ppo_kl", name=name, samplers=pool), tmp_path / name)
        alone = pl.read_parquet(tmp_path / name / "scores.parquet")
        assert set(alone["metric"]) >= set(ALONE)
        turns = both.filter(method=f"both/{name}").with_columns(method=pl.lit(name))
        assert rows(turns).equals(rows(alone))
    card = RunCard.read(tmp_path / "both/run.json")
    assert {name: settings["samplers"] for name, settings in card.methods.items()} == {
        "both/in_process": 0,
        "both/n2": 2,
    }
    assert card.steps == 2 * 2 * 600  # pools, seeds, steps


def test_every_pool_is_timed_in_every_round(tmp_path):
    train(job(algorithm="alternating", name="alternating", pools=[0, 1]), tmp_path)
    times = pl.read_parquet(tmp_path / "timing.parquet")
    rounds = times.group_by("method", "phase").agg(pl.col("step").sort())
    assert set(rounds["method"]) == {"alternating/in_process", "alternating/n1"} and set(rounds["phase"]) >= {
        "collect",
        "learn",
    }
    assert all(steps == [200, 400, 600] for steps in rounds["step"].to_list())
