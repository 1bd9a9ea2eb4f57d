"""The calls that Stable-Baselines3 made common, on a user's own environment: one script for ours and for theirs."""

import copy
import warnings
from functools import partial

import gymnasium
import numpy as np
import pytest
import stable_baselines3
from gymnasium import spaces

from septet.errors import InputError
from septet.rl import methods
from septet.rl.config import Job
from septet.rl.train import build
from septet.testing import forgotten
from septet.walle.methods import PPOKL


class Line(gymnasium.Env):
    """A point is to stay near 0; episodes have no time limit of their own."""

    observation_space = spaces.Box(-2.0, 2.0, (2,), np.float32)
    action_space = spaces.Box(-0.5, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.before = self.np_random.uniform(-1.0, 1.0), 0.0
        return self.seen(), {}

    def seen(self):
        return np.array([self.x, self.before], np.float32)

    def step(self, action):
        assert self.action_space.contains(action)
        self.before = self.x
        self.x = float(np.clip(self.x + 0.2 * action[0] + 0.01 * self.np_random.normal(), -2.0, 2.0))
        return self.seen(), -abs(self.x), False, False, {}


def limited():
    return gymnasium.wrappers.TimeLimit(Line(), 20)


SMALL = {"hidden": [8], "steps": 64}


def users_script(method, load, env, path):
    """What a user writes; nothing in it knows whose method it is."""
    counted = []

    def callback(local, _):
        counted.append(local["self"].num_timesteps)
        return len(counted) < 1000

    model = method(env=env, seed=0)
    assert model.learn(total_timesteps=256, callback=callback) is model
    model.save(path)
    model = load(path, env=env)
    observation, _ = env.reset(seed=1)
    total = 0.0
    for _ in range(20):
        action, state = model.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total += reward
        if terminated or truncated:
            break
    assert state is None and action.shape == env.action_space.shape and action.dtype == env.action_space.dtype
    many, _ = model.predict(np.zeros((7, 2), np.float32))
    assert many.shape == (7, 1) and counted[-1] >= 256 and model.num_timesteps >= 256
    assert env.action_space.contains(many[0])
    return total


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_one_script_runs_on_ours_and_on_stable_baselines3(whose, tmp_path):
    if whose == "ours":
        total = users_script(partial(methods.PPO, **SMALL), methods.PPO.load, limited(), tmp_path / "model")
    else:
        theirs = partial(stable_baselines3.PPO, "MlpPolicy", n_steps=64, device="cpu")
        total = users_script(theirs, stable_baselines3.PPO.load, limited(), tmp_path / "model")
    assert -40.0 <= total <= 0.0


def test_experiments_run_through_the_same_update():
    """The method's learner after two iterations is that of a training job with these settings."""
    model = methods.PPO("Pendulum-v1", seeds=range(2), root_seed=7, actions="scale", **SMALL).learn(2 * 64)
    job = Job(
        method={"algorithm": "ppo", **SMALL}, task={"environment": "Pendulum-v1", "actions": "scale"}, seeds=[0, 1],
        root_seed=7,
    )  # fmt: skip
    learner = build(job)
    found = [learner.iterate(k) for k in range(2)]
    np.testing.assert_array_equal(model.learner.weights(), learner.weights())
    np.testing.assert_array_equal(model.history.metrics["kl"], [each.scores["kl"] for each in found])


ENVIRONMENTS = {
    "id": lambda: "Pendulum-v1",
    "function": lambda: limited,
    "instance": limited,
    "vector": lambda: gymnasium.vector.SyncVectorEnv([limited] * 3),
}
METHODS = {
    "ppo": partial(methods.PPO, **SMALL),
    "vpg": partial(methods.VPG, **SMALL),
    "ddpg": partial(methods.DDPG, hidden=[8], batch_size=8, report=64, learning_starts=20),
}
CASES = [("ppo", kind) for kind in ENVIRONMENTS] + [("ddpg", "instance"), ("vpg", "function")]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_saved_method_goes_on_as_if_it_had_not_stopped(name, kind, tmp_path):
    """Own environments too: their state is the seed of the episode and its actions, 4 steps into one."""
    env, make = ENVIRONMENTS[kind](), METHODS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = make(env, seed=3).learn(64)
    whole.save(tmp_path / "model")
    resumed = type(whole).load(tmp_path / "model", None if kind == "id" else env)
    scratch = ["gradient", "_envs", "_trial", "_taken", "_work", "_hidden", "_chunk", "_numbers", "_records", "_sides"]
    assert forgotten(whole.learner, resumed.learner, scratch) == set()
    for model in (whole, resumed):
        model.learn(128, reset_num_timesteps=False)
        assert model.num_timesteps == (384 if kind == "vector" else 192)  # iterations of 192 steps, or of 64
    first, second = whole.learner.acting(), resumed.learner.acting()
    np.testing.assert_array_equal(first.weights, second.weights)
    for metric, values in whole.history.metrics.items():
        np.testing.assert_array_equal(values, resumed.history.metrics[metric])


def test_the_given_environment_is_never_stepped():
    env = limited()
    env.reset(seed=5)
    before = copy.deepcopy(env.unwrapped.__dict__)
    methods.PPO(env, seed=0, **SMALL).learn(64)
    assert env.unwrapped.x == before["x"]
    assert env.unwrapped.np_random.random() == before["_np_random"].random()


def test_without_a_time_limit_the_user_is_told_before_training(tmp_path):
    calls = []
    model = methods.DDPG(Line, seed=0, hidden=[8], batch_size=8, report=32, learning_starts=20)
    with pytest.warns(UserWarning, match=r"will not resume exactly: own/Line-v0: state: .*no time limit"):
        try:
            model.learn(32, callback=lambda *_: calls.append(1))
        finally:
            assert len(calls) == 1
    model.save(tmp_path / "model")
    again = methods.DDPG.load(tmp_path / "model", Line)
    np.testing.assert_array_equal(model.learner.agent.networks.critic, again.learner.agent.networks.critic)
    with pytest.warns(UserWarning, match="will not resume exactly"):
        again.learn(32)


def test_seeds_in_lockstep():
    model = METHODS["ppo"](limited, seeds=range(3)).learn(64)
    alone = METHODS["ppo"](limited, seed=2).learn(64)
    seen = np.linspace(-1.0, 1.0, 3 * 4 * 2).reshape(3, 4, 2).astype(np.float32)
    actions, _ = model.predict(seen, deterministic=True)
    assert actions.shape == (3, 4, 1)
    np.testing.assert_array_equal(actions[2], alone.predict(seen[2], deterministic=True)[0])
    assert model.predict(seen[:, 0])[0].shape == (3, 1)
    with pytest.raises(InputError, match="predict: expected an observation of shape"):
        model.predict(seen[0, 0])


def test_a_choice_is_one_of_the_space():
    model = METHODS["ppo"]("CartPole-v1", seed=0).learn(64)
    action, _ = model.predict(np.zeros(4, np.float32))
    assert model.action_space.contains(np.int64(action)) and action.shape == ()


def test_a_method_that_observes_the_time_keeps_it_in_its_state():
    model = PPOKL(limited, seed=0, steps=40).learn(40)
    seen, state, found = np.zeros(2, np.float32), None, []
    for start in (True, False, False, True):
        action, state = model.predict(seen, state, episode_start=np.array([start]), deterministic=True)
        found.append((float(action[0]), int(state[0, 0])))
    assert [steps for _, steps in found] == [1, 2, 3, 1]
    assert found[0] == found[3] and found[0][0] != found[2][0]


class Baseline3Callback:
    """The methods that Stable-Baselines3 calls."""

    def __init__(self):
        self.said = []

    def init_callback(self, model):
        self.said.append("init")

    def on_training_start(self, known, _):
        self.said.append("start")

    def on_rollout_start(self):
        pass

    def update_locals(self, known):
        self.known = known

    def on_rollout_end(self):
        pass

    def on_step(self):
        self.said.append(self.known["self"].num_timesteps)
        return len(self.said) < 4

    def on_training_end(self):
        self.said.append("end")


def test_an_object_as_callback_stops_the_training():
    callback = Baseline3Callback()
    METHODS["ppo"](limited, seed=0).learn(1000, callback=callback)
    assert callback.said == ["init", "start", 64, 128, "end"]


class Words(Line):
    observation_space = spaces.Sequence(spaces.Discrete(26))


@pytest.mark.parametrize(
    ("given", "settings", "says"),
    [
        (Words, {}, "own/Words-v0: observation space: expected a fixed number of numbers"),
        ("NoSuch-v0", {}, "task: expected one of HalfCheetah-v5"),
        (3, {}, "env: expected an id, an environment of Gymnasium, a function that makes one"),
        (lambda: 3, {}, "env: expected a function that makes an environment of Gymnasium, found TypeError"),
        (limited, {"rate": 1.0}, "PPO: method.* the unknown key rate"),
        (limited, {"clip_range": -1.0}, "PPO: method.*clip_range: expected greater than 0"),
        (limited, {"seed": 1, "seeds": [1]}, "PPO: seeds: expected seed or seeds, found both"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_object_is_made(given, settings, says):
    with pytest.raises(InputError, match=says):
        methods.PPO(given, **settings)


def test_a_saved_method_that_does_not_fit_is_refused(tmp_path):
    METHODS["vpg"](limited, seed=0).learn(64).save(tmp_path / "model")
    for load, says in (
        (lambda: methods.PPO.load(tmp_path / "model", limited), "expected a saved PPO, found VPG"),
        (lambda: methods.VPG.load(tmp_path / "model"), "VPG.load: env: expected the environment, which was your own"),
        (lambda: methods.VPG.load(tmp_path / "model", "Pendulum-v1"), "VPG.load: env: expected an environment as"),
        (lambda: methods.VPG.load(tmp_path, limited), "expected a readable file"),
    ):
        with pytest.raises(InputError, match=says):
            load()
    whole = (tmp_path / "model/training.safetensors").read_bytes()
    (tmp_path / "model/training.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="another checksum"):
        methods.VPG.load(tmp_path / "model", limited)
