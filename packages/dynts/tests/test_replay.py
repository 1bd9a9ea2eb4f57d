"""Logged clicks: reading, replaying and estimating, against loops that read like the papers and against obp."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from septet.dynts import LogisticThompson
from septet.dynts.adapters import OpenBanditPolicy
from septet.dynts.logged import Log, read_open_bandit, simulate_log
from septet.dynts.off_policy import click_model, dr_terms, interval, ips_terms
from septet.dynts.replay import estimate, main, replay
from septet.errors import InputError

HEADER = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user-item_affinity_0\n"
ROWS = [
    "0,2019-11-24 00:03:13.4+00:00,2,3,0,0.25,u,a,0.0\n",
    "1,2019-11-24 00:01:13.4+00:00,0,1,1,0.5,v,a,0.0\n",
    "2,2019-11-24 00:02:13.4+00:00,1,2,0,0.25,u,b,0.0\n",
]


@pytest.fixture
def folder(tmp_path):
    """A data set of three rows, of which the uniform log is compressed."""
    for behaviour, campaign in ((b, c) for b in ("random", "bts") for c in ("all", "men", "women")):
        (tmp_path / behaviour / campaign).mkdir(parents=True)
        path = tmp_path / behaviour / campaign / f"{campaign}.csv"
        text = HEADER + "".join(ROWS)
        if behaviour == "random":
            path.with_suffix(".csv.gz").write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("behaviour", ["random", "bts"])
def test_a_log_is_read_in_the_order_of_time(folder, behaviour):
    log = read_open_bandit(folder, behaviour, "men")
    assert (log.actions.tolist(), log.clicks.tolist(), log.positions.tolist()) == ([0, 1, 2], [1, 0, 0], [0, 1, 2])
    assert log.propensities.tolist() == [0.5, 0.25, 0.25] and (log.n_arms, log.length) == (3, 3)
    assert log.contexts.tolist() == [[1, 1, 0], [1, 0, 1], [1, 0, 0]]  # intercept, feature 0 is v, feature 1 is b


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("timestamp,click\n1,0\n", "expected a column item_id"),
        (HEADER, "no rows"),
        (HEADER + ROWS[0].replace("0.25", "0"), "propensities: expected rounds with probabilities"),
        (HEADER + ROWS[0].replace("0.25", ""), "missing ones"),
        (
            HEADER + ROWS[0].replace(",2,3,0,", ",2,3,7,"),
            "clicks: expected whole numbers from 0 to 1, found 7 in row 0",
        ),
        (HEADER + ROWS[0].replace(",2,3,0,", ",-2,3,0,"), "actions: expected"),
        (HEADER + ROWS[0].replace(",2,3,0,", ",shoe,3,0,"), "expected logged impressions as CSV"),
    ],
)
def test_a_bad_log_is_one_line(folder, text, message):
    path = folder / "bts/men/men.csv"
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        read_open_bandit(folder, "bts", "men")
    assert "men.csv" in str(error.value) and "\n" not in str(error.value)


def test_unknown_parts_and_wrong_shapes_are_refused(folder):
    with pytest.raises(InputError, match="campaign: expected one of all, men, women, found x"):
        read_open_bandit(folder, "bts", "x")
    log = simulate_log(5, 3, 2)
    fields = {name: getattr(log, name) for name in log.__dataclass_fields__}
    for name, value in (
        ("actions", np.array([0, 1, 2, 3, 0])),
        ("actions", np.zeros(4)),
        ("clicks", np.full(5, 0.5)),
        ("propensities", np.full(5, 1.5)),
        ("contexts", np.full((5, 2), np.nan)),
    ):
        with pytest.raises(InputError, match=name):
            Log(**fields | {name: value})
    for wrong in ({"rounds": 0}, {"n_arms": 1.5}, {"features": 0}, {"click_rate": 1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            simulate_log(**{"rounds": 5, "n_arms": 3, "features": 2} | wrong)


def test_estimators_by_hand():
    """Three rounds: a match that was clicked, a match that was not, and a mismatch."""
    clicks, p, chosen = np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.25, 0.5]), np.array([1.0, 0.5, 0.0])
    assert ips_terms(clicks, p, chosen).tolist() == [2.0, 0.0, 0.0]
    q_logged, q_policy = np.array([0.5, 0.25, 0.5]), np.array([0.5, 0.5, 0.25])
    # 0.5 + 2 (1 - 0.5), 0.5 + 2 (0 - 0.25), 0.25 + 0
    assert dr_terms(clicks, p, chosen, q_logged, q_policy).tolist() == [1.5, 0.0, 0.25]


def test_both_estimators_hit_the_value_of_a_policy_that_is_known():
    """A fixed policy in a simulated world: its own clicks, and the estimates from a log of the uniform policy."""
    rng = np.random.default_rng(1)
    log = simulate_log(40_000, 4, 3, click_rate=0.3, seed=2)
    choice = np.where(log.contexts[:, 1] > 0, 1, 2)
    # the world's own click rate at these choices: rows of the log in which the choice was shown, for a uniform policy
    shown = choice == log.actions
    truth = log.clicks[shown].mean()
    q = click_model(log)
    rows = np.arange(len(choice))
    chosen = shown.astype(float)
    dr = dr_terms(log.clicks, log.propensities, chosen, q[rows, log.actions], q[rows, choice])
    for terms in (ips_terms(log.clicks, log.propensities, chosen), dr):
        found = interval(terms, seed=int(rng.integers(100)))
        assert found.low < truth < found.high and found.high - found.low < 0.03
    assert dr.std() < 0.9 * ips_terms(log.clicks, log.propensities, chosen).std()


def test_an_interval_covers_as_often_as_it_says():
    rng, p = np.random.default_rng(3), 0.05
    inside = [interval((rng.random(2000) < p).astype(float), seed=i) for i in range(200)]
    share = np.mean([found.low <= p <= found.high for found in inside])
    assert 0.9 <= share <= 0.99
    for wrong in ({"terms": np.empty(0)}, {"terms": np.ones(2), "level": 1.0}, {"terms": np.ones(2), "resamples": 0}):
        with pytest.raises(InputError):
            interval(**wrong)


def test_the_click_model_never_sees_the_round_that_it_predicts():
    log = simulate_log(300, 3, 2, seed=4)
    other = Log(log.contexts, log.actions, log.clicks.copy(), log.propensities, log.positions, 3)
    other.clicks[7] = 1 - other.clicks[7]
    first, second = click_model(log), click_model(other)
    same_fold = np.arange(300) % 3 == 7 % 3
    prior_moved = np.abs(first - second)[same_fold].max()  # through the click rate of the prior alone
    assert prior_moved < 0.01 < np.abs(first - second)[~same_fold].max()
    for folds in (1, 301, 2.5):
        with pytest.raises(InputError, match="folds"):
            click_model(log, folds)


def naive_replay(log, length, learn_from, **settings):
    """What obp's simulator does, with a list of recommendations from the policy."""
    policy = OpenBanditPolicy(log.contexts.shape[1], log.n_arms, length, random_state=6, **settings)
    arms = []
    for x, action, click, position in zip(log.contexts, log.actions, log.clicks, log.positions, strict=True):
        selected = policy.select_action(x.reshape(1, -1))
        if learn_from == "all" or action == selected[position]:
            policy.update_params(action=int(action), reward=click, context=x.reshape(1, -1))
        arms.append(selected[position])
    return np.array(arms), policy.agent.mu


