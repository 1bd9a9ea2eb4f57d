"""The lockstep engine against loops that read like the paper."""

from statistics import NormalDist

import numpy as np
import pytest

from septet.dynts import schedules
from septet.dynts.choice import BEST, LOG_LOSS, REGRET, Choice, Motion
from septet.dynts.decay import decay
from septet.dynts.disjoint import play_disjoint
from septet.dynts.filter import laplace_logit, laplace_update, sigmoid
from septet.dynts.shared import play_shared, potter_update
from septet.dynts.tracking import track

ARMS, DIM, ROUNDS = 4, 3, 300


def discounted(mean, sigma, kept, gamma, schedule, prior_mean, prior_variance):
    """One round of forgetting in the form of precisions, straight from the method page."""
    if gamma == 1.0:
        return mean, sigma, kept
    d, precision = len(mean), gamma * np.linalg.inv(sigma)
    kept = gamma * kept
    if schedule.guard == "prior" and kept < 0.8 and kept <= max(gamma**d, 0.5) * (1 + 1e-9):
        back = (1.0 - kept) / prior_variance
        whole = precision + np.diag(back)
        mean, precision, kept = np.linalg.solve(whole, precision @ mean + back * prior_mean), whole, 1.0
    sigma = np.linalg.inv(precision)
    if schedule.guard == "trace":
        sigma = sigma * min(1.0, prior_variance.sum() / np.trace(sigma))
    return mean, sigma, kept


def draws(seed, rounds=ROUNDS, arms=ARMS, dim=DIM):
    rng = np.random.default_rng(seed)
    contexts = rng.standard_normal((1, rounds, dim))
    probabilities = rng.random((1, rounds, arms))
    rewards, normals = rng.random((1, rounds)), rng.standard_normal((1, rounds, arms))
    return contexts, probabilities, rewards, normals, rng.random((1, rounds, 2))


def guard(schedule):
    return np.array([schedules.GUARDS.index(schedule.guard)])


def run_disjoint(inputs, schedule, choice, motion, split=None):
    """Play with the kernel, in one call or two; returns means (K, D), covariances (K, D, D) and totals."""
    dim = inputs[0].shape[2]
    gammas = decay(schedule, np.arange(1, ROUNDS + 1))[None]
    low = np.tril_indices(dim)
    packed = np.repeat(np.eye(dim)[low][:, None], ARMS, axis=1)[None, None].copy()
    mu, scale, kept = np.zeros((1, 1, dim, ARMS)), np.ones((1, 1, ARMS)), np.ones((1, 1, ARMS))
    window = schedule.window
    ring = np.zeros((1, 1, window), dtype=np.int64), np.zeros((1, 1, window, dim + 2))
    totals = np.zeros((1, 1, 3))
    for start, stop in [(0, ROUNDS)] if split is None else [(0, split), (split, ROUNDS)]:
        play_disjoint(
            0, start, stop, (*inputs, gammas), np.array([window]), guard(schedule), choice, motion,
            (mu, packed, scale, kept, *ring, totals),
        )  # fmt: skip
    sigma = np.zeros((ARMS, dim, dim))
    for a in range(ARMS):
        sigma[a][low] = packed[0, 0, :, a] * scale[0, 0, a]
        sigma[a] += np.tril(sigma[a], -1).T
    return mu[0, 0].T, sigma, totals[0, 0]


