"""The `train` verb: its tables, faults, bad input; tests/resume kills it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from septet.errors import NotFinite
from septet.metaexplore import train as module
from septet.metaexplore.config import Experiments, Job
from septet.metaexplore.environments import make_environments, noise_free_return
from septet.rl.evaluation import returns_of
from septet.rl.models import load_model
from septet.scores import read_scores

JOB = {
    "method": {"name": "m", "hidden": [16, 16], "trials": 2, "explore_steps": 50, "evaluate_steps": 50, "visits": True},
    "task": {"name": "t", "environment": "DeceptiveNavigation", "steps": 3600},
    "seeds": [1, 2, 3],
    "points": 6,
    "tests": 2,
}


def test_the_same_job_gives_the_same_bytes(tmp_path):
    job = Job.model_validate(JOB)
    for name in ("one", "two"):
        module.train(job, tmp_path / name)
    assert (tmp_path / "one/scores.parquet").read_bytes() == (tmp_path / "two/scores.parquet").read_bytes()
    scores = read_scores(tmp_path / "one/scores.parquet")
    assert scores.filter(metric="return")["step"].unique().sort().to_list() == [600 * k for k in range(1, 7)]
    card = json.loads((tmp_path / "one/run.json").read_text())
    assert card["steps"] <= 3 * 3600 and list(card["methods"]) == ["m"]
    assert not (tmp_path / "one/checkpoint").exists()


def test_a_student_that_is_no_number_stops_with_its_name(tmp_path, monkeypatch):
    learn = module.learn

    def spoiled(learner, number):
        learner.student.networks.actor[1, 0] = np.nan
        learn(learner, number)

    monkeypatch.setattr(module, "learn", spoiled)
    job = Job.model_validate(JOB)
    with pytest.raises(NotFinite, match=r"is not finite \(seed 2\)"):
        module.train(job, tmp_path)
    assert not (tmp_path / "scores.parquet").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stages": [0, 2]}, "ascending stages, 1 or more"),
        ({"learner": {"student": "continue"}}, "restored after each trial"),
        ({"settings": {}}, "at least 1 item"),
        ({"settings": {"wide": {"hidden": [32, 32]}}}, "settings.wide without hidden"),
        ({"settings": {"other": {"explorer": "local"}}}, "settings.other without explorer"),
        ({"settings": {"on": {"student": "continue"}}}, "settings.on without student"),
    ],
)
def test_a_study_that_could_not_be_judged_is_refused(change, says):
    with pytest.raises(ValidationError, match=says):
        Job.model_validate({**JOB, "method": {"kind": "study", **change}})


def test_more_points_than_steps_are_refused():
    with pytest.raises(ValidationError, match="steps for 5000 points"):
        Job.model_validate({**JOB, "points": 5000})


def test_bad_configuration_is_one_line(tmp_path):
    for change, word in (({"trials": 2, "student": "continue"}, "continue"), ({"sigma": 3.0}, "sigma_ceiling")):
        job = json.dumps({**JOB, "method": {**JOB["method"], **change}})
        command = [sys.executable, "-m", "septet.metaexplore", "train", "--config", "-", "--out", str(tmp_path / "out")]
        done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert word in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_noise_runs_under_both_countings_of_the_updates():
    """50 updates in 300 steps as meta's student, and 100 as its two students; in every other way the same method."""
    methods = Experiments().methods
    meta = methods["meta"]
    assert (meta.student_updates, meta.trial_updates, meta.cycle_steps) == (50, 50, 300)
    for noise in ("ou", "uniform", "gaussian", "parameter"):
        own, total = methods[noise], methods[f"{noise}_double"]
        assert (own.cycle_steps, own.student_updates, total.student_updates) == (300, 50, 100)
        changed = {key for key, value in own.model_dump().items() if value != getattr(total, key)}
        assert changed - {"visits"} == {"student_updates"}
    for task, names in Experiments().runs.items():
        assert {name for name in names if f"{name}_double" in methods} == {
            name.removesuffix("_double") for name in names if name.endswith("_double")
        }, task


@pytest.mark.parametrize("explorer", ["independent", "gaussian"])
def test_the_best_students_of_the_model_have_the_best_returns_of_the_table(explorer, tmp_path):
    """The students that are loaded run the test episodes again, to the last bit."""
    job = Job.model_validate({**JOB, "method": {**JOB["method"], "explorer": explorer}})
    module.train(job, tmp_path)
    model = load_model(tmp_path)
    returns = read_scores(tmp_path / "scores.parquet").filter(metric="return").sort("seed", "step")
    table = returns["value"].to_numpy().reshape(3, 6)
    tests = make_environments("DeceptiveNavigation", {}, [1, 2, 3], 2, job.root_seed, "test")
    for kind, expected in (("best", table.max(axis=1)), ("last", table[:, -1])):
        policy = model.policy(kind)
        found, _ = noise_free_return(tests, lambda seen, own=policy: own.act(seen.reshape(3, 2, 2)).reshape(6, 2))
        np.testing.assert_array_equal(found, expected)
        assert model.card.kinds[kind].scores == expected.tolist()
    found, lengths = returns_of(model.policy("best"), model.card.environment, 4)  # a task that no lower package knows
    assert found.shape == (3, 4) and (lengths == 50).all()
