"""The method as another program would use it."""

from pathlib import Path

import joblib
import numpy as np
import pytest

from septet.dynts import LogisticThompson
from septet.dynts.filter import laplace_update
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
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
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
    precision = 0.5 * np.linalg.inv(sigma) + 0.5 * np.eye(2) / 2  # the samples lose half, the prior nothing
    assert np.allclose(agent.sigma[2], np.linalg.inv(precision))
    assert np.allclose(agent.mu[2], np.linalg.solve(precision, 0.5 * np.linalg.solve(sigma, mu)))
    assert np.allclose(agent.sigma[0], 2 * np.eye(2))


def test_an_agent_may_discount_its_prior_too():
    agent = LogisticThompson(2, 3, decay=0.5, keep_prior=False, seed=0)
    for _ in range(10):
        agent.choose(np.ones(2))
    assert np.allclose(agent.sigma, 1024 * np.eye(2))


def test_a_batch_moves_the_posterior_as_counts_do():
    one, many = LogisticThompson(2, 1), LogisticThompson(2, 1)
    x = np.array([[1.0, 0.3]])
    one.update_batch(x, [3], [5])
    many.update_batch(np.repeat(x, 5, axis=0), [1, 1, 1, 0, 0], np.ones(5))
    assert np.allclose(one.mu, many.mu, atol=1e-8) and np.allclose(one.sigma, many.sigma, atol=1e-8)


def state_of(agent):
    return agent.mu.tolist(), agent.sigma.tolist(), agent._rng.bit_generator.state


NAN, INF = float("nan"), float("inf")
ROW = [1.0, 0.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"decay": 0.0}, {"decay": 1.5}, {"decay": NAN}, {"decay": "1"}, {"decay": True},
        {"prior_variance": 0.0}, {"prior_variance": NAN}, {"prior_variance": INF}, {"prior_variance": 1e-300},
        {"posterior_scale": -1.0}, {"posterior_scale": NAN}, {"posterior_scale": INF}, {"posterior_scale": None},
        {"keep_prior": 1}, {"keep_prior": None},
        {"seed": -1}, {"seed": "a"}, {"n_arms": 0}, {"n_arms": 2.0}, {"n_arms": True}, {"n_features": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_parameter_out_of_range_is_one_line(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))) as error:
        LogisticThompson(**{"n_features": 2, "n_arms": 3} | wrong)
    assert "\n" not in str(error.value)


NO_ARMS = [
    -1,
    3,
    None,
    True,
    np.bool_(True),
    1.0,
    np.float64(1),
    "1",
    [1],
    np.array([0, 1]),
    10**30,
    NAN,
]
REJECTED = {
    **{f"update arm {arm!r}": (lambda a, arm=arm: a.update(ROW, 1, arm)) for arm in NO_ARMS},
    **{f"batch arm {arm!r}": (lambda a, arm=arm: a.update_batch([ROW], [1], [2], arm)) for arm in NO_ARMS},
    **{
        f"clicked {clicked!r}": (lambda a, clicked=clicked: a.update(ROW, clicked, 0))
        for clicked in (0.5, 2, -1, NAN, None, "1", [1], np.array([1]))
    },
    **{
        f"{name} {values!r}": (lambda a, act=act, values=values: act(a, values))
        for name, act in {"choose": lambda a, x: a.choose(x), "update": lambda a, x: a.update(x, 1, 0)}.items()
        for values in (
            [1.0], [1.0, 2.0, 3.0], [ROW], 5.0, [NAN, 1.0], [INF, 1.0], [1e60, 1.0], ["1", "0"], "ab",
            None, [None, 1.0], [[1.0], [1.0, 2.0]], [1j, 0.0], np.ma.array([1.0, 2.0], mask=[False, True]),
        )
    },
    **{
        f"batch {c} {n}": (lambda a, c=c, n=n: a.update_batch([ROW], c, n, 0))
        for c, n in (
            ([3], [2]), ([-1], [2]), ([1], [-1]), ([NAN], [2]), ([1], [INF]), ([1, 1], [2, 2]), (1, 2), (["1"], [2]),
        )
    },
    "batch without rows or columns": lambda a: a.update_batch([], [], [], 0),
    "a logit too wide to learn from": lambda a: a.update([1e20, 0.0], 1, 0),
    "a batch too wide to learn from": lambda a: a.update_batch([[1e20, 0.0]], [1], [2], 0),
    "means of another shape": lambda a: (setattr(a, "mu", np.zeros((2, 2))), a.choose(ROW)),
    "a covariance that is not finite": lambda a: (a.sigma.__setitem__((2, 0, 0), NAN), a.choose(ROW)),
}  # fmt: skip