def naive_disjoint(inputs, schedule, choice, motion):
    """Section 2.4, one arm and one matrix at a time."""
    contexts, probabilities, rewards, normals, uniforms = (array[0] for array in inputs)
    gammas = decay(schedule, np.arange(1, ROUNDS + 1))
    mu, sigma = np.zeros((ARMS, DIM)), np.tile(np.eye(DIM), (ARMS, 1, 1))
    totals, sites, kept = np.zeros(3), [], np.ones(ARMS)
    prior = np.zeros(DIM), np.full(DIM, motion.prior_variance)
    for t in range(ROUNDS):
        x = contexts[t]
        if schedule.window and t >= schedule.window:  # the oldest observation leaves its arm's posterior
            arm, phi, kappa, linear = sites.pop(0)
            precision = np.linalg.inv(sigma[arm])
            shift = precision @ mu[arm] - linear * phi
            sigma[arm] = np.linalg.inv(precision - kappa * np.outer(phi, phi))
            mu[arm] = sigma[arm] @ shift
        mu = motion.memory * mu
        sigma = motion.memory**2 * sigma + motion.walk_variance * np.eye(DIM)

        if not motion.pull_clock:
            for a in range(ARMS):
                mu[a], sigma[a], kept[a] = discounted(mu[a], sigma[a], kept[a], gammas[t], schedule, *prior)
        sd = np.array([np.sqrt(x @ matrix @ x) for matrix in sigma])
        noise = np.sqrt(choice.posterior_scale) * normals[t]
        scores = mu @ x + sd * (choice.confidence_width + noise)
        ties = np.flatnonzero(scores == scores.max())
        arm = int(ties[int(uniforms[t, 1] * len(ties))])
        if motion.pull_clock:
            mu[arm], sigma[arm], kept[arm] = discounted(mu[arm], sigma[arm], kept[arm], gammas[t], schedule, *prior)
        clicked = float(rewards[t] < probabilities[t, arm])
        m, v = x @ mu[arm], x @ sigma[arm] @ x
        p = 1 / (1 + np.exp(-m / np.sqrt(1 + np.pi * v / 8)))
        totals[REGRET] += probabilities[t].max() - probabilities[t, arm]
        totals[BEST] += arm == np.argmax(probabilities[t])
        totals[LOG_LOSS] -= np.log(p) if clicked else np.log(1 - p)
        mu[arm], sigma[arm] = laplace_update(mu[arm], sigma[arm], x, clicked, 1.0)
        s = x @ mu[arm]
        kappa = 1 / (1 + np.exp(-s)) / (1 + np.exp(s))
        sites.append((arm, x, kappa, clicked - 1 / (1 + np.exp(-s)) + kappa * s))
    return mu, sigma, totals


