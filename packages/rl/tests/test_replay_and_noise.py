"""Replay: contents, ring, rows, state. Noise: recursions by hand, statistics, streams, state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.errors import InputError
from septet.rl.draws import CHUNK, Draws, normal
from septet.rl.noise import (
    Gaussian,
    OrnsteinUhlenbeck,
    ParameterNoise,
    Uniform,
    action_distance,
    adapt_scale,
    ornstein_uhlenbeck,
)
from septet.rl.replay import IndexSampler, Replay
from septet.state import load_state_dict, state_dict


def add(replay: Replay, number: int) -> None:
    seeds = len(replay.seeds)
    base = 100.0 * np.arange(seeds) + number
    o = np.repeat(base[:, None], replay.observation_size, 1)
    a = np.repeat(-base[:, None], replay.action_size, 1)
    replay.add(o, a, base / 2, np.full(seeds, number % 2 == 1), o + 1)


@settings(max_examples=25, deadline=None)
@given(capacity=st.integers(1, 7), count=st.integers(1, 20))
def test_the_ring_holds_the_last_transitions(capacity: int, count: int) -> None:
    replay = Replay([4, 9], 3, 2, capacity)
    for number in range(count):
        add(replay, number)
    assert len(replay) == min(capacity, count)
    fields = replay.fields(np.tile(np.arange(len(replay)), (2, 1)))
    for seed in range(2):
        kept = sorted(fields["observation"][seed, :, 0] - 100.0 * seed)
        assert kept == list(range(max(0, count - capacity), count))
    assert (fields["next_observation"] == fields["observation"] + 1).all()
    assert (fields["action"] == -fields["observation"][..., :2]).all()
    assert (fields["reward"] == fields["observation"][..., 0] / 2).all()
    assert (fields["terminated"] == fields["observation"][..., 0] % 2).all()

    copy = Replay([4, 9], 3, 2, capacity)
    copy.state = replay.state
    assert copy.state["records"].shape[1] == len(replay)
    for other in (copy, replay):
        add(other, count)
    for name, array in replay.state.items():
        np.testing.assert_array_equal(copy.state[name], array)


def test_a_replay_refuses_foreign_records() -> None:
    replay = Replay([0], 3, 2, 4)
    add(replay, 0)
    with pytest.raises(InputError, match="replay: records"):
        Replay([0, 1], 3, 2, 4).state = replay.state
    with pytest.raises(InputError, match="capacity"):
        Replay([0], 3, 2, 0)


def test_rows_are_uniform_and_a_seeds_own() -> None:
    both, alone = IndexSampler(1, "toy", [4, 9], 64), IndexSampler(1, "toy", [9], 64)
    np.testing.assert_array_equal(both.rows(700, 50)[1], alone.rows(700, 50)[0])
    counts = np.bincount(np.concatenate([both.rows(k, 10)[0] for k in range(400)]), minlength=10)
    assert len(counts) == 10
    assert ((counts - 2560) ** 2 / 2560).sum() < 30  # chi square of 9 degrees, p < .001


def test_draws_depend_on_the_step_alone() -> None:
    draws = Draws(normal, 1, ("act", "toy"), [4, 9], (3,))
    straight = [draws.at(step).copy() for step in range(CHUNK + 10)]
    np.testing.assert_array_equal(draws.at(5), straight[5])
    np.testing.assert_array_equal(draws.at(CHUNK + 3), straight[CHUNK + 3])
    assert len({float(x[0, 0]) for x in straight}) == len(straight)


def test_ornstein_uhlenbeck_by_hand_and_as_stable_baselines3(monkeypatch: pytest.MonkeyPatch) -> None:
    x = ornstein_uhlenbeck(np.array([[2.0]]), np.array([[1.0]]), theta=0.5, sigma=3.0, dt=0.25)
    assert x[0, 0] == 2.0 - 0.5 * 2.0 * 0.25 + 3.0 * 0.5
    peer_module = pytest.importorskip("stable_baselines3.common.noise")
    peer = peer_module.OrnsteinUhlenbeckActionNoise(np.zeros(3), 0.2 * np.ones(3), dtype=np.float64)
    ours = np.zeros((1, 3))
    numbers = iter(epsilon := np.random.default_rng(0).standard_normal((50, 3)))
    monkeypatch.setattr(np.random, "normal", lambda size: next(numbers))
    for t in range(50):
        ours = ornstein_uhlenbeck(ours, epsilon[t : t + 1], 0.15, 0.2, 0.01)
        np.testing.assert_allclose(ours[0], peer(), rtol=1e-12)


def test_statistics_of_action_noise() -> None:
    seeds, steps = list(range(20)), 3000
    gaussian, uniform = Gaussian(1, "toy", seeds, 2, 0.3), Uniform(1, "toy", seeds, 2, 0.3)
    ou = OrnsteinUhlenbeck(1, "toy", seeds, 2, 0.2, 0.15, 1.0)
    g, u, x = (np.stack([noise.at(t).copy() for t in range(steps)]) for noise in (gaussian, uniform, ou))
    assert g.mean() == pytest.approx(0.0, abs=0.005)
    assert g.std() == pytest.approx(0.3, rel=0.01)
    assert abs(u).max() <= 0.3
    assert u.std() == pytest.approx(0.3 / np.sqrt(3), rel=0.01)
    x = x[100:]
    assert x.var() == pytest.approx(0.2**2 / (2 * 0.15 - 0.15**2), rel=0.05)
    assert (x[1:] * x[:-1]).mean() / x.var() == pytest.approx(0.85, rel=0.02)


def test_ornstein_uhlenbeck_forgets_and_resumes() -> None:
    noise, again = (OrnsteinUhlenbeck(1, "toy", [4, 9], 2, 0.2) for _ in range(2))
    for t in range(10):
        noise.at(t)
    noise.reset(np.array([True, False]))
    assert (noise.x[0] == 0).all()
    assert (noise.x[1] != 0).all()
    load_state_dict(again, state_dict(noise))
    np.testing.assert_array_equal(again.at(10), noise.at(10))


def test_distance_and_scale_of_parameter_noise_by_hand() -> None:
    action, perturbed = np.zeros((1, 2, 2)), np.array([[[1.0, 2.0], [3.0, 0.0]]])
    assert action_distance(action, perturbed)[0] == pytest.approx(np.sqrt((1 + 4 + 9 + 0) / 4))
    np.testing.assert_allclose(adapt_scale(np.array([1.0, 1.0]), np.array([0.1, 0.3]), 0.2), [1.01, 1 / 1.01])


def test_parameter_noise_perturbs_the_asked_seeds_and_finds_its_scale() -> None:
    """Actions linear in the weights: the distance is the scale, so it settles at the target."""
    noise = ParameterNoise(1, "toy", [4, 9], target=0.2, scale=0.05)
    weights, perturbed = np.zeros((2, 500), np.float32), np.zeros((2, 500), np.float32)
    noise.perturb(weights, perturbed, np.array([False, True]))
    assert (perturbed[0] == 0).all()
    assert perturbed[1].std() == pytest.approx(0.05, rel=0.1)
    alone = ParameterNoise(1, "toy", [9], target=0.2, scale=0.05)
    other = np.zeros((1, 500), np.float32)
    alone.perturb(weights[:1], other, np.array([True]))
    np.testing.assert_array_equal(other[0], perturbed[1])
    every = np.array([True, True])
    for _ in range(300):
        noise.perturb(weights, perturbed, every)
        noise.adapt(weights[:, :, None], perturbed[:, :, None], every)
    np.testing.assert_allclose(noise.scale, 0.2, rtol=0.08)
