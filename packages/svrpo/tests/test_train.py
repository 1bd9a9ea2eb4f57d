"""The train verb as a whole: determinism, batches, and the method page's checks on a small run."""

import os
import signal
import subprocess
import sys

import gymnasium
import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from septet.card import RunCard
from septet.errors import InputError, Interrupted, NotFinite
from septet.rl.evaluation import returns_of
from septet.rl.models import load_model
from septet.scores import read_scores, read_timing
from septet.state import load_state_dict, state_dict
from septet.svrpo.config import Experiments, Job, Task
from septet.svrpo.train import build, train
from septet.testing import forgotten

EXPERIMENTS = Experiments()
POLE = Task(
    name="cart_pole", environment="ContinuousCartPole", batch_size=400, minibatch_size=40, inner_steps=4, iterations=4,
    environments=2, gamma=0.99, hidden=(8, 8),
)  # fmt: skip
SWING = POLE.model_copy(
    update={"name": "pendulum", "environment": "Pendulum-v1", "batch_size": 2000, "environments": 5}
)

BANDIT = EXPERIMENTS.tasks["bandit"].model_copy(update={"name": "bandit", "batch_size": 200, "minibatch_size": 20})


def job(method, task=POLE, seeds=(0, 1), **settings):
    chosen = EXPERIMENTS.methods[method].model_copy(update={"name": method})
    return Job(method=chosen, task=task, seeds=list(seeds), redraw_every=2, **settings)