THOMPSON, GREEDY, UCB = Choice(1.0, 0.0, 0.0, False), Choice(0.0, 0.0, 0.0, False), Choice(0.0, 1.5, 0.0, False)
ROUND_CLOCK, PULL_CLOCK = Motion(False, 1.0, 1.0, 0.0), Motion(True, 1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("schedule", "choice", "motion"),
    [
        ("none", THOMPSON, ROUND_CLOCK),
        ("exp-0.97", THOMPSON, ROUND_CLOCK),
        ("exp-0.97", UCB, ROUND_CLOCK),
        ("exp-0.97-uncapped", THOMPSON, ROUND_CLOCK),
        ("exp-0.97-trace", THOMPSON, ROUND_CLOCK),
        ("exp-0.6", UCB, ROUND_CLOCK),
        ("exp-0.9-uncapped", THOMPSON, PULL_CLOCK),
        ("exp-0.9-trace", THOMPSON, PULL_CLOCK),
        ("poly-1-0.75", Choice(0.25, 0.0, 0.0, False), ROUND_CLOCK),
        ("exp-0.9", THOMPSON, PULL_CLOCK),
        ("none", THOMPSON, Motion(False, 1.0, 0.99, 0.0199)),
        ("window-40", THOMPSON, ROUND_CLOCK),
    ],
)
def test_disjoint_arms_against_the_naive_loop(schedule, choice, motion):
    inputs = draws(0)
    schedule = schedules.parse(schedule)
    fast, naive = run_disjoint(inputs, schedule, choice, motion), naive_disjoint(inputs, schedule, choice, motion)
    for got, expected in zip(fast, naive, strict=True):
        assert np.allclose(got, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("schedule", ["exp-0.98", "window-40"])
def test_two_calls_play_what_one_call_plays(schedule):
    inputs, schedule = draws(1), schedules.parse(schedule)
    whole = run_disjoint(inputs, schedule, THOMPSON, ROUND_CLOCK)
    parts = run_disjoint(inputs, schedule, THOMPSON, ROUND_CLOCK, split=120)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize(("guard", "most"), [("", 2.0), ("-trace", DIM)])
def test_a_guarded_direction_that_is_never_seen_does_not_wind_up(guard, most):
    rng = np.random.default_rng(0)
    inputs = draws(2)
    inputs[0][:] = rng.standard_normal(DIM)  # one direction only: the others wind up
    _, sigma, _ = run_disjoint(inputs, schedules.parse("exp-0.9" + guard), THOMPSON, ROUND_CLOCK)
    assert np.linalg.eigvalsh(sigma).max() <= most * (1 + 1e-9)  # at least half of the prior's precision is left
    assert np.linalg.eigvalsh(sigma).min() > 0
    _, sigma, _ = run_disjoint(inputs, schedules.parse("exp-0.95-uncapped"), THOMPSON, ROUND_CLOCK)
    assert np.linalg.eigvalsh(sigma).max() == pytest.approx(0.95**-ROUNDS)  # 5e6
    _, sigma, _ = run_disjoint(inputs, schedules.parse("exp-0.9-uncapped"), THOMPSON, ROUND_CLOCK)
    assert 1e10 < np.linalg.eigvalsh(sigma).max() <= 1e10 * DIM < 0.9**-ROUNDS  # 5e13


def test_features_without_data_change_nothing_unless_the_trace_is_capped():
    inputs = draws(5)
    more = (np.concatenate([inputs[0], np.zeros_like(inputs[0][..., :1])], axis=2), *inputs[1:])
    for suffix, same in (("", True), ("-uncapped", True), ("-trace", False)):
        schedule = schedules.parse("exp-0.97" + suffix)
        plain = run_disjoint(inputs, schedule, THOMPSON, ROUND_CLOCK)[2]
        assert (run_disjoint(more, schedule, THOMPSON, ROUND_CLOCK)[2] == pytest.approx(plain, rel=0.02)) == same


def test_epsilon_one_is_uniform_and_the_oracle_has_no_regret():
    inputs = draws(3, rounds=ROUNDS)
    _, _, oracle = run_disjoint(inputs, schedules.parse("none"), Choice(0.0, 0.0, 0.0, True), ROUND_CLOCK)
    assert oracle[REGRET] == 0.0 and oracle[BEST] == ROUNDS
    _, _, random = run_disjoint(inputs, schedules.parse("none"), Choice(0.0, 0.0, 1.0, False), ROUND_CLOCK)
    expected = (inputs[1][0].max(axis=1) - inputs[1][0].mean(axis=1)).sum()
    assert random[REGRET] == pytest.approx(expected, rel=0.15)


def test_ties_go_to_a_random_arm():
    firsts = []
    for seed in range(200):
        inputs = [array[:, :1] for array in draws(seed)]
        inputs[1][:] = np.array([0.1, 0.2, 0.3, 0.4])  # the regret tells which arm was chosen
        totals = np.zeros((1, 1, 3))
        packed = np.repeat(np.eye(DIM)[np.tril_indices(DIM)][:, None], ARMS, axis=1)[None, None].copy()
        play_disjoint(
            0, 0, 1, (*inputs, np.ones((1, 1))), np.zeros(1, np.int64), np.zeros(1, np.int64), GREEDY, ROUND_CLOCK,
            (np.zeros((1, 1, DIM, ARMS)), packed, np.ones((1, 1, ARMS)), np.ones((1, 1, ARMS)),
             np.zeros((1, 1, 0), np.int64), np.zeros((1, 1, 0, DIM + 2)), totals),
        )  # fmt: skip
        firsts.append(round(10 * totals[0, 0, REGRET]))
    counts = np.bincount(firsts, minlength=ARMS)
    assert counts.min() > 25  # 50 expected each, standard deviation 6


def shared_inputs(seed, rounds=200, d=5):
    rng = np.random.default_rng(seed)
    count = rng.integers(2, 5, rounds)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    features = rng.standard_normal((1, count.sum(), d))
    rewards, normals = rng.random((1, rounds)), rng.standard_normal((1, rounds, d))
    return features, first, count, rng.random((1, count.sum())), rewards, normals, rng.random((1, rounds, 2))


@pytest.mark.parametrize("choice", [GREEDY, UCB])
@pytest.mark.parametrize("forgetting", ["none", "exp-0.97", "exp-0.6", "exp-0.97-uncapped", "exp-0.97-trace"])
def test_shared_weights_against_the_naive_loop(choice, forgetting):
    inputs = features, first, count, probabilities, rewards, _, uniforms = shared_inputs(0)
    rounds, d = len(first), features.shape[2]
    mu, root = np.zeros((1, 1, d)), np.eye(d)[None, None].copy()
    scale, kept, totals = np.ones((1, 1)), np.ones((1, 1)), np.zeros((1, 1, 3))
    schedule = schedules.parse(forgetting)
    gamma, left, prior = schedule.rate, 1.0, (np.zeros(d), np.ones(d))
    play_shared(
        0, rounds, (*inputs, np.full((1, rounds), schedule.rate)), choice, guard(schedule), prior, False,
        (mu, root, scale, kept, totals),
    )  # fmt: skip
    mean, sigma, regret = np.zeros(d), np.eye(d), 0.0
    for t in range(rounds):
        mean, sigma, left = discounted(mean, sigma, left, gamma, schedule, *prior)
        rows = features[0, first[t] : first[t] + count[t]]
        p_t = probabilities[0, first[t] : first[t] + count[t]]
        sd = np.sqrt(np.einsum("ki,ij,kj->k", rows, sigma, rows))
        scores = rows @ mean + choice.confidence_width * sd
        arm = int(np.argmax(scores)) if scores.any() else int(uniforms[0, t, 1] * count[t])
        regret += p_t.max() - p_t[arm]
        mean, sigma = laplace_update(mean, sigma, rows[arm], float(rewards[0, t] < p_t[arm]), 1.0)
    assert totals[0, 0, REGRET] == pytest.approx(regret)
    assert np.allclose(mu[0, 0], mean, atol=1e-9)
    assert np.allclose(scale[0, 0] * root[0, 0] @ root[0, 0].T, sigma, atol=1e-9)


@pytest.mark.parametrize("suffix", ["", "-trace", "-uncapped"])
def test_the_diagonal_filter_against_the_naive_loop(suffix):
    inputs = features, first, count, probabilities, rewards, normals, _ = shared_inputs(1)
    rounds, d, gamma = len(first), features.shape[2], 0.99
    mu, q = np.zeros((1, 1, d)), np.ones((1, 1, 1, d))
    totals = np.zeros((1, 1, 3))
    play_shared(
        0, rounds, (*inputs, np.full((1, rounds), gamma)), THOMPSON,
        guard(schedules.parse("exp-0.99" + suffix)), (np.full(d, 0.2), np.ones(d)), True,
        (mu, q, np.ones((1, 1)), np.ones((1, 1)), totals),
    )  # fmt: skip
    mean, precision = np.zeros(d), np.ones(d)
    for t in range(rounds):
        precision = gamma * precision
        if suffix == "":
            mean = (precision * mean + 0.01 * 0.2) / (precision + 0.01)
            precision = precision + 0.01
        elif suffix == "-trace":
            precision = np.maximum(precision, 1.0)
        rows = features[0, first[t] : first[t] + count[t]]
        p_t = probabilities[0, first[t] : first[t] + count[t]]
        arm = int(np.argmax(rows @ (mean + normals[0, t] / np.sqrt(precision))))
        phi, clicked = rows[arm], float(rewards[0, t] < p_t[arm])
        p = sigmoid(laplace_logit(phi @ mean, (phi * phi / precision).sum(), clicked, 1.0))
        mean, precision = mean + phi / precision * (clicked - p), precision + p * (1 - p) * phi * phi
    assert np.allclose(mu[0, 0], mean, atol=1e-10)
    assert np.allclose(q[0, 0, 0], precision, atol=1e-10)


def test_the_shared_draw_has_the_posterior_covariance():
    # Potter's form against the covariance form, and the draw sqrt(c) S z against its covariance.
    rng = np.random.default_rng(0)
    S = rng.standard_normal((3, 3))
    phi, c, kappa = rng.standard_normal(3), 0.7, 0.2
    R = c * S @ S.T
    f = S.T @ phi
    gain = np.empty(3)
    potter_update(S, c, f, phi @ R @ phi, kappa, gain)
    expected = R - kappa / (1 + kappa * phi @ R @ phi) * np.outer(R @ phi, R @ phi)
    assert np.allclose(c * S @ S.T, expected, atol=1e-12)
    assert c * gain == pytest.approx(R @ phi)
    z = rng.standard_normal((200_000, 3))
    assert np.allclose(np.cov(np.sqrt(c) * z @ S.T, rowvar=False), expected, atol=0.05)


def test_thompson_picks_arms_as_often_as_they_are_best_under_the_posterior():
    # Two arms, independent weights of different means and variances: P(arm 0) = Phi(gap / sd of the difference).
    rounds, hits = 4000, 0
    rng = np.random.default_rng(4)
    for _ in range(rounds):
        totals = np.zeros((1, 1, 3))
        play_shared(
            0, 1,
            (np.eye(2)[None], np.array([0]), np.array([2]), np.array([[0.9, 0.5]]), rng.random((1, 1)),
             rng.standard_normal((1, 1, 2)), rng.random((1, 1, 2)), np.ones((1, 1))),
            THOMPSON, np.array([2]), (np.zeros(2), np.ones(2)), False,
            (np.array([[[0.5, 0.0]]]), np.diag([1.0, 0.5])[None, None].copy(), np.ones((1, 1)), np.ones((1, 1)),
             totals),
        )  # fmt: skip
        hits += totals[0, 0, REGRET] == 0.0
    expected = NormalDist().cdf(0.5 / np.sqrt(1.25))
    assert hits / rounds == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / rounds))


