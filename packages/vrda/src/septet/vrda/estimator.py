"""`VRDAClassifier`: voted RDA as a scikit-learn estimator for dense and sparse binary data."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from septet.vrda import kernels
from septet.vrda.model import SETTINGS, Model, mean_norm, rows_of
from septet.vrda.needs import ticks_of
from septet.vrda.stopping import Stopping, check_stopping
from septet.vrda.votes import voted_scores
from septet.vrda.vrda import Regulariser

Array = NDArray[Any]

ROWS = {"accept_sparse": "csr", "dtype": [np.float64, np.float32]}
SCALE = 1e-5
"""`l1="scale"` times the mean norm of the rows: a tenth of where text classifiers begin to lose accuracy, or less."""
MOST = 1 << 28
"""Presentations of one pass; each may be a mistake, which needs a row of the prefix sums."""


class VRDAClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Sparse online binary classification with explicit regularisation (Xu, Gao, Lin and Xiao 2014).

    The predictor changes on mistakes only; every predictor met on the way votes as often as it
    survived. Cost per example is proportional to its non-zeros, memory to the touched features
    (above four million columns; below, to the columns).

    Args:
        loss: ``"hinge"`` or ``"log"``.
        l1, l2, rho, gamma: the regulariser and its schedule, see `septet.vrda.vrda.Regulariser`. `l1` is
            compared with the mean subgradient per mistake, so it is in the unit of the features: ``"scale"`` is 1e-5
            times the mean Euclidean norm of the rows in the call that starts training. `gamma` matters only for log
            loss or l2.
        prediction: ``"averaged"`` (mean of the voting predictors), ``"last"`` (sparse) or
            ``"voted"`` (exact majority; keeps every mistake and costs mistakes x non-zeros). May be changed on a fitted
            estimator, to ``"voted"`` only if training started with it. All other parameters count when training
            starts: predictions go by what they were then, and `partial_fit` refuses other values.
        class_weight: None, a dict from label to weight, or ``"balanced"`` (`fit` only); multiplies the sample weights.
        fit_intercept: whether to learn an unpenalised intercept.
        max_iter: passes over the data in `fit`; `partial_fit` makes one, in the order given.
        shuffle: whether `fit` shuffles before each pass.
        random_state: seed of the shuffles, and of the split for early stopping.
        warm_start: whether `fit` on a fitted estimator continues with `max_iter` passes more.
        early_stopping: whether `fit` computes the accuracy after each pass on rows that it holds out, or on `X_val` and
            `y_val`, and keeps the state of the best pass.
        validation_fraction: share of the rows that early stopping holds out, stratified; in (0, 1).
        n_iter_no_change: passes without an improvement by `tol` after which early stopping stops.
        tol: least improvement that counts.

    A sample weight says how often an example is presented in a row, each time it is its turn: whole weights are
    repeated rows (with the copies next to one another, where a shuffle of repeated rows would spread them), a weight
    of 0 leaves the row out, and what is left below one presentation counts for that share of a step and of a vote. As
    the predictor changes between presentations, the weight of a row is not a factor of its loss: doubling all
    weights is like doubling the passes, not like doubling a learning rate.

    Attributes:
        classes_: the two labels. A single label is accepted and always predicted.
        coef_: weights of the chosen prediction, shape ``(1, n_features)``; dense, or CSR after `sparsify`.
        intercept_: shape ``(1,)``.
        mistakes_: mistakes made in training.
        t_: examples seen, each as often as it weighs, passes added up.
        l1_: the weight of l1 that was used.
        n_iter_: passes made.
        validation_scores_: accuracy after each pass of the last `fit`, with early stopping.
    """

    def __init__(
        self,
        loss: str = "hinge",
        *,
        l1: float | str = "scale",
        l2: float = 0.0,
        rho: float = 0.0,
        gamma: float = 1.0,
        prediction: str = "averaged",
        class_weight: Any = None,
        fit_intercept: bool = True,
        max_iter: int = 5,
        shuffle: bool = True,
        random_state: Any = None,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        tol: float = 1e-4,
    ) -> None:
        self.loss = loss
        self.l1 = l1
        self.l2 = l2
        self.rho = rho
        self.gamma = gamma
        self.prediction = prediction
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn in `max_iter` passes, from scratch unless `warm_start` is set.

        Args:
            X: rows, shape ``(m, n)``, dense or sparse.
            y: labels, shape ``(m,)``.
            sample_weight: presentations of each row, shape ``(m,)``; None is one each.
            X_val, y_val: rows and labels for early stopping; without them a part of `X` is held out.

        Raises:
            ValueError: a value is not finite or beyond 1e100, shapes differ, there are more than two labels, a
                parameter is out of range, or with `warm_start` one has changed. The estimator then is what it was
                before.
        """
        with self._or_as_before():
            again = bool(self.warm_start) and self.__sklearn_is_fitted__()
            X, y = validate_data(self, X, y, reset=not again, **ROWS)
            check_classification_targets(y)
            if again:
                self._check_unchanged()
                self._model: Model = self._model.snapshot()
            else:
                self.__dict__.pop("_model", None)
                self._set_classes(np.unique(y))
            self._check_parameters()
            check_stopping(self, X_val, y_val)
            random = check_random_state(self.random_state)
            rows, stopping = np.arange(len(y)), None
            if self.early_stopping:
                if X_val is None:
                    share = float(self.validation_fraction)
                    rows, held = map(np.sort, train_test_split(rows, test_size=share, stratify=y, random_state=random))
                    X_val, y_val = X[held], y[held]
                else:
                    X_val, y_val = validate_data(self, X_val, y_val, reset=False, **ROWS)
                stopping = Stopping(X_val, y_val, self.n_iter_no_change, self.tol)
            weight, kept = self._weights(X, y, sample_weight, rows)
            if not again:
                self._start(X, kept)
            orders = (random.permutation(kept) if self.shuffle else kept for _ in range(self.max_iter))
            return self._learn(X, y, weight, orders, stopping)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn one pass more, in the order given; the first call needs `classes`, weights are as in `fit`.

        Raises:
            ValueError: as `fit`; also when `classes` is missing at the first call or changes, or when another
                parameter than `prediction` has changed since.
        """
        with self._or_as_before():
            first = not self.__sklearn_is_fitted__()
            X, y = validate_data(self, X, y, reset=first, **ROWS)
            check_classification_targets(y)
            if first and classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            if first:
                self._set_classes(np.unique(classes))
                self._check_parameters()
            elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f"classes: expected {self.classes_!r} as at the first call, found {classes!r}")
            else:
                self._check_unchanged()
            if self.class_weight == "balanced":
                found = "found 'balanced', which needs all data: call fit"
                raise ValueError(f"class_weight: expected None or a dict, {found}")
            weight, kept = self._weights(X, y, sample_weight, np.arange(len(y)))
            if first:
                self._start(X, kept)
            return self._learn(X, y, weight, [kept])

    def decision_function(self, X: Any) -> Array:
        """Signed score of each row, shape ``(m,)``; positive is the second class. For votes: the mean vote.

        Raises:
            ValueError: as `fit`; also when `prediction` is unknown, or ``"voted"`` after a training that was not.
        """
        check_is_fitted(self)
        self._check_prediction()
        return self._decide(validate_data(self, X, reset=False, **ROWS))

    def _decide(self, X: Any) -> Array:
        X, model = rows_of(X), self._model
        indices, data = model.known(X)
        base = np.full(X.shape[0], model.x0)
        if self.prediction == "voted":
            rows = csr_matrix((data, indices, X.indptr), shape=(X.shape[0], len(model.s)))
            return voted_scores(rows, base, model.updates(), model.form)
        w, w0 = model.weights(self.prediction)
        return kernels.row_scores.unchecked((data, indices, X.indptr), base, w, w0)

    def predict(self, X: Any) -> Array:
        """The label of each row, shape ``(m,)``."""
        return self._labels(self.decision_function(X))

    def _labels(self, scores: Array) -> Array:
        return self.classes_[np.minimum((scores > 0).astype(np.intp), len(self.classes_) - 1)]

    @property
    def coef_(self) -> Any:
        """Weights of the chosen prediction over all columns, shape ``(1, n_features)``."""
        w, _ = self._fitted("coef_").weights(self._check_prediction())
        touched = np.flatnonzero(w)
        columns = touched if self._model.slots is None else self._model.slots.columns[touched]
        sparse = csr_matrix((w[touched], (np.zeros_like(columns), columns)), shape=(1, self.n_features_in_))
        return sparse if self._sparse else sparse.toarray()

    @property
    def intercept_(self) -> Array:
        """The unpenalised weight, shape ``(1,)``."""
        return np.array([self._fitted("intercept_").weights(self._check_prediction())[1]])

    @property
    def mistakes_(self) -> int:
        """Mistakes made in training: M of the bound."""
        return int(self._fitted("mistakes_").run[kernels.MISTAKES])

    @property
    def t_(self) -> int:
        """Examples seen."""
        return int(self._fitted("t_").run[kernels.SEEN])

    @property
    def l1_(self) -> float:
        """The weight of l1 in use."""
        return float(self._fitted("l1_").form[kernels.L1])

    def sparsify(self) -> Self:
        """Give `coef_` as CSR from now on; predictions do not change."""
        check_is_fitted(self)
        self._sparse = True
        return self

    def densify(self) -> Self:
        """Give `coef_` as a dense array from now on."""
        check_is_fitted(self)
        self._sparse = False
        return self

    def __sklearn_tags__(self) -> Any:
        """Binary only: wrap it in `OneVsRestClassifier` for more labels."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_class = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a model, made by this version."""
        return hasattr(self, "_model")

    def _fitted(self, attribute: str) -> Model:
        if not hasattr(self, "_model"):
            raise AttributeError(attribute)
        return self._model

    @contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """Leave the estimator as it was if what follows fails or is interrupted."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def _check_prediction(self) -> str:
        if self.prediction not in ("averaged", "last", "voted"):
            raise ValueError(f"prediction: expected 'averaged', 'last' or 'voted', found {self.prediction!r}")
        if self.prediction == "voted" and hasattr(self, "_model") and self._model.log is None:
            found = "found 'voted' on an estimator that kept no votes; call fit to start again with prediction='voted'"
            raise ValueError(f"prediction: expected 'averaged' or 'last', {found}")
        return self.prediction

    def _check_parameters(self) -> None:
        """Look at all parameters, before anything is learned."""
        if self.loss not in ("hinge", "log"):
            raise ValueError(f"loss: expected 'hinge' or 'log', found {self.loss!r}")
        if not isinstance(self.max_iter, Integral) or isinstance(self.max_iter, bool) or self.max_iter < 1:
            raise ValueError(f"max_iter: expected a whole number >= 1, found {self.max_iter!r}")
        for name in ("fit_intercept", "shuffle", "warm_start", "early_stopping"):
            if not isinstance(getattr(self, name), (bool, np.bool_, Integral)) or getattr(self, name) not in (0, 1):
                raise ValueError(f"{name}: expected True or False, found {getattr(self, name)!r}")
        self._check_prediction()
        check_random_state(self.random_state)
        if isinstance(self.l1, str) and self.l1 != "scale":
            raise ValueError(f"l1: expected 'scale' or a finite number >= 0, found {self.l1!r}")
        self._regulariser(0.0)

    def _check_unchanged(self) -> None:
        """Look at the parameters of an estimator that continues to learn."""
        self._check_prediction()
        for name, value in self._model.settings.items():
            if getattr(self, name) != value:
                self._check_parameters()
                found = f"found {getattr(self, name)!r}; call fit to start again"
                raise ValueError(f"{name}: expected {value!r} as at the first call, {found}")

    def _regulariser(self, scale: float) -> Regulariser:
        """The regulariser, for rows of this mean norm."""
        l1: Any = min(SCALE * scale, 1e50) if isinstance(self.l1, str) else self.l1
        return Regulariser(l1, self.l2, self.rho, self.gamma)

    def _set_classes(self, classes: Array) -> None:
        """Take the labels of a training that starts."""
        if len(classes) > 2:
            found = f"The type of the target is {type_of_target(classes)}, with {len(classes)} classes."
            raise ValueError(f"Only binary classification is supported. {found}")
        if len(classes) == 0:
            raise ValueError("classes: expected one or two labels, found none")
        self.classes_ = classes

    def _start(self, X: Any, kept: Array) -> None:
        """Make an empty state for rows of the scale of those that are `kept`."""
        self.n_iter_ = 0
        self._sparse = False
        settings = {name: getattr(self, name) for name in SETTINGS}
        scale = mean_norm(rows_of(X), kept) if isinstance(self.l1, str) else 0.0
        self._model = Model.new(self.n_features_in_, self._regulariser(scale), settings, self.prediction == "voted")

    def _weights(self, X: Any, y: Array, sample_weight: Any, rows: Array) -> tuple[Array, Array]:
        """Presentations of each row, shape ``(m,)`` or none if all are one; and those of `rows` that are presented."""
        if sample_weight is None and self.class_weight is None:
            return np.empty(0), rows
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        of_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        weight = weight * of_class[np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)]
        kept = rows[weight[rows] != 0]
        if len(kept) == 0 or not ticks_of(kept, weight) <= MOST:
            expected = f"weights that are numbers of presentations, above 0 and at most {MOST:,} together"
            raise ValueError(f"sample_weight, class_weight: expected {expected}, found {np.sum(weight):g}")
        return weight, kept

    def _learn(
        self, X: Any, y: Array, weight: Array, orders: Iterable[Array], stopping: Stopping | None = None
    ) -> Self:
        unknown = ~((y == self.classes_[0]) | (y == self.classes_[-1]))
        if unknown.any():
            raise ValueError(f"y: expected labels from {self.classes_!r}, found {y[np.argmax(unknown)]!r}")
        signs = np.where(y == self.classes_[-1], 1.0, -1.0)
        X = rows_of(X)
        indices = self._model.room_for(X)
        for order in orders:
            self._model.learn(X, indices, signs, weight, order)
            self.n_iter_ += 1
            if stopping and stopping.enough(self._labels(self._decide(stopping.X)), self._model):
                break
        if stopping:
            self._model, self.validation_scores_ = stopping.best, stopping.scores
        else:
            self.__dict__.pop("validation_scores_", None)
        return self
