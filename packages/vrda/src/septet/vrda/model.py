"""What `VRDAClassifier` has learned, whole at every moment.

A compiled pass changes the arrays in place and cannot be interrupted by Python; whatever Python has to do for it is
done before (room, the log of rows), so that an interrupt or an error between any two steps leaves arrays that fit.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse, vstack

from septet.vrda import kernels
from septet.vrda.needs import ticks_of
from septet.vrda.slots import DIRECT, Slots, writable
from septet.vrda.votes import Updates
from septet.vrda.vrda import Regulariser

Array = NDArray[Any]
Pass = tuple[csr_matrix, Array, int]
"""Rows; (row, slope, votes of the predictor that erred) per mistake; the clock before the first."""

SETTINGS = ("loss", "l1", "l2", "rho", "gamma", "class_weight", "fit_intercept")
"""Parameters of the estimator that cannot change while it learns."""
LARGEST = 1e100
"""Largest magnitude of a value: sums of products of two stay finite."""


@dataclass
class Model:
    """The state of training.

    Attributes:
        settings: parameters of the estimator when training started.
        form: regulariser and scale, see `septet.vrda.kernels`.
        slots: numbers of touched columns, or None where each column is its own slot.
        arrays: `s`, `tally`, `alive`, `prefix`, `run` of `septet.vrda.kernels`; `s` may lag behind `slots`.
        log: the passes with their mistakes, or None if votes are not kept.
        averaged: averaged weights, once computed.
    """

    settings: dict[str, Any]
    form: Array
    slots: Slots | None
    arrays: kernels.State
    log: list[Pass] | None
    averaged: tuple[Array, float] | None = None

    @classmethod
    def new(cls, columns: int, regulariser: Regulariser, settings: dict[str, Any], keep_votes: bool) -> "Model":
        """Nothing learned yet."""
        slots = Slots() if columns > DIRECT else None
        arrays = kernels.new_state(1 if slots else columns, 0, False)
        return cls(settings, np.append(regulariser.weights(), 0.0), slots, arrays, [] if keep_votes else None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Refuse the state of another version."""
        if set(state) != {field.name for field in fields(self)}:
            raise ValueError(f"VRDAClassifier: expected a state of this version, found one with {sorted(state)}")
        self.__dict__.update(state)

    @property
    def s(self) -> Array:
        """Sums of subgradients."""
        return self.arrays[0]

    @property
    def run(self) -> Array:
        """Scalars of the state."""
        return self.arrays[-1]

    @property
    def x0(self) -> float:
        """Value of the unpenalised feature."""
        return float(self.settings["fit_intercept"])

    def room_for(self, X: csr_matrix) -> Array:
        """Slots of the columns of `X`, with room for them in the state; arrays of a read-only file are copied."""
        self.averaged = None
        indices = X.indices if self.slots is None else self.slots.intern(X.indices)
        s, tally, alive, prefix, run = (writable(array) for array in self.arrays)
        more = 0 if self.slots is None else self.slots.count - len(s)
        if more > 0:
            s, tally, alive = (np.append(array, np.zeros(more, array.dtype)) for array in (s, tally, alive))
        self.arrays = s, tally, alive, prefix, run
        return indices

    def learn(self, X: csr_matrix, indices: Array, signs: Array, weight: Array, order: Array) -> None:
        """One pass over rows made by `rows_of`, with slots from `room_for`; no `weight` presents each row once."""
        self.averaged = None
        s, tally, alive, prefix, run = self.arrays
        first, room = int(run[kernels.K]), int(ticks_of(order, weight))
        if first + 1 + room > len(prefix):
            # doubling keeps single-row calls cheap
            bigger = np.empty((max(first + 1 + room, 2 * len(prefix)), prefix.shape[1]))
            bigger[: first + 1] = prefix[: first + 1]
            prefix = bigger
            self.arrays = s, tally, alive, prefix, run
        notes = np.empty((room if self.log is not None else 0, 3))
        if self.log is not None:
            rows = csr_matrix((X.data, indices, X.indptr), shape=(X.shape[0], len(s)))
            self.log.append((rows, notes, first))
        log_loss = self.settings["loss"] == "log"
        made = kernels.classify_pass.unchecked(
            (X.data, indices, X.indptr), signs, weight, self.x0, order, self.arrays, self.form, log_loss, notes
        )
        if self.log is not None:
            at, kept = notes[:made, 0].astype(np.intp), notes[:made].copy()
            kept[:, 0] = np.arange(made)
            self.log[-1] = rows[at], kept, first

    def snapshot(self) -> "Model":
        """A copy that further learning leaves as it is; the slots are shared, as they only grow."""
        s, tally, alive, prefix, run = self.arrays
        kept = prefix[: int(run[kernels.K]) + 1]
        arrays = s.copy(), tally.copy(), alive.copy(), kept.copy(), run.copy()
        return replace(self, arrays=arrays, log=None if self.log is None else list(self.log))

    def weights(self, prediction: str) -> tuple[Array, float]:
        """Weights per slot and the intercept; of the last predictor where the prediction is by votes."""
        if prediction != "averaged":
            w, w0 = kernels.last_weights.unchecked(self.arrays, self.form)
            return w, float(w0)
        if self.averaged is None:
            w, w0 = kernels.averaged_weights.unchecked(self.arrays, self.form)
            votes = max(self.run[kernels.SEEN], 1.0)
            self.averaged = w / votes, float(w0) / votes
        return self.averaged

    def known(self, X: csr_matrix) -> tuple[Array, Array]:
        """Slot and value of each non-zero; a column that was not learned from becomes slot 0 with value 0."""
        if self.slots is None:
            return X.indices, X.data
        slots = self.slots.look_up(X.indices)
        known = (slots >= 0) & (slots < len(self.s))
        return np.where(known, slots, 0), np.where(known, X.data, 0)

    def updates(self) -> Updates:
        """The mistakes of training as a sequence of subgradients, for the exact vote."""
        log = self.log or []
        ends = [first for _, _, first in log[1:]] + [int(self.run[kernels.K])]
        parts, notes = [csr_matrix((0, len(self.s)))], [np.empty((0, 3))]
        for (rows, note, first), end in zip(log, ends, strict=True):
            kept = note[: end - first]
            part = rows[kept[:, 0].astype(np.intp)]
            parts.append(csr_matrix((part.data, part.indices, part.indptr), (part.shape[0], len(self.s))))
            notes.append(kept)
        note = np.concatenate(notes)
        votes = np.append(note[1:, 2], self.run[kernels.VOTES])[: len(note)]
        return Updates(vstack(parts, format="csr").multiply(note[:, 1:2]).tocsr(), note[:, 1] * self.x0, votes)