@pytest.mark.parametrize("forgetting", ["exp-0.95", "exp-0.95-uncapped", "exp-0.95-trace"])
def test_tracking_against_the_naive_loop(forgetting):
    rng = np.random.default_rng(2)
    headlines, d, impressions, gamma = 150, 4, 20.0, 0.95
    x = rng.standard_normal((headlines, d))
    clicks = rng.binomial(20, 0.3, (1, headlines)).astype(float)
    prior = np.array([1.0, 0.5, 0.5, 0.1])
    mu, root, scale, loss = (
        np.zeros((1, 1, d)),
        np.diag(np.sqrt(prior))[None, None].copy(),
        np.ones((1, 1)),
        np.zeros((1, 1)),
    )
    schedule, center, kept = schedules.parse(forgetting), np.array([-1.0, 0.0, 0.3, 0.0]), np.ones((1, 1))
    gammas = np.full((1, headlines), gamma)
    mu += center
    track(x, clicks, impressions, gammas, guard(schedule), (center, prior), (mu, root, scale, kept, loss))
    mean, sigma, expected, left = center, np.diag(prior), 0.0, 1.0
    for phi, k in zip(x, clicks[0], strict=True):
        mean, sigma, left = discounted(mean, sigma, left, gamma, schedule, center, prior)
        p = 1 / (1 + np.exp(-phi @ mean / np.sqrt(1 + np.pi * (phi @ sigma @ phi) / 8)))
        expected -= (k * np.log(p) + (impressions - k) * np.log(1 - p)) / impressions
        mean, sigma = laplace_update(mean, sigma, phi, k, impressions)
    assert loss[0, 0] == pytest.approx(expected)
    assert np.allclose(mu[0, 0], mean, atol=1e-9)
    assert np.allclose(scale[0, 0] * root[0, 0] @ root[0, 0].T, sigma, atol=1e-9)
