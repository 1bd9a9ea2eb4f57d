"""The agent behind the verbs of other libraries."""

import importlib.util
import sys

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy

from septet.dynts import LogisticThompson
from septet.dynts.adapters import LabelledArms, OpenBanditPolicy
from septet.errors import InputError

CONTEXTS = np.array([[1.0, 0.5], [1.0, -0.5], [1.0, 2.0], [1.0, 0.0]])


def script(bandit):
    """What a user of MABWiser writes; the types of what it returns."""
    found = bandit.fit(decisions=["a", "b", "c", "a"], rewards=[1, 0, 0, 1], contexts=CONTEXTS)
    one, several = bandit.predict(CONTEXTS[:1]), bandit.predict(CONTEXTS)
    bandit.partial_fit([one], [1], CONTEXTS[:1])
    expected = bandit.predict_expectations(CONTEXTS[:1])
    return type(found) is type(bandit), one in "abc", [label in "abc" for label in several], sorted(expected)


def test_one_script_runs_on_mabwiser_and_on_ours():
    theirs = script(MAB(["a", "b", "c"], LearningPolicy.LinTS(alpha=0.5), seed=3))
    ours = script(LabelledArms(["a", "b", "c"], posterior_scale=0.5, seed=3))
    assert ours == (True, *theirs[1:]) == (True, True, [True] * 4, ["a", "b", "c"])


def test_the_verbs_are_the_agents_own_calls():
    bandit, twin = LabelledArms(["x", "y"], decay=0.5, seed=1), LogisticThompson(2, 2, decay=0.5, seed=1)
    bandit.fit(["y", "x"], [1, 0], CONTEXTS[:2])
    for arm, clicked, row in ((1, 1, CONTEXTS[0]), (0, 0, CONTEXTS[1])):
        twin.forget()
        twin.update(row, clicked, arm)
    assert bandit.predict(CONTEXTS) == [["x", "y"][twin.choose(row)] for row in CONTEXTS]
    bandit.partial_fit(["x"], [1], CONTEXTS[2:3])
    twin.update(CONTEXTS[2], 1, 0)
    np.testing.assert_array_equal(bandit.agent.mu, twin.mu)
    found = bandit.predict_expectations(CONTEXTS[3:])
    assert list(found.values()) == twin.click_probabilities(CONTEXTS[3]).tolist()
    again = bandit.fit(["y"], [1], CONTEXTS[:1]).agent  # from scratch, with the seed again
    assert again.mu[0].tolist() == [0.0, 0.0] and again.choose(CONTEXTS[0]) in (0, 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda bandit: bandit.partial_fit(["a"], [2], CONTEXTS[:1]),
        lambda bandit: bandit.partial_fit(["a", "z"], [1, 1], CONTEXTS[:2]),
        lambda bandit: bandit.partial_fit(["a"], [1], CONTEXTS),
        lambda bandit: bandit.partial_fit(["a"], [1], [[1.0, 2.0, 3.0]]),
        lambda bandit: bandit.fit(["a", "b"], [1, 5], CONTEXTS[:2]),
        lambda bandit: bandit.fit([], [], np.zeros((0, 2))),
        lambda bandit: bandit.predict(np.zeros((0, 2))),
        lambda bandit: bandit.predict([[np.nan, 1.0]]),
    ],
)
def test_a_rejected_call_is_one_line_and_changes_nothing(act):
    bandit, twin = (LabelledArms(["a", "b"], seed=0).fit(["a", "b"], [1, 0], CONTEXTS[:2]) for _ in range(2))
    with pytest.raises(InputError) as error:
        act(bandit)
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(bandit.agent.mu, twin.agent.mu)
    assert bandit.predict(CONTEXTS) == twin.predict(CONTEXTS)


def test_labels_occur_once_and_prediction_waits_for_a_fit():
    for arms in ([], ["a", "a"]):
        with pytest.raises(InputError, match="arms: expected at least one label, none twice"):
            LabelledArms(arms)
    with pytest.raises(InputError, match="predict: expected a call of fit first"):
        LabelledArms(["a"]).predict(CONTEXTS)