CASES = [("svrpo", POLE), ("trpo", POLE), ("svrpo_stop", POLE), ("svrpo_ratio", POLE), ("full", POLE), ("sgd", POLE)]
CASES += [("svrpg", SWING), ("srvrpg", SWING)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_same_job_gives_the_same_bytes_and_a_seed_alone_the_rows_of_its_batch(case, tmp_path):
    for name, seeds in (("first", (1, 2, 3)), ("again", (1, 2, 3)), ("alone", (3,))):
        train(job(*case, seeds=seeds), tmp_path / name)
    first = tmp_path / "first/scores.parquet"
    assert first.read_bytes() == (tmp_path / "again/scores.parquet").read_bytes()
    alone = read_scores(tmp_path / "alone/scores.parquet")
    assert alone.equals(read_scores(first).filter(seed=3)) and len(alone) > 0
    assert not (tmp_path / "first/checkpoint").exists()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_all_that_an_iteration_depends_on_is_declared(case):
    whole, first, second = (build(job(*case)) for _ in range(3))
    for k in range(2):
        first.iterate(k)
        whole.iterate(k)
    load_state_dict(second, state_dict(first))
    assert forgotten(first, second) == set()
    expected, found = whole.iterate(2), second.iterate(2)
    for name, values in expected.scores.items():
        np.testing.assert_array_equal(found.scores[name], values)
    assert forgotten(whole, second) == set()


@pytest.mark.parametrize("case", [("svrpo", POLE), ("svrpg", SWING)], ids=lambda case: case[0])
def test_the_threads_of_openblas_change_no_byte(case, tmp_path):
    found = set()
    for threads in ("1", "2"):
        out = tmp_path / threads
        command = [sys.executable, "-m", "septet.svrpo", "train", "--config", "-", "--out", str(out)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads}
        text = job(*case).model_dump_json()
        subprocess.run(command, input=text, text=True, check=True, capture_output=True, env=environment)
        found.add((out / "scores.parquet").read_bytes())
    assert len(found) == 1


MKL = ("matmul", "__matmul__", "mm", "bmm", "mv", "dot", "addmm", "baddbmm", "exp", "exp_", "log", "tanh", "tanh_")
"""Functions for which PyTorch calls MKL, whose results depend on the maker of the processor."""


@pytest.mark.parametrize("case", [*CASES, ("estimators", BANDIT)], ids=lambda case: case[0])
def test_no_method_computes_with_mkl(case, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("MKL")

    for name in MKL:
        monkeypatch.setattr(torch.Tensor, name, refuse)
        monkeypatch.setattr(torch, name, refuse, raising=False)
    with pytest.raises(AssertionError, match="MKL"):
        torch.ones(2).exp()
    train(job(*case), tmp_path)


def test_threads_change_nothing(tmp_path):
    for threads in (1, 2):
        train(job("svrpo", threads=threads), tmp_path / str(threads))
    assert (tmp_path / "1/scores.parquet").read_bytes() == (tmp_path / "2/scores.parquet").read_bytes()


def test_scores_timing_and_card(tmp_path):
    train(job("svrpo"), tmp_path)
    scores = read_scores(tmp_path / "scores.parquet")
    assert (scores.filter(metric="kl")["value"] <= 0.01).all()
    assert scores.filter(metric="return")["step"].unique().sort().to_list() == [400, 800, 1200, 1600]
    positions = scores.filter(metric="variance_ratio_at")
    assert positions["step"].unique().sort().to_list() == [1, 2, 3, 4]
    assert (positions.filter(step=1)["value"] == 0.0).all()
    assert set(read_timing(tmp_path / "timing.parquet")["phase"]) == {"collect", "learn"}
    card = RunCard.read(tmp_path / "run.json")
    assert card.methods["svrpo"]["gradient"] == "svrg" and card.steps == 2 * 4 * 400


def test_the_checks_of_the_method_page_on_cart_pole(tmp_path):
    """Section 7: variance ratio below 0.5 at every inner step, final KL at most delta (2 seeds, 8 iterations).

    Over 16 seeds on each processor of septet.processor the ratio at an inner step is at most 0.19 on average and
    0.39 for a seed; the return goes from 24 (standard deviation 6) to 131 to 144 (34 to 37), the worst seed's to 53.
    """
    task = EXPERIMENTS.tasks["cart_pole"].model_copy(update={"name": "cart_pole", "iterations": 8})
    train(job("svrpo", task, seeds=(1000, 1001)), tmp_path)
    scores = read_scores(tmp_path / "scores.parquet")
    assert (scores.filter(metric="kl")["value"] <= 0.01).all()
    ratio = scores.filter(metric="variance_ratio_at").group_by("step").agg(pl.col("value").mean())
    assert (ratio["value"] < 0.5).all()
    assert scores.filter(metric="return", step=16_000)["value"].mean() > 50


def test_an_environment_without_a_time_limit_is_refused():
    class Endless(gymnasium.Env):
        observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Box(-1, 1, (1,))

    gymnasium.register("Endless-v0", Endless)
    with pytest.raises(InputError, match="expected a time limit on episodes, found none"):
        build(job("svrpo", POLE.model_copy(update={"environment": "Endless-v0"})))
    del gymnasium.registry["Endless-v0"]


def test_a_single_block_has_no_variance(tmp_path):
    train(job("svrpo", POLE.model_copy(update={"minibatch_size": 400})), tmp_path)
    assert (read_scores(tmp_path / "scores.parquet").filter(metric="variance_ratio_at")["value"] == 0.0).all()


class Stops:
    """A stop request that comes at the given looks at it."""

    def __init__(self, *at):
        self.at, self.looks = at, 0

    @property
    def signal(self):
        self.looks += 1
        return signal.SIGTERM if self.looks in self.at else None


@pytest.mark.parametrize("case", [CASES[0], *CASES[-2:]], ids=lambda case: case[0])
def test_a_job_that_is_stopped_again_and_again_ends_with_the_same_bytes(case, tmp_path, monkeypatch):
    train(job(*case), tmp_path / "whole")
    for at in (1, 2):
        monkeypatch.setattr("septet.checkpoint.stop_request", Stops(at))
        with pytest.raises(Interrupted):
            train(job(*case), tmp_path / "cut")
        assert not (tmp_path / "cut/scores.parquet").exists()
    monkeypatch.setattr("septet.checkpoint.stop_request", Stops())
    train(job(*case), tmp_path / "cut")
    first, second = (tmp_path / name / "scores.parquet" for name in ("whole", "cut"))
    assert first.read_bytes() == second.read_bytes()


def test_a_number_that_is_not_finite_is_named():
    learner = build(job("svrpo"))
    learner.iterate(0)
    learner.coefficients[1] = np.nan
    with pytest.raises(NotFinite, match=r"iteration 1: advantage is not finite \(seed 1\)"):
        learner.iterate(1)


def test_bad_jobs_are_refused():
    with pytest.raises(ValidationError, match="multiple of minibatch_size"):
        Task(batch_size=100, minibatch_size=30)
    with pytest.raises(ValidationError, match="hessian_blocks"):
        job("svrpo", POLE.model_copy(update={"batch_size": 444, "minibatch_size": 111}))
    with pytest.raises(InputError, match="at least the time limit of 200"):
        build(job("svrpo", POLE.model_copy(update={"environments": 8})))
    with pytest.raises(InputError, match="a multiple of 1000 for svrpg"):
        build(job("svrpg", SWING.model_copy(update={"batch_size": 2400, "environments": 4})))
    with pytest.raises(InputError, match="end at the time limit only, found ContinuousCartPole"):
        build(job("svrpg", POLE.model_copy(update={"batch_size": 1000, "environments": 5})))
    with pytest.raises(ValidationError, match=r"hidden\.0"):
        Task(hidden=(0,))
    with pytest.raises(ValidationError, match="different seeds"):
        job("svrpo", seeds=(1, 1))


@pytest.mark.parametrize("case", [("svrpo", POLE), ("svrpg", SWING)], ids=lambda case: case[0])
def test_the_model_has_the_policies_that_collected_the_best_and_that_come_last(case, tmp_path):
    train(job(*case), tmp_path)
    learner, collected, returns = build(job(*case)), [], []
    for k in range(4):
        collected.append(learner.w.numpy().copy())
        returns.append(learner.iterate(k).scores["return"])
    model = load_model(tmp_path)
    np.testing.assert_array_equal(model.policies["last"].weights, learner.w.numpy())
    for s, k in enumerate(np.argmax(returns, axis=0)):
        np.testing.assert_array_equal(model.policies["best"].weights[s], collected[k][s])
        assert model.card.kinds["best"].scores[s] == returns[k][s]
    found, _ = returns_of(model.policy("best"), model.card.environment, 2)
    assert found.shape == (2, 2) and model.card.shape.actions == "scale"