def rows_of(X: Any) -> csr_matrix:
    """`X` as sparse rows with columns in order, none twice, none zero; what is so already is not copied.

    Raises:
        ValueError: the arrays of a sparse matrix do not fit together, or a value is beyond 1e100.
    """
    if not issparse(X):
        X = csr_matrix(X)
    if not (X.indptr.dtype.isnative and X.indices.dtype.isnative):
        native = (array.astype(array.dtype.newbyteorder("=")) for array in (X.indices, X.indptr))
        X = csr_matrix((X.data, *native), shape=X.shape)
    whole = X.indptr.dtype.kind == X.indices.dtype.kind == "i"
    if len(X.indptr) != X.shape[0] + 1 or len(X.indices) != len(X.data) or not whole:
        raise ValueError("X: expected the arrays of a CSR matrix, found ones that do not fit its shape")
    kind = _kind_of_rows(X.indptr, X.indices, X.data, X.shape[1])
    if kind == TIDY:
        return X
    if kind == UNTIDY:
        X = csr_matrix((X.data, X.indices, X.indptr), shape=X.shape, copy=True)
        X.sum_duplicates()
        X.eliminate_zeros()
        X.prune()
        kind = _kind_of_rows(X.indptr, X.indices, X.data, X.shape[1])
    if kind == OUTSIDE:
        raise ValueError(f"X: expected a CSR matrix of shape {X.shape}, found offsets or columns outside it")
    if kind == LARGE:
        raise ValueError(f"X: expected values of magnitude at most {LARGEST:g}, found a larger one")
    return X


def mean_norm(X: csr_matrix, rows: Array) -> float:
    """Mean Euclidean norm of some rows of a matrix made by `rows_of`."""
    squares = csr_matrix((X.data.astype(np.float64) ** 2, X.indices, X.indptr), shape=X.shape)
    return float(np.sqrt(squares.sum(axis=1).A1[rows]).mean())


TIDY, UNTIDY, OUTSIDE, LARGE = range(4)


@kernels.jit
def _kind_of_rows(indptr: Array, indices: Array, data: Array, columns: int) -> int:
    """Look at every entry once, before other compiled code trusts them."""
    rows, size = indptr.shape[0] - 1, data.shape[0]
    if indptr[0] != 0 or indptr[rows] > size:
        return OUTSIDE
    for row in range(rows):
        if indptr[row + 1] < indptr[row]:
            return OUTSIDE
    # Without exits, and with the bounds of a row that rises read off its ends: several entries at a time.
    large, untidy = 0, int(indptr[rows] < size)
    for row in range(rows):
        a, b, falls = np.uint64(indptr[row]), np.uint64(indptr[row + 1]), 0
        if a == b:
            continue
        for p in range(a + np.uint64(1), b):
            falls |= indices[p] <= indices[p - np.uint64(1)]
        low, high = indices[a], indices[b - np.uint64(1)]
        if falls:
            untidy = 1
            low, high = indices[a:b].min(), indices[a:b].max()
        if low < 0 or high >= columns:
            return OUTSIDE
    for p in range(indptr[rows]):
        size_of = abs(data[p])
        large |= not size_of <= LARGEST
        untidy |= size_of == 0.0
    return LARGE if large else (UNTIDY if untidy else TIDY)
