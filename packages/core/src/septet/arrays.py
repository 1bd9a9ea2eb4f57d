"""Checked arguments of compiled functions: an array that does not fit is an `InputError`, not a read past its end."""

import functools
import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from septet.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")
Spec = str | Mapping[str, "Spec"] | tuple["Spec", ...]
Bound = dict[str, int]


class Checked(Generic[P, R]):
    """A compiled function that checks its arrays when Python calls it, and not when compiled code does.

    Attributes:
        unchecked: the compiled function itself, for loops whose arrays were checked before the loop.
    """

    def __init__(
        self, function: Callable[P, R], label: str, specs: Mapping[str, Spec], sizes: Callable[..., Bound] | None
    ) -> None:
        self.unchecked, self._label = function, label
        python: Any = getattr(function, "py_func", function)
        functools.update_wrapper(self, python)
        self._names = python.__code__.co_varnames[: python.__code__.co_argcount]
        self._fits = [(self._names.index(name), _parse(label, name, spec)) for name, spec in specs.items()]
        self._sizes = sizes
        self._numba_type_ = getattr(function, "_numba_type_", None)  # compiled callers get the function itself

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check, then call.

        Raises:
            InputError: an array of another shape or kind, an index out of range, or a result that is not writable.
        """
        values = list(args)
        if len(values) + len(kwargs) == len(self._names):
            values += [kwargs[name] for name in self._names[len(values) :] if name in kwargs]
        if len(values) != len(self._names):
            raise TypeError(f"{self._label}() takes the arguments {', '.join(self._names)}")
        bound: Bound = self._sizes(*values) if self._sizes is not None else {}
        for place, fit in self._fits:
            values[place] = fit(values[place], bound)
        return self.unchecked(*values)  # type: ignore[arg-type, call-arg]


def checked(
    label: str, sizes: Callable[..., Bound] | None = None, /, **specs: Spec
) -> Callable[[Callable[P, R]], Checked[P, R]]:
    """Decorator over `septet.compiled.compiled`: say what arrays a function takes.

    An input of another type is converted where no information is lost but precision; so are lists and arrays
    that are not contiguous. What the function writes has to fit as it is.

    Args:
        label: names the function in messages.
        sizes: from the arguments, values of the names below that the arrays alone do not give.
        specs: what each argument is. For an array its type and sides, ``"f4 N A"``: a name stands for the same number
            everywhere in a call, ``N+`` for one of at least 1, ``N*A`` for a product. ``"out f4 N A"`` is written in
            place, ``"any f4 N A"`` may be strided, ``"i8 N < M"`` are indices from 0 to M - 1. ``"int 1"`` is an
            integer of at least 1, for which its own name then stands, ``"int 0 N"`` one of at most N, ``"float"`` a
            number, ``"layers"`` layer widths. A mapping or a tuple holds the specs of a tuple's items.
    """
    return lambda function: Checked(function, label, specs, sizes)


def fit(where: str, spec: str, value: Any, bound: Bound | None = None) -> Any:
    """One argument by its spec, as in `checked`; the names of its sides are looked up and kept in `bound`.

    Raises:
        InputError: an argument that does not fit.
    """
    return _fit(where, spec)(value, {} if bound is None else bound)


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases of dense layers of these widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))


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


@dataclass(frozen=True, slots=True)
class _Array:
    """What an array has to be."""

    where: str
    kind: np.dtype[Any]
    sides: tuple[tuple[str, tuple[str, ...], int, bool], ...]  # its name if it has one, factors, if it is at least 1
    out: bool
    strided: bool
    below: str

    def __call__(self, value: Any, bound: Bound) -> NDArray[Any]:
        if type(value) is not np.ndarray or value.dtype != self.kind or not self.usable(value.flags):
            if self.out:
                self.refuse(value, bound)
            value = self.converted(value, bound)  # a read-only one too: compiled code is made for writable ones
        if value.ndim != len(self.sides):
            self.refuse(value, bound)
        for (name, names, factor, filled), size in zip(self.sides, value.shape, strict=False):
            expected = bound.setdefault(name, size) if name else factor * math.prod([bound[each] for each in names])
            if size != expected or (filled and size < 1):
                self.refuse(value, bound)
        if self.below and value.size and not (value.min() >= 0 and value.max() < bound[self.below]):
            found = f"{value.min()} to {value.max()}"
            raise InputError(self.where, expected=f"indices from 0 to {bound[self.below] - 1}", found=found)
        return value

    def usable(self, flags: Any) -> bool:
        """Whether compiled code can take an array with these flags as it is."""
        return bool(flags.behaved if self.strided else flags.carray)

    def converted(self, value: Any, bound: Bound) -> NDArray[Any]:
        """The value as such an array, or an error if that would change more than its precision."""
        try:
            given = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that need gradients
            self.refuse(value, bound)
        if given.dtype.kind not in ("biuf" if self.kind.kind == "f" or not given.size else "biu"):
            self.refuse(given, bound)
        with np.errstate(over="ignore"):
            array: NDArray[Any] = np.require(given, self.kind, ["C", "A", "W"])
        lost = np.isinf(array) & np.isfinite(given) if self.kind.kind == "f" else array != given
        if lost.any():
            raise InputError(self.where, expected=f"numbers that fit {self.kind.name}", found=given[lost].item(0))
        return array

    def refuse(self, value: Any, bound: Bound) -> NoReturn:
        """Raise the error for a value that is no such array."""
        sides = [
            str(factor * math.prod(bound[name] for name in names))
            if all(name in bound for name in names)
            else "*".join(str(bound.get(name, name)) for name in names)
            for _, names, factor, _ in self.sides
        ]
        how = "writable contiguous " if self.out else ""
        expected = f"{how}{self.kind.name} of shape ({', '.join(sides)}{',' if len(sides) == 1 else ''})"
        found: object = value
        if isinstance(value, np.ndarray):
            flaws = {"read-only ": value.flags.writeable, "strided ": value.flags.c_contiguous}
            told = "".join(flaw for flaw, fine in flaws.items() if self.out and not fine)
            found = f"{told}{value.dtype.name} {value.shape}"
        raise InputError(self.where, expected=expected, found=found)


@dataclass(frozen=True, slots=True)
class _Count:
    """An integer of at least `least`, and of at most what the name `most` stands for."""

    where: str
    name: str
    least: int
    most: str

    def __call__(self, value: Any, bound: Bound) -> int:
        most = bound.get(self.most, sys.maxsize)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not self.least <= value <= most:
            expected = f"an integer of at least {self.least}" + (f" and at most {most}" if self.most else "")
            raise InputError(self.where, expected=expected, found=value)
        bound[self.name] = int(value)
        return int(value)


@dataclass(frozen=True, slots=True)
class _Number:
    """A real number."""

    where: str

    def __call__(self, value: Any, bound: Bound) -> float:
        del bound
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise InputError(self.where, expected="a number", found=value)
        return float(value)


@dataclass(frozen=True, slots=True)
class _Layers:
    """Layer widths."""

    where: str

    def __call__(self, value: Any, bound: Bound) -> tuple[int, ...]:
        del bound
        return layers(self.where, value)


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


def _parse(label: str, name: str, spec: Spec) -> Callable[[Any, Bound], Any]:
    where = f"{label}: {name}"
    if isinstance(spec, Mapping):
        return _Items(where, tuple(_parse(label, f"{name}.{key}", each) for key, each in spec.items()))
    if isinstance(spec, tuple):
        return _Items(where, tuple(_parse(label, f"{name}[{k}]", each) for k, each in enumerate(spec)))
    return _fit(where, spec)


@functools.lru_cache(maxsize=1024)
def _fit(where: str, spec: str) -> Callable[[Any, Bound], Any]:
    words, _, below = spec.partition(" < ")
    kind, *sides = words.split()
    if kind == "int":
        return _Count(where, where.rpartition(" ")[2], int(sides[0]), "".join(sides[1:]))
    if kind in ("float", "layers"):
        return _Number(where) if kind == "float" else _Layers(where)
    way = kind if kind in ("out", "any") else ""
    if way:
        kind, *sides = sides
    return _Array(where, np.dtype(kind), tuple(map(_side, sides)), way == "out", way == "any", below)


def _side(text: str) -> tuple[str, tuple[str, ...], int, bool]:
    factors = text.rstrip("+").split("*")
    names = tuple(factor for factor in factors if not factor.isdigit())
    number = math.prod(int(factor) for factor in factors if factor.isdigit())
    return names[0] if len(factors) == len(names) == 1 else "", names, number, text.endswith("+")
