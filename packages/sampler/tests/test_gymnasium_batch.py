"""Environments that users write: odd spaces and returns, generators of their own, notebooks, forks."""

import multiprocessing
import os
import random
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from septet import sampler
from septet.errors import InputError, NoState
from septet.sampler.policy import GaussianPolicy
from septet.sampler.samplers import Samplers


class Toy(gym.Env):
    """Counts its steps; episodes of five."""

    observation_space = spaces.Box(-1e3, 1e3, (2,), np.float64)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, change=None, **attributes):
        self.got, self.change = [], change or {}
        for name, value in attributes.items():
            setattr(self, name, value)

    def observe(self):
        return np.array([self.t, 0.0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        self.got.append(action)
        found = {
            "observation": self.observe(),
            "reward": 1.0,
            "terminated": self.t >= 5,
            "truncated": False,
            "info": {},
        }
        return tuple({**found, **self.change}.values())


gym.register("Toy-v0", Toy)


def make(name="Toy-v0", environments=1, **options):
    return sampler.make(name, seeds=[3], environments=environments, **options)


def received(space, rows):
    """What an environment of that action space gets for rows of numbers."""
    batch = make(action_space=space)
    batch.reset()
    for row in rows:
        batch.step(np.array([row], float))
    return batch.action_low.tolist(), batch.action_high.tolist(), batch._envs[0].env.unwrapped.got


@pytest.mark.parametrize(
    ("space", "rows", "expected"),
    [
        (spaces.Box(0, 10, (1,), np.int64), [[0.6], [9.9], [14.0], [-3], [1e300]], [1, 10, 10, 0, 10]),
        (spaces.Box(0, 255, (1,), np.uint8), [[254.9], [256.0], [300.0], [-1.0]], [255, 255, 255, 0]),
        (spaces.Box(-np.inf, np.inf, (1,), np.int64), [[1e30], [-1e30], [2.6]], [2**63 - 1, -(2**63), 3]),
        (spaces.Box(0, 2**64 - 1, (1,), np.uint64), [[1e30], [-1.0]], [2**64 - 1, 0]),
        (spaces.Box(np.zeros(1, bool), np.ones(1, bool), dtype=np.bool_), [[0.4], [0.6], [7.0]], [False, True, True]),
        (spaces.Box(-1, 1, (1,), np.float16), [[0.5], [1e9]], [0.5, 65504.0]),
        (spaces.Box(-1, 1, (1,), np.float32), [[0.5], [3.0]], [0.5, 3.0]),
        (spaces.Discrete(3), [[0.4], [1.6], [9.0], [-9.0]], [0, 2, 2, 0]),
        (spaces.Discrete(3, start=5), [[0.0], [1.2], [9.0], [-9.0]], [5, 6, 7, 5]),
    ],
)
def test_actions_are_rounded_and_clipped_before_the_cast(space, rows, expected):
    low, high, got = received(space, rows)
    assert [np.asarray(one).item() for one in got] == expected
    assert all(np.asarray(one).dtype == space.dtype for one in got)
    assert space.contains(got[0])
    if isinstance(space, spaces.Discrete):
        assert (low, high) == ([0], [2])  # a policy around 0 reaches every choice
    elif np.isinf(space.low).any() or not space.bounded_below.all():
        assert (low, high) == ([-np.inf], [np.inf])


def test_several_choices():
    for space, row, expected in (
        (spaces.MultiDiscrete([2, 3], start=[0, 4]), [0.7, 9.0], [1, 6]),
        (spaces.MultiDiscrete([[2], [3]]), [5.0, 1.4], [[1], [1]]),
        (spaces.MultiBinary(3), [-1.0, 0.6, 2.0], [0, 1, 1]),
    ):
        _, _, got = received(space, [row])
        np.testing.assert_array_equal(got[0], expected)
        assert space.contains(got[0])


class Keyword(Toy):
    def reset(self, seed=None):
        return super().reset(seed=seed)


class Bare(Toy):
    def reset(self):
        return super().reset()


class ReadOnly(Toy):
    np_random = property(lambda self: np.random.default_rng(0))


gym.register("Keyword-v0", Keyword)
gym.register("Bare-v0", Bare)
gym.register("ReadOnly-v0", ReadOnly)


@pytest.mark.parametrize("name", ["Keyword-v0", "Bare-v0", "ReadOnly-v0"])
def test_a_reset_with_other_arguments_is_accepted(name):
    batch = make(name, 2)
    np.testing.assert_array_equal(batch.reset(), np.zeros((2, 2)))
    assert batch.step(np.zeros((2, 1))).observation[0, 0] == 1


@pytest.mark.parametrize("reward", [np.ones(1), np.array(1), 1, np.float32(1), np.ones((1, 1)), True, [1.0]])
def test_one_number_is_a_reward_and_an_end(reward):
    batch = make(change={"reward": reward, "truncated": np.array([False]), "terminated": np.array(0)})
    batch.reset()
    step = batch.step(np.zeros((1, 1)))
    assert step.reward.tolist() == [1.0] and not step.truncated[0] and not step.terminated[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"reward": np.ones(2)}, r"Toy-v0: reward: expected one number, found float64 of shape \(2,\)"),
        ({"reward": None}, "Toy-v0: reward: expected one number, found None"),
        ({"reward": "1"}, "Toy-v0: reward"),
        ({"reward": 1j}, "Toy-v0: reward"),
        ({"reward": [[1], [2, 3]]}, "Toy-v0: reward"),
        ({"terminated": None}, "Toy-v0: terminated: expected True or False"),
        ({"truncated": 0.5}, "Toy-v0: truncated"),
        ({"observation": np.zeros(3)}, r"Toy-v0: observation: expected Box\(.*found float64 of shape \(3,\)"),
        ({"observation": {"a": 1}}, "Toy-v0: observation: expected Box"),
        ({"more": 1}, r"Toy-v0: step: expected \(observation, .*found 6 values"),
    ],
)
def test_a_faulty_step_is_one_line_that_names_the_environment(change, text):
    batch = make(change=change)
    batch.reset()
    with pytest.raises(InputError, match=text) as caught:
        batch.step(np.zeros((1, 1)))
    assert "\n" not in str(caught.value)
    batch.close()


