"""Columns of a huge space numbered in order of first touch, so that memory follows the touched features."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.compiled import compiled

Array = NDArray[Any]

DIRECT = 1 << 22
"""Up to this many columns a plain array over all of them is smaller and faster than a table."""


@compiled()
def _place(column: int, keys: Array) -> Any:
    """Where `column` stands in the open-addressing table, or the free place where it would."""
    mask = keys.shape[0] - 1
    # Fibonacci hashing: neighbouring columns must not become neighbouring places in one run.
    at = ((np.uint64(column) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & np.uint64(mask)
    while keys[at] != -1 and keys[at] != column:
        at = (at + np.uint64(1)) & np.uint64(mask)
    return at


@compiled()
def _intern(indices: Array, start: int, keys: Array, slots: Array, columns: Array, count: int, out: Array) -> Any:
    """Number `indices[start:]`; stops where the table is half full, and returns ``(next, count)``."""
    room = min(keys.shape[0] // 2, columns.shape[0])
    for p in range(start, indices.shape[0]):
        at = _place(indices[p], keys)
        if keys[at] == -1:
            if count == room:
                return p, count
            keys[at], slots[at], columns[count] = indices[p], count, indices[p]
            count += 1
        out[p] = slots[at]
    return indices.shape[0], count


@compiled()
def _look_up(indices: Array, keys: Array, slots: Array, out: Array) -> None:
    for p in range(indices.shape[0]):
        at = _place(indices[p], keys)
        out[p] = slots[at] if keys[at] != -1 else -1


class Slots:
    """A growing map from column to slot.

    Attributes:
        count: slots given out.
        columns: column of each slot, shape ``(count,)``.
    """

    def __init__(self, places: int = 1 << 12) -> None:
        self.count = 0
        self._columns = np.empty(places // 2, dtype=np.int64)
        self._keys = np.full(places, -1, dtype=np.int64)
        self._slots = np.empty(places, dtype=np.int32)

    @property
    def columns(self) -> NDArray[np.int64]:
        """Column of each slot, shape ``(count,)``."""
        return self._columns[: self.count]

    def intern(self, indices: Array) -> NDArray[np.int32]:
        """Slot of each column, new columns getting the next free slot; shape of `indices`."""
        out = np.empty(len(indices), dtype=np.int32)
        done = 0
        while done < len(indices):
            done, self.count = _intern(indices, done, self._keys, self._slots, self._columns, self.count, out)
            if done < len(indices):
                self._grow()
        return out

    def look_up(self, indices: Array) -> NDArray[np.int32]:
        """Slot of each column, -1 where a column was never touched."""
        out = np.empty(len(indices), dtype=np.int32)
        _look_up(indices, self._keys, self._slots, out)
        return out

    def _grow(self) -> None:
        columns, places = self.columns.copy(), 4 * len(self._keys)
        self.count = 0
        self._columns = np.empty(places // 2, dtype=np.int64)
        self._keys = np.full(places, -1, dtype=np.int64)
        self._slots = np.empty(places, dtype=np.int32)
        self.intern(columns)
