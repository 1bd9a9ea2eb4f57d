"""`VRDAClassifier`: voted RDA as a scikit-learn estimator for dense and sparse binary data."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse, vstack
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from vrda import kernels
from vrda.slots import DIRECT, Slots
from vrda.votes import Updates, voted_scores
from vrda.vrda import Regulariser

Array = NDArray[Any]


class VRDAClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Sparse online binary classification with explicit regularisation (Xu, Gao, Lin and Xiao 2014).

    The predictor changes on mistakes only; every predictor met on the way votes as often as it
    survived. Cost per example is proportional to its non-zeros, memory to the touched features
    (above four million columns; below, to the columns).

    Args:
        loss: ``"hinge"`` or ``"log"``.
        l1, l2, rho, gamma: the regulariser and its schedule, see `vrda.vrda.Regulariser`. `l1` is
            compared with the mean subgradient per mistake. `gamma` matters only for log loss or l2.
        prediction: ``"averaged"`` (mean of the voting predictors), ``"last"`` (sparse) or
            ``"voted"`` (exact majority; keeps every mistake and costs mistakes x non-zeros).
        fit_intercept: whether to learn an unpenalised intercept.
        max_iter: passes over the data in `fit`; `partial_fit` makes one, in the order given.
        shuffle: whether `fit` shuffles before each pass.
        random_state: seed of the shuffles.

    Attributes:
        classes_: the two labels. A single label is accepted and always predicted.
        coef_: weights of the chosen prediction, shape ``(1, n_features)``; dense, or CSR after `sparsify`.
        intercept_: shape ``(1,)``.
        mistakes_: mistakes made in training.
        t_: examples seen.
        n_iter_: passes made.
    """

    def __init__(
        self,
        loss: str = "hinge",
        *,
        l1: float = 1e-4,
        l2: float = 0.0,
        rho: float = 0.0,
        gamma: float = 1.0,
        prediction: str = "averaged",
        fit_intercept: bool = True,
        max_iter: int = 5,
        shuffle: bool = True,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.l1 = l1
        self.l2 = l2
        self.rho = rho
        self.gamma = gamma
        self.prediction = prediction
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from scratch in `max_iter` passes.

        Raises:
            ValueError: a value is not finite, shapes differ, there are more than two labels, or a
                parameter is out of range.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self._start(np.unique(y))
        if not (isinstance(self.max_iter, (int, np.integer)) and self.max_iter >= 1):
            raise ValueError(f"max_iter: expected a whole number >= 1, found {self.max_iter!r}")
        random = check_random_state(self.random_state)
        orders = [random.permutation(len(y)) if self.shuffle else np.arange(len(y)) for _ in range(self.max_iter)]
        return self._learn(X, y, orders)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Learn one pass more, in the order given; the first call needs `classes`.

        Raises:
            ValueError: as `fit`; also when `classes` is missing at the first call or changes.
        """
        first = not hasattr(self, "classes_")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], reset=first)
        check_classification_targets(y)
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if first:
            self._start(np.unique(classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes: expected {self.classes_!r} as at the first call, found {classes!r}")
        return self._learn(X, y, [np.arange(len(y))])

    def decision_function(self, X: Any) -> Array:
        """Signed score of each row, shape ``(m,)``; positive is the second class. For votes: the mean vote."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        X = _rows(X)
        indices, data = self._known(X)
        base = np.full(X.shape[0], float(self.fit_intercept))
        if self.prediction == "voted":
            rows = csr_matrix((data, indices, X.indptr), shape=(X.shape[0], len(self._s)))
            return voted_scores(rows, base, self._updates(), self._form)
        w, w0 = self._weights()
        return kernels.row_scores(X.indptr, indices, data, base, w, w0)

    def predict(self, X: Any) -> Array:
        """The label of each row, shape ``(m,)``."""
        scores = self.decision_function(X)
        return self.classes_[np.minimum((scores > 0).astype(np.intp), len(self.classes_) - 1)]

    @property
    def coef_(self) -> Any:
        """Weights of the chosen prediction over all columns, shape ``(1, n_features)``."""
        if not hasattr(self, "_s"):
            raise AttributeError("coef_")
        w, _ = self._weights()
        touched = np.flatnonzero(w)
        columns = touched if self._slots is None else self._slots.columns[touched]
        sparse = csr_matrix((w[touched], (np.zeros_like(columns), columns)), shape=(1, self.n_features_in_))
        return sparse if self._sparse else sparse.toarray()

    @property
    def intercept_(self) -> Array:
        """The unpenalised weight, shape ``(1,)``."""
        if not hasattr(self, "_s"):
            raise AttributeError("intercept_")
        return np.array([self._weights()[1]])

    @property
    def mistakes_(self) -> int:
        """Mistakes made in training: M of the bound."""
        return int(self._run[kernels.MISTAKES])

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

    def _start(self, classes: Array) -> None:
        """Check the parameters and make an empty state."""
        if self.loss not in ("hinge", "log"):
            raise ValueError(f"loss: expected 'hinge' or 'log', found {self.loss!r}")
        if self.prediction not in ("averaged", "last", "voted"):
            raise ValueError(f"prediction: expected 'averaged', 'last' or 'voted', found {self.prediction!r}")
        regulariser = Regulariser(self.l1, self.l2, self.rho, self.gamma)
        if len(classes) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(classes)}, with {len(classes)} classes."
            )
        self.classes_ = classes
        self.t_ = 0
        self.n_iter_ = 0
        self._sparse = False
        self._form = np.append(regulariser.weights(), 0.0)
        self._slots = Slots() if self.n_features_in_ > DIRECT else None
        size = 0 if self._slots else self.n_features_in_
        self._s, self._tally, self._prefix, self._run = kernels.new_state(size, 0, False)
        self._log: list[tuple[csr_matrix, Array]] = []

    def _learn(self, X: Any, y: Array, orders: list[Array]) -> Self:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y: expected labels from {self.classes_!r}, found {unknown[0]!r}")
        X = _rows(X)
        signs = np.where(y == self.classes_[-1], 1.0, -1.0)
        indices = X.indices if self._slots is None else self._slots.intern(X.indices)
        if self._slots is not None:
            more = self._slots.count - len(self._s)
            self._s = np.append(self._s, np.zeros(more))
            self._tally = np.concatenate([self._tally, np.zeros((more, 2))])
        room = len(y) if self.prediction == "voted" else 0
        for order in orders:
            log = np.empty((room, 3))
            self._reserve(len(y))
            made = kernels.classify_pass(
                X.indptr,
                indices,
                X.data,
                signs,
                float(self.fit_intercept),
                order,
                self._s,
                self._tally,
                self._prefix,
                self._run,
                self._form,
                self.loss == "log",
                log,
            )
            self.t_ += len(y)
            self.n_iter_ += 1
            if room:
                rows = csr_matrix((X.data, indices, X.indptr), shape=(X.shape[0], len(self._s)))
                self._log.append((rows[log[:made, 0].astype(np.intp)], log[:made]))
        self._cache: dict[str, tuple[Array, float]] = {}
        return self

    def _reserve(self, more: int) -> None:
        """Room for `more` mistakes; doubling keeps single-row calls cheap."""
        used = int(self._run[kernels.K]) + 1
        if used + more > len(self._prefix):
            bigger = np.empty((max(used + more, 2 * len(self._prefix)), self._prefix.shape[1]))
            bigger[:used] = self._prefix[:used]
            self._prefix = bigger

    def _weights(self) -> tuple[Array, float]:
        """Weights per slot and the intercept; of the last predictor where the prediction is by votes."""
        if self.prediction != "averaged":
            w, w0 = kernels.last_weights(self._s, self._run, self._form)
            return w, float(w0)
        if "averaged" not in self._cache:
            w, w0 = kernels.averaged_weights(self._s, self._tally, self._prefix, self._run, self._form)
            votes = max(self.t_, 1)
            self._cache["averaged"] = w / votes, float(w0) / votes
        return self._cache["averaged"]

    def _known(self, X: csr_matrix) -> tuple[Array, Array]:
        """Slot and value of each non-zero; a column never touched becomes slot 0 with value 0."""
        if self._slots is None:
            return X.indices, X.data
        slots = self._slots.look_up(X.indices)
        return np.maximum(slots, 0), np.where(slots >= 0, X.data, 0)

    def _updates(self) -> Updates:
        """The mistakes of training as a sequence of subgradients, for the exact vote."""
        log = np.concatenate([note for _, note in self._log])
        rows = vstack([csr_matrix((r.data, r.indices, r.indptr), (r.shape[0], len(self._s))) for r, _ in self._log])
        votes = np.append(log[1:, 2], self._run[kernels.VOTES])
        return Updates(rows.multiply(log[:, 1:2]).tocsr(), log[:, 1] * float(self.fit_intercept), votes)


def _rows(X: Any) -> csr_matrix:
    """`X` as sparse rows without copying what is sparse already."""
    return X if issparse(X) else csr_matrix(X)