def test_spaces_are_checked_when_the_environment_is_made():
    box = spaces.Box(-1, 1, (2,))
    for options, text in (
        ({"observation_space": spaces.Dict({"q": spaces.Sequence(box)})}, "observation space: expected a fixed number"),
        ({"observation_space": spaces.Box(-1, 1, (0,))}, "observation space"),
        ({"observation_space": None}, "observation space"),
        ({"action_space": spaces.Dict({"a": box})}, "action space: expected numbers"),
        ({"action_space": spaces.Tuple((box,))}, "action space"),
        ({"action_space": None}, "action space"),
    ):
        with pytest.raises(InputError, match=f"Toy-v0: {text}"):
            make(**options)
    policy = GaussianPolicy(2, 1, hidden=())
    for processes in (0, 1):
        with pytest.raises(InputError, match=r"Toy-v0: action space: expected finite bounds .* found .*inf"):
            Samplers("Toy-v0", policy, seeds=[0], environments=1, steps=2, bounds="scale", processes=processes,
                     options={"action_space": spaces.Box(-1, np.inf, (1,))})  # fmt: skip


class Raises(Toy):
    def __init__(self, error):
        raise error


gym.register("Raises-v0", Raises)


@pytest.mark.parametrize("error", [AssertionError("small"), KeyError("k"), FileNotFoundError(2, "no"), RuntimeError()])
def test_a_constructor_that_raises_is_one_line(error):
    with pytest.raises(InputError, match=f"Raises-v0: expected an environment .* found {type(error).__name__}"):
        make("Raises-v0", error=error)


class Noisy(Toy):
    """Draws from where `how` says."""

    def __init__(self, how):
        super().__init__()
        self.how, self.mine = how, {"deep": [np.random.default_rng(), random.Random()]}
        self.start = np.random.rand() if how == "made" else 0.0  # noqa: NPY002

    def observe(self):
        draw = {
            "np_random": lambda: self.np_random.random(),
            "numpy": lambda: np.random.rand(),  # noqa: NPY002
            "random": random.random,
            "own": lambda: self.mine["deep"][0].random() + self.mine["deep"][1].random(),
            "made": lambda: self.start,
            "space": lambda: self.observation_space.sample()[0],
            "system": lambda: os.urandom(1)[0] + os.urandom(1)[0] / 256,
        }[self.how]
        return np.array([self.t, draw()])

    def reset(self, *, seed=None, options=None):
        self.t = 0  # the generator is not seeded here
        return self.observe(), {}


gym.register("Noisy-v0", Noisy)


def played(how, members, steps=12):
    batch = sampler.make("Noisy-v0", seeds=[0], environments=3, members=members, how=how)
    found = [batch.reset(), *(batch.step(np.zeros((batch.size, 1))).observation for _ in range(steps))]
    batch.close()
    return np.stack(found)


@pytest.mark.parametrize("how", ["np_random", "numpy", "random", "own", "made", "space"])
def test_every_generator_is_seeded_for_itself_and_however_environments_are_divided(how, capfd):
    state = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    whole = played(how, (0, 3))
    np.testing.assert_array_equal(np.random.get_state()[1], state[0])  # noqa: NPY002  # the caller's are left alone
    assert random.getstate() == state[1]
    np.testing.assert_array_equal(whole[:, 1:], played(how, (1, 3)))
    np.testing.assert_array_equal(whole[:, :1], played(how, (0, 1)))
    assert (whole[:, 0, 1] != whole[:, 1, 1]).all()
    assert capfd.readouterr().err == ""


def test_what_cannot_be_repeated_is_said_once(capfd, monkeypatch):
    monkeypatch.setattr("septet.sampler.gymnasium_batch._warned", set())
    assert (played("system", (0, 3)) != played("system", (0, 3))).any()
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("Noisy-v0: warning: the same seeds give other results")


