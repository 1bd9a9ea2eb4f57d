"""The lines for a user's own environment in the README of each method's package run as they stand."""

import importlib
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

ROOT = Path(__file__).parents[1]
CLASSES = {"rl": "PPO", "walle": "PPOKL", "svrpo": "SVRPO", "metaexplore": "MetaExplore", "vipg": "VTRPO"}


class Line(gymnasium.Env):
    """A point is to stay near 0."""

    observation_space = spaces.Box(-2.0, 2.0, (2,), np.float32)
    action_space = spaces.Box(-0.5, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.before = self.np_random.uniform(-1.0, 1.0), 0.0
        return np.array([self.x, 0.0], np.float32), {}

    def step(self, action):
        self.before, self.x = self.x, float(np.clip(self.x + 0.2 * action[0], -2.0, 2.0))
        return np.array([self.x, self.before], np.float32), -abs(self.x), False, False, {}


@pytest.mark.parametrize("package", CLASSES)
def test_the_lines_for_your_own_environment_run(package, tmp_path, monkeypatch):
    text = (ROOT / "packages" / package / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Your own environment\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"MyEnvironment": lambda: gymnasium.wrappers.TimeLimit(Line(), 20)}
    exec(code, names)
    model, env = names["model"], names["env"]
    assert env.action_space.contains(names["action"])
    again = getattr(importlib.import_module(f"septet.{package}.methods"), CLASSES[package]).load("model", env)
    for each in (model, again):
        each.learn(1, reset_num_timesteps=False)
    np.testing.assert_array_equal(model.learner.acting().weights, again.learner.acting().weights)
    seen = np.array([[0.5, 0.4], [-0.5, 0.1]], np.float32)
    np.testing.assert_array_equal(
        model.predict(seen, deterministic=True)[0], again.predict(seen, deterministic=True)[0]
    )
