"""Columns of a huge space numbered in order of first touch, so that memory follows the touched features."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.compiled import compiled
from septet.errors import InputError
from septet.vrda.prefetch import prefetch

Array = NDArray[Any]

DIRECT = 1 << 22
"""Up to this many columns a plain array over all of them is smaller and faster than a table."""

AHEAD = 16
"""Columns between one that is asked for and one that is read: enough at a time to hide the memory's latency."""


@compiled()
def _home(column: int, index: Array) -> Any:
    """Where the search for `column` begins."""
    mask = np.uint64(index.shape[0] - 1)
    # Fibonacci hashing: neighbouring columns must not become neighbouring places in one run.
    return ((np.uint64(column) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask


@compiled()
def _place(column: int, index: Array, columns: Array) -> Any:
    """The place in `index` of the slot of `column`, or the free place where it would be."""
    at, mask = _home(column, index), np.uint64(index.shape[0] - 1)
    while index[at] != -1 and columns[np.uint64(index[at])] != column:
        at = (at + np.uint64(1)) & mask
    return at


@compiled()
def _ask(wanted: Array, p: int, index: Array, columns: Array) -> None:
    """Ask for the memory of columns to come: it is scattered, so the processor cannot guess what is next."""
    if p + 2 * AHEAD < wanted.shape[0]:
        prefetch(index, _home(wanted[p + 2 * AHEAD], index))
        slot = index[_home(wanted[p + AHEAD], index)]
        if slot != -1:
            prefetch(columns, np.uint64(slot))


@compiled()
def _intern(wanted: Array, start: int, index: Array, columns: Array, counts: Array, out: Array) -> Any:
    """Number `wanted[start:]` and count up `counts[0]`; stops where the index is half full, and returns the next."""
    room, count = columns.shape[0], counts[0]
    for p in range(start, wanted.shape[0]):
        _ask(wanted, p, index, columns)
        at = _place(wanted[p], index, columns)
        if index[at] == -1:
            if count == room:
                counts[0] = count
                return p
            index[at], columns[count] = count, wanted[p]
            count += 1
        out[p] = index[at]
    # Written here, with the index: no interrupt of Python comes between the two.
    counts[0] = count
    return wanted.shape[0]


@compiled()
def _look_up(wanted: Array, index: Array, columns: Array, out: Array) -> None:
    for p in range(wanted.shape[0]):
        _ask(wanted, p, index, columns)
        out[p] = index[_place(wanted[p], index, columns)]


class Slots:
    """A growing map from column to slot.

    Its state is right at every step: an interrupt leaves a table that knows some of the columns.
    """

    def __init__(self, places: int = 1 << 12) -> None:
        places = 1 << max(int(places) - 1, 1).bit_length()  # `_place` needs a power of two
        self._counts = np.zeros(1, dtype=np.int64)
        self._columns = np.empty(places // 2, dtype=np.int64)  # half full at most
        # Slot of each place, -1 where it is free. Columns are kept once, by slot, in an array without gaps: the
        # scattered part is a quarter of a table of pairs, and pages of it that are made are most of the cost.
        self._index = np.full(places, -1, dtype=np.int32)

    def __setstate__(self, state: dict[str, Array]) -> None:
        """Refuse the state of another version."""
        if set(state) != set(vars(Slots(places=2))):
            raise ValueError(f"VRDAClassifier: expected a state of this version, found one with {sorted(state)}")
        self.__dict__.update(state)

    @property
    def count(self) -> int:
        """Slots given out."""
        return int(self._counts[0])

    @property
    def columns(self) -> NDArray[np.int64]:
        """Column of each slot, shape ``(count,)``."""
        return self._columns[: self.count]

    def intern(self, indices: Array) -> NDArray[np.int32]:
        """Slot of each column, new columns getting the next free slot; shape of `indices`, which is ``(m,)``.

        Raises:
            InputError: a column that is no whole number from 0.
        """
        indices = _checked(indices)
        self.__dict__ = {name: writable(array) for name, array in self.__dict__.items()}
        out = np.empty(len(indices), dtype=np.int32)
        done = 0
        while True:
            done = _intern(indices, done, self._index, self._columns, self._counts, out)
            if done == len(indices):
                return out
            bigger = Slots(4 * len(self._index))
            bigger.intern(self.columns)
            self.__dict__ = bigger.__dict__  # in one step: an interrupt finds the old table or the new one

    def look_up(self, indices: Array) -> NDArray[np.int32]:
        """Slot of each column, -1 where a column was never touched.

        Raises:
            InputError: as `intern`.
        """
        indices = _checked(indices)
        out = np.empty(len(indices), dtype=np.int32)
        _look_up(indices, self._index, self._columns, out)
        return out


def writable(array: Array) -> Array:
    """The array, or a copy in memory of one that cannot be written to, such as a file mapped by joblib."""
    return array if array.flags.writeable else np.array(array)


def _checked(indices: Array) -> Array:
    """Columns that the table can hold: -1 marks its free places."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or indices.dtype.kind != "i" or (indices.size and indices.min() < 0):
        negative = " with a negative one" if indices.dtype.kind == "i" else ""
        found = f"{indices.dtype} of shape {indices.shape}{negative}"
        raise InputError("columns", expected="signed whole numbers from 0 of shape (m,)", found=found)
    return indices if indices.dtype.isnative else indices.astype(np.int64)
