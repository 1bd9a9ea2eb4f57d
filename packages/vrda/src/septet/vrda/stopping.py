"""When to stop: the accuracy on rows that are not learned from."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.vrda.model import Model

Array = NDArray[Any]


def check_stopping(estimator: Any, X_val: Any, y_val: Any) -> None:
    """Look at what early stopping is given. Raises ValueError."""
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val, y_val: expected both or none, found one")
    if X_val is not None and not estimator.early_stopping:
        raise ValueError("X_val, y_val: expected early_stopping=True with them, found False")
    share, patience, tol = estimator.validation_fraction, estimator.n_iter_no_change, estimator.tol
    if isinstance(share, bool) or not isinstance(share, Real) or not 0.0 < float(share) < 1.0:
        raise ValueError(f"validation_fraction: expected a number in (0, 1), found {share!r}")
    if isinstance(patience, bool) or not isinstance(patience, Integral) or patience < 1:
        raise ValueError(f"n_iter_no_change: expected a whole number >= 1, found {patience!r}")
    if isinstance(tol, bool) or not isinstance(tol, Real) or not 0.0 <= float(tol) < np.inf:
        raise ValueError(f"tol: expected a finite number >= 0, found {tol!r}")


class Stopping:
    """The best state so far by its accuracy on `X`, `y`.

    Attributes:
        X: the rows.
        scores: accuracy after each pass.
        best: state after the best pass, the first of equal ones.
    """

    def __init__(self, X: Any, y: Array, patience: int, tol: float) -> None:
        self.X, self._y, self._patience, self._tol = X, y, patience, tol
        self.scores: list[float] = []
        self.best: Model

    def enough(self, labels: Array, model: Model) -> bool:
        """Score a pass by its `labels` of `X`; whether the last passes have brought no improvement that counts."""
        score = float(np.mean(labels == self._y))
        if not self.scores or score > max(self.scores):
            self.best = model.snapshot()
        self.scores.append(score)
        best, since = -np.inf, 0
        for value in self.scores:
            since = 0 if value > best + self._tol else since + 1
            best = max(best, value)
        return since >= self._patience
