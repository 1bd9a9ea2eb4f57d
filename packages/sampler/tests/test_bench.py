"""The bench measures what it says, in rounds so short that only its form is checked."""

import importlib

import numpy as np
import pytest

from septet.errors import InputError
from septet.sampler import bench
from septet.sampler.bench import Actor, Replay, Setting, compare, measure_task, rate


def test_the_replay_is_the_same_physics_without_the_rest():
    replay = Replay("Hopper-v5", seconds=0.05)
    assert sum(start.sum() for start in replay.starts[1:]) > 0  # some terminated and restarted
    assert replay.rate() > 0
    nq, nv = replay.model.nq, replay.model.nv
    last = bench.BATCH - 1
    if not replay.starts[-1][last]:
        np.testing.assert_array_equal(replay.data.qpos, replay.states[-1][last, :nq])
        np.testing.assert_array_equal(replay.data.qvel, replay.states[-1][last, nq : nq + nv])


def test_rows_compare_what_runs_on_as_many_cores():
    rates = {
        "sampler, 1 core": 90.0,
        "sampler, 2 threads": 160.0,
        "EnvPool, 1 core": 45.0,
        "EnvPool, 2 threads": 80.0,
        "mj_step, 1 core": 100.0,
    }
    rows = compare("Hopper-v5", rates, 2)
    assert [(row["name"], row["peer"], row["ratio"], row["limit_ratio"]) for row in rows] == [
        ("Hopper-v5: sampler, 1 core", "EnvPool, 1 core", 2.0, 0.9),
        ("Hopper-v5: sampler, 1 core", "mj_step x 1", 0.9, 0.9),
        ("Hopper-v5: sampler, 2 threads", "EnvPool, 2 threads", 2.0, 0.8),
        ("Hopper-v5: sampler, 2 threads", "mj_step x 2", 0.8, 0.8),
    ]
    assert set(rows[0]) == {"name", "value", "unit", "peer", "peer_value", "ratio", "limit_ratio"}


def test_everybody_steps_and_leaves_no_log(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "STEPS", 4)
    rates = measure_task("HalfCheetah-v5", Setting(tasks=[], cores=2, processes=2, rounds=1, seconds=0.01))
    assert len(rates) == 9
    assert all(value > 0 for value in rates.values())
    assert list(tmp_path.iterdir()) == []


def test_the_actor_keeps_to_the_bounds_and_explores():
    act = Actor("HalfCheetah-v5", 3)
    one, other = act(np.zeros((3, 17))), act(np.zeros((3, 17)))
    assert one.shape == (3, 6)
    assert np.abs(one).max() <= 1
    assert (one != other).any()


def test_a_rate_is_steps_over_time(monkeypatch):
    clock = iter([0.0, 0.4, 0.8, 1.2])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    assert rate(lambda: 3, 1.0) == pytest.approx(9 / 1.2)


def test_a_missing_peer_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"bench: expected the peer envpool \(make setup-dev\)"):
        bench.BENCH(True, tmp_path / "bench.json")
    assert list(tmp_path.iterdir()) == []
