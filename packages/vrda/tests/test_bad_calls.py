"""What must not reach compiled code, and what a call that fails or is interrupted must leave behind."""

import pickle
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_matrix, csc_matrix, csr_array, csr_matrix
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from septet.errors import InputError
from septet.seeding import stream
from septet.vrda import VRDAClassifier, kernels
from septet.vrda.baselines import GradientState, Schedule, gradient_pass, gradient_weights, lists_from_binary
from septet.vrda.generated import SPACE, generated_lists
from septet.vrda.lists import NBest, assemble, frequent
from septet.vrda.model import rows_of
from septet.vrda.parser import estimate, parse
from septet.vrda.rerank import DualAveraging, Gradient, choose
from septet.vrda.slots import Slots
from septet.vrda.tagger import k_best, train_tagger
from septet.vrda.votes import Updates, voted_choices, voted_scores
from septet.vrda.vrda import Regulariser

FAR = 10**7
PREDICTIONS = ["averaged", "last", "voted"]


@pytest.fixture(scope="module")
def data(problem):
    X, y = problem(1)
    return csr_matrix(X), y


def spread(rows):
    """The same columns in a space that is too large for arrays."""
    return csr_matrix((rows.data, rows.indices.astype(np.int64) * (FAR // 30), rows.indptr), (rows.shape[0], FAR))


def doubled(rows):
    return csr_matrix((np.repeat(rows.data / 2, 2), np.repeat(rows.indices, 2), rows.indptr * 2), rows.shape)


def backwards(rows):
    other = rows.copy()
    for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        other.indices[a:b], other.data[a:b] = rows.indices[a:b][::-1], rows.data[a:b][::-1]
    other.has_sorted_indices = other.has_canonical_format = True  # what a caller says is not relied on
    return other


def with_zeros(rows):
    last = rows.indptr[-1] + 2
    arrays = np.r_[rows.data, 0.0, 0.0], np.r_[rows.indices, 3, 3], np.r_[rows.indptr[:-1], last]
    return csr_matrix(arrays, rows.shape)


def with_room(rows):
    other = rows.copy()
    other.data, other.indices = np.r_[other.data, 9.0], np.r_[other.indices, 0].astype(np.int32)
    return other


def indexed(kind):
    def convert(rows):
        other = rows.copy()
        other.indices, other.indptr = other.indices.astype(kind), other.indptr.astype(kind)
        return other

    return convert


def read_only(rows):
    other = rows.copy()
    for array in (other.data, other.indices, other.indptr):
        array.flags.writeable = False
    return other


FORMS = {
    "dense": lambda rows: rows.toarray(),
    "Fortran": lambda rows: np.asfortranarray(rows.toarray()),
    "frame": lambda rows: pd.DataFrame(rows.toarray()),
    "sparse frame": pd.DataFrame.sparse.from_spmatrix,
    "CSC": csc_matrix,
    "COO": coo_matrix,
    "sparse array": csr_array,
    "doubled": doubled,
    "backwards": backwards,
    "zeros": with_zeros,
    "room": with_room,
    "int64": indexed(np.int64),
    "big-endian": indexed(">i4"),
    "read-only": read_only,
}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_rows_changes_no_bit_and_is_left_alone(form, prediction, data):
    rows, y = data
    X = FORMS[form](rows)
    before = pickle.dumps(X)
    fit = VRDAClassifier(l1=0.01, prediction=prediction, random_state=0)
    expected = clone(fit).fit(rows, y).decision_function(rows)
    np.testing.assert_array_equal(fit.fit(X, y).decision_function(X), expected)
    assert pickle.dumps(X) == before


CORRUPT = {
    "column beyond": lambda X: X.indices.__setitem__(0, 10**9),
    "column negative": lambda X: X.indices.__setitem__(0, -5),
    "offset falls": lambda X: X.indptr.__setitem__(5, 0),
    "offset beyond": lambda X: X.indptr.__setitem__(-1, 10**6),
    "offset begins late": lambda X: X.indptr.__setitem__(0, 3),
    "indices too short": lambda X: setattr(X, "indices", X.indices[:-3]),
    "NaN": lambda X: X.data.__setitem__(0, np.nan),
    "huge": lambda X: X.data.__setitem__(0, 1e200),
}


@pytest.mark.parametrize("damage", CORRUPT.values(), ids=CORRUPT)
@pytest.mark.parametrize("make", [lambda rows: rows, spread], ids=["near", "far"])
def test_a_damaged_matrix_is_refused_and_the_model_stays(make, damage, data):
    rows, y = data
    X = make(rows)
    fit = VRDAClassifier(prediction="voted", random_state=0).fit(X, y)
    expected = fit.decision_function(X)
    bad = X.copy()
    damage(bad)
    for act in (fit.decision_function, lambda Z: fit.fit(Z, y), lambda Z: fit.partial_fit(Z, y)):
        with pytest.raises(ValueError, match="X"):
            act(bad)
    np.testing.assert_array_equal(fit.decision_function(X), expected)


def test_sums_of_duplicates_that_overflow_are_refused():
    X = csr_matrix((np.array([9e99, 9e99]), np.array([0, 0]), np.array([0, 2])), (1, 1))
    with pytest.raises(ValueError, match="magnitude at most 1e"):
        rows_of(X)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_columns_never_touched_count_nothing(prediction):
    nothing, far = csr_matrix((4, FAR)), csr_matrix(([1.0], ([0], [FAR - 1])), (2, FAR))
    fit = VRDAClassifier(prediction=prediction, fit_intercept=False).fit(nothing, [0, 1, 0, 1])
    np.testing.assert_array_equal(fit.decision_function(far), [0.0, 0.0])
    assert fit.sparsify().coef_.nnz == 0


REFITS = {
    "three labels": lambda fit, W, y: fit.fit(W, np.arange(len(y)) % 3),
    "parameter": lambda fit, W, y: fit.set_params(l1=-1.0).fit(W, y),
    "not a number": lambda fit, W, y: fit.fit(np.full((len(y), 3), np.nan), y),
    "lengths": lambda fit, W, y: fit.fit(W, y[:-1]),
    "columns": lambda fit, W, y: fit.partial_fit(W, y),
    "classes": lambda fit, W, y: fit.partial_fit(W[:, :30], y, classes=[0, 7]),
    "label": lambda fit, W, y: fit.partial_fit(W[:, :30], y + 5),
    "text for numbers": lambda fit, W, y: fit.partial_fit(W[:, :30], y.astype(int).astype(str)),
    "generator": lambda fit, W, y: fit.set_params(random_state="x").fit(W, y),
}


@pytest.mark.parametrize("act", REFITS.values(), ids=REFITS)
@pytest.mark.parametrize("make", [lambda rows: rows.toarray(), spread], ids=["near", "far"])
def test_a_refused_call_leaves_the_estimator_as_it_was(make, act, data):
    rows, y = data
    X = make(rows)
    fit, twin = (VRDAClassifier(prediction="voted", random_state=0).fit(X, y) for _ in range(2))
    with pytest.raises(ValueError):
        act(fit, np.random.default_rng(0).normal(size=(len(y), 40)), y)
    fit.set_params(**twin.get_params())
    np.testing.assert_array_equal(fit.decision_function(X), twin.decision_function(X))
    assert (fit.n_features_in_, fit.t_, fit.n_iter_, fit.mistakes_) == (X.shape[1], twin.t_, 5, twin.mistakes_)
    np.testing.assert_array_equal(
        fit.partial_fit(X, y).decision_function(X), twin.partial_fit(X, y).decision_function(X)
    )


def test_a_first_call_that_is_refused_leaves_nothing(data):
    fit = VRDAClassifier()
    for classes in ([0, 1, 2], [], None):
        with pytest.raises(ValueError, match="class"):
            fit.partial_fit(*data, classes=classes)
        assert vars(fit) == vars(VRDAClassifier())
    with pytest.raises(NotFittedError):
        fit.predict(data[0])


@pytest.mark.parametrize("first", [False, True], ids=["partial_fit", "fit"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_an_interrupt_at_any_line_leaves_the_model_of_before_or_after(prediction, first, data):
    X, y = spread(data[0]), data[1]
    start = VRDAClassifier(l1=0.01, prediction=prediction, random_state=0, max_iter=2).fit(X[:5], y[:5])

    def act(fit):
        return fit.fit(X, y) if first else fit.partial_fit(X, y)

    before, after = start.decision_function(X), act(pickle.loads(pickle.dumps(start))).decision_function(X)
    seen, at = set(), 0
    while "end" not in seen:
        fit, left = pickle.loads(pickle.dumps(start)), [at]
        if at % 2:
            fit.decision_function(X)  # with weights computed beforehand

        def trace(frame, event, _, left=left):
            if "/vrda/" not in frame.f_code.co_filename:
                return None
            if event == "line":
                left[0] -= 1
                if left[0] < 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return trace

        tracer = sys.gettrace()
        sys.settrace(trace)
        try:
            act(fit)
            seen.add("end")
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        scores = fit.decision_function(X)
        seen.add("before" if np.array_equal(scores, before) else "after")
        if not np.array_equal(scores, before):
            np.testing.assert_array_equal(scores, after)
        fit.partial_fit(X, y)
        at += 1
    assert at > 40 and "before" in seen


def test_prediction_may_change_and_votes_are_there_if_training_began_with_them(data):
    X, y = data
    voted = VRDAClassifier(prediction="voted", random_state=0).fit(X, y).partial_fit(X, y)
    mixed = VRDAClassifier(prediction="voted", random_state=0).fit(X, y)
    mixed.set_params(prediction="last").partial_fit(X, y)  # the votes of this pass are kept as well
    plain = VRDAClassifier(prediction="last", random_state=0).fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(mixed.decision_function(X), plain.decision_function(X))
    np.testing.assert_array_equal(mixed.set_params(prediction="voted").decision_function(X), voted.decision_function(X))
    for act in (lambda: plain.predict(X), lambda: plain.partial_fit(X, y), lambda: plain.coef_):
        plain.set_params(prediction="voted")
        with pytest.raises(ValueError, match=r"prediction: expected .* kept no votes") as error:
            act()
        assert "\n" not in str(error.value)
        for unknown in ("mean", None, 3):
            plain.set_params(prediction=unknown)
            with pytest.raises(ValueError, match="prediction: expected 'averaged', 'last' or 'voted', found"):
                act()
    np.testing.assert_array_equal(
        plain.set_params(prediction="voted").fit(X, y).score(X, y), mixed.fit(X, y).score(X, y)
    )


@pytest.mark.parametrize(
    "change",
    [{"l1": 0.5}, {"l2": 1.0}, {"rho": 1.0}, {"gamma": 2.0}, {"loss": "log"}, {"fit_intercept": False}],
    ids=str,
)
def test_another_parameter_counts_from_the_next_fit(change, data):
    X, y = data
    fit = VRDAClassifier(l1=0.0, random_state=0).fit(X, y)
    expected = fit.decision_function(X)
    fit.set_params(**change)
    np.testing.assert_array_equal(fit.decision_function(X), expected)
    name = next(iter(change))
    with pytest.raises(
        ValueError, match=f"{name}: expected .* as at the first call, found .*; call fit to start again"
    ):
        fit.partial_fit(X, y)
    fresh = VRDAClassifier(**{"l1": 0.0, "random_state": 0} | change).fit(X, y)
    np.testing.assert_array_equal(fit.fit(X, y).decision_function(X), fresh.decision_function(X))


@pytest.mark.parametrize(
    "wrong",
    [
        {"l1": "a"}, {"l1": None}, {"l1": True}, {"l1": np.inf}, {"l1": 1e200}, {"gamma": 0.0}, {"gamma": 1e-300},
        {"fit_intercept": "yes"}, {"fit_intercept": 2}, {"shuffle": None}, {"max_iter": True}, {"max_iter": 2.0},
        {"loss": None}, {"prediction": ["last"]},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_are_looked_at_by_fit_and_partial_fit(wrong, data):
    X, y = data
    name = next(iter(wrong))
    for act in (lambda fit: fit.fit(X, y), lambda fit: fit.partial_fit(X, y, classes=[-1, 1])):
        with pytest.raises(ValueError, match=f"^{name}: expected") as error:
            act(VRDAClassifier(**wrong))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("make", [lambda rows: rows, spread], ids=["near", "far"])
def test_a_model_from_a_read_only_file_goes_on_learning(make, prediction, data, tmp_path):
    X, y = make(data[0]), data[1]
    fit = VRDAClassifier(prediction=prediction, random_state=0).fit(X, y)
    joblib.dump(fit, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert not again._model.s.flags.writeable
    np.testing.assert_array_equal(again.decision_function(X), fit.decision_function(X))
    np.testing.assert_array_equal(
        again.partial_fit(X, y).decision_function(X), fit.partial_fit(X, y).decision_function(X)
    )


def test_a_state_of_another_version_is_one_line(data):
    fit = VRDAClassifier().fit(*data)
    old = fit.__getstate__() | {"_s": fit._model.s}
    model = old.pop("_model")
    again = VRDAClassifier()
    again.__setstate__(old)
    with pytest.raises(NotFittedError):
        again.predict(data[0])
    with pytest.raises(ValueError, match="expected a state of this version"):
        model.__setstate__({"form": model.form})
    slots = Slots()
    with pytest.raises(ValueError, match="expected a state of this version"):
        slots.__setstate__({**vars(slots), "_keys": np.zeros(2)})


@pytest.mark.parametrize(
    "columns", [np.array([0, -1]), np.array([0.5]), np.array([[1]]), np.array([1], dtype=np.uint64)]
)
def test_slots_take_columns_only(columns):
    slots = Slots(places=3)  # rounded up to a power of two
    assert slots.intern(np.array([7, 9, 7])).tolist() == [0, 1, 0]
    for act in (slots.intern, slots.look_up):
        with pytest.raises(InputError, match="columns: expected"):
            act(columns)
    assert slots.columns.tolist() == [7, 9]


@pytest.fixture(scope="module")
def small():
    described = generated_lists(stream(0, "test"), 20)
    return assemble(described, frequent((one for one, _ in described), SPACE, 2))


def fields_of(lists):
    return {name: getattr(lists, name) for name in NBest.__dataclass_fields__}


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {"starts": a["starts"][:-1]},
        lambda a: {"starts": np.r_[0, 0, a["starts"][2:]]},
        lambda a: {"indptr": a["indptr"][::-1].copy()},
        lambda a: {"indices": a["indices"] + a["features"]},
        lambda a: {"indices": a["indices"] - 10**6},
        lambda a: {"indices": a["indices"].astype(float)},
        lambda a: {"indices": np.r_[a["indices"][1], a["indices"][1:]]},
        lambda a: {"indices": np.r_[a["indices"][1::-1], a["indices"][2:]]},
        lambda a: {"indptr": np.r_[0, 1, a["indptr"][2:]]},
        lambda a: {"data": a["data"][:-1]},
        lambda a: {"base": a["base"] * np.nan},
        lambda a: {"gold": a["gold"][:-1]},
        lambda a: {"match": a["match"].tolist()},
        lambda a: {"features": 3},
        lambda a: {"features": "many"},
    ],
)
def test_lists_fit_together_or_are_not_made(small, change):
    arrays = fields_of(small)
    with pytest.raises(InputError, match=r"^lists: ") as error:
        NBest(**arrays | change(arrays))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda lists: DualAveraging(lists, Regulariser(), 5, every=True),
        lambda lists: Gradient(lists, Schedule(0.1, 0.0), 5),
    ],
)
@pytest.mark.parametrize("order", [np.arange(6), np.array([99]), np.array([-1]), np.array([0.0]), [0]])
def test_learners_take_lists_that_are_there_as_often_as_announced(small, make, order):
    learner = make(small)
    with pytest.raises(InputError, match=r"^learn: order"):
        learner.learn(order)
    learner.learn(np.arange(5))
    with pytest.raises(InputError, match="0 lists at most"):
        learner.learn(np.arange(1))


STATE = ("s", "tally", "alive", "prefix", "run")
TUPLES = {
    kernels.classify_pass: {"state": STATE, "rows": ("data", "indices", "indptr")},
    kernels.list_pass: {"state": STATE, "lists": kernels.Lists._fields},
    gradient_pass: {"state": GradientState._fields, "lists": kernels.Lists._fields},
}


def state_of(columns, ticks):
    state = dict(zip(STATE, kernels.new_state(columns, ticks, True), strict=True))
    return state | {"form": np.array([0.01, 0.0, 0.0, 1.0, 0.0])}


def binary():
    rows = csr_matrix(np.eye(3))
    return {
        "indptr": rows.indptr, "indices": rows.indices, "data": rows.data, "y": np.ones(3), "weight": np.ones(3),
        "x0": 0.0, "order": np.arange(3), **state_of(3, 3), "log_loss": False, "log": np.empty((3, 3)),
    }  # fmt: skip


def listed():
    lists = lists_from_binary(csr_matrix(np.eye(3)), np.array([1, -1, 1]))
    return lists.told()._asdict() | {"order": np.arange(3)}


def dual():
    return listed() | state_of(3, 3) | {"log_loss": False, "every": True, "log": np.empty((0, 4))}


def gradient():
    schedule, state = Schedule(0.1, 0.01), GradientState.new(3)
    shrunk, sums = schedule.shrinkage(3)
    return listed() | state._asdict() | {
        "steps": schedule.steps(3), "shrunk": shrunk, "sums": sums, "theta": 1.0, "log_loss": False,
    }  # fmt: skip


PASSES = {kernels.classify_pass: binary, kernels.list_pass: dual, gradient_pass: gradient}


def call(learn, values):
    """Call a pass with its arrays by name, those of a tuple too."""
    values = dict(values)
    tuples = {name: tuple(values.pop(part) for part in parts) for name, parts in TUPLES[learn].items()}
    return learn(**values, **tuples)


@pytest.mark.parametrize("learn", PASSES, ids=lambda learn: learn.__name__)
def test_every_array_of_a_pass_has_its_shape_and_type(learn):
    call(learn, PASSES[learn]())  # as it should be
    for name, array in PASSES[learn]().items():
        if not isinstance(array, np.ndarray):
            continue
        for damage in (lambda a: a[:-1].copy(), lambda a: a[None], lambda a: a.astype(object), lambda a: a.tolist()):
            if len(array) == 0 or (name in ("order", "log") and len(damage(array)) < len(array)):
                continue  # fewer lists, or no log, are right
            values = PASSES[learn]() | {name: damage(array)}
            before = {key: np.copy(value) for key, value in values.items()}
            with pytest.raises(InputError) as error:
                call(learn, values)
            assert "\n" not in str(error.value)
            for key in ("s", "w", "run"):
                if key in values and key != name:
                    np.testing.assert_array_equal(values[key], before[key])


@pytest.mark.parametrize(
    ("learn", "change"),
    [
        (kernels.classify_pass, {"order": np.array([3])}),
        (kernels.classify_pass, {"order": np.array([-1])}),
        (kernels.classify_pass, {"order": np.arange(3).repeat(2)}),  # more mistakes than rows of prefix
        (kernels.classify_pass, {"log": np.empty((2, 3))}),
        (kernels.classify_pass, {"indices": np.array([0, 1, 3])}),
        (kernels.classify_pass, {"indices": np.array([0, 1, -1])}),
        (kernels.classify_pass, {"indptr": np.array([0, 2, 1, 3])}),
        (kernels.classify_pass, {"indptr": np.array([0, 1, 2, 9])}),
        (kernels.classify_pass, {"run": np.full(7, 50.0)}),
        (kernels.classify_pass, {"run": np.full(7, np.nan)}),
        (kernels.classify_pass, {"weight": np.array([1.0, 1.0, 1.5])}),  # four presentations, three rows of prefix
        (kernels.classify_pass, {"weight": np.array([1.0, 1.0, np.inf])}),
        (kernels.classify_pass, {"weight": np.array([1.0, 1.0, np.nan])}),
        (kernels.classify_pass, {"weight": np.ones(2)}),
        (kernels.classify_pass, {"alive": np.zeros(3)}),
        (kernels.classify_pass, {"s": np.zeros(3, dtype=np.float32)}),
        (kernels.list_pass, {"starts": np.array([0, 2, 2, 6])}),
        (kernels.list_pass, {"starts": np.array([0, 2, 4, 60])}),
        (kernels.list_pass, {"target": np.array([0, 1, 5])}),
        (kernels.list_pass, {"target": np.array([1, 3, 600])}),
        (gradient_pass, {"since": np.array([0, 5, 0])}),
        (gradient_pass, {"since": np.array([0, -1, 0])}),
        (gradient_pass, {"order": np.arange(3).repeat(2)}),
        (gradient_pass, {"run": np.full(4, 3.0)}),
    ],
)
def test_values_that_lead_outside_are_refused(learn, change):
    with pytest.raises(InputError) as error:
        call(learn, PASSES[learn]() | change)
    assert "\n" not in str(error.value)


ROWS = csr_matrix(np.eye(3))
UPDATES = Updates(csr_matrix(np.eye(3)), np.zeros(3), np.ones(3))
FORM = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
TAGGER = train_tagger([[("A", "a"), ("B", "b")]])
GRAMMAR = estimate([("TOP", (("S", (("A", "a"), ("B", "b"))),))])


@pytest.mark.parametrize(
    "act",
    [
        lambda: kernels.row_scores((ROWS.data, ROWS.indices, ROWS.indptr), np.zeros(3), np.zeros(2), 0.0),
        lambda: kernels.row_scores((ROWS.data, ROWS.indices, ROWS.indptr), np.zeros(2), np.zeros(3), 0.0),
        lambda: kernels.last_weights((*kernels.new_state(3, 0, False)[:4], np.zeros(2)), FORM),
        lambda: kernels.averaged_weights((*kernels.new_state(3, 0, False)[:4], np.full(7, 7.0)), FORM),
        lambda: kernels.summed_l1(kernels.new_state(3, 0, False), FORM),
        lambda: kernels.threshold(1.0, np.zeros(2)),
        lambda: kernels.scale("1", FORM),
        lambda: gradient_weights(GradientState.new(3), np.zeros(0), np.zeros(0), 1.0),
        lambda: lists_from_binary(ROWS, np.array([1, 0, 1])),
        lambda: lists_from_binary(ROWS, np.array([1, 1])),
        lambda: voted_scores(ROWS, np.zeros(2), UPDATES, FORM),
        lambda: voted_scores(csr_matrix((3, 2)), np.zeros(3), UPDATES, FORM),
        lambda: voted_scores(ROWS, np.zeros(3), Updates(UPDATES.g, np.zeros(2), np.ones(3)), FORM),
        lambda: voted_scores(ROWS, np.zeros(3), Updates(UPDATES.g, np.zeros(3), np.ones(4)), FORM),
        lambda: voted_choices(ROWS, np.zeros(3), UPDATES, FORM, np.array([0, 9])),
        lambda: voted_choices(ROWS, np.zeros(3), UPDATES, FORM, np.array([0, 3, 3])),
        lambda: k_best(TAGGER, ["a"], 0),
        lambda: k_best(TAGGER, ["a"], 1.5),
        lambda: k_best(type(TAGGER)(**vars(TAGGER) | {"log_next": np.zeros((1, 1, 1))}), ["a"]),
        lambda: parse(GRAMMAR, [("A", "a"), ("B", "b")], 0),
        lambda: type(GRAMMAR)(**vars(GRAMMAR) | {"rules": GRAMMAR.rules + 9}),
        lambda: type(GRAMMAR)(**vars(GRAMMAR) | {"by_left": GRAMMAR.by_left + 1}),
    ],
)
def test_other_entry_points_look_first(act):
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value)


def test_weights_of_another_width_choose_nothing(small):
    for weights in ((np.zeros(small.features - 1), 0.0), (np.zeros(small.features).tolist(), 0.0), (None, 0.0)):
        with pytest.raises(InputError, match=r"^choose: weights"):
            choose(small, weights)


def test_an_empty_word_has_tags_too():
    tags, log_p = k_best(TAGGER, ["", "b"])
    assert tags.shape[1] == 2 and np.isfinite(log_p).all()
