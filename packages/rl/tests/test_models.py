"""`model/` of a training job: what is in it, that it survives a resume, that another process acts the same with it."""

import itertools
import json
import os
import re
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from PIL import ImageColor
from scipy import stats

from septet import sampler
from septet.card import RunCard
from septet.errors import InputError
from septet.rl import evaluation, watch
from septet.rl.config import Job
from septet.rl.model_arguments import ROOT
from septet.rl.models import Kept, load_model
from septet.rl.policies import Policy, Shape
from septet.rl.train import build
from septet.rl.train import train as train_ours
from septet.sampler.drawing import BODY, JOINT
from septet.sampler.samplers import SamplerDied
from septet.scores import read_scores
from septet.walle import config as walle_config
from septet.walle.ppo_kl import PPOKLLearner
from septet.walle.train import train as train_walle

METHODS = {
    "ppo": {"algorithm": "ppo", "steps": 128, "normalise_observations": True},
    "trpo": {"algorithm": "trpo", "steps": 128},
    "vpg": {"algorithm": "vpg", "steps": 128},
    "ddpg": {"algorithm": "ddpg", "hidden": [8], "batch_size": 8, "report": 128},
    "ppo_kl": {"algorithm": "ppo_kl", "steps": 128},
}
ACT = """
import sys
import numpy as np
from septet.rl.models import load_model
given = np.load(sys.argv[2])
model = load_model(sys.argv[1])
acts = {kind: policy.act(given["seen"], noise=given["noise"]) for kind, policy in model.policies.items()}
np.savez(sys.argv[3], **acts)
"""


def job(method, **settings):
    given = {"method": METHODS[method], "task": {"environment": "Pendulum-v1", "actions": "scale"}, "seeds": [3, 5]}
    return (walle_config.Job if method == "ppo_kl" else Job).model_validate({**given, "steps": 600, **settings})


def train(method, out, **settings):
    (train_walle if method == "ppo_kl" else train_ours)(job(method, **settings), out)


@pytest.mark.parametrize("method", METHODS)
def test_another_process_acts_the_same(method, tmp_path):
    train(method, tmp_path / "run")
    learner = (PPOKLLearner if method == "ppo_kl" else build)(job(method))
    acted, returns = [], []
    for k in range(learner.iterations):
        before = learner.acting().copy()
        returns.append(learner.iterate(k).scores["return"])
        acted.append(learner.acting().copy() if method == "ddpg" else before)
    rng = np.random.default_rng(0)
    seen, noise = rng.normal(size=(2, 9, 3)), rng.normal(size=(2, 9, 1))
    np.savez(tmp_path / "given.npz", seen=seen, noise=noise)
    arguments = [tmp_path / "run", tmp_path / "given.npz", tmp_path / "found.npz"]
    subprocess.run([sys.executable, "-c", ACT, *arguments], check=True)
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(found["last"], learner.acting().act(seen, noise=noise))
    chosen = np.nanargmax(np.array(returns), axis=0)
    for s, k in enumerate(chosen):
        np.testing.assert_array_equal(found["best"][s], acted[k].act(seen, noise=noise)[s])
    card = load_model(tmp_path / "run").card
    assert card.run == RunCard.read(tmp_path / "run/run.json").id and card.seeds == [3, 5]
    best = card.kinds["best"]
    np.testing.assert_array_equal(best.scores, np.nanmax(np.array(returns), axis=0))
    if method != "ppo_kl":  # whose iterations have whole episodes
        assert best.steps == [128 * (int(k) + (method == "ddpg")) for k in chosen]
    table = read_scores(tmp_path / "run/scores.parquet").filter(metric="return")
    assert best.scores == table.group_by("seed").agg(pl.col("value").max()).sort("seed")["value"].to_list()


@pytest.mark.parametrize("method", ["ppo", "ddpg", "ppo_kl"])
def test_a_job_that_stops_and_one_that_runs_again_leave_the_same_model(method, tmp_path, monkeypatch):
    train(method, tmp_path / "whole")
    files = sorted(path.name for path in (tmp_path / "whole/model").iterdir())
    assert files == ["card.json", "policies.safetensors"]
    iterate, calls = Kept.iterate, []

    def dying(self, iteration):
        calls.append(1)
        if len(calls) == 4:
            raise SamplerDied("sampler 0: killed by signal 9")
        return iterate(self, iteration)

    monkeypatch.setattr(Kept, "iterate", dying)
    with pytest.raises(SamplerDied):
        train(method, tmp_path / "broken")
    assert not (tmp_path / "broken/model").exists()
    for folder in ("broken", "whole"):  # resumed, and run again in a folder that has a model
        train(method, tmp_path / folder)
    train(method, tmp_path / "fresh")
    for file in files:
        whole = (tmp_path / "fresh/model" / file).read_bytes()
        assert (tmp_path / "broken/model" / file).read_bytes() == whole
        assert (tmp_path / "whole/model" / file).read_bytes() == whole


