"""The default of l1, warm starts and early stopping of `VRDAClassifier`."""

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from septet.vrda import VRDAClassifier

PREDICTIONS = ["averaged", "last", "voted"]


def state(fit):
    """All that training has left, without room to spare."""
    s, tally, alive, prefix, run = fit._model.arrays
    return [s.tolist(), tally.tolist(), alive.tolist(), prefix[: int(run[0]) + 1].tolist(), run.tolist()]


@pytest.fixture
def text():
    """Rows of tf-idf text with a topic in the words' frequencies, and their labels."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(6000)])
    chance, tilt = 1.0 / np.arange(1, 6001), rng.normal(size=6000)
    y = np.arange(1500) % 2
    p = np.stack([chance * np.exp(sign * 0.4 * tilt) for sign in (-1, 1)])
    p /= p.sum(axis=1, keepdims=True)
    texts = [" ".join(rng.choice(words, 20, p=p[label])) for label in y]
    return TfidfVectorizer().fit_transform(texts), y


def test_the_default_l1_is_the_mean_norm_of_the_rows_by_hand():
    X = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0], [6.0, 8.0]])  # norms 5, 0, 1, 10
    assert VRDAClassifier().fit(X, [0, 1, 0, 1]).l1_ == pytest.approx(1e-5 * 4.0)
    assert VRDAClassifier().fit(X, [0, 1, 0, 1], sample_weight=[1, 0, 2, 0]).l1_ == pytest.approx(1e-5 * 3.0)
    first = VRDAClassifier().partial_fit(X[:1], [0], classes=[0, 1])
    assert first.partial_fit(X[3:], [1]).l1_ == pytest.approx(1e-5 * 5.0)  # of the call that started
    assert VRDAClassifier(l1=0.25).fit(X, [0, 1, 0, 1]).l1_ == 0.25
    assert VRDAClassifier().fit(csr_matrix(X.astype(np.float32) * 1e25), [0, 1, 0, 1]).l1_ == pytest.approx(4e20)


@pytest.mark.parametrize("loss", ["hinge", "log"])
@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_the_default_model_is_the_same_in_every_unit(loss, unit, text):
    """With hinge loss to the last bit, as powers of two do not round; the slopes of log loss see the unit."""
    X, y = text
    settings = {"fit_intercept": False, "random_state": 0}  # an intercept is a feature of a unit of its own
    one, other = (VRDAClassifier(loss, **settings).fit(Z[:1000], y[:1000]) for Z in (X, unit * X))
    assert other.score(unit * X[1000:], y[1000:]) > one.score(X[1000:], y[1000:]) - 0.04 > 0.7
    if loss == "hinge":
        np.testing.assert_array_equal(one.predict(X), other.predict(unit * X))
        assert one.mistakes_ == other.mistakes_


@pytest.mark.parametrize("loss", ["hinge", "log"])
def test_the_default_is_far_from_the_cliff(loss, text):
    """No loss at ten times the default; the old default, 1e-4, was a third of where such text collapses."""
    X, y = text

    def accuracy(l1):
        return VRDAClassifier(loss, l1=l1, random_state=0).fit(X[:1000], y[:1000]).score(X[1000:], y[1000:])

    scale = VRDAClassifier(loss, random_state=0).fit(X[:1000], y[:1000]).l1_
    best = max(accuracy(l1) for l1 in (0.0, 0.1 * scale, scale))
    assert accuracy("scale") == accuracy(scale) > best - 0.02
    assert accuracy(10 * scale) > best - 0.04
    assert accuracy(3000 * scale) < best - 0.1  # there is a cliff


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_warm_start_continues(prediction, problem):
    X, y = problem(7)
    settings = {"l1": 0.02, "prediction": prediction, "shuffle": False}
    whole = VRDAClassifier(**settings, max_iter=5).fit(X, y)
    parts = VRDAClassifier(**settings, max_iter=2, warm_start=True).fit(X, y)
    parts.set_params(max_iter=3).fit(X, y)
    assert state(parts) == state(whole) and (parts.n_iter_, parts.t_) == (5, 5 * len(y))
    np.testing.assert_array_equal(parts.decision_function(X), whole.decision_function(X))
    cold = parts.set_params(warm_start=False, max_iter=5).fit(X, y)
    assert state(cold) == state(whole) and cold.n_iter_ == 5


@pytest.mark.parametrize(
    ("change", "rows", "message"),
    [
        ({"l1": 0.5}, slice(None), "l1: expected 0.02 as at the first call, found 0.5"),
        ({"max_iter": 0}, slice(None), "max_iter"),
        ({}, slice(0, 5), "features"),
        ({}, "labels", "y: expected labels from"),
    ],
)
def test_a_warm_start_that_fails_changes_nothing(change, rows, message, problem):
    X, y = problem(7)
    fit = VRDAClassifier(l1=0.02, warm_start=True, random_state=0).fit(X, y)
    before = state(fit)
    given = (X, np.where(y > 0, 5, y)) if rows == "labels" else (X[:, rows], y)
    with pytest.raises(ValueError, match=message):
        fit.set_params(**change).fit(*given)
    assert state(fit) == before


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_early_stopping_keeps_the_best_pass(prediction, problem):
    X, y = problem(7, whole=False)
    settings = {"l1": 0.02, "prediction": prediction, "shuffle": False}
    passes = [VRDAClassifier(**settings, max_iter=i).fit(X[:60], y[:60]) for i in range(1, 13)]
    scores = [fit.score(X[60:], y[60:]) for fit in passes]
    # by hand: two passes in a row that bring nothing, then the first of the best is kept
    best, since, stop = -1.0, 0, 12
    for i, score in enumerate(scores):
        since, best = (0, score) if score > best else (since + 1, best)
        if since == 2:
            stop = i + 1
            break
    fit = VRDAClassifier(**settings, max_iter=12, early_stopping=True, tol=0.0)
    fit.fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    assert fit.validation_scores_ == scores[:stop] and fit.n_iter_ == stop < 12
    assert state(fit) == state(passes[int(np.argmax(scores[:stop]))])
    fit.partial_fit(X, y)  # the kept state learns on
    assert fit.t_ == (int(np.argmax(scores[:stop])) + 1) * 60 + len(y)
    assert not hasattr(fit.set_params(early_stopping=False).fit(X, y), "validation_scores_")


def test_rows_are_held_out_with_their_labels_shares_and_never_learned_from(problem):
    X, y = problem(7, whole=False)
    fit = VRDAClassifier(l1=0.02, early_stopping=True, validation_fraction=0.25, max_iter=1, random_state=3)
    fit.fit(X, y)
    assert fit.t_ == 60 and len(fit.validation_scores_) == 1
    again = VRDAClassifier(l1=0.02, early_stopping=True, validation_fraction=0.25, max_iter=1, random_state=3)
    assert state(again.fit(X, y)) == state(fit)
    weighted = again.fit(X, y, sample_weight=np.full(len(y), 2.0))
    assert weighted.t_ == 120


def test_data_frames_keep_their_names_and_raise_no_warning(recwarn):
    rng = np.random.default_rng(0)
    table = pl.DataFrame(rng.normal(size=(200, 3)), schema=["a", "b", "c"])
    y = (table["a"].to_numpy() > 0).astype(int)
    fit = VRDAClassifier(early_stopping=True, random_state=0).fit(table, y)
    fit.fit(table[:150], y[:150], X_val=table[150:], y_val=y[150:])
    assert fit.feature_names_in_.tolist() == ["a", "b", "c"] and fit.n_features_in_ == 3
    assert not [warning for warning in recwarn if "feature names" in str(warning.message)]
    with pytest.raises(ValueError, match="feature names"):
        fit.fit(table, y, X_val=table.rename({"a": "z"}), y_val=y)


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({}, {"X_val": [[0.0] * 30], "y_val": [1]}, "expected early_stopping=True with them"),
        ({"early_stopping": True}, {"X_val": [[0.0] * 30]}, "expected both or none, found one"),
        ({"early_stopping": True}, {"X_val": [[0.0] * 29], "y_val": [1]}, "29 features"),
        ({"early_stopping": True, "validation_fraction": 1.0}, {}, "validation_fraction"),
        ({"early_stopping": True, "n_iter_no_change": 0}, {}, "n_iter_no_change"),
        ({"early_stopping": True, "tol": -1.0}, {}, "tol"),
        ({"early_stopping": "yes"}, {}, "early_stopping"),
        ({"warm_start": None}, {}, "warm_start"),
        ({"l1": "auto"}, {}, "l1: expected 'scale' or a finite number >= 0, found 'auto'"),
    ],
)
def test_bad_calls_change_nothing(settings, given, message, problem):
    X, y = problem(7)
    fit = VRDAClassifier(random_state=0).fit(X, y)
    before = state(fit)
    with pytest.raises(ValueError, match=message):
        fit.set_params(**settings).fit(X, y, **given)
    assert state(fit) == before


def test_it_is_tuned_in_a_pipeline(problem):
    X, y = problem(7, whole=False)
    pipe = make_pipeline(StandardScaler(), VRDAClassifier(random_state=0))
    grid = {"vrdaclassifier__l1": ["scale", 1e-3, 0.5], "vrdaclassifier__loss": ["hinge", "log"]}
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.best_params_["vrdaclassifier__l1"] != 0.5 and search.best_score_ > 0.6