@pytest.mark.parametrize("learn_from", ["matched", "all"])
@pytest.mark.parametrize("length", [1, 2])
def test_replay_is_the_naive_loop(learn_from, length):
    log = simulate_log(400, 3, 2, seed=5)
    log.positions[:] = np.arange(400) % length
    agent = LogisticThompson(2, 3, seed=6, decay=0.99)
    played = replay(agent, log, learn_from=learn_from)
    arms, mu = naive_replay(log, length, learn_from, decay=0.99)
    np.testing.assert_array_equal(played.arms, arms)
    np.testing.assert_array_equal(played.matched, arms == log.actions)
    np.testing.assert_array_equal(agent.mu, mu)


def test_an_agent_that_learns_is_worth_more_than_the_log():
    log = simulate_log(6000, 3, 2, seed=8)
    q = click_model(log)
    found = estimate(log, q, [0, 1], learn_from="all", posterior_scale=0.1)
    assert found.dr.low > log.clicks.mean() and found.ips.value > log.clicks.mean()
    assert 1500 < found.matches < 2500 and found.clicks < found.matches


def test_an_agent_that_does_not_fit_the_log_is_refused():
    log = simulate_log(10, 3, 2)
    for agent in (LogisticThompson(3, 3), LogisticThompson(2, 4), LogisticThompson(2)):
        with pytest.raises(InputError, match=r"agent: expected n_features, n_arms = \(2, 3\), as in the log"):
            replay(agent, log)
    with pytest.raises(InputError, match="learn_from"):
        replay(LogisticThompson(2, 3), log, learn_from="some")
    for seeds, q in (([], click_model(log)), ([0], np.zeros((10, 2)))):
        with pytest.raises(InputError, match="seeds, q"):
            estimate(log, q, seeds)