def test_the_switch(tmp_path):
    scores = set()
    for keep, kinds in (("both", {"last", "best"}), ("last", {"last"}), ("none", None)):
        train("vpg", tmp_path, keep_model=keep)
        assert (tmp_path / "model").exists() == (kinds is not None)
        if kinds:
            assert set(load_model(tmp_path).policies) == kinds
        scores.add((tmp_path / "scores.parquet").read_bytes())
    assert len(scores) == 1


def test_a_seed_without_any_score_keeps_its_last_policy(tmp_path):
    train("vpg", tmp_path, steps=128)  # no episode of 200 steps ends
    model = load_model(tmp_path)
    assert model.card.kinds["best"].scores == [None, None] and model.card.kinds["best"].steps == [128, 128]
    np.testing.assert_array_equal(model.policies["best"].weights, model.policies["last"].weights)


def test_a_model_that_was_changed_is_refused(tmp_path):
    for name in ("one", "two"):
        train("vpg", tmp_path / name, steps=128, seeds=[1 if name == "one" else 2])
    one, two = tmp_path / "one/model", tmp_path / "two/model"
    whole = (one / "policies.safetensors").read_bytes()
    (one / "policies.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="another checksum"):
        load_model(one)
    (one / "policies.safetensors").write_bytes((two / "policies.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"the arrays that card\.json names"):
        load_model(one)
    card = json.loads((two / "card.json").read_text())
    (two / "card.json").write_text(json.dumps({**card, "task": "other"}))
    with pytest.raises(InputError, match="another checksum"):
        load_model(two)
    with pytest.raises(InputError, match=r"a folder with card\.json"):
        load_model(tmp_path)


def by_hand(policy, s, observation):
    """The mean action of one seed in float64, layer by layer."""
    x = np.clip((observation - policy.mean[s]) * policy.scale[s], -policy.shape.bound, policy.shape.bound)
    at, sizes = 0, policy.shape.sizes
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        matrix = policy.weights[s, at : at + rows * columns].reshape(rows, columns).astype(float)
        at += rows * columns
        x = x @ matrix + policy.weights[s, at : at + columns]
        at += columns
        x = np.tanh(x) if layer < len(sizes) - 2 else x
    return x


def test_an_evaluation_is_that_of_a_loop_over_single_environments(tmp_path):
    train("ppo", tmp_path)
    model = load_model(tmp_path)
    policy = model.policy("last")
    found, lengths = evaluation.returns_of(policy, model.card.environment, 3, root=9)
    assert (lengths == 200).all()
    for s in range(2):
        for b in range(3):
            env = sampler.make("Pendulum-v1", seeds=[0], environments=3, root=9, members=(b, b + 1))
            seen, total = env.reset(), 0.0
            for _ in range(200):
                step = env.step(np.clip(2.0 * by_hand(policy, s, seen[0]), -2.0, 2.0)[None])
                seen, total = step.observation, total + step.reward[0]
            assert found[s, b] == pytest.approx(total, rel=1e-3)


def test_the_interval_is_student_s():
    mean, low, high = evaluation.interval(np.array([1.0, 2.0, 3.0, 4.0]))  # s = 1.2910, t(3) = 3.1824
    assert (mean, low, high) == pytest.approx((2.5, 2.5 - 2.05426, 2.5 + 2.05426), abs=1e-4)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 3, 2.5, 1.290994 / 2), abs=1e-5)
    assert evaluation.interval(np.array([3.0])) == (3.0, -np.inf, np.inf)


def septet(*arguments, **environment):
    command = [sys.executable, "-m", "septet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})


def test_the_verb_evaluate(tmp_path):
    train("ppo", tmp_path / "run")
    done = septet("evaluate", tmp_path / "run", "--episodes", 4, "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and "best policy of each seed" in lines[0] and lines[3].startswith("all seeds: mean return")
    rows = json.loads((tmp_path / "found.json").read_text())
    model = load_model(tmp_path / "run")
    expected, _ = evaluation.returns_of(model.policy("best"), model.card.environment, 4)
    assert [row["mean_return"] for row in rows] == pytest.approx([*expected.mean(axis=1), expected.mean()])
    for arguments, says in (
        ([tmp_path], "a folder with card.json"),
        ([tmp_path / "run", "--seeds", "3,4"], "model: seed: expected one of 3, 5, found 4"),
        ([tmp_path / "run", "--method", "sac"], "model: method: expected one of ppo, found sac"),
        ([tmp_path / "run", "--episodes", "0"], "--episodes: expected 1 or more"),
    ):
        with pytest.raises(InputError, match=re.escape(says)):
            evaluation.main([str(each) for each in arguments])


def test_policies_do_not_act_in_an_environment_of_other_sizes(tmp_path):
    shape = Shape(kind="gaussian", sizes=(4, 2))
    policy = Policy(shape, np.zeros((1, 12), np.float32), np.zeros((1, 4)), np.ones((1, 4)), -np.ones(2), np.ones(2))
    train("vpg", tmp_path, steps=128)
    environment = load_model(tmp_path).card.environment
    with pytest.raises(InputError, match="Pendulum-v1: expected 4 observations and 2 actions, found 3 and 1"):
        evaluation.returns_of(policy, environment, 1)
    with pytest.raises(InputError, match="policy: weights"):
        Policy(shape, np.zeros((1, 11), np.float32), policy.mean, policy.scale, policy.low, policy.high)


def test_the_verb_watch(tmp_path):
    """A video where there is a renderer, one line where there is none; both are looked at."""
    from PIL import Image

    train("ddpg", tmp_path / "run", task={"environment": "InvertedPendulum-v5"})
    video = tmp_path / "video.gif"
    given = ["watch", tmp_path / "run", "--out", video, "--steps", 12, "--size", 64, 48, "--kind", "last"]
    none = septet(*given, MUJOCO_GL="nothing")
    assert none.returncode == 2 and "watch: renderer: expected EGL or OSMesa (Debian: " in none.stderr
    assert none.stderr.count("\n") == 1 and not video.exists()
    done = septet(*given)
    if done.returncode == 2:
        assert "watch: renderer: expected EGL or OSMesa" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    with Image.open(video) as opened:
        pictures = [np.asarray((opened.seek(k), opened.convert("RGB"))[1]) for k in range(opened.n_frames)]
    assert len(pictures) >= 3 and pictures[0].shape == (48, 2 * 64, 3)
    assert (pictures[0] != pictures[-1]).any() and (pictures[0][:, :64] == pictures[0][:, 64:]).all()
    for change, says in (
        (["--out", tmp_path / "video.avi"], "a name that ends in .gif or .mp4"),
        (["--size", "0", "9"], "watch: --size"),
    ):
        with pytest.raises(InputError, match=re.escape(says)):
            watch.main([str(each) for each in (*given[1:], *change)])


def test_drawn_pictures_by_hand(tmp_path):
    """A pendulum of length 1 in a view of 2.6 by 2.4 lengths; the cart at the left end of its rail."""
    colour = {name: np.array(ImageColor.getrgb(value)) for name, value in (("rod", BODY), ("pole", JOINT))}

    def where(name, task, seen):
        picture = watch.draw(sampler.TASKS[task](task, {}).look, np.array(seen), 260, 240)
        assert picture.shape == (240, 260, 3) and picture.dtype == np.uint8
        return np.argwhere((picture == colour[name]).all(-1))  # rows from the top, columns

    up, left = where("rod", "Pendulum-v1", [1.0, 0.0, 0.0]), where("rod", "Pendulum-v1", [0.0, 1.0, 0.0])
    assert (up[:, 0].min(), up[:, 1].min(), up[:, 1].max()) == (20, 122, 137)  # 1 above the middle, 0.16 wide
    assert (left[:, 1].min(), left[:, 0].min(), left[:, 0].max()) == (30, 112, 127)
    cart = where("rod", "ContinuousCartPole", [-2.4, 0.0, 0.0, 0.0])
    pole = where("pole", "ContinuousCartPole", [-2.4, 0.0, 0.1, 0.0])
    assert cart[:, 1].max() == 21  # at 50 pixels a metre it ends at 22.5: pixel 22 is half covered
    assert pole[:, 1].max() > pole[:, 1].min() + 4


def test_a_task_without_a_renderer_is_filmed(tmp_path):
    """Drawn from the sampler's own steps: an episode that ends keeps its last picture."""
    train("ppo", tmp_path / "run", task={"environment": "ContinuousCartPole"})
    done = septet("watch", tmp_path / "run", "--out", tmp_path / "video.gif", "--size", 64, 48, MUJOCO_GL="nothing")
    assert done.returncode == 0, done.stderr
    model = load_model(tmp_path / "run")
    policy, environment = model.policy("best"), model.card.environment
    shown = list(watch.frames(policy, environment, steps=250, root=ROOT, width=64, height=48))
    _, lengths = evaluation.returns_of(policy, environment, 1)
    assert len(shown) == 1 + lengths.max() and shown[0].shape == (48, 2 * 64, 3)
    first = int(lengths.argmin())
    ended = [frame[:, 64 * first : 64 * (first + 1)] for frame in shown[lengths.min() :]]
    assert all((frame == ended[0]).all() for frame in ended)
