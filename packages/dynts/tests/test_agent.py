"""The method as another program would use it."""

from pathlib import Path

import numpy as np
import pytest

from dynts import LogisticThompson
from dynts.filter import laplace_update
from septet.errors import InputError


def play(agent, weights, rounds, shared, seed=0):
    """Regret of an agent in a static logistic world."""
    rng = np.random.default_rng(seed)
    regret = 0.0
    for _ in range(rounds):
        if shared:
            phi = rng.standard_normal((4, 3))
            p = 1 / (1 + np.exp(-phi @ weights))
            arm = agent.choose(phi)
            agent.update(phi[arm], float(rng.random() < p[arm]))
        else:
            x = rng.standard_normal(3)
            p = 1 / (1 + np.exp(-weights @ x))
            arm = agent.choose(x)
            agent.update(x, float(rng.random() < p[arm]), arm)
        regret += p.max() - p[arm]
    return regret


def test_the_example_of_the_page_runs():
    page = (Path(__file__).parents[1] / "README.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    names = {}
    exec(code, names)
    assert np.abs(names["agent"].mu).max() > 0.3  # it has learned something


@pytest.mark.parametrize("shared", [False, True])
def test_it_learns(shared):
    rng = np.random.default_rng(7)
    weights = 2 * rng.standard_normal(3 if shared else (4, 3))
    make = {"n_features": 3, "n_arms": None if shared else 4, "seed": 1}
    learned = play(LogisticThompson(**make), weights, 1500, shared)
    blind = play(LogisticThompson(**make, prior_variance=1e-9), weights, 1500, shared)  # never learns
    assert learned < 0.35 * blind


def test_the_same_seed_makes_the_same_choices():
    weights = np.random.default_rng(0).standard_normal((4, 3))
    first, second = (play(LogisticThompson(3, 4, decay=0.99, seed=5), weights, 200, False) for _ in range(2))
    assert first == second


def test_choose_discounts_and_update_is_the_filter():
    agent = LogisticThompson(2, 3, decay=0.5, prior_variance=2.0, posterior_scale=0.0)
    x = np.array([1.0, -0.5])
    agent.update(x, 1, 2)
    mu, sigma = laplace_update(np.zeros(2), 2 * np.eye(2), x, 1.0, 1.0)
    assert np.allclose(agent.mu[2], mu) and np.allclose(agent.sigma[2], sigma)
    assert agent.choose(x) == 2  # greedy: the arm that was clicked
    grown = min(2.0, 4.0 / np.trace(sigma))
    assert np.allclose(agent.sigma[2], sigma * grown)
    assert np.allclose(agent.sigma[0], 2 * np.eye(2))  # held at the prior's trace


def test_a_batch_moves_the_posterior_as_counts_do():
    one, many = LogisticThompson(2, 1), LogisticThompson(2, 1)
    x = np.array([[1.0, 0.3]])
    one.update_batch(x, [3], [5])
    many.update_batch(np.repeat(x, 5, axis=0), [1, 1, 1, 0, 0], np.ones(5))
    assert np.allclose(one.mu, many.mu, atol=1e-8) and np.allclose(one.sigma, many.sigma, atol=1e-8)


@pytest.mark.parametrize(
    "act",
    [
        lambda: LogisticThompson(2, 2, decay=0.0),
        lambda: LogisticThompson(2, 2, decay=1.5),
        lambda: LogisticThompson(2, 2, prior_variance=0.0),
        lambda: LogisticThompson(2, 2).choose([1.0, 2.0, 3.0]),
        lambda: LogisticThompson(2).choose([1.0, 2.0]),
        lambda: LogisticThompson(2, 2).choose([1.0, np.nan]),
        lambda: LogisticThompson(2, 2).update([1.0, 0.0], 0.5, 0),
        lambda: LogisticThompson(2, 2).update([1.0, 0.0], 1, 2),
        lambda: LogisticThompson(2, 2).update_batch([[1.0, 0.0]], [3], [2]),
    ],
)
def test_bad_input_is_one_line(act):
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value) and "expected" in str(error.value)
