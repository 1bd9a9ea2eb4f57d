"""The train verb as a whole: every method, determinism, learning."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from empg_helpers import EXPERIMENTS, gpt2, job, uniforms

from septet.card import RunCard
from septet.empg.config import Method
from septet.empg.policy import Masters, Policy
from septet.empg.sample import generate
from septet.empg.train import Trainer, train
from septet.empg.update import improve, lesson
from septet.errors import NotFinite
from septet.progress import Progress
from septet.scores import read_scores, read_timing
from septet.state import load_state_dict, state_dict
from septet.testing import forgotten


@pytest.mark.parametrize("method", [*EXPERIMENTS.methods])
def test_every_method_writes_its_tables(method, tmp_path):
    train(job(method, seeds=[3]), tmp_path)
    scores = read_scores(tmp_path / "scores.parquet")
    assert scores["value"].is_finite().all()
    assert {"accuracy", "reward", "length", "score", "kl"} <= set(scores["metric"])
    assert set(read_timing(tmp_path / "timing.parquet")["phase"]) == {"generate", "grade", "update"}
    card = RunCard.read(tmp_path / "run.json")
    assert list(card.methods) == [method] and card.steps == 6 * 4 * 2
    assert not (tmp_path / "checkpoint").exists()
    said = card.methods[method]
    assert said["drawn_tokens_per_second"] > 0 and said["trained_tokens_per_second"] > 0 and said["processes"] == 1
    if Path("/proc/self/clear_refs").exists():
        assert 0 <= said["training_memory_mb"] < card.peak_memory_mb  # 0 where an earlier test left room


def test_a_run_shows_reward_kl_length_and_speed(tmp_path, monkeypatch, capsys):
    told = []
    update = Progress.update

    def noting(self, done, measured=None):
        told.append(measured)
        update(self, done, measured)

    monkeypatch.setattr(Progress, "update", noting)
    train(job("empg_kl", "warm", seeds=[3]), tmp_path)
    assert len(told) == 6
    assert all(set(one) == {"reward", "kl", "length", "tokens_per_second", "kl_to_base"} for one in told)
    means = {name: np.mean([one[name] for one in told[:3]]) for name in ("reward", "length")}
    scores = read_scores(tmp_path / "scores.parquet").filter(pl.col("step") == 3)
    for name, mean in means.items():  # the table has means over the steps since the evaluation before
        assert scores.filter(metric=name)["value"].item() == pytest.approx(mean)
    assert told[0]["kl_to_base"] == pytest.approx(0, abs=1e-5) and abs(told[5]["kl_to_base"]) > 1e-5
    last = next(line for line in capsys.readouterr().err.splitlines() if "6/6 steps" in line)
    assert "reward" in last and "kl to base" in last and "tokens per second" in last


def test_the_same_job_gives_the_same_bytes_and_a_seed_alone_the_rows_of_its_batch(tmp_path):
    for name in ("first", "again"):
        train(job("empg_kl", "cold"), tmp_path / name)
    first, again = (tmp_path / name / "scores.parquet" for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    train(job("empg_kl", "cold", seeds=[1]), tmp_path / "alone")
    batch = read_scores(first).filter(pl.col("seed") == 1)
    alone = read_scores(tmp_path / "alone/scores.parquet").join(batch, on=["metric", "step"], suffix="_batch")
    assert len(alone) >= 20 and np.allclose(alone["value"], alone["value_batch"])


def test_the_base_is_evaluated_once_for_all_seeds(monkeypatch, tmp_path):
    drawn = []
    draw = Trainer.draw

    def noting(self, asked, samples, *names):
        if not names:
            drawn.append((self.number, self.step))
        return draw(self, asked, samples, *names)

    monkeypatch.setattr(Trainer, "draw", noting)
    train(job("empg", seeds=[3, 4]), tmp_path)
    assert drawn == [(3, 0), (3, 3), (3, 6), (4, 3), (4, 6)]


def parts_of(trainer):
    return {"trainer": trainer, "history": trainer.history}


def test_a_state_restored_goes_on_as_if_nothing_had_been(tmp_path):
    whole, first = Trainer(job("ppo")), Trainer(job("ppo"))
    for run in (whole, first):
        for _ in range(3):
            run.advance()
    second = Trainer(job("ppo"))
    load_state_dict(parts_of(second), state_dict(parts_of(first)))
    assert forgotten(first, second, ["grad", "seconds"]) == set()
    for run in (whole, second):
        run.advance()
        run.advance()
    expected, found = state_dict(parts_of(whole)), state_dict(parts_of(second))
    for name, value in expected.items():
        if not name.endswith("seconds"):
            assert np.array_equal(value, found[name], equal_nan=True), name


def test_memory_keys_may_change_between_attempts_and_others_may_not(tmp_path, monkeypatch, capsys):
    """An attempt with another split of the batch resumes; one with another learning rate begins again."""
    monkeypatch.setenv("SEPTET_SAVE_EVERY", "0")
    advance, calls = Trainer.advance, []

    def counted(self):
        calls.append(self.step)
        advance(self)
        if len(calls) == stop:
            raise RuntimeError

    monkeypatch.setattr(Trainer, "advance", counted)
    stop = 5
    with pytest.raises(RuntimeError):  # in step 4, with the state after step 3 saved
        train(job("empg", seeds=[0]), tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "changed")
    stop = None
    memory = {"batch_tokens": 64, "row_tokens": 32, "rows": 4, "threads": 2}
    for name, settings, steps in (("run", memory, [4, 5]), ("changed", {"learning_rate": 1e-9}, [*range(6)])):
        calls.clear()
        train(job("empg", seeds=[0], task_settings=settings), tmp_path / name)
        assert calls == steps
        assert ("a job with other settings" in capsys.readouterr().err) == (name == "changed")
    train(job("empg", seeds=[0]), tmp_path / "whole")
    found, expected = (read_scores(tmp_path / name / "scores.parquet")["value"] for name in ("run", "whole"))
    assert np.allclose(found, expected, atol=1e-3)


def command(config, out):
    return [sys.executable, "-m", "septet.empg", "train", "--config", str(config), "--out", str(out)]


def parts(dtype=torch.float32, optimiser=torch.optim.AdamW, rate=1e-3):
    policy = Policy(gpt2().to(dtype))
    masters = Masters(policy)
    optimiser = optimiser(masters.weights, lr=rate)
    rollout = generate(policy.lm, [[1, 2, 3], [4, 5, 6]], samples=4, limit=8, eos=18, pad=18, uniforms=uniforms(8, 8))
    return policy, masters, optimiser, rollout


def step(method, reward, dtype=torch.float32, kind=torch.optim.AdamW, rate=1e-3, **more):
    policy, masters, optimiser, rollout = parts(dtype, kind, rate)
    what = lesson(method, torch.tensor(reward), rollout.log_pi, rollout.mask, samples=4, limit=8)
    settings = {"temperature": 1.0, "max_grad_norm": 1.0, "row_tokens": 1000, "batch_tokens": 10_000, **more}
    report = improve(policy, masters, optimiser, rollout, what, method, **settings)
    return policy, masters, rollout, report


REWARD = [1.0, 0, 0, 1, 0, 0, 1, 0]


def test_samples_without_weight_are_skipped_and_change_nothing():
    _, masters, rollout, report = step(EXPERIMENTS.methods["raft"], REWARD)
    assert report.trained == int(rollout.lengths[torch.tensor(REWARD) > 0].sum())
    _, same, _, everything = step(Method(estimator="raft", entropy=1e-12), REWARD)
    assert everything.trained == int(rollout.lengths.sum())
    for a, b in zip(masters.weights, same.weights, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    _, unmoved, _, nothing = step(Method(), [1.0] * 8)
    assert nothing.trained == nothing.gradient == 0
    for a, b in zip(unmoved.weights, parts()[1].weights, strict=True):
        assert torch.allclose(a, b * (1 - 1e-3 * 0.01))  # AdamW's decay alone


def test_a_gradient_that_is_no_number_stops_before_the_step():
    policy, masters, optimiser, rollout = parts()
    before = [weight.detach().clone() for weight in masters.weights]
    what = lesson(Method(), torch.tensor(REWARD), rollout.log_pi, rollout.mask, samples=4, limit=8)
    spoiled = replace(what, advantage=what.advantage * float("nan"))
    settings = {"temperature": 1.0, "max_grad_norm": 1.0, "row_tokens": 1000, "batch_tokens": 10_000}
    with pytest.raises(NotFinite, match=r"step 3: the gradient's norm is not finite \(seed 7\)"):
        improve(policy, masters, optimiser, rollout, spoiled, Method(), at=(7, 3), **settings)
    assert all(torch.equal(a, b) for a, b in zip(masters.weights, before, strict=True))


def test_a_batch_without_weight_leaves_the_momentum_on():
    policy, masters, optimiser, rollout = parts()
    settings = {"temperature": 1.0, "max_grad_norm": 1.0, "row_tokens": 1000, "batch_tokens": 10_000}
    for reward in (REWARD, [0.0] * 8):
        before = [weight.detach().clone() for weight in masters.weights]
        what = lesson(Method(), torch.tensor(reward), rollout.log_pi, rollout.mask, samples=4, limit=8)
        improve(policy, masters, optimiser, rollout, what, Method(), **settings)
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(masters.weights, before, strict=True))


def test_parts_of_a_batch_add_up():
    """Under plain gradient descent: Adam's first step is a sign, which rounding turns where the gradient is 0."""
    plain = {"kind": torch.optim.SGD, "rate": 1.0}
    whole, small = (step(Method(), REWARD, **plain, row_tokens=n, batch_tokens=n)[1] for n in (10_000, 1))
    for a, b in zip(whole.weights, small.weights, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_inner_steps_move_away_and_stop_early():
    *_, once = step(Method(), REWARD)
    *_, four = step(Method(inner_steps=4), REWARD)
    *_, stopped = step(Method(inner_steps=40, max_kl=0.05), REWARD)
    assert abs(once.kl) < 1e-6 and four.passes == 4 and abs(four.kl) > 1e-4
    assert 1 < stopped.passes < 40


def test_max_kl_counts_completions_without_weight():
    """Their probabilities move too: the limit is one of k3 over the whole batch, here by the model itself."""
    once = Method(estimator="raft", inner_steps=1)
    reward = [1.0, 0, 0, 0, 0, 0, 0, 0]
    policy, _, rollout, report = step(once, reward)
    assert 0 < report.trained < int(rollout.lengths.sum())
    apart = []
    for k, completion in enumerate(rollout.completions()):
        prompt = rollout.prompts[k // 4]
        with torch.no_grad():
            log_p = torch.log_softmax(policy.lm(input_ids=torch.tensor([prompt + completion])).logits[0], -1)
        for t, token in enumerate(completion):
            d = float(log_p[len(prompt) - 1 + t, token] - rollout.log_pi[k, t])
            apart.append((k, math.exp(d) - 1 - d))
    whole, kept = (float(np.mean([value for k, value in apart if k in some])) for some in (range(8), [0]))
    assert abs(whole - kept) > 0.1 * whole
    for limit, passes in ((0.99 * whole, 1), (1.01 * whole, 2)):
        twice = once.model_copy(update={"inner_steps": 2, "max_kl": limit})
        *_, found = step(twice, reward)
        assert found.passes == passes and found.trained == passes * report.trained


def test_masters_keep_what_bfloat16_would_lose():
    policy, masters, *_ = step(Method(), REWARD, torch.bfloat16)
    plain = parts(torch.bfloat16)[0]
    moved = [not torch.equal(a, b.float()) for a, b in zip(masters.weights, plain.parameters(), strict=True)]
    assert all(weight.dtype == torch.float32 for weight in masters.weights) and all(moved)
    for weight, master in zip(policy.parameters(), masters.weights, strict=True):
        assert torch.equal(weight, master.to(torch.bfloat16)) and weight.grad is None


def test_empg_learns_the_warm_task(tmp_path):
    settings = {"steps": 60, "prompts": 32, "eval_every": 30, "eval_prompts": 50, "learning_rate": 5e-4}
    train(job("empg", "warm", seeds=[1001], task_settings=settings), tmp_path)
    reward = read_scores(tmp_path / "scores.parquet").filter(metric="reward").sort("step")["value"].to_list()
    assert reward[-1] > reward[0] + 0.2


def test_bad_input_is_one_line(tmp_path):
    settings = job().model_dump(mode="json")
    settings["method"]["estimator"] = "magic"
    config = tmp_path / "job.json"
    config.write_text(json.dumps(settings))
    done = subprocess.run(command(config, tmp_path / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "method.estimator" in done.stderr
    settings["method"] = {"name": "grpo", "estimator": "grpo", "samples": 1}
    config.write_text(json.dumps(settings))
    done = subprocess.run(command(config, tmp_path / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "compares within a group" in done.stderr
    assert not (tmp_path / "out").exists()
