"""Saved states, threads, parts of a batch, and refusals."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet import sampler
from septet.errors import InputError

MUJOCO = [task for task in sampler.TASKS if task.endswith("-v5")]


def actions(batch, steps, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(batch.action_low, batch.action_high, (steps, batch.size, batch.action_size))


def run(batch, moves):
    return [batch.step(action) for action in moves]


def same(one, other, columns=slice(None)):
    for ours, theirs in zip(one, other, strict=True):
        for name in sampler.Step._fields:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name)[columns])


@pytest.mark.parametrize("task", sampler.TASKS)
def test_a_restored_state_goes_on_bit_for_bit(task):
    batch = sampler.make(task, seeds=[1, 2], environments=2, time_limit=20)
    batch.reset()
    moves = actions(batch, 40)
    run(batch, moves[:17])
    state = batch.state
    kept = {name: array.copy() for name, array in state.items()}
    after = run(batch, moves[17:])
    for name, array in state.items():
        np.testing.assert_array_equal(array, kept[name])  # copies: stepping on does not touch them
    other = sampler.make(task, seeds=[1, 2], environments=2, time_limit=20)
    other.state = state
    np.testing.assert_array_equal(other.state["observation"], kept["observation"])
    same(run(other, moves[17:]), after)
    batch.state = state
    assert set(batch.elapsed) <= set(range(20))
    same(run(batch, moves[17:]), after)


@settings(max_examples=25, deadline=None)
@given(
    task=st.sampled_from(["Hopper-v5", "Ant-v5", "Pendulum-v1", "ContinuousCartPole"]),
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True),
    environments=st.integers(1, 3),
    before=st.integers(0, 12),
    after=st.integers(1, 12),
)
def test_state_round_trip(task, seeds, environments, before, after):
    batch = sampler.make(task, seeds=seeds, environments=environments)
    batch.reset()
    moves = actions(batch, before + after)
    run(batch, moves[:before])
    state = batch.state
    expected = run(batch, moves[before:])
    batch.state = state
    again = batch.state
    assert again.keys() == state.keys()
    for name in state:
        np.testing.assert_array_equal(again[name], state[name])
    same(run(batch, moves[before:]), expected)


@pytest.mark.parametrize("task", ["Hopper-v5", "Ant-v5", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_results_do_not_depend_on_threads_or_parts(task):
    whole = sampler.make(task, seeds=[5, 3], environments=5, time_limit=15)
    whole.reset()
    moves = actions(whole, 40)
    expected = run(whole, moves)
    assert sum(step.truncated.sum() for step in expected)
    for threads in (2, 3, 64):
        batch = sampler.make(task, seeds=[5, 3], environments=5, time_limit=15, threads=threads)
        batch.reset()
        same(run(batch, moves), expected)
        batch.close()
    for first, last in ((0, 1), (1, 7), (4, 6), (7, 10)):
        part = sampler.make(task, seeds=[5, 3], environments=5, time_limit=15, members=(first, last))
        assert part.size == last - first
        part.reset()
        same(run(part, moves[:, first:last]), expected, slice(first, last))


def test_a_seed_gives_the_same_alone_and_in_a_batch():
    both = sampler.make("Hopper-v5", seeds=[9, 4], environments=2)
    alone = sampler.make("Hopper-v5", seeds=[4], environments=2)
    both.reset()
    alone.reset()
    moves = actions(both, 60)
    same(run(alone, moves[:, 2:]), run(both, moves), slice(2, 4))


def test_roots_seeds_environments_and_episodes_start_differently():
    starts = []
    for root in (0, 1):
        batch = sampler.make("HalfCheetah-v5", seeds=[1, 2], environments=2, root=root)
        starts += [*batch.reset(), *batch.reset()]
    assert len({start.tobytes() for start in starts}) == 16


def test_arrays_of_a_step_stay_the_callers():
    batch = sampler.make("Hopper-v5", seeds=[1], environments=3)
    kept = [batch.reset()]
    copies = [kept[0].copy()]
    for action in actions(batch, 80):
        step = batch.step(action)
        kept += step
        copies += [array.copy() for array in step]
    for one, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(one, copy)


def test_elapsed_counts_the_steps_of_running_episodes():
    batch = sampler.make("Pendulum-v1", seeds=[1], environments=2, time_limit=3)
    batch.reset()
    seen = []
    for _ in range(7):
        batch.step(np.zeros((2, 1)))
        seen.append(batch.elapsed.tolist())
    assert seen == [[1, 1], [2, 2], [0, 0], [1, 1], [2, 2], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("action", "found"),
    [
        (np.full((4, 6), np.nan), "environment 0: expected finite numbers, found nan"),
        (np.where(np.arange(4)[:, None] == 3, np.inf, 0.0) * np.ones(6), "environment 3: expected finite"),
        (np.zeros((4, 5)), r"expected float64 of shape \(4, 6\), found float64 \(4, 5\)"),
        (np.zeros(24), r"found float64 \(24,\)"),
        ([["a"]], r"expected float64 of shape \(4, 6\)"),
        ([[1.0], [1.0, 2.0]], r"expected float64 of shape \(4, 6\)"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_bad_action_is_refused_and_steps_nothing(action, found, threads):
    batch = sampler.make("HalfCheetah-v5", seeds=[1], environments=4, threads=threads)
    batch.reset()
    before = batch.state
    with pytest.raises(InputError, match=found):
        batch.step(action)
    for name, array in batch.state.items():
        np.testing.assert_array_equal(array, before[name])
    batch.close()


def test_bad_arguments_are_refused():
    def refused(text, task="Hopper-v5", **arguments):
        with pytest.raises(InputError, match=text):
            sampler.make(task, **{"seeds": [1], "environments": 2, **arguments})

    refused("one of HalfCheetah-v5, .*, or any Gymnasium id, found Nothing-v1", "Nothing-v1")
    refused("option: expected one of time_limit, .*, found gravity", gravity=3)
    refused("option healthy_z_range: expected two numbers", healthy_z_range=1.0)
    refused("option ctrl_cost_weight: expected a number", ctrl_cost_weight="much")
    refused("option terminate_when_unhealthy: expected true or false", terminate_when_unhealthy=3)
    refused("option frame_skip: expected a whole number, at least 1", frame_skip=0)
    refused("option time_limit: expected a whole number, at least 1", time_limit=0)
    refused("seeds: expected one or more whole numbers", seeds=[])
    refused("environments: expected an integer of at least 1", environments=0)
    refused("threads: expected an integer of at least 1", threads=0)
    refused("members: expected 0 <= first < last <= 2", members=(1, 3))


def test_a_step_before_the_first_reset_and_a_foreign_state_are_refused():
    batch = sampler.make("Hopper-v5", seeds=[1], environments=2)
    with pytest.raises(InputError, match="expected a reset before it"):
        batch.step(np.zeros((2, 3)))
    batch.reset()
    before = batch.state
    with pytest.raises(InputError, match="state elapsed: expected int64"):
        batch.state = {**before, "elapsed": np.zeros(3, dtype=np.int64)}
    with pytest.raises(InputError, match=r"state episode: expected .* found nothing"):
        batch.state = {name: array for name, array in before.items() if name != "episode"}
    for name, array in batch.state.items():
        np.testing.assert_array_equal(array, before[name])


def test_threads_end_with_their_batch():
    def running():
        return threading.active_count()

    before = running()
    batch = sampler.make("Pendulum-v1", seeds=[1], environments=4, threads=3)
    assert running() == before + 2
    batch.close()
    other = sampler.make("Pendulum-v1", seeds=[1], environments=4, threads=2)
    del other
    deadline = time.monotonic() + 5
    while running() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running() == before


@pytest.mark.parametrize("task", ["Pusher-v5", "CartPole-v1", "MountainCarContinuous-v0"])
def test_any_gymnasium_environment_has_the_same_interface(task):
    batch = sampler.make(task, seeds=[1, 2], environments=2, time_limit=25)
    first = batch.reset()
    assert first.shape == (4, batch.observation_size)
    assert (batch.time_limit, batch.task) == (25, task)
    ended = 0
    for action in actions(batch, 60):
        observation, reward, terminated, truncated, following = batch.step(action)
        over = terminated | truncated
        np.testing.assert_array_equal(observation[~over], following[~over])
        assert (observation[over] != following[over]).any(axis=1).all()
        assert (batch.elapsed[over] == 0).all()
        assert reward.dtype == observation.dtype == np.float64
        ended += over.sum()
    assert ended >= 8
    saved, given = batch.state, actions(batch, 30)
    whole = [batch.step(action) for action in given]
    other = sampler.make(task, seeds=[1, 2], environments=2, time_limit=25)
    other.state = saved
    for action, expected in zip(given, whole, strict=True):
        for one, same in zip(other.step(action), expected, strict=True):
            np.testing.assert_array_equal(one, same)
    other.close()
    with pytest.raises(InputError, match="state episode: expected int64"):
        batch.state = {}
    with pytest.raises(InputError, match="finite"):
        batch.step(np.full((4, batch.action_size), np.nan))
    batch.close()


def test_a_gymnasium_environment_that_stands_still_changes_nothing():
    """Stepping two environments in turn is stepping each by itself."""
    one = [sampler.make("MountainCarContinuous-v0", seeds=[0], environments=2, members=(k, k + 1)) for k in (0, 1)]
    both = sampler.make("MountainCarContinuous-v0", seeds=[0], environments=2)
    start = both.reset()
    np.testing.assert_array_equal(start, np.concatenate([batch.reset() for batch in one]))
    action = np.array([[1.0], [-1.0]])
    for turn in (0, 1, 1, 0, 1):
        step, alone = both.step(action, np.arange(2) == turn), one[turn].step(action[turn : turn + 1])
        for name in ("observation", "reward", "next_observation"):
            np.testing.assert_array_equal(getattr(step, name)[turn], getattr(alone, name)[0])
        assert step.reward[1 - turn] == 0.0
    assert both.elapsed.tolist() == [2, 3]


def test_a_gymnasium_environment_that_cannot_be_used_is_refused():
    for task, text in {"Pendulum-v0": "expected", "CartPole-v1": "Gymnasium can make"}.items():
        with pytest.raises(InputError, match=text):
            sampler.make(task, seeds=[1], environments=1, **({"nonsense": 1} if task == "CartPole-v1" else {}))


UNSTABLE = """
import numpy as np
from septet import sampler
for task in {tasks}:
    for threads in (1, 2):
        batch = sampler.make(task, seeds=[1], environments=4, threads=threads)
        batch.reset()
        state = batch.state
        state["state"][1:3, 2:] = 1e12
        state["state"][3, 3] = np.nan
        batch.state = state
        for _ in range(5):
            step = batch.step(np.full((4, batch.action_size), 1e300))
        batch.close()
sampler.make("Pusher-v5", seeds=[1], environments=1).reset()
"""


def test_mujoco_is_silent_and_leaves_no_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", UNSTABLE.format(tasks=MUJOCO)],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