def test_a_list_is_ranked_by_one_draw():
    """Greedy and without a decay: the order is that of the logits, whatever the length."""
    policy = OpenBanditPolicy(2, 4, len_list=3, posterior_scale=0.0, random_state=0)
    policy.agent.mu[:] = [[0.0, 0.0], [3.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    assert policy.select_action(np.array([[1.0, 0.0]])).tolist() == [1, 3, 2]
    policy.update_params(action=2, reward=1, context=np.array([[1.0, 0.0]]))
    assert policy.agent.mu[2, 0] > 1.0
    policy.initialize()
    assert not policy.agent.mu.any() and policy.policy_name == "logistic_thompson_1"
    with pytest.raises(InputError, match="len_list: expected at most n_actions, 4, found 5"):
        OpenBanditPolicy(2, 4, len_list=5)


def test_equal_logits_are_ranked_at_random():
    agent = LogisticThompson(1, 3, posterior_scale=0.0, seed=0)
    firsts = [tuple(agent.rank([1.0], 3)) for _ in range(600)]
    assert len(set(firsts)) == 6 and min(firsts.count(order) for order in set(firsts)) > 60
    for length in (0, 4, True, 1.5):
        with pytest.raises(InputError, match="length"):
            agent.rank([1.0], length)


@pytest.mark.parametrize("shared", [False, True])
def test_a_list_of_one_is_the_choice(shared):
    x = [[1.0, 0.2], [0.3, 1.0], [0.0, -1.0]] if shared else [1.0, 0.2]
    one, other = (LogisticThompson(2, None if shared else 3, decay=0.9, seed=5) for _ in range(2))
    assert [one.choose(x) for _ in range(50)] == [other.rank(x, 1)[0] for _ in range(50)]
    np.testing.assert_array_equal(one.sigma, other.sigma)


def test_a_round_of_another_policy_discounts_and_draws_nothing():
    one, other = (LogisticThompson(2, 3, decay=0.5, keep_prior=False, seed=5) for _ in range(2))
    one.forget()
    np.testing.assert_array_equal(one.sigma, np.tile(2.0 * np.eye(2), (3, 1, 1)))
    assert one._rng.bit_generator.state == other._rng.bit_generator.state


def test_forgotten_weights_return_to_the_mean_of_the_prior():
    agent = LogisticThompson(2, 1, decay=0.5, prior_mean=[-4.0, 0.0], prior_variance=2.0, seed=0)
    agent.update([1.0, 0.0], 1, 0)
    assert agent.mu[0, 0] > -3.0
    for _ in range(60):
        agent.forget()
    np.testing.assert_allclose(agent.mu, [[-4.0, 0.0]], atol=1e-9)
    np.testing.assert_allclose(agent.sigma, [2.0 * np.eye(2)], atol=1e-9)
    for wrong in ([1.0], "a", np.nan, [np.inf, 0.0], None):
        with pytest.raises(InputError, match="prior_mean"):
            LogisticThompson(2, 1, prior_mean=wrong)


@pytest.mark.parametrize("shared", [False, True])
def test_click_probabilities_average_over_the_posterior(shared):
    """Against draws from the posterior; MacKay's approximation is good to 0.01 here."""
    agent, rng = LogisticThompson(2, None if shared else 2, seed=0), np.random.default_rng(0)
    agent.update([1.0, 1.0], 1, None if shared else 1)
    x = np.array([[1.0, 0.5], [-1.0, 2.0]]) if shared else np.array([1.0, 0.5])
    before = agent.sigma.copy(), agent._rng.bit_generator.state
    found = agent.click_probabilities(x)
    for arm in range(2):
        group, row = (0, x[arm]) if shared else (arm, x)
        logits = rng.multivariate_normal(agent.mu[group], agent.sigma[group], 100_000) @ row
        assert found[arm] == pytest.approx((1 / (1 + np.exp(-logits))).mean(), abs=0.01)
    assert (agent.sigma == before[0]).all() and agent._rng.bit_generator.state == before[1]


def test_the_type_of_a_policy_is_that_of_the_installed_obp(monkeypatch):
    """obp itself is asked in `test_replay.py`, at night: its last release has no place among the pins."""
    spec = importlib.util.spec_from_loader("obp.policy.policy_type", loader=None)
    module = importlib.util.module_from_spec(spec)
    module.PolicyType = type("PolicyType", (), {"CONTEXTUAL": object()})
    monkeypatch.setitem(sys.modules, "obp.policy.policy_type", module)
    assert OpenBanditPolicy(2, 3).policy_type is module.PolicyType.CONTEXTUAL
