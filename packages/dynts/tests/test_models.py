"""The filters that a job leaves: the engine's posterior, the same after a resume, and an agent that continues."""

import signal

import numpy as np
import pytest

from septet.cli import stop_request
from septet.dynts import LogisticThompson
from septet.dynts.config import Experiments, Job
from septet.dynts.engines import engine
from septet.dynts.models import load_agent
from septet.dynts.train import train
from septet.errors import InputError, Interrupted
from septet.model_files import read_model

EXPERIMENTS = Experiments()


def job(method, task, schedules=("none", "exp-0.99"), **settings):
    return Job(
        method=EXPERIMENTS.methods[method].model_copy(update={"name": method, "schedules": list(schedules)}),
        task=EXPERIMENTS.tasks[task].model_copy(update={"name": task}),
        **{"seeds": [0, 2], "horizon": 200, "points": 10, **settings},
    )


@pytest.mark.parametrize("task", ["tau200", "shared1000"])
def test_an_agent_continues_from_the_engines_filter(task, tmp_path):
    """The posterior is the engine's, to float32: the variances of all logits agree, whatever the form it is kept in."""
    wanted = job("ts", task)
    train(wanted, tmp_path)
    bandit = engine(wanted)
    for block in range(bandit.blocks):
        bandit.advance(block)
    agent = load_agent(tmp_path, "ts/exp-0.99", 2, draws=0)
    assert isinstance(agent, LogisticThompson) and (agent.decay, agent.posterior_scale) == (0.99, 1.0)
    state = {name: array[1, 1] for name, array in bandit.state.items() if array.shape[:2] == (2, 2)}
    if task == "tau200":
        expected = state["mu"].T
        variance = (state["scale"] * state["packed"][bandit.diagonal]).T
        assert agent.n_arms == wanted.task.arms and agent._kept == pytest.approx(state["kept"][0])
    else:
        expected, variance = state["mu"][None], state["scale"] * (state["root"] ** 2).sum(axis=-1)[None]
        assert agent.n_arms is None
    np.testing.assert_allclose(agent.mu, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(np.diagonal(agent.sigma, axis1=1, axis2=2), variance, rtol=1e-6)
    rows = np.random.default_rng(0).normal(size=(3, agent.n_features))
    arm = agent.choose(rows if agent.n_arms is None else rows[0])
    agent.update(rows[0], 1, arm if agent.n_arms else None)


@pytest.mark.parametrize(("method", "task"), [("ts", "tau200"), ("ucb1", "tau200"), ("ts_diagonal", "shared1000")])
def test_the_model_is_the_same_after_a_resume_and_small(method, task, tmp_path):
    wanted = job(method, task)
    train(wanted, tmp_path / "whole")
    stop_request.signal = signal.SIGTERM
    try:
        with pytest.raises(Interrupted):
            train(wanted, tmp_path / "parts")
    finally:
        stop_request.signal = None
    assert not (tmp_path / "parts/model").exists()
    train(wanted, tmp_path / "parts")
    arrays = [(tmp_path / name / "model/arrays.safetensors").read_bytes() for name in ("whole", "parts")]
    assert arrays[0] == arrays[1] and len(arrays[0]) < 100_000
    assert [(tmp_path / name / "scores.parquet").read_bytes() for name in ("whole", "parts")].count(
        (tmp_path / "whole/scores.parquet").read_bytes()
    ) == 2
    train(wanted.model_copy(update={"keep_model": "none"}), tmp_path / "none")
    assert not (tmp_path / "none/model").exists()
    assert (tmp_path / "none/scores.parquet").read_bytes() == (tmp_path / "whole/scores.parquet").read_bytes()


def test_what_is_no_thompson_sampling_is_not_loaded_as_one(tmp_path):
    train(job("ts", "tau200", ["none", "exp-0.99-trace", "exp-0.99-uncapped"]), tmp_path / "ts")
    assert load_agent(tmp_path / "ts", "ts/exp-0.99-uncapped", 0)._keep_prior is False
    train(job("ucb", "tau200"), tmp_path / "ucb")
    for folder, method, seed, message in (
        ("ts", "ts/exp-0.99-trace", 0, "expected Thompson sampling with one decay"),
        ("ucb", "ucb/none", 0, "expected Thompson sampling with one decay"),
        ("ts", "ts/exp-0.5", 0, "method: expected one of ts/none"),
        ("ts", "ts/none", 1, "seed: expected one of 0, 2, found 1"),
    ):
        with pytest.raises(InputError, match=message):
            load_agent(tmp_path / folder, method, seed)
    card, arrays = read_model(tmp_path / "ucb", "dynts")
    assert arrays["mu"].shape == (2, 2, 10, 10) and np.shape(card["scores"]["regret"]) == (2, 2)
    with pytest.raises(InputError, match="kept"):
        LogisticThompson(1, 1).restored(np.zeros((1, 1)), np.ones((1, 1, 1)), 0.0)
