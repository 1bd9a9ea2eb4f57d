"""Replay: contents, ring, rows, state. Noise: recursions by hand, statistics, streams, state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.errors import InputError
from septet.rl.draws import CHUNK, Draws
from septet.rl.noise import (
    Gaussian,
    OrnsteinUhlenbeck,
    ParameterNoise,
    Uniform,
    action_distance,
    adapt_scale,
    ornstein_uhlenbeck,
)
from septet.rl.replay import Replay
from septet.rl.shapes import Float32, Net, net
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


def test_draws_depend_on_the_step_alone() -> None:
    normal = np.random.Generator.standard_normal
    draws, alone = Draws(normal, 1, ("act", "toy"), [4, 9], (3,)), Draws(normal, 1, ("act", "toy"), [9], (3,))
    straight = [draws.at(step).copy() for step in range(CHUNK + 10)]
    np.testing.assert_array_equal(draws.at(5), straight[5])
    np.testing.assert_array_equal(draws.at(CHUNK + 3), straight[CHUNK + 3])
    np.testing.assert_array_equal(alone.at(CHUNK + 3)[0], straight[CHUNK + 3][1])
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


def actors(seeds: list[int], width: int = 500) -> tuple[Net, Replay]:
    """A net of one layer from one input, and replays whose observations are all 1: the actions are weights."""
    replay = Replay(seeds, 1, width, 8)
    for number in range(3):
        replay.add(np.ones((len(seeds), 1)), np.zeros((len(seeds), width)), 0.0, 0.0, np.full((len(seeds), 1), number))
    return net((1, width)), replay


def linear(observation: Float32, weights: Float32) -> Float32:
    """Actions ``(S, N, A)`` of the first A weights."""
    assert (observation == 1).all()
    return np.repeat(weights[:, None, : weights.shape[1] // 2], observation.shape[1], axis=1)


def test_parameter_noise_perturbs_the_asked_seeds() -> None:
    shape, _ = actors([4, 9])
    noise, alone = (ParameterNoise(1, "toy", seeds, shape, 0.05, 5) for seeds in ([4, 9], [9]))
    weights = np.zeros((2, 1000), np.float32)
    noise.redraw(weights, np.array([False, True]))
    alone.redraw(weights[:1], np.array([True]))
    assert (noise.perturbed[0] == 0).all()
    assert noise.perturbed[1].std() == pytest.approx(0.05, rel=0.1)
    np.testing.assert_array_equal(alone.perturbed[0], noise.perturbed[1])
    before = noise.perturbed[1].copy()
    noise.redraw(weights + 1, np.array([False, True]))
    assert abs(np.corrcoef(before, noise.perturbed[1])[0, 1]) < 0.1
    assert noise.perturbed[1].mean() == pytest.approx(1.0, abs=0.01)


def test_the_scale_is_measured_on_todays_actor_with_a_fresh_draw() -> None:
    """Actions that are the weights: the distance is the scale, however far today's actor has gone from `perturbed`."""
    shape, replay = actors([4, 9])
    noise = ParameterNoise(1, "toy", [4, 9], shape, 0.2, 5)
    noise.scale[:] = 0.05
    weights, found = np.zeros((2, 1000), np.float32), []
    noise.redraw(weights, np.array([True, True]))
    gathering = noise.perturbed.copy()
    for updates in range(0, 20_000, 50):
        weights += 1.0
        before = noise.scale.copy()
        noise.adapt(updates, weights, replay, linear)
        np.testing.assert_allclose(noise.distance, before, rtol=0.15)
        np.testing.assert_allclose(noise.scale, np.where(noise.distance < 0.2, before * 1.01, before / 1.01))
        found.append(noise.distance / before)
    assert np.std(found, axis=0).min() > 0.01  # a draw of its own each time
    np.testing.assert_allclose(noise.scale, 0.2, rtol=0.08)
    np.testing.assert_array_equal(noise.perturbed, gathering)
    alone, own = ParameterNoise(1, "toy", [9], shape, 0.2, 5), actors([9])[1]
    alone.scale[:] = 0.05
    for updates in range(0, 20_000, 50):
        alone.adapt(updates, weights[1:], own, linear)
    np.testing.assert_allclose(alone.scale, noise.scale[1:], rtol=1e-6)


def test_gains_and_offsets_of_normalisations_are_not_perturbed() -> None:
    shape = net((3, 5, 2), normalised=True)
    noise = ParameterNoise(1, "toy", [4], shape, 0.2, 5)
    weights = np.arange(1 * (4 * 5 + 10 + 6 * 2), dtype=np.float32)[None]
    noise.redraw(weights, np.array([True]))
    np.testing.assert_array_equal(np.flatnonzero(noise.perturbed[0] == weights[0]), np.arange(20, 30))
