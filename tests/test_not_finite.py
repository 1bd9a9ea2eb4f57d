"""Training ends at a reward or an observation that is not finite, before anything is learned from it."""

import json
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

import septet.metaexplore.config
import septet.metaexplore.train
import septet.rl.config
import septet.rl.train
import septet.svrpo.config
import septet.svrpo.train
import septet.vipg.config
import septet.vipg.train
import septet.walle.config
import septet.walle.train
from septet.errors import NotFinite
from septet.sampler.batch import CompiledBatch


class Sick(gymnasium.Env):
    """Episodes of ten steps; at step 7 of the second one the reward or the observation is NaN."""

    observation_space, action_space = Box(-1, 1, (2,), np.float32), Box(-1, 1, (1,), np.float32)

    def __init__(self, what):
        self.what, self.episodes = what, 0

    def seen(self, what):
        return np.nan if what == self.what and (self.t, self.episodes) == (7, 2) else 0.5

    def reset(self, *, seed=None, options=None):
        self.t, self.episodes = 0, self.episodes + 1
        return np.array([0.0, 0.5], np.float32), {}

    def step(self, action):
        self.t += 1
        return np.array([self.t / 10, self.seen("observation")], np.float32), self.seen("reward"), False, False, {}


@pytest.fixture(autouse=True)
def registered():
    names = [f"Sick-{what}-v0" for what in ("reward", "observation")]
    for name in names:
        gymnasium.register(name, Sick, max_episode_steps=10, kwargs={"what": name.split("-")[1]})
    yield
    for name in names:
        del gymnasium.registry[name]


NETS = {"hidden": [8], "value_minibatch_size": 4}
DDPG = {"algorithm": "ddpg", "learning_starts": 5, "hidden": [8], "batch_size": 4}
PPO = {"algorithm": "ppo", "steps": 10, "hidden": [8, 8], "minibatch_size": 5}
PEER = {"implementation": "stable_baselines3"}
LEARNERS = {
    "ppo": PPO,
    "trpo": {"algorithm": "trpo", "steps": 10, "hidden": [8, 8], "value_minibatch_size": 5},
    "vpg": {"algorithm": "vpg", "steps": 10, **NETS},
    "ddpg": DDPG,
    "ddpg with parameter noise": {**DDPG, "noise": "parameter"},
    "ppo/sb3": {**PPO, **PEER},
    "ddpg/sb3": {**DDPG, **PEER},
}
SIZES = {"batch_size": 20, "minibatch_size": 10, "environments": 1, "iterations": 2, "hidden": [8]}
JOBS = {name: (septet.rl, method, {}, {"steps": 40}) for name, method in LEARNERS.items()}
JOBS["ppo_kl"] = septet.walle, {"algorithm": "ppo_kl", "steps": 10, "policy_steps": 1}, {}, {"steps": 40}
JOBS["svrpo"] = septet.svrpo, {"algorithm": "inner_loop", "hessian_blocks": 1}, SIZES, {}
JOBS["srvrpg"] = septet.svrpo, {"algorithm": "srvrpg", "snapshot": 1, "trajectories": 1}, SIZES, {}


def ends(package, job, out, says):
    with pytest.raises(NotFinite, match=says):
        package.train.train(package.config.Job.model_validate(job), out)
    assert not list(out.rglob("*.parquet")) and not list(out.rglob("run.json"))


@pytest.mark.parametrize("what", ["reward", "observation"])
@pytest.mark.parametrize("name", JOBS)
def test_what_an_environment_gave_is_named(name, what, tmp_path):
    package, method, task, more = JOBS[name]
    job = {"method": method, "task": {"environment": f"Sick-{what}-v0", **task}, "seeds": [5], **more}
    ends(package, job, tmp_path, rf"step \d+: {what} is not finite: nan \(seed 5\)")


ENVIRONMENT = {"kind": "environment", "episodes": 2, "return_low": 0, "return_high": 9}
OWN = {
    "vipg": (septet.vipg, {"algorithm": "vpg", "particles": 2}, ENVIRONMENT),
    "vipg, action space": (septet.vipg, {"algorithm": "action_space"}, ENVIRONMENT),
    "metaexplore": (septet.metaexplore, {"hidden": [8, 8]}, {}),
    "metaexplore, plain": (septet.metaexplore, {"hidden": [8, 8], "explorer": "gaussian"}, {}),
}


@pytest.mark.parametrize("what", ["reward", "next_observation"])
@pytest.mark.parametrize("name", OWN)
def test_tasks_of_ours_are_looked_at_too(name, what, tmp_path, monkeypatch):
    """The second seed's environment gives an infinite value at the 50th step."""
    package, method, task = OWN[name]
    original, count = CompiledBatch.step, [0]

    def spoiled(self, *arguments):
        step = original(self, *arguments)
        count[0] += 1
        if count[0] == 50:
            getattr(step, what)[-1] = np.inf
        return step

    monkeypatch.setattr(CompiledBatch, "step", spoiled)
    job = {"method": method, "task": {"environment": "Pendulum-v1", **task}, "seeds": [5, 6]}
    ends(package, job, tmp_path, rf"step \d+: {what.removeprefix('next_')} is not finite: inf \(seed 6\)")


def test_the_exit_code_is_3(tmp_path):
    """The navigation task with a reward that float32 cannot hold."""
    task = {"environment": "DeceptiveNavigation", "options": {"near_height": "HEIGHT"}, "steps": 600}
    config = json.dumps({"method": {"hidden": [8, 8]}, "task": task, "seeds": [5]}).replace('"HEIGHT"', "1.0e+300")
    command = [sys.executable, "-m", "septet.metaexplore", "train", "--config", "-", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, input=config, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done.stderr
    assert "evaluate, step 1: reward is not finite" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.parquet"))
