"""Returns and advantages: by hand, against a loop that reads like the paper, and against Stable-Baselines3."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.rl.returns import discounted, explained_variance, gae, next_values


def naive_gae(r, v, v_next, terminated, truncated, gamma, lam):
    """One environment: the sum of discounted temporal differences up to the end of the episode."""
    out = []
    for t in range(len(r)):
        total, weight = 0.0, 1.0
        for k in range(t, len(r)):
            total += weight * (r[k] + gamma * (0.0 if terminated[k] else v_next[k]) - v[k])
            weight *= gamma * lam
            if terminated[k] or truncated[k]:
                break
        out.append(total)
    return out


def naive_discounted(r, v_next, terminated, truncated, gamma):
    out = []
    for t in range(len(r)):
        total, weight = 0.0, 1.0
        for k in range(t, len(r)):
            total += weight * r[k]
            weight *= gamma
            if terminated[k]:
                break
            if truncated[k] or k == len(r) - 1:
                total += weight * v_next[k]
                break
        out.append(total)
    return out


def batch(seed, steps=12, environments=3):
    rng = np.random.default_rng(seed)
    shape = (steps, environments)
    terminated = rng.random(shape) < 0.2
    truncated = ~terminated & (rng.random(shape) < 0.2)
    r, v, v_next = rng.standard_normal((3, *shape))
    return r, v, v_next, terminated, truncated


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 10**6), st.floats(0.5, 1.0), st.floats(0.0, 1.0))
def test_advantages_and_returns_are_those_of_the_loop(seed, gamma, lam):
    r, v, v_next, terminated, truncated = batch(seed)
    valid = np.ones(r.shape, bool)
    advantage = gae(r, v, v_next, terminated, truncated, valid, gamma, lam)
    returns = discounted(r, v_next, terminated, truncated, valid, gamma)
    for e in range(r.shape[1]):
        one = [x[:, e] for x in (r, v, v_next, terminated, truncated)]
        assert np.allclose(advantage[:, e], naive_gae(*one, gamma, lam))
        assert np.allclose(returns[:, e], naive_discounted(one[0], *one[2:], gamma))


def test_by_hand():
    r, v, v_next = np.array([[1.0], [2.0], [3.0]]), np.full((3, 1), 10.0), np.full((3, 1), 20.0)
    no, at_two = np.zeros((3, 1), bool), np.array([[False], [True], [False]])
    valid = np.ones((3, 1), bool)
    # gamma = lambda = 1/2; the last delta is 3 + 10 - 10
    assert gae(r, v, v_next, no, no, valid, 0.5, 0.5)[:, 0].tolist() == [1 + 0.25 * (2 + 0.75), 2 + 0.25 * 3, 3.0]
    assert gae(r, v, v_next, at_two, no, valid, 0.5, 0.5)[:, 0].tolist() == [1 + 0.25 * -8, -8.0, 3.0]
    assert gae(r, v, v_next, no, at_two, valid, 0.5, 0.5)[:, 0].tolist() == [1 + 0.25 * 2, 2.0, 3.0]
    assert discounted(r, v_next, at_two, no, valid, 0.5)[:, 0].tolist() == [2.0, 2.0, 13.0]
    assert discounted(r, v_next, no, at_two, valid, 0.5)[:, 0].tolist() == [7.0, 12.0, 13.0]


def test_idle_environments_count_for_nothing():
    r, v, v_next, terminated, truncated = batch(0)
    valid = np.ones(r.shape, bool)
    valid[7:, 1] = False
    terminated[6, 1] = True
    r[7:, 1] = np.nan
    short = [x[:7] for x in (r, v, v_next, terminated, truncated, valid)]
    long = gae(r, v, v_next, terminated, truncated, valid, 0.9, 0.8)
    assert np.allclose(long[:7, 1], gae(*short, 0.9, 0.8)[:, 1]) and not long[7:, 1].any()
    returns = discounted(r, v_next, terminated, truncated, valid, 0.9)
    assert np.isfinite(returns).all() and not returns[7:, 1].any()


def test_the_values_of_final_observations_take_their_places():
    value = np.arange(6.0).reshape(3, 2)
    found = next_values(value, np.array([8.0, 9.0]), np.array([1]), np.array([0]), np.array([-1.0]))
    assert found.tolist() == [[2.0, 3.0], [-1.0, 5.0], [8.0, 9.0]]


def test_advantages_are_those_of_stable_baselines3():
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    torch = pytest.importorskip("torch")
    spaces = pytest.importorskip("gymnasium").spaces
    r, v, _, terminated, truncated = batch(3, steps=20)
    steps, environments = r.shape
    last, final = np.array([0.3, -0.2, 0.5]), np.random.default_rng(5).standard_normal(r.shape)
    ended = terminated | truncated
    peer = buffers.RolloutBuffer(
        steps, spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,)), "cpu", 0.95, 0.99, environments
    )
    start = np.ones(environments)
    for t in range(steps):
        reward = r[t] + 0.99 * final[t] * truncated[t]  # as its collect_rollouts does
        zeros = np.zeros((environments, 1))
        peer.add(zeros, zeros, reward, start, torch.tensor(v[t]), torch.zeros(environments))
        start = ended[t]
    peer.compute_returns_and_advantage(torch.tensor(last), ended[-1])
    step, environment = np.nonzero(ended)
    v_next = next_values(v, last, step, environment, final[step, environment])
    ours = gae(r, v, v_next, terminated, truncated, np.ones(r.shape, bool), 0.99, 0.95)
    assert np.allclose(ours, peer.advantages, atol=1e-5)


def test_explained_variance():
    target = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    assert explained_variance(target + 5.0, target).tolist() == [1.0, 0.0]
    assert explained_variance(np.zeros((2, 3)), target).tolist() == [0.0, 0.0]