def test_making_an_environment_does_not_step_it():
    batch = make()
    batch.reset()
    assert batch._envs[0].env.unwrapped.got == []


NOTEBOOK = """
import numpy as np, gymnasium as gym
from septet.sampler.policy import GaussianPolicy
from septet.sampler.samplers import Samplers
class Mine(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    def reset(self, *, seed=None, options=None): self.t = 0; return np.zeros(2, np.float32), {}
    def step(self, a): self.t += 1; return np.zeros(2, np.float32), 1.0, self.t > 9, False, {}
gym.register("Mine-v0", Mine)
gym.register("Text-v0", "__main__:Mine")
policy = GaussianPolicy(2, 1, hidden=())
for task in ("Mine-v0", "Text-v0", "other:Other-v0"):
    with Samplers(task, policy, seeds=[0], environments=2, steps=5, processes=2) as samplers:
        samplers.broadcast(np.zeros((1, policy.size), np.float32))
        print(samplers.collect().reward.sum())
Mine.lock = __import__("threading").Lock()
try:
    Samplers("Mine-v0", policy, seeds=[0], environments=2, steps=5, processes=2)
except Exception as error:
    print(type(error).__name__, str(error)[:60])
"""


def test_environments_of_a_notebook_reach_the_samplers(tmp_path):
    other = NOTEBOOK.partition("policy =")[0].replace("Mine-v0", "Other-v0").replace("Text-v0", "Other-v1")
    (tmp_path / "other.py").write_text(other, encoding="utf-8")
    command = [sys.executable, "-c", NOTEBOOK]  # sys.path starts with "", as in a notebook
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == [
        "10.0", "10.0", "10.0", "InputError Mine-v0: expected an object that can be sent to sampler proc"
    ], done.stderr  # fmt: skip


def _use(batch, queue):
    queue.put(batch.step(np.zeros((4, 1))).reward.tolist())
    batch.close()


def test_threads_start_again_in_a_forked_child():
    batch = sampler.make("Pendulum-v1", seeds=[0], environments=4, threads=2)
    batch.reset()
    batch.step(np.zeros((4, 1)))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_use, args=(batch, queue))
    child.start()
    found = queue.get(timeout=30)
    child.join(30)
    assert child.exitcode == 0
    assert found == batch.step(np.zeros((4, 1))).reward.tolist()
    batch.close()
    assert len(batch.step(np.zeros((4, 1))).reward) == 4  # without its threads, the caller works alone


def _refused(samplers, queue):
    try:
        samplers.collect()
    except InputError as error:
        queue.put(str(error))
    samplers.close()


def test_samplers_belong_to_the_process_that_started_them():
    policy = GaussianPolicy(3, 1, hidden=())
    context = multiprocessing.get_context("fork")
    with Samplers("Pendulum-v1", policy, seeds=[0], environments=2, steps=3, processes=1) as samplers:
        samplers.broadcast(np.zeros((1, policy.size), np.float32))
        queue = context.Queue()
        child = context.Process(target=_refused, args=(samplers, queue))
        child.start()
        assert "expected the process that started them" in queue.get(timeout=30)
        child.join(30)
        assert child.exitcode == 0
        assert samplers.collect().reward.shape == (3, 2)  # the child's close ended nothing


class Drifting(Toy):
    """Another episode each time, whatever the seed."""

    episodes = 0

    def reset(self, *, seed=None, options=None):
        found = super().reset(seed=seed)
        Drifting.episodes += 1
        return found

    def observe(self):
        return np.array([self.t, float(Drifting.episodes)])


def test_a_state_is_the_episode_and_its_actions(capsys):
    """Of environments in the middle of their episodes; one that does not repeat itself is reported."""
    for kind, says in ((Toy, ""), (Drifting, "the run that resumes is another one")):
        gym.register(f"{kind.__name__}Limited-v0", kind, max_episode_steps=7)
        batch = make(f"{kind.__name__}Limited-v0", environments=2)
        batch.reset()
        for k in range(8):  # an episode of five, and three steps
            batch.step(np.full((2, 1), 0.1 * k))
        saved = batch.state
        assert saved["episode"].tolist() == [1, 1] and saved["elapsed"].tolist() == [3, 3]
        np.testing.assert_allclose(saved["actions"][0, :3, 0], [0.5, 0.6, 0.7])
        capsys.readouterr()
        again = make(f"{kind.__name__}Limited-v0", environments=2)
        again.state = saved
        assert says in capsys.readouterr().err
        if kind is Toy:
            np.testing.assert_array_equal(again.step(np.zeros((2, 1))).observation, [[4.0, 0.0]] * 2)
            assert again.step(np.zeros((2, 1))).terminated.all()
        del gym.registry[f"{kind.__name__}Limited-v0"]


def test_without_a_time_limit_there_is_no_state():
    batch = make()
    batch.reset()
    with pytest.raises(NoState, match=r"Toy-v0: state: expected episodes with a time limit .*no time limit"):
        _ = batch.state
