"""Lists, learners on lists and baselines against naive dense loops."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from septet.errors import InputError
from septet.seeding import stream
from septet.vrda import kernels, votes
from septet.vrda.baselines import Schedule, batch_l1, lists_from_binary, maxent
from septet.vrda.differences import learned, readings, table
from septet.vrda.generated import SPACE, generated_lists
from septet.vrda.lists import NBest, assemble, frequent, read_lists, read_note, write_lists
from septet.vrda.rerank import DualAveraging, Gradient, choose, vote
from septet.vrda.vrda import Regulariser, loss_slope, prox_update


@pytest.fixture(scope="module")
def small():
    described = generated_lists(stream(0, "test"), 60)
    return assemble(described, frequent((one for one, _ in described), SPACE, 3))


def orders_of(lists, epochs=2, seed=0):
    return [np.random.default_rng([seed, e]).permutation(len(lists.gold)) for e in range(epochs)]


def naive_lists(lists, orders, regulariser, loss, every):
    """RDA and vRDA on dense lists; the last coordinate is the unpenalised feature. Returns (predictors, votes)."""
    rows = np.hstack([lists.rows().toarray(), lists.base[:, None]])
    quality, target = lists.quality, lists.target
    k, s, w, c, mistakes = 0, np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), 0, 0
    store = []
    for i in np.concatenate(orders):
        a, b, good = lists.starts[i], lists.starts[i + 1], target[i]
        scores = rows[a:b] @ w
        rival = a + int(np.argmax(scores))
        mistake = quality[rival] < quality[good]
        mistakes += mistake
        if not mistake and not every:
            c += 1
            continue
        store.append((w, c))
        g = np.zeros_like(s)
        worse = [r for r in range(a, b) if quality[r] < quality[good]]
        if every and worse:
            rival = max(worse, key=lambda r: scores[r - a])
        delta = rows[good] - rows[rival]
        if not every or (worse and (loss == "log" or w @ delta < 1)):
            g = -loss_slope(w @ delta, loss) * delta
        k, s, c = k + 1, s + g, 1
        w = prox_update(s, k, regulariser)
        w[-1] = -regulariser.scale(k) * s[-1]
    store.append((w, c))
    return np.array([w for w, _ in store]), np.array([c for _, c in store]), mistakes


@pytest.mark.parametrize("every", [False, True], ids=["vrda", "rda"])
@pytest.mark.parametrize(("loss", "l1"), [("hinge", 0.0123), ("log", 0.0123), ("log", 0.0)])
def test_lists_against_the_dense_loop(small, loss, l1, every):
    regulariser = Regulariser(l1=l1, gamma=1.7)
    orders = orders_of(small)
    W, c, mistakes = naive_lists(small, orders, regulariser, loss, every)
    learner = DualAveraging(small, regulariser, 120, log_loss=loss == "log", every=every, keep_log=True)
    for order in orders:
        learner.learn(order)
    assert learner.mistakes == mistakes
    np.testing.assert_allclose(np.append(*learner.last()), W[-1], atol=1e-10)
    np.testing.assert_allclose(np.append(*learner.averaged()), c @ W, atol=1e-8)
    if not every:
        rows = np.hstack([small.rows().toarray(), small.base[:, None]])
        tally = np.zeros(len(rows))
        for w, votes in zip(W[1:], c[1:], strict=True):
            tally[choose(small, (w[:-1], w[-1]))] += votes
        expected = [a + np.argmax(tally[a:b]) for a, b in zip(small.starts[:-1], small.starts[1:], strict=True)]
        np.testing.assert_array_equal(vote(small, learner, learner.updates()), expected)


@pytest.mark.parametrize(
    "schedule",
    [Schedule(0.1, 0.05), Schedule(0.1, 0.05, period=7), Schedule(0.1, 0.2, theta=0.15), Schedule(0.3, 0.05, True)],
    ids=["tg", "tg period", "tg theta", "fobos"],
)
def test_gradient_methods_against_the_dense_loop(small, schedule):
    orders = orders_of(small, 3)
    rows = np.hstack([small.rows().toarray(), small.base[:, None]])
    quality, target = small.quality, small.target
    w, summed, mistakes = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), 0
    for t, i in enumerate(np.concatenate(orders), 1):
        a, b, good = small.starts[i], small.starts[i + 1], target[i]
        scores = rows[a:b] @ w
        mistakes += quality[a + np.argmax(scores)] < quality[good]
        worse = [r for r in range(a, b) if quality[r] < quality[good]]
        eta = schedule.eta / np.sqrt(t) if schedule.decaying else schedule.eta
        if worse:
            delta = rows[good] - rows[max(worse, key=lambda r: scores[r - a])]
            if w @ delta < 1:
                w = w + eta * delta
        amount = schedule.period * eta * schedule.l1 if t % schedule.period == 0 else 0.0
        shrunk = np.sign(w) * np.maximum(np.abs(w) - amount, 0)
        shrunk = np.where(np.abs(w) > schedule.theta, w, shrunk)
        shrunk[-1] = w[-1]
        w = shrunk
        summed = summed + w
    learner = Gradient(small, schedule, len(orders) * 60)
    for order in orders:
        learner.learn(order)
    assert learner.mistakes == mistakes
    np.testing.assert_allclose(np.append(*learner.last()), w, atol=1e-10)
    np.testing.assert_allclose(np.append(*learner.averaged()), summed, atol=1e-8)


def test_binary_examples_are_lists_of_two(problem):
    X, y = problem(3, whole=False)
    lists = lists_from_binary(csr_matrix(X), y)
    learner = DualAveraging(lists, Regulariser(l1=0.02), 3 * len(y))
    matrix, form = csr_matrix(X), np.array([0.02, 0, 0, 1.0, 0])
    rows = matrix.data, matrix.indices, matrix.indptr
    state = kernels.new_state(X.shape[1], 3 * len(y), False)
    for order in [np.random.default_rng(e).permutation(len(y)) for e in range(3)]:
        learner.learn(order)
        kernels.classify_pass(rows, y, np.empty(0), 0.0, order, state, form, False, np.empty((0, 3)))
    assert learner.mistakes == state[-1][kernels.MISTAKES]
    np.testing.assert_allclose(learner.last()[0], kernels.last_weights(state, form)[0], atol=1e-12)


def test_maxent_on_lists_of_two_is_l1_logistic_regression(problem):
    X, y = problem(3, whole=False)
    w, _ = maxent(lists_from_binary(csr_matrix(X), y), 0.01, rounds=4000, tolerance=1e-13)
    reference = LogisticRegression(
        l1_ratio=1.0, C=1 / (0.01 * len(y)), solver="saga", fit_intercept=False, tol=1e-9, max_iter=100_000
    ).fit(X, y)
    np.testing.assert_allclose(w, reference.coef_[0], atol=1e-4)
    assert 0 < np.count_nonzero(batch_l1(csr_matrix(X), y, 0.05).coef_) < X.shape[1]


def test_weights_thin_out_along_the_grid_and_averages_are_denser(small):
    counts = []
    for l1 in (0.0, 3e-2, 6e-2, 1e-1):
        learner = DualAveraging(small, Regulariser(l1=l1), 120)
        learner.learn(np.concatenate(orders_of(small)))
        counts.append([np.count_nonzero(w) for w, _ in (learner.last(), learner.averaged())])
    last, averaged = np.array(counts).T
    assert (np.diff(last) < 0).all()
    assert (averaged >= last).all()


def test_reading_on_the_way_changes_nothing(small):
    order = np.concatenate(orders_of(small))
    whole, parts = (DualAveraging(small, Regulariser(l1=0.01), 120) for _ in range(2))
    whole.learn(order)
    for piece in np.split(order, [10, 60, 61]):
        parts.learn(piece)
        parts.averaged()
    np.testing.assert_array_equal(whole.last()[0], parts.last()[0])
    np.testing.assert_array_equal(whole.averaged()[0], parts.averaged()[0])


def test_lists_survive_the_file_and_a_torn_file_is_refused(small, tmp_path):
    file = tmp_path / "lists.safetensors"
    write_lists(file, {"train": small}, "generated")
    found = read_lists(file, "train")
    np.testing.assert_array_equal(found.indices, small.indices)
    assert (found.features, read_note(file)) == (small.features, "generated")
    with pytest.raises(InputError, match="expected a split test, found"):
        read_lists(file, "test")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="lists made by"):
        read_lists(file, "train")


def real_lists(random, count):
    """Three candidates each over twelve columns in pairs that learn the same, with values that round."""
    rows = np.where(random.random((3 * count, 6)) < 0.4, random.random((3 * count, 6)) / 3.0, 0.0)
    rows = np.repeat(rows, 2, axis=1)
    # The second candidate of every other list is the third one with each pair swapped, and uneven: scores that are
    # equal, added up in another order. A pair with opposite values cancels.
    rows[::6, ::2] += 0.1
    rows[1::6] = rows[2::6].reshape(-1, 6, 2)[:, :, ::-1].reshape(-1, 12)
    rows[1::6, :2] += [0.7, -0.7]
    matrix = csr_matrix(rows)
    base = np.zeros(3 * count)
    base[4::6] = 0.1
    guess, match = np.full(3 * count, 5), random.integers(0, 6, 3 * count)
    starts = np.arange(0, 3 * count + 1, 3)
    return NBest(starts, matrix.indptr, matrix.indices, matrix.data, base, match, guess, np.full(count, 5), 12)


def exact_choices(lists, test, log, counts, l1):
    """The most chosen candidate of each list, in fractions: only sums of subgradients are floats."""
    s, s0 = np.zeros(lists.features), 0.0
    rows, test_rows = lists.rows().toarray(), test.rows().toarray()
    tally = np.zeros(len(test_rows))
    for k, (good, rival, step) in enumerate(log, 1):
        s = s + -step * rows[good]
        s = s + step * rows[rival]
        s0 -= step * (lists.base[good] - lists.base[rival])
        shift = Fraction(l1 * k)
        w = [Fraction(v) - min(max(Fraction(v), -shift), shift) for v in s]
        scores = [
            -sum(a * Fraction(x) for a, x in zip(w, row, strict=True)) - Fraction(s0) * Fraction(x0)
            for row, x0 in zip(test_rows, test.base, strict=True)
        ]
        for a, b in zip(test.starts[:-1], test.starts[1:], strict=True):
            tally[a + max(range(b - a), key=lambda r: (scores[a + r], -r))] += counts[k - 1]
    return [a + int(np.argmax(tally[a:b])) for a, b in zip(test.starts[:-1], test.starts[1:], strict=True)], tally


@pytest.mark.parametrize("loss", ["hinge", "log"])
@pytest.mark.parametrize("l1", [0.0, 3e-3, 3e-2])
def test_votes_on_lists_are_exact_on_real_values(l1, loss):
    lists, test = (real_lists(np.random.default_rng(seed), 40) for seed in (0, 1))
    learner = DualAveraging(lists, Regulariser(l1=l1), 80, log_loss=loss == "log", keep_log=True)
    for order in orders_of(lists):
        learner.learn(order)
    updates = learner.updates()
    log = [(int(good), int(rival), step) for good, rival, step, _ in learner._log[: learner.ticks]]
    expected, tally = exact_choices(lists, test, log, updates.votes, l1)
    assert learner.ticks > 20
    np.testing.assert_array_equal(vote(test, learner, updates), expected)
    np.testing.assert_array_equal(
        votes.candidate_votes(test.rows(), test.base, updates, learner.form, test.starts), tally
    )


def test_readings_judge_and_order_as_they_say(small):
    read = readings(small)
    quality, target = small.quality, small.target
    ours = choose(small, (np.zeros(small.features), 0.0))
    np.testing.assert_array_equal(ours, small.starts[:-1])  # of equal scores the first
    names = list(read)
    for name in names[1:]:
        other = read[name]
        # the same candidates in each list: F of the targets is what it was
        np.testing.assert_array_equal(other.starts, small.starts)
        assert other.f_score(other.target) == small.f_score(target)
    equal, last, backwards, first = (read[name] for name in names[1:])
    np.testing.assert_array_equal(np.flatnonzero(equal.quality == 2.0), target)
    assert (quality[last.target] == quality[target]).all() and (last.target >= target).all()
    assert (last.target > target).any()
    np.testing.assert_array_equal(backwards.base[backwards.starts[1:] - 1], small.base[small.starts[:-1]])
    np.testing.assert_array_equal(first.target, first.starts[:-1])
    orders = orders_of(small)
    nothing = DualAveraging(first, Regulariser(), 60)
    nothing.learn(orders[0])
    assert nothing.mistakes == 0  # the paper's margin 0, taken literally
    for loss in ("hinge", "log"):
        assert learned(small, first, small, orders, loss)[1] > 10
    assert learned(small, equal, small, orders, "hinge")[1] > learned(small, small, small, orders, "hinge")[1]
    assert "| ours | hinge |" in table(small, small, [0], 1)


def test_a_learner_goes_on_from_another(small):
    orders = orders_of(small)
    whole, first, second = (DualAveraging(small, Regulariser(l1=0.01), ticks) for ticks in (120, 60, 120))
    whole.learn(orders[0]), whole.learn(orders[1]), first.learn(orders[0])
    second.resume(first)
    second.learn(orders[1])
    np.testing.assert_array_equal(second.averaged()[0], whole.averaged()[0])
    with pytest.raises(InputError, match="resume: expected a learner on"):
        first.resume(whole)
