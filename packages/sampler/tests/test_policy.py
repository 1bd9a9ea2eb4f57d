"""The samplers' policy against float64 numpy and torch, and the promise that a row's bits are its own."""

import math
import pickle

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.errors import InputError
from septet.sampler.policy import GaussianPolicy, tanh


@numba.njit
def every_tanh(x):
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = tanh(x[i])
    return y


def in_float64(policy, w, observation, noise, mean, scale):
    """One row, straight from the equations."""
    x = np.clip((observation - mean) * scale, -10, 10)
    at = 0
    for layer, (inputs, outputs) in enumerate(zip(policy.sizes, policy.sizes[1:], strict=False)):
        matrix = w[at : at + inputs * outputs].reshape(inputs, outputs).astype(float)
        at += inputs * outputs
        x = x @ matrix + w[at : at + outputs]
        at += outputs
        if layer < len(policy.hidden):
            x = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0)}[policy.activation](x)
    return x + np.exp(w[at:].astype(float)) * noise


def draw(policy, rows, members, seed=0):
    rng = np.random.default_rng(seed)
    weights = (0.3 * rng.standard_normal((members, policy.size))).astype(np.float32)
    member = rng.integers(0, members, rows)
    observation, noise = (rng.standard_normal((rows, n)) for n in (policy.observation_size, policy.action_size))
    mean = rng.standard_normal((members, policy.observation_size))
    scale = rng.uniform(0.1, 3, mean.shape)
    return weights, member, observation, noise, mean, scale


def test_tanh_is_good_to_three_units_in_the_last_place():
    x = np.concatenate([np.linspace(-12, 12, 200_001), np.geomspace(1e-38, 1, 100_001)]).astype(np.float32)
    exact = np.tanh(x.astype(float))
    unit = np.spacing(np.abs(exact).astype(np.float32))
    assert np.max(np.abs(every_tanh(x) - exact) / unit) < 3
    special = every_tanh(np.array([np.inf, -np.inf, 0, np.nan], np.float32))
    assert special.dtype == np.float32
    np.testing.assert_array_equal(special, [1, -1, 0, np.nan])


def test_by_hand():
    # one input 0.5 (normalised (2 - 1) * 0.5), one hidden unit: tanh(2 * 0.5 + 0) ; action 3 h + 1 + 0.5 * 2
    policy = GaussianPolicy(1, 1, hidden=(1,))
    w = np.array([[2, 0, 3, 1, math.log(0.5)]], np.float32)
    one = np.ones((1, 1))
    action = policy.act(w, np.zeros(1, int), 2 * one, 2 * one, one, 0.5 * one)
    assert action[0, 0] == pytest.approx(3 * math.tanh(1) + 1 + 0.5 * 2, rel=1e-6)
    without = policy.act(w, np.zeros(1, int), 2 * one, None, one, 0.5 * one)
    assert without[0, 0] == pytest.approx(3 * math.tanh(1) + 1, rel=1e-6)


def test_observations_are_clipped_at_ten():
    policy = GaussianPolicy(1, 1, hidden=())
    w = np.array([[1, 0, 0]], np.float32)
    far = np.array([[1e9], [-1e9], [3.0]])
    np.testing.assert_array_equal(policy.act(w, np.zeros(3, int), far)[:, 0], [10, -10, 3])


@pytest.mark.parametrize("hidden", [(64, 64), (180, 103, 60), (), (5,)])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_against_float64(hidden, activation):
    policy = GaussianPolicy(18, 6, hidden, activation)
    weights, member, observation, noise, mean, scale = draw(policy, 9, 3)
    found = policy.act(weights, member, observation, noise, mean, scale)
    assert found.dtype == np.float32
    for e, m in enumerate(member):
        want = in_float64(policy, weights[m], observation[e], noise[e], mean[m], scale[m])
        np.testing.assert_allclose(found[e], want, rtol=1e-5, atol=3e-5)


def test_against_torch():
    policy = GaussianPolicy(17, 6)
    weights, member, observation, noise, _, _ = draw(policy, 32, 1)
    x = torch.tensor(observation, dtype=torch.float32)
    at, w = 0, torch.tensor(weights[0])
    for layer, (inputs, outputs) in enumerate([(17, 64), (64, 64), (64, 6)]):
        end = at + inputs * outputs
        x = torch.addmm(w[end : end + outputs], x, w[at:end].view(inputs, outputs))
        at, x = end + outputs, torch.tanh(x) if layer < 2 else x
    log_std = torch.tensor(weights[0, -6:])
    want = x + log_std.exp() * torch.tensor(noise, dtype=torch.float32)
    np.testing.assert_allclose(policy.act(weights, member, observation, noise), want.numpy(), rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 70), cut=st.integers(0, 70), width=st.integers(1, 40), inputs=st.integers(1, 9),
    outputs=st.integers(1, 9), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_row_has_the_same_bits_in_any_batch(rows, cut, width, inputs, outputs, seed):
    policy = GaussianPolicy(inputs, outputs, (width, width))
    weights, member, observation, noise, mean, scale = draw(policy, rows, 2, seed)
    whole = policy.act(weights, member, observation, noise, mean, scale)
    cut = min(cut, rows)
    for part in (slice(0, cut), slice(cut, rows), slice(rows - 1, rows)):
        rest = policy.act(weights, member[part], observation[part], noise[part], mean, scale)
        np.testing.assert_array_equal(rest, whole[part])


def test_a_nan_among_weights_is_not_hidden():
    policy = GaussianPolicy(3, 2)
    weights = np.full((1, policy.size), np.nan, np.float32)
    assert np.isnan(policy.act(weights, np.zeros(1, int), np.zeros((1, 3)))).all()
    assert np.isnan(policy.act(0 * np.nan_to_num(weights), np.zeros(1, int), np.full((1, 3), np.nan))).all()


def test_the_number_of_weights_and_a_pickle():
    policy = GaussianPolicy(2, 1, hidden=(3,))
    assert policy.size == 2 * 3 + 3 + 3 * 1 + 1 + 1
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize(
    ("change", "word"),
    [({"activation": "gelu"}, "activation"), ({"hidden": (0,)}, "sizes")],
)
def test_a_bad_shape_is_told(change, word):
    with pytest.raises(InputError, match=word):
        GaussianPolicy(**{"observation_size": 3, "action_size": 1, **change})


def test_a_bad_array_is_told():
    policy = GaussianPolicy(3, 1)
    with pytest.raises(InputError, match=r"observation: expected float64 of shape \(1, 3\), found float64 \(1, 4\)"):
        policy.act(np.zeros((1, policy.size), np.float32), np.zeros(1, int), np.zeros((1, 4)))