def test_the_table_has_each_campaign_and_decay(folder, capsys):
    for path in folder.rglob("*.csv*"):  # more rows than folds, some of them clicked
        rows = [f"{i},2019-11-24 00:{i:02d}:00,{i % 3},{i % 3 + 1},{int(i % 5 == 0)},0.3333,u,a,0\n" for i in range(30)]
        text = (HEADER + "".join(rows)).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    assert main([str(folder), "--seeds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3 * (2 + 2 * 4) and lines[2].startswith("| all | random itself | - | 200.0 [")
    assert main([str(folder / "bts"), "--seeds", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


PEER = """
import json, logging, sys
from pathlib import Path
import numpy as np
logging.disable()
from obp.ope import DoublyRobust, InverseProbabilityWeighting
from obp.simulator import run_bandit_simulation
from septet.dynts import LogisticThompson
from septet.dynts.adapters import OpenBanditPolicy
from septet.dynts.logged import simulate_log
from septet.dynts.off_policy import click_model, dr_terms, ips_terms
from septet.dynts.replay import replay

log = simulate_log(2000, 4, 3, seed=1)
log.positions[:] = np.arange(2000) % 2
given = log.as_feedback()
theirs = run_bandit_simulation(given, OpenBanditPolicy(3, 4, 2, random_state=6, decay=0.99))
played = replay(LogisticThompson(3, 4, seed=6, decay=0.99), log)
rows, q = np.arange(2000), click_model(log)
same = {"reward": log.clicks, "action": log.actions, "position": log.positions, "pscore": log.propensities}
same["action_dist"] = theirs
chosen = played.matched.astype(float)
listed = np.repeat(q[:, :, None], 2, axis=2)
print(json.dumps({
    "choices": bool((theirs[rows, :, log.positions].argmax(axis=1) == played.arms).all()),
    "ips": [InverseProbabilityWeighting().estimate_policy_value(**same),
            ips_terms(log.clicks, log.propensities, chosen).mean()],
    "dr": [DoublyRobust().estimate_policy_value(**same, estimated_rewards_by_reg_model=listed),
           dr_terms(log.clicks, log.propensities, chosen, q[rows, log.actions], q[rows, played.arms]).mean()],
}))
"""


@pytest.mark.nightly
def test_open_bandit_pipeline_agrees(tmp_path):
    """Its simulator runs our policy to the same choices, and its IPS and DR are ours.

    obp is not among the pins: its last wheel is of 2022 and its reader of data fails with today's pandas. It is
    installed for this test alone, without its dependencies, which the pins have.
    """
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, "obp==0.4.1"]
    subprocess.run(install, check=True, timeout=300)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PEER}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["choices"]
    assert found["ips"][0] == pytest.approx(found["ips"][1], rel=1e-12) and found["ips"][0] > 0
    assert found["dr"][0] == pytest.approx(found["dr"][1], rel=1e-12)
