"""Numbers and arrays as the agent takes them, or one line that says what is wrong."""

import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet.compiled import compiled
from septet.errors import InputError

Array = NDArray[np.floating[Any]]

LIMIT = 1e50
"""No number given to the agent, and none in its posterior means, is larger: no product of a few of them overflows."""


def is_real(value: object) -> bool:
    """Whether `value` is a number, and not a truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def real(name: str, value: Any, least: float) -> float:
    """`value` as a float from `least` to LIMIT. Raises InputError."""
    if not is_real(value) or not least <= value <= LIMIT:
        raise InputError(name, expected=f"a number from {least:g} to {LIMIT:g}", found=value)
    return float(value)


def whole(name: str, value: Any, least: int) -> int:
    """`value` as a whole number from `least`. Raises InputError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(name, expected=f"a whole number from {least}", found=value)
    return int(value)


def array_of(values: ArrayLike, name: str, shape: tuple[int | None, ...]) -> Array:
    """`values` as contiguous finite numbers of this shape; None stands for any size. Raises InputError."""
    array: Any = values
    if type(values) is not np.ndarray or values.dtype != np.float64 or not values.flags.c_contiguous:
        try:
            array = np.asarray(np.ma.filled(values, np.nan) if np.ma.is_masked(values) else values)
            if array.dtype.kind not in "biuf":
                array = _from_objects(array)
            array = np.asarray(array, dtype=np.float64, order="C")
        except (TypeError, ValueError):
            raise InputError(name, expected=f"numbers of shape {_shown(shape)}", found=values) from None
    if array.shape != shape and (
        len(shape) != array.ndim or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True))
    ):
        raise InputError(name, expected=f"an array of shape {_shown(shape)}", found=f"shape {array.shape}")
    if not _in_range(array.ravel()):
        expected = f"finite numbers of magnitude at most {LIMIT:g}"
        raise InputError(name, expected=expected, found="NaN, infinity, a masked or a larger value")
    return array


def _shown(shape: tuple[int | None, ...]) -> str:
    return str(tuple("any" if size is None else size for size in shape)).replace("'", "")


def _from_objects(array: NDArray[Any]) -> Array:
    """Numbers out of an array of objects, such as a row of a data frame; text that reads as a number is none."""
    if array.dtype.kind != "O" or not all(isinstance(value, (numbers.Real, np.bool_)) for value in array.flat):
        raise TypeError("not numbers")
    return array.astype(np.float64)


@compiled()
def _in_range(values: Array) -> bool:
    """Whether all are numbers of magnitude at most LIMIT."""
    inside = True
    for value in values:
        inside = inside and abs(value) <= LIMIT
    return inside
