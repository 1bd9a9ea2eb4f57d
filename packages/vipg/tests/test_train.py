"""The train verb as a whole: determinism, seeds alone and in a batch, bad input."""

import subprocess
import sys

import gymnasium
import numpy as np
import polars as pl
import pytest
import torch
import yaml
from pydantic import ValidationError

from septet import sampler
from septet.card import RunCard
from septet.checkpoint import Checkpoints
from septet.cli import stop_request
from septet.errors import Interrupted, NotFinite
from septet.rl.models import load_model
from septet.scores import read_scores, read_timing
from septet.state import load_state_dict, state_dict
from septet.testing import forgotten
from septet.vipg import updates
from septet.vipg.action_space import ActionSpaceAgent
from septet.vipg.agent import Agent
from septet.vipg.config import Job
from septet.vipg.train import train

CART = {"kind": "environment", "environment": "ContinuousCartPole", "return_low": 20.0, "return_high": 200.0}
CAR = {"kind": "environment", "environment": "SparseMountainCar", "return_low": 0.0, "return_high": 1.0}
METHODS = {
    "vpg": {"algorithm": "vpg", "family": "particles", "particles": 1},
    "v_vpg": {"algorithm": "vpg", "alphas": [0.0, 0.1]},
    "v_trpo": {"algorithm": "trpo", "alphas": [0.1]},
    "v_ppo": {"algorithm": "ppo", "alphas": [0.1], "family": "planar"},
    "svpg": {"algorithm": "vpg", "family": "particles", "particles": 8, "gradient": "stein", "alphas": [0.1]},
    "score": {"algorithm": "vpg", "gradient": "score", "normalise_observations": True},
    "action_sgd": {"algorithm": "action_space"},
    "action_trust": {"algorithm": "action_space", "update": "trust_region", "alphas": [0.0, 0.1]},
}


def job(name, seeds=(1000, 1001), task=CART, **settings):
    own = {"name": "task", "hidden": [6], "episodes": 8, "iterations": 3, **task}
    few = {"evaluate_every": 2, "sampled_policies": 4, "evaluation_episodes": 2}
    return Job(method={"name": name, **METHODS[name]}, task=own, seeds=list(seeds), **few, **settings)


def posterior(variants=("mean_field", "svgd"), seeds=(1000, 1001)):
    method = {"name": "p", "algorithm": "posterior", "variants": list(variants), "steps": 20}
    return Job(method=method, task={"kind": "surface", "name": "surface"}, seeds=list(seeds))


