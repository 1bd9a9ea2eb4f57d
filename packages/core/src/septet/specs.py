"""What an argument of a compiled function has to be: the specs of `septet.arrays`, read once, applied at each call."""

import functools
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from septet.errors import InputError

Spec = str | type | Mapping[str, "Spec"] | tuple["Spec", ...]
Bound = dict[str, int]


def layers(where: str, sizes: Any) -> tuple[int, ...]:
    """Layer widths of a network as a tuple of integers.

    Raises:
        InputError: fewer than two, or one below 1.
    """
    widths = tuple(sizes.tolist()) if isinstance(sizes, np.ndarray) else sizes
    if isinstance(widths, list | tuple):
        widths = tuple(int(width) if isinstance(width, np.integer) else width for width in widths)
        if len(widths) > 1 and all(type(width) is int and width > 0 for width in widths):
            return widths
    raise InputError(where, expected="two or more layer widths of at least 1", found=sizes)


class _Side(NamedTuple):
    """One side of an array; a tuple, which a call unpacks faster than it reads attributes."""

    name: str  # of a side that is one name, perhaps with a number more
    more: int
    least: int  # without the number more
    factors: tuple[str, ...]
    number: int

    def shown(self, bound: Bound) -> str:
        """Its size in a message, or its name where that is not known."""
        if all(name in bound for name in self.factors):
            return str(self.number * math.prod(bound[name] for name in self.factors) + self.more)
        names = "*".join(str(bound.get(name, name)) for name in self.factors)
        return names + (f"+{self.more}" if self.more else "")


@dataclass(frozen=True, slots=True)
class _Array:
    """What an array has to be."""

    where: str
    kind: np.dtype[Any] | None  # None: `native` ones as they are
    native: str
    sides: tuple[_Side, ...]
    out: bool
    strided: bool
    values: tuple[str, int, str] | None  # "<", "in" or "parts", and both ends

    def __call__(self, value: Any, bound: Bound) -> NDArray[Any]:
        if self.kind is None:
            if not self.is_native(value):
                self.refuse(value, bound)
        elif (
            type(value) is not np.ndarray
            or value.dtype != self.kind
            or not (value.flags.behaved if self.strided else value.flags.carray)
        ):
            if self.out:
                self.refuse(value, bound)
            value = self.converted(value, bound)  # a read-only one too: compiled code is made for writable ones
        if value.ndim != len(self.sides):
            self.refuse(value, bound)
        for (name, more, least, factors, number), size in zip(self.sides, value.shape, strict=False):
            size -= more
            expected = bound.setdefault(name, size) if name else number * math.prod([bound[each] for each in factors])
            if size != expected or size < least:
                self.refuse(value, bound)
        if self.values is not None:
            self.look(value, bound, *self.values)
        return value

    def is_native(self, value: Any) -> bool:
        """Whether compiled code can take this array of numbers, of whatever type."""
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            return False
        kind = value.dtype
        wide = kind.kind != "f" or kind.itemsize in (4, 8)
        return kind.kind in self.native and wide and kind.isnative and bool(value.flags.aligned)

    def look(self, value: NDArray[Any], bound: Bound, how: str, low: int, last: str) -> None:
        """Raise the error for values that are out of bounds."""
        end = bound[last] if last in bound else int(last)
        if how == "parts":
            falls = bool((value[1:] < value[:-1]).any())
            if falls or not value.size or value[0] != 0 or value[-1] != end:
                found = f"{value[0]} to {value[-1]}{', falling' if falls else ''}" if value.size else "none"
                raise InputError(self.where, expected=f"offsets that rise from 0 to {end}", found=found)
        elif value.size:
            high = end - 1 if how == "<" else end
            # What `min` and `max` call, without their wrappers; NaN passes through, and is out of bounds.
            least, most = np.minimum.reduce(value, None), np.maximum.reduce(value, None)
            if not (least >= low and most <= high):
                what = f"{'indices' if how == '<' else 'numbers'} from {low} to {high}"
                raise InputError(self.where, expected=what, found=f"{least} to {most}")

    def converted(self, value: Any, bound: Bound) -> NDArray[Any]:
        """The value as such an array, or an error if that would change more than its precision."""
        assert self.kind is not None
        try:
            given = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that need gradients
            self.refuse(value, bound)
        numbers = given.dtype.kind in ("biuf" if self.kind.kind == "f" or not given.size else "biu")
        if not numbers or isinstance(value, np.ma.MaskedArray):
            self.refuse(value if numbers else given, bound)
        with np.errstate(over="ignore"):
            array: NDArray[Any] = np.require(given, self.kind, ["C", "A", "W"])
        lost = np.isinf(array) & np.isfinite(given) if self.kind.kind == "f" else array != given
        if lost.any():
            raise InputError(self.where, expected=f"numbers that fit {self.kind.name}", found=given[lost].item(0))
        return array

    def refuse(self, value: Any, bound: Bound) -> NoReturn:
        """Raise the error for a value that is not such an array."""
        what = self.kind.name if self.kind is not None else "numbers" if "f" in self.native else "integers"
        sides = [side.shown(bound) for side in self.sides]
        how = "writable contiguous " if self.out else ""
        expected = f"{how}{what} of shape ({', '.join(sides)}{',' if len(sides) == 1 else ''})"
        found: object = value
        if isinstance(value, np.ndarray):
            flaws = {
                "read-only ": self.out and not value.flags.writeable,
                "strided ": self.out and not value.flags.c_contiguous,
                "masked ": isinstance(value, np.ma.MaskedArray),
                "byte-swapped ": self.kind is None and not value.dtype.isnative,
                "unaligned ": self.kind is None and not value.flags.aligned,
            }
            found = f"{''.join(flaw for flaw, there in flaws.items() if there)}{value.dtype.name} {value.shape}"
        elif self.kind is None:
            found = f"a value of type {type(value).__name__}"
        raise InputError(self.where, expected=expected, found=found)


