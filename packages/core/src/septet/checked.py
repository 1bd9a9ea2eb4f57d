"""Entry points of compiled functions that look at their arrays first.

Compiled code reads and writes wherever an index or a shape leads it: an array that does not fit ends in garbage, a
damaged heap or a dead process. `checked` states what each argument has to be; a call from Python that breaks it is one
line, and nothing has been written. Calls from other compiled code go straight to the function and cost nothing more.

    @checked(mu=numbers("D"), R=numbers("D D"), out=state("D"))
    @compiled()
    def update(mu, R, out): ...

A shape is axes with blanks between: a name stands for one size throughout a call, and may be followed by ``+1`` or
``-1``.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, TypeVar, cast

import numpy as np

from septet.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])
Fault = tuple[str, str, object]
"""Argument, what was expected, what was found."""
Rule = Callable[[dict[str, Any], dict[str, int]], Fault | None]
"""Looks at the arguments and the sizes of the axes, when each argument is right by itself."""

_AXIS = re.compile(r"([A-Za-z]+)?([+-]?\d+)?")


@dataclass(frozen=True)
class Need:
    """What one argument has to be; made by the functions below."""

    axes: tuple[tuple[str, int], ...]
    what: str
    kinds: str = "biuf"
    dtype: Any = None
    low: float = 0
    high: float | str | None = None
    offsets: bool = False

    @property
    def shape(self) -> str:
        """The shape as an error message shows it."""
        sizes = [f"{name}{add:+d}" if name and add else name or str(add) for name, add in self.axes]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _axes(text: str) -> tuple[tuple[str, int], ...]:
    found = (_AXIS.fullmatch(axis) for axis in text.split())
    return tuple((match[1] or "", int(match[2] or 0)) for match in found if match)


def numbers(axes: str) -> Need:
    """An array of numbers; an empty `axes` stands for one number."""
    return Need(_axes(axes), "numbers")


def within(axes: str, low: float, high: float) -> Need:
    """An array of numbers, none below `low` or above `high`, none NaN."""
    return Need(_axes(axes), f"numbers from {low:g} to {high:g}", low=low, high=high)


def state(axes: str, dtype: Any = np.float64) -> Need:
    """An array that is written to: of exactly this type, and writable."""
    return Need(_axes(axes), f"writable {np.dtype(dtype)}", dtype=np.dtype(dtype))


def index(axes: str, below: str, least: int = 0) -> Need:
    """An array of whole numbers from `least` to below the size of the axis `below`; ``"T+1"`` includes the size."""
    return Need(_axes(axes), f"whole numbers from {least}, below {below}", "iu", low=least, high=below)


def offsets(axes: str, into: str) -> Need:
    """An array of whole numbers that parts the axis `into`: from 0, never falling, to its size."""
    return Need(_axes(axes), f"rising offsets from 0 to {into}", "iu", high=into, offsets=True)


def instance(kind: type) -> Need:
    """An object of this class."""
    return Need((), f"an instance of {kind.__name__}", dtype=kind)


def checked(rule: Rule | None = None, /, **needs: Need) -> Callable[[Function], Function]:
    """Decorator above `compiled`: look at the named arguments whenever Python calls the function.

    Raises:
        InputError: at the call, if an argument is not what it has to be.
    """

    def decorate(function: Function) -> Function:
        return cast(Function, _Entry(function, needs, rule))

    return decorate


def unchecked(function: Function) -> Function:
    """The compiled function itself, for a caller that has looked at the arguments."""
    return cast(Function, function.kernel) if isinstance(function, _Entry) else function


class _Entry:
    def __init__(self, kernel: Any, needs: dict[str, Need], rule: Rule | None) -> None:
        update_wrapper(self, kernel.py_func)
        self.kernel, self._needs, self._rule = kernel, needs, rule
        self._signature = inspect.signature(kernel.py_func)

    @property
    def _numba_type_(self) -> Any:
        """What numba takes this object for where compiled code calls it: the compiled function."""
        return self.kernel._numba_type_

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        require(self.__name__, bound.arguments, self._rule, **self._needs)  # type: ignore[attr-defined]
        from numba.core.errors import TypingError  # numba is there: the function is compiled by it

        try:
            return self.kernel(*bound.args)
        except TypingError:
            found = ", ".join(f"{name} {type(value).__name__}" for name, value in bound.arguments.items())
            raise InputError(self.__name__, expected="arrays and numbers", found=found) from None  # type: ignore[attr-defined]


def require(
    where: str,
    values: dict[str, Any],
    rule: Rule | None = None,
    sizes: dict[str, int] | None = None,
    /,
    **needs: Need,
) -> None:
    """Look at the named values, as `checked` does at a call.

    Args:
        where: what the values belong to, as the message says.
        values: by name, others than those of `needs` among them.
        rule: looks at them together.
        sizes: axes whose sizes are known.

    Raises:
        InputError: a value is not what it has to be; the message says which, below `where`.
    """
    fault = _fault(values, needs, rule, dict(sizes or {}))
    if fault is not None:
        raise InputError(f"{where}: {fault[0]}", expected=fault[1], found=fault[2])


def _fault(values: dict[str, Any], needs: dict[str, Need], rule: Rule | None, sizes: dict[str, int]) -> Fault | None:
    for name, need in needs.items():
        found = _wrong_kind(need, values[name]) or _wrong_shape(need, values[name], sizes)
        if found is not None:
            shape = f" of shape {need.shape}" if need.axes else ""
            known = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
            return name, f"{need.what}{shape}" + (f" with {known}" if known and shape else ""), found
    for name, need in needs.items():
        if (found := _wrong_values(need, values[name], sizes)) is not None:
            size = _size(need.high, sizes) if isinstance(need.high, str) else None
            return name, need.what + ("" if size is None else f" = {size}"), found
    return rule(values, sizes) if rule is not None else None


def _size(axis: str, sizes: dict[str, int]) -> int:
    ((name, add),) = _axes(axis)
    return sizes.get(name, 0) + add


def _wrong_kind(need: Need, value: Any) -> str | None:
    """What is wrong with the type of an argument, if anything."""
    if isinstance(need.dtype, type):
        return None if isinstance(value, need.dtype) else f"a value of type {type(value).__name__}"
    if not need.axes and isinstance(value, (bool, int, float)):
        value = np.asarray(value)
    elif not isinstance(value, np.generic if not need.axes else np.ndarray) or np.ma.isMaskedArray(value):
        return f"a value of type {type(value).__name__}"
    kind = value.dtype
    if need.dtype is not None:
        if kind != need.dtype or not value.flags.writeable:
            return f"{kind}{'' if value.flags.writeable else ', read-only'}"
    elif kind.kind not in need.kinds or not kind.isnative or (kind.kind == "f" and kind.itemsize not in (4, 8)):
        return f"values of type {kind.str if not kind.isnative else kind}"
    return None


def _wrong_shape(need: Need, value: Any, sizes: dict[str, int]) -> str | None:
    """What is wrong with the shape of an argument, if anything; names that are new get their size."""
    shape = () if isinstance(need.dtype, type) else np.shape(value)
    fits = len(shape) == len(need.axes)
    for (name, add), size in zip(need.axes, shape, strict=False):
        fits = fits and size >= add and size == (sizes.setdefault(name, size - add) + add if name else add)
    return None if fits else f"shape {shape}"


def _wrong_values(need: Need, value: Any, sizes: dict[str, int]) -> str | None:
    """What is wrong with the values of an argument, if anything."""
    if need.high is None:
        return None
    array = np.asarray(value)
    if need.offsets:
        end = _size(str(need.high), sizes)
        if len(array) == 0 or array[0] != 0 or array[-1] != end or bool((array[1:] < array[:-1]).any()):
            return "offsets that do not"
    elif array.size:
        low, high = array.min(), array.max()
        if isinstance(need.high, str):
            return None if need.low <= low and high < _size(need.high, sizes) else str(low if low < need.low else high)
        if not (need.low <= low and high <= need.high):
            return str(low if not need.low <= low else high)
    return None