@pytest.mark.parametrize("name", list(METHODS))
def test_the_same_job_gives_the_same_bytes_and_a_seed_alone_the_rows_of_its_batch(name, tmp_path):
    for folder, seeds in (("first", (1, 2, 3)), ("again", (1, 2, 3)), ("alone", (3,))):
        train(job(name, seeds), tmp_path / folder)
    first, again = (tmp_path / folder / "scores.parquet" for folder in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    alone = read_scores(tmp_path / "alone/scores.parquet")
    assert alone.equals(read_scores(first).filter(seed=3)) and len(alone) > 0


def test_the_card_and_the_tables(tmp_path):
    train(job("v_vpg"), tmp_path)
    card = RunCard.read(tmp_path / "run.json")
    scores = read_scores(tmp_path / "scores.parquet")
    assert set(card.methods) == set(scores["method"].unique()) == {"v_vpg/alpha-0", "v_vpg/alpha-0.1"}
    assert card.methods["v_vpg/alpha-0.1"]["alpha"] == 0.1
    assert set(read_timing(tmp_path / "timing.parquet")["phase"]) == {"collect", "learn", "evaluate"}
    final = scores.filter(pl.col("metric") == "sampled_policy")
    assert len(final) == 2 * 2 * 4
    again = Job.model_validate(card.config)
    train(again, tmp_path / "again")
    assert (tmp_path / "again/scores.parquet").read_bytes() == (tmp_path / "scores.parquet").read_bytes()


def test_a_seed_of_a_fitted_posterior_agrees_alone_and_in_a_batch(tmp_path):
    """Up to rounding, which a fit contracts; the seeds of a training job agree to the last bit."""
    variants = ("mean_field", "full", "low_rank", "planar", "coupling", "svgd", "amortised_svgd")
    for folder, seeds in (("batch", (1, 2, 3)), ("alone", (3,))):
        train(posterior(variants, seeds), tmp_path / folder)
    batch, alone = (
        read_scores(tmp_path / folder / "scores.parquet").filter(~pl.col("metric").str.starts_with("sample_"))
        for folder in ("batch", "alone")  # samples are shown of the first seed
    )
    key = ["method", "step", "metric"]
    both = alone.join(batch.filter(seed=3), on=key, suffix="_batch", how="full", coalesce=True)
    assert len(both) == len(alone) and set(alone["method"]) == {f"p/{name}" for name in variants}
    np.testing.assert_allclose(both["value"], both["value_batch"], rtol=1e-7, atol=1e-9)


def test_a_fitted_posterior_is_written(tmp_path):
    train(posterior(), tmp_path)
    scores = read_scores(tmp_path / "scores.parquet")
    assert {"coverage", "energy_distance", "kl", "modes", "sample_x", "sample_y"} == set(scores["metric"])


@pytest.mark.parametrize(
    ("task", "variants", "says"),
    [
        ({"kind": "surface"}, ["svgd", "svgd"], "each variant once"),
        ({"kind": "surface", "widths": [0.1]}, ["svgd"], "as many heights and widths as centres"),
        ({"kind": "surface", "centres": [[0.0]]}, ["svgd"], "centres of two numbers"),
        ({"kind": "surface", "widths": [0.6, 0.6, 0.5, 0.0]}, ["svgd"], "positive heights and widths"),
        ({"kind": "quadratic", "centre": [0.0], "curvature": [[1.0]]}, ["full"], "two or more"),
        ({"kind": "quadratic", "centre": [0.0] * 3}, ["full"], "as many rows and columns"),
        ({"kind": "quadratic", "curvature": [[1.0, 2.0], [2.0, 1.0]]}, ["full"], "positive definite"),
    ],
)
def test_a_posterior_that_could_not_be_measured_is_refused(task, variants, says):
    with pytest.raises(ValidationError, match=says):
        Job(method={"algorithm": "posterior", "variants": variants}, task=task)


def test_labels_that_read_alike_are_refused():
    with pytest.raises(ValidationError, match="alphas different in six digits"):
        Job(method={"algorithm": "vpg", "alphas": [0.1, 0.1000001]}, task=CART)


def test_long_gradients_of_the_action_space_are_shortened(monkeypatch):
    """One step of rate 1 moves each net by the norm that is allowed; unshortened it is further."""
    moved = {}
    for longest in (0.01, None):
        settings = {"learning_rate": 1.0, "minibatches": 1, "max_grad_norm": longest}
        monkeypatch.setitem(METHODS, "action_sgd", {"algorithm": "action_space", **settings})
        agent = ActionSpaceAgent(job("action_sgd"))
        before = [net.clone() for net in agent.nets]
        agent.iterate(0)
        moved[longest] = [(new - old).norm(dim=1) for new, old in zip(agent.nets, before, strict=True)]
        agent.close()
    for short, free in zip(moved[0.01], moved[None], strict=True):
        torch.testing.assert_close(short, torch.full_like(short, 0.01), rtol=1e-3, atol=0.0)
        assert (free > 0.02).all()


def test_action_space_rewinds_an_environment_of_gymnasium_s():
    agent = ActionSpaceAgent(job("action_sgd", task={**CART, "environment": "MountainCarContinuous-v0", "episodes": 1}))
    np.testing.assert_array_equal(agent.evaluate(), agent.evaluate())
    agent.close()


def test_sparse_car_reaches_its_goal_with_the_known_policy():
    """Push the way you are moving: it gets there, reward 1 and the end."""
    from septet import sampler
    from septet.vipg import environments

    environments.register()
    batch = sampler.make("SparseMountainCar", seeds=[0], environments=3)
    observation, total = batch.reset(), np.zeros(3)
    assert (np.abs(observation) <= 1).all()
    for _ in range(150):
        step = batch.step(np.sign(observation[:, 1:] + 1e-9))
        total += step.reward
        if step.terminated.any():
            assert (step.reward[step.terminated] == 1).all()
        observation = step.observation
    assert (total >= 1).all()
    theirs = gymnasium.make("MountainCarContinuous-v0").unwrapped
    theirs.reset(seed=0)
    ours = sampler.make("SparseMountainCar", seeds=[0], environments=1)
    ours.reset()
    position = ours.state["state"][0, 0]
    theirs.state = np.array([position, 0.0])
    rng = np.random.default_rng(0)
    for _ in range(100):
        action = rng.uniform(-1.5, 1.5, (1, 1))
        step = ours.step(action)
        want, _, terminated, _, _ = theirs.step(np.clip(action[0], -1.0, 1.0))
        np.testing.assert_allclose(step.next_observation[0], [(want[0] + 0.3) / 0.9, want[1] / 0.07], atol=1e-5)
        assert bool(step.terminated[0]) == bool(terminated)


def command(config, out):
    return [sys.executable, "-m", "septet.vipg", "train", "--config", str(config), "--out", str(out)]


def agent_of(name):
    one = job(name)
    return ActionSpaceAgent(one) if name.startswith("action") else Agent(one)


@pytest.mark.parametrize("name", ["v_vpg", "score", "svpg", "action_sgd", "action_trust"])
def test_an_agent_declares_all_that_its_next_iteration_needs(name):
    whole, first, second = (agent_of(name) for _ in range(3))
    found = [whole.iterate(k) for k in range(3)]
    first.iterate(0)
    load_state_dict(second, {key: array.copy() for key, array in state_dict(first).items()})
    scratch = ("collector.buffers", "evaluator", "collector.member")  # written before they are read
    assert {path for path in forgotten(first, second) if not path.startswith(scratch)} == set()
    for part in (1, 2):
        again = second.iterate(part)
        for metric, values in found[part].scores.items():
            np.testing.assert_array_equal(again.scores[metric], values)
    for key, array in state_dict(whole).items():
        assert array.tobytes() == state_dict(second)[key].tobytes(), key


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("one", [job("v_vpg"), posterior(variants=["mean_field", "svgd", "full"])])
def test_a_stopped_job_ends_with_the_bytes_of_the_whole_one(one, stop, tmp_path, monkeypatch):
    train(one, tmp_path / "whole")
    safe_point, count = Checkpoints.safe_point, [0]

    def stopping(self, *given):
        count[0] += 1
        stop_request.signal = 15 if count[0] == stop else None
        safe_point(self, *given)

    monkeypatch.setattr(Checkpoints, "safe_point", stopping)
    with pytest.raises(Interrupted):
        train(one, tmp_path / "out")
    assert not (tmp_path / "out/scores.parquet").exists()
    train(one, tmp_path / "out")
    assert count[0] == 3
    assert (tmp_path / "out/scores.parquet").read_bytes() == (tmp_path / "whole/scores.parquet").read_bytes()


def test_a_nan_stops_with_its_name(monkeypatch):
    agent = Agent(job("v_vpg"))

    def spoiled(problem, *rest):
        return torch.full_like(problem.old, float("nan")), rest[1], {}

    monkeypatch.setattr(updates, "update", spoiled)
    with pytest.raises(NotFinite, match=r"iteration 0: the sampler's parameters is not finite \(seed 1000\)"):
        agent.iterate(0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": {"name": "m", "algorithm": "vpg", "particles": 3}}, "episodes as a multiple of the 3 particles"),
        ({"method": {"name": "m", "algorithm": "vpg", "family": "particles", "particles": 4}}, "particles > 1"),
        ({"method": {"name": "m", "algorithm": "vpg", "alphas": [0.1, 0.1]}}, "alphas different"),
        ({"method": {"name": "m", "algorithm": "action_space", "alphas": [1.0, 1.0]}}, "alphas different"),
        ({"method": {"name": "m", "algorithm": "posterior"}}, "algorithm: posterior for a quadratic"),
        ({"task": {"name": "t", **CART, "return_low": 300.0}}, "return_high above return_low"),
        ({"task": {"name": "t", **CART, "environment": "Nowhere-v0"}}, "Nowhere"),
    ],
)
def test_bad_input_is_one_line(change, says, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text(yaml.safe_dump({**job("vpg").model_dump(mode="json"), **change}))
    done = subprocess.run(command(config, tmp_path / "out"), capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["v_vpg", "v_ppo", "svpg", "action_trust"])
def test_the_centres_of_the_model_have_the_returns_of_the_table(name, tmp_path):
    """The policies that are loaded run the evaluation's episodes again, to the last bit, variant by variant."""
    chosen = job(name)
    train(chosen, tmp_path)
    model = load_model(tmp_path)
    labels = chosen.method.labels()
    assert model.card.methods == [label for label in labels for _ in chosen.seeds]
    agent = (ActionSpaceAgent if name.startswith("action") else Agent)(chosen)
    evaluator = agent.evaluator if name.startswith("action") else agent.evaluator.batch
    scores = read_scores(tmp_path / "scores.parquet").filter(metric="mean_policy_return")
    for label in labels:
        for kind in ("best", "last"):
            policy = model.policy(kind, method=label)
            rows = model.rows(method=label)
            found = []
            for row, seed in zip(rows, chosen.seeds, strict=True):
                table = scores.filter(method=label, seed=seed).sort("step")["value"].to_list()
                found.append(max(table) if kind == "best" else table[-1])
                assert model.card.kinds[kind].scores[row] == found[-1]
            again = run_episodes(policy, evaluator, rows, len(agent.seeds))
            np.testing.assert_allclose(again, found, rtol=1e-12)
    agent.close()


def run_episodes(policy, batch, rows, every):
    """Mean returns of policies in the episodes that an evaluator of `every` rows starts first."""
    count = batch.size // every
    places = np.concatenate([np.arange(row * count, (row + 1) * count) for row in rows])
    fresh = sampler.make("ContinuousCartPole", seeds=batch.seeds, environments=count, root=batch.root)
    seen, running, total = fresh.reset(), np.ones(batch.size, bool), np.zeros(batch.size)
    while running[places].any():
        action = np.zeros((batch.size, batch.action_size))
        by_policy = policy.act(seen[places].reshape(len(rows), count, -1))
        action[places] = policy.bounded(by_policy).reshape(len(places), -1)
        step = fresh.step(action, running)
        total += step.reward
        running &= ~(step.terminated | step.truncated)
        seen = step.observation
    return total[places].reshape(len(rows), count).mean(axis=1)