@dataclass(frozen=True, slots=True)
class _Count:
    """An integer of at least `least`, and of at most what the name `most` stands for, less `short`."""

    where: str
    name: str
    least: int
    most: str
    short: int

    def __call__(self, value: Any, bound: Bound) -> int:
        most = bound[self.most] - self.short if self.most else sys.maxsize
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not self.least <= value <= most:
            expected = f"an integer of at least {self.least}" + (f" and at most {most}" if self.most else "")
            raise InputError(self.where, expected=expected, found=value)
        bound[self.name] = int(value)
        return int(value)


@dataclass(frozen=True, slots=True)
class _Number:
    """A real number, perhaps from a range."""

    where: str
    ends: tuple[float, ...]

    def __call__(self, value: Any, bound: Bound) -> float:
        del bound
        number = isinstance(value, float | np.integer | np.floating) or (
            isinstance(value, int) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        )
        if not number or (self.ends and not self.ends[0] <= value <= self.ends[1]):
            expected = "a number" + (f" from {self.ends[0]:g} to {self.ends[1]:g}" if self.ends else "")
            raise InputError(self.where, expected=expected, found=value)
        return float(value)


@dataclass(frozen=True, slots=True)
class _Instance:
    """An object of a class."""

    where: str
    kind: type

    def __call__(self, value: Any, bound: Bound) -> Any:
        del bound
        if not isinstance(value, self.kind):
            found = f"a value of type {type(value).__name__}"
            raise InputError(self.where, expected=f"an instance of {self.kind.__name__}", found=found)
        return value


@dataclass(frozen=True, slots=True)
class _Items:
    """A tuple of arrays."""

    where: str
    fits: tuple[Callable[[Any, Bound], Any], ...]

    def __call__(self, value: Any, bound: Bound) -> Any:
        if not isinstance(value, tuple) or len(value) != len(self.fits):
            raise InputError(self.where, expected=f"a tuple of {len(self.fits)}", found=value)
        items = [fit(item, bound) for fit, item in zip(self.fits, value, strict=True)]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)


def parse(label: str, name: str, spec: Spec) -> Callable[[Any, Bound], Any]:
    """What checks and converts an argument by its spec; the sides that are known are looked up and kept."""
    where = f"{label}: {name}"
    if isinstance(spec, Mapping):
        return _Items(where, tuple(parse(label, f"{name}.{key}", each) for key, each in spec.items()))
    if isinstance(spec, tuple):
        return _Items(where, tuple(parse(label, f"{name}[{k}]", each) for k, each in enumerate(spec)))
    return _Instance(where, spec) if isinstance(spec, type) else parse_text(where, spec)


@functools.lru_cache(maxsize=1024)
def parse_text(where: str, spec: str) -> Callable[[Any, Bound], Any]:
    """The same for one that is text."""
    words = spec.split()
    at = next((place for place, word in enumerate(words) if word in ("<", "in", "parts")), len(words))
    (kind, *sides), values = words[:at], words[at:]
    if kind == "int":
        least, most = (*sides, "")[:2] if sides else ("0", values[1])
        return _Count(where, where.rpartition(" ")[2], int(least), most, short=1 if values else 0)
    if kind == "float":
        return _Number(where, tuple(map(float, sides)))
    if kind == "layers":
        return lambda value, bound: layers(where, value)
    way = kind if kind in ("out", "any") else ""
    if way:
        kind, *sides = sides
    native = {"real": "biuf", "whole": "iu"}.get(kind, "")
    dtype = None if native else np.dtype(kind)
    ends = (values[0], int(values[1]) if len(values) > 2 else 0, values[-1]) if values else None
    return _Array(where, dtype, native, tuple(map(_side, sides)), way == "out", way == "any", ends)


def _side(text: str) -> _Side:
    product, _, least = text.partition(">")
    product, _, more = product.partition("+")
    factors = product.split("*")
    names = tuple(factor for factor in factors if not factor.isdigit())
    number = math.prod(int(factor) for factor in factors if factor.isdigit())
    name = names[0] if len(factors) == len(names) == 1 else ""
    return _Side(name, int(more or 0), int(least) + 1 if least else 0, names, number)
