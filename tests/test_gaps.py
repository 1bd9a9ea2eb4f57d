"""Jobs whose episodes end at other steps in one seed than in another, from `train` to the curves of the report."""

import json
import subprocess
import sys

import polars as pl
import pytest

from septet.report import tables

POLE, HOPPER = {"environment": "InvertedPendulum-v5"}, {"environment": "Hopper-v5"}
NETS = {"hidden": [8, 8]}
JOBS = {
    "ppo, iterations shorter than an episode": (
        {"algorithm": "ppo", "steps": 8, "epochs": 1, "minibatch_size": 4, **NETS},
        POLE,
        80,
    ),
    "trpo": ({"algorithm": "trpo", "steps": 8, "value_epochs": 1, "value_minibatch_size": 4, **NETS}, POLE, 80),
    "vpg": ({"algorithm": "vpg", "steps": 8, "value_epochs": 1, "value_minibatch_size": 4, **NETS}, POLE, 80),
    "ddpg": ({"algorithm": "ddpg", "learning_starts": 30, "report": 8, "batch_size": 4, **NETS}, POLE, 80),
    "ppo_kl, whole episodes": ({"algorithm": "ppo_kl", "steps": 50, "policy_steps": 2}, HOPPER, 150),
    "ppo, no episode ends": (
        {"algorithm": "ppo", "steps": 8, "epochs": 1, "minibatch_size": 4, **NETS},
        {"environment": "Pendulum-v1"},
        80,
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_was_accepted_ends_in_a_usable_table(name, tmp_path):
    method, task, steps = JOBS[name]
    job = {"paper": "rl", "method": method, "task": task, "seeds": [0, 1, 2, 3, 4], "steps": steps}
    run, merged = tmp_path / "run", tmp_path / "results"
    for package, verb, config, out in (
        ("walle" if method["algorithm"] == "ppo_kl" else "rl", "train", job, run),
        ("report", "evaluate", {"paper": "rl", "scale": "laptop", "runs": [str(run)]}, merged),
    ):
        command = [sys.executable, "-m", f"septet.{package}", verb, "--config", "-", "--out", str(out)]
        done = subprocess.run(command, input=json.dumps(config), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    paper = tables.read_paper(merged)
    ended = paper.scores.filter(pl.col("metric") == "episodes").group_by("seed").agg(pl.col("value").sum())
    assert ended["seed"].n_unique() == 5
    begun = set(paper.scores.filter(pl.col("metric") == "return")["seed"])
    assert begun == set(ended.filter(pl.col("value") > 0)["seed"])  # who has ended an episode has a return
    for metric in paper.scores["metric"].unique():
        curve = tables.curves(paper, metric, resamples=10)
        assert curve["step"][-1] == -(-steps // curve["step"].max()) * curve["step"].max()