@pytest.mark.parametrize("act", REJECTED.values(), ids=REJECTED)
def test_a_rejected_call_is_one_line_and_changes_nothing(act):
    agent, twin = (LogisticThompson(2, 3, decay=0.9, seed=0) for _ in range(2))
    for one in (agent, twin):
        one.update([1.0, 0.5], 1, 1)
        one.choose(ROW)
    with pytest.raises(InputError) as error:
        act(agent)
    assert "\n" not in str(error.value) and "expected" in str(error.value)
    if "expected finite numbers, found" not in str(error.value) and not str(error.value).startswith("mu:"):
        assert state_of(agent) == state_of(twin)


def test_shared_weights_take_rows_and_no_arm():
    agent = LogisticThompson(2, seed=0)
    before = state_of(agent)
    for act in (
        lambda: agent.choose(ROW),
        lambda: agent.choose(np.zeros((0, 2))),
        lambda: agent.update(ROW, 1, 0),
        lambda: agent.update_batch([ROW], [1], [2], 1),
    ):
        with pytest.raises(InputError):
            act()
    assert state_of(agent) == before
    agent.update(ROW, 1)
    assert agent.mu[0, 0] > 0.0


@pytest.mark.parametrize("arm", [1, np.int64(1), np.uint8(1)])
def test_whole_numbers_of_any_type_name_an_arm(arm):
    agent = LogisticThompson(2, 3)
    agent.update(np.array([1, 0]), np.True_, arm)
    agent.update_batch(np.array([[1, 0]], dtype=np.int8), [1], [2], arm)
    assert agent.mu[1, 0] > 0.0 and not agent.mu[[0, 2]].any()


def test_an_only_arm_needs_no_name_and_a_batch_without_rows_says_nothing():
    agent = LogisticThompson(2, 1)
    agent.update_batch(np.zeros((0, 2)), [], [])
    assert not agent.mu.any()
    agent.update(ROW, 1)
    assert agent.mu[0, 0] > 0.0


@pytest.mark.parametrize("shared", [False, True])
def test_ties_go_to_each_of_the_best_arms_reproducibly(shared):
    x = [ROW] * 3 if shared else ROW  # equal rows, or a greedy agent that knows nothing
    first, second = (
        LogisticThompson(2, None if shared else 3, posterior_scale=float(shared), seed=4) for _ in range(2)
    )
    chosen = [first.choose(x) for _ in range(300)]
    assert chosen == [second.choose(x) for _ in range(300)]
    assert np.bincount(chosen, minlength=3).min() > 70  # 100 each, sd 8
    if not shared:
        first.update(ROW, 0, 1)  # the middle arm is worse now
        assert {first.choose(x) for _ in range(50)} == {0, 2}


@pytest.mark.parametrize("shared", [False, True])
def test_a_direction_that_is_known_exactly_leaves_a_posterior_to_draw_from(shared):
    agent = LogisticThompson(2, None if shared else 2, seed=0, decay=0.5)
    arm = None if shared else 0
    for x in ([1e5, 1e5], [1e5, -1e5], [1e5, 1e5 + 1e-6]):  # by rounding alone, a variance would become 0 or less
        agent.update(x, 1, arm)
        agent.update_batch([x], [3], [5], arm)
        agent.choose([x, ROW] if shared else x)
    assert np.isfinite(agent.mu).all() and np.isfinite(agent.sigma).all()
    assert (np.diagonal(agent.sigma, axis1=1, axis2=2) > 0).all()


def test_a_posterior_from_a_read_only_file_goes_on_learning(tmp_path):
    agent = LogisticThompson(2, 3, seed=1)
    agent.update(ROW, 1, 2)
    joblib.dump(agent, tmp_path / "agent.joblib")
    again = joblib.load(tmp_path / "agent.joblib", mmap_mode="r")
    for one in (agent, again):
        one.choose(ROW)
        one.update([0.0, 1.0], 1, 2)
        one.update_batch([ROW], [1], [3], 0)
    assert state_of(agent) == state_of(again)
