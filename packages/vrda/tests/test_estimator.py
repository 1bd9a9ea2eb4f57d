"""`VRDAClassifier` against scikit-learn's contract and against the exact vote."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.estimator_checks import check_estimator

from septet.vrda import VRDAClassifier
from septet.vrda.slots import Slots
from septet.vrda.vrda import Regulariser

REPEATED = "an online method: copies that a shuffle spreads are not one row of that weight"
UNEQUAL = {f"check_sample_weight_equivalence_on_{kind}_data": REPEATED for kind in ("dense", "sparse")}


@pytest.mark.parametrize("prediction", ["averaged", "last", "voted"])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(prediction):
    checks = check_estimator(VRDAClassifier(prediction=prediction), on_fail=None, expected_failed_checks=UNEQUAL)
    failed = [check for check in checks if check["status"] == "failed"]
    assert not failed, failed
    assert {check["check_name"] for check in checks} >= {*UNEQUAL, "check_sample_weights_shape"}


def same(one, other, rows):
    """Whether two fits are the same run: weights, votes, clocks."""
    for prediction in ("averaged", "last", "voted"):
        one.set_params(prediction=prediction), other.set_params(prediction=prediction)
        np.testing.assert_array_equal(one.decision_function(rows), other.decision_function(rows))
    assert (one.mistakes_, one.t_) == (other.mistakes_, other.t_)


@pytest.mark.parametrize("loss", ["hinge", "log"])
def test_whole_weights_are_copies_next_to_one_another(loss, problem):
    X, y = problem(7, whole=False)
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    assert set(weight) == {0, 1, 2, 3}
    settings = {"loss": loss, "l1": 0.02, "prediction": "voted", "shuffle": False}
    weighted = VRDAClassifier(**settings).fit(X, y, sample_weight=weight)
    same(weighted, VRDAClassifier(**settings).fit(X.repeat(weight, axis=0), y.repeat(weight)), X)
    again = VRDAClassifier(**settings)
    for _ in range(5):
        again.partial_fit(X, y, classes=[-1, 1], sample_weight=weight)
    same(weighted, again, X)


def test_weights_of_one_and_zero_are_rows_that_are_there_and_not(problem):
    X, y = problem(7, whole=False)
    keep = np.arange(len(y)) % 3 > 0
    settings = {"l1": 0.02, "prediction": "voted", "random_state": 0}
    same(
        VRDAClassifier(**settings).fit(X, y, sample_weight=keep.astype(float)),
        VRDAClassifier(**settings).fit(X[keep], y[keep]),
        X,
    )
    same(VRDAClassifier(**settings).fit(X, y, sample_weight=np.ones(len(y))), VRDAClassifier(**settings).fit(X, y), X)


def test_class_weights_multiply_the_weights_of_rows(problem):
    X, y = problem(7, whole=False)
    settings = {"l1": 0.02, "prediction": "voted", "random_state": 0}
    by_class = VRDAClassifier(**settings, class_weight={-1: 3, 1: 0.5}).fit(X, y, sample_weight=np.full(len(y), 2.0))
    same(by_class, VRDAClassifier(**settings).fit(X, y, sample_weight=np.where(y > 0, 1.0, 6.0)), X)
    few = y.copy()
    few[10:] = -1
    balanced = len(y) / (2 * np.array([(few < 0).sum(), (few > 0).sum()]))
    same(
        VRDAClassifier(**settings, class_weight="balanced").fit(X, few),
        VRDAClassifier(**settings).fit(X, few, sample_weight=balanced[(few > 0).astype(int)]),
        X,
    )


def test_a_part_of_a_presentation_is_a_part_of_a_step_and_of_a_vote():
    """Row 1 errs (margin 0) with half a step, so w = 1/2; it, rows 2 and 3 vote for that with 1/2, 1/4 and 2."""
    X, y = np.array([[1.0], [1.0], [-1.0]]), np.array([1, 1, -1])
    fit = VRDAClassifier(l1=0.0, fit_intercept=False, shuffle=False, max_iter=1, prediction="last")
    fit.fit(X, y, sample_weight=[0.5, 0.25, 2.0])
    assert (fit.mistakes_, fit.t_, fit.coef_.item()) == (1, 2, 0.5)
    assert fit._model.run.tolist()[:2] == [1.0, 0.5 + 0.25 + 2.0]


@pytest.mark.parametrize(
    ("settings", "weight", "message"),
    [
        ({}, [-1.0] * 80, "Negative values"),
        ({}, [np.nan] * 80, "NaN"),
        ({}, [0.0] * 80, "at least one non-zero"),
        ({"class_weight": {-1: 0, 1: 0}}, None, "expected weights that are numbers of presentations, above 0"),
        ({}, [1e9] * 80, r"at most 268,435,456 together, found 8e\+10"),
        ({}, [1.0] * 79, "sample_weight.shape"),
        ({"class_weight": "even"}, None, "class_weight"),
    ],
)
def test_bad_weights_are_refused(settings, weight, message, problem):
    X, y = problem(7)
    with pytest.raises(ValueError, match=message):
        VRDAClassifier(**settings).fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="class_weight: expected None or a dict, found 'balanced'"):
        VRDAClassifier(class_weight="balanced").partial_fit(X, y, classes=[-1, 1])


@pytest.mark.parametrize("prediction", ["averaged", "last", "voted"])
def test_a_wide_space_without_a_touched_column_predicts(prediction):
    """Above the columns that have arrays of their own, the first row is empty and the next is of unknown columns."""
    wide = (3, (1 << 22) + 7)
    empty, far = csr_matrix(wide), csr_matrix(([1.0, 2.0], ([0, 2], [0, wide[1] - 1])), shape=wide)
    fit = VRDAClassifier(prediction=prediction, random_state=0).fit(empty, [0, 1, 1])
    np.testing.assert_array_equal(fit.decision_function(far), fit.decision_function(empty))


def test_votes_on_text_are_those_of_fractions():
    """The case that floats got wrong for most rows: tf-idf text at l1 = 3e-2, without rounding anything."""
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(300)]
    tilt = rng.normal(size=300)
    chance = 1.0 / np.arange(1, 301)
    texts, y = [], np.where(np.arange(160) % 2, 1.0, -1.0)
    for label in y:
        weight = chance * np.exp(0.8 * label * tilt)
        texts.append(" ".join(rng.choice(words, 25, p=weight / weight.sum())))
    rows = TfidfVectorizer().fit_transform(texts)
    X, test = rows[:120].toarray(), rows[120:]
    fit = VRDAClassifier(l1=3e-2, prediction="voted", shuffle=False, max_iter=2).fit(rows[:120], y[:120])
    expected = exact_votes(X, y[:120], test.toarray(), 3e-2, 2)
    np.testing.assert_array_equal(fit.decision_function(test), expected)
    assert np.mean(fit.predict(test) == y[120:]) > 0.8


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("prediction", ["averaged", "last", "voted"])
def test_dense_sparse_and_hashed_columns_agree(kind, prediction, problem):
    X, y = problem(1)
    rows = csr_matrix(X.astype(kind))
    # The same columns spread over a space that is too large for arrays.
    far = csr_matrix((rows.data, rows.indices.astype(np.int64) * 3_000_017, rows.indptr), (80, 30 * 3_000_017))
    settings = {"l1": 0.02, "prediction": prediction, "random_state": 3}
    scores = [VRDAClassifier(**settings).fit(Z, y).decision_function(Z) for Z in (X.astype(kind), rows, far)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scores[2], scores[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("l1", [0.0, 1 / 64, 1 / 8])
def test_vote_is_that_of_every_predictor(l1, naive, problem):
    X, y = problem(2)
    test, _ = problem(3)
    fit = VRDAClassifier(l1=l1, prediction="voted", fit_intercept=False, shuffle=False, max_iter=3).fit(X, y)
    W, c, _ = naive(X, y, [np.arange(len(y))] * 3, Regulariser(l1=l1), "hinge")
    # predictor 0 is all zero and abstains
    votes = (c[1:, None] * np.sign(np.round(W[1:] @ test.T, 9))).sum(0) / c[1:].sum()
    np.testing.assert_allclose(fit.decision_function(test), votes, atol=1e-12)


def test_one_row_at_a_time_is_one_pass(problem):
    X, y = problem(4)
    whole = VRDAClassifier(l1=0.01).partial_fit(X, y, classes=[-1, 1])
    rows = VRDAClassifier(l1=0.01)
    for i in range(len(y)):
        rows.partial_fit(X[i : i + 1], y[i : i + 1], classes=[-1, 1])
    np.testing.assert_allclose(rows.coef_, whole.coef_, atol=1e-13)
    assert rows.mistakes_ == whole.mistakes_


def test_sparsify_changes_no_prediction(problem):
    X, y = problem(4)
    fit = VRDAClassifier(l1=0.1, prediction="last", random_state=0).fit(X, y)
    before, dense = fit.predict(X), fit.coef_
    assert fit.sparsify().coef_.nnz == np.count_nonzero(dense) < X.shape[1]
    np.testing.assert_array_equal(fit.predict(X), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "square"}, "loss: expected 'hinge' or 'log', found 'square'"),
        ({"prediction": "best"}, "prediction: expected"),
        ({"l1": -1.0}, "l1: expected a finite number >= 0, found -1.0"),
        ({"max_iter": 0}, "max_iter: expected a whole number >= 1, found 0"),
    ],
)
def test_bad_parameters_are_one_line(change, message, problem):
    X, y = problem(4)
    with pytest.raises(ValueError, match=message) as caught:
        VRDAClassifier(**change).fit(X, y)
    assert "\n" not in str(caught.value)


def test_bad_data_are_refused(problem):
    X, y = problem(4)
    with pytest.raises(ValueError, match="NaN"):
        VRDAClassifier().fit(np.where(X == 0, np.nan, X), y)
    with pytest.raises(ValueError, match="Only binary"):
        VRDAClassifier().fit(X, np.arange(len(y)) % 3)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        VRDAClassifier().fit(X, y[:-1])
    with pytest.raises(ValueError, match="y: expected labels from"):
        VRDAClassifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="features"):
        VRDAClassifier().fit(X, y).predict(X[:, :-1])


@pytest.mark.parametrize("span", [10**8, 2**62])
def test_slots_are_numbered_by_first_touch_and_survive_growth(span):
    columns = np.random.default_rng(0).integers(0, span, 50_000)
    columns[1::3] = columns[::3][: len(columns[1::3])]  # met again while the places around it fill up
    number = {}
    expected = [number.setdefault(column, len(number)) for column in columns.tolist()]
    slots = Slots(places=16)
    np.testing.assert_array_equal(slots.intern(columns[:9]), expected[:9])
    np.testing.assert_array_equal(slots.intern(columns[9:]), expected[9:])
    assert slots.columns.tolist() == list(number)
    np.testing.assert_array_equal(slots.look_up(columns[::-1]), expected[::-1])
    strange = np.setdiff1d(np.random.default_rng(1).integers(0, span, 1000), columns)
    assert set(slots.look_up(strange)) == {-1}


def test_memory_follows_the_touched_features():
    X = random_array((200, 10**8), density=1e-7, format="csr", rng=np.random.default_rng(0))
    fit = VRDAClassifier(l1=0.0).fit(csr_matrix(X), np.arange(200) % 2)
    assert len(fit._model.s) == len(np.unique(X.indices))


def exact_votes(X, y, test, l1, epochs):
    """The mean vote of each test row, in fractions: sums of subgradients are floats, and nothing after them rounds."""
    s, k, since, total = np.zeros(X.shape[1] + 1), 0, 0, 0
    rows, points = (np.hstack([Z, np.ones((len(Z), 1))]) for Z in (X, test))
    tally = np.zeros(len(test))

    def signs(points):
        weights = []
        for j, value in enumerate(s):
            died = Fraction(abs(value)) <= Fraction(l1 * k) and j < X.shape[1]
            shift = Fraction(l1 * k) if j < X.shape[1] else 0
            weights.append(0 if died or value == 0 else -Fraction(value) + (shift if value > 0 else -shift))
        scores = [sum(w * Fraction(x) for w, x in zip(weights, point, strict=True) if w and x) for point in points]
        return np.array([(score > 0) - (score < 0) for score in scores])

    for row, label in [pair for _ in range(epochs) for pair in zip(rows, y, strict=True)]:
        # as the kernel: the score in floats, from s
        shift = l1 * k
        score = -s[-1]
        for j in np.flatnonzero(row[:-1]):
            score -= (s[j] - min(max(s[j], -shift), shift)) * row[j]
        if label * score > 0:
            since += 1
            continue
        if k:
            tally, total = tally + since * signs(points), total + since
        s, k, since = s - label * row, k + 1, 1
    return (tally + since * signs(points)) / (total + since)


@pytest.mark.parametrize("l1", [0.0, 3e-3, 3e-2, 0.1])
@pytest.mark.parametrize("kind", ["text", "ties", "tenths"])
def test_votes_are_exact_on_real_values(kind, l1):
    rng = np.random.default_rng(5)
    X = np.where(rng.random((60, 12)) < 0.3, rng.random((60, 12)), 0.0)
    y = np.where(X @ rng.normal(size=12) + 0.1 * rng.normal(size=60) > 0, 1.0, -1.0)
    test = np.where(rng.random((40, 12)) < 0.15, rng.random((40, 12)), 0.0)  # several rows have no or dead columns
    if kind == "ties":
        # Columns in pairs that learn the same: with opposite values in half of the test rows they cancel.
        X = np.repeat(X, 2, axis=1) / 3.0
        test = np.repeat(test, 2, axis=1)
        test[::2] *= np.tile([0.7, -0.7], 12)
    if kind == "tenths":  # weights die where the threshold meets them
        X, test = np.ceil(X * 3.0) * 0.1, np.ceil(test * 3.0) * 0.1
    y = np.append(y, [1.0, -1.0])  # the intercept comes back to a whole number, often to zero
    X = np.vstack([X, np.zeros((2, X.shape[1]))])
    fit = VRDAClassifier(l1=l1, prediction="voted", shuffle=False, max_iter=2).fit(X, y)
    expected = exact_votes(X, y, test, l1, 2)
    np.testing.assert_array_equal(fit.decision_function(test), expected)
    assert len(np.unique(expected)) > 1
