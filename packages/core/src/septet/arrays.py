"""Checked arguments of compiled functions: an array that does not fit is an `InputError`, not a read past its end.

    @checked(x="f4 N A", row="i8 K < N", factor="float", out="out f4 K A")
    @compiled()
    def scaled(x, row, factor, out): ...

Python's calls are checked; those of other compiled code, and of ``scaled.unchecked``, go straight to the function.
A spec says what an argument is:

=================== ===================================================================================
``f4 N A``          an array of this type and these sides; anything else is converted, if only precision is lost
``any f4 N A``      the same, not copied to be contiguous
``out f4 N A``      written in place: it has to fit as it is, and be writable
``real N A``        an array of native numbers of any type, never converted: lists are refused
``whole N``         the same of integers
``int 1``           an integer of at least 1; ``int 0 N`` at most N, ``int < N`` below N
``float``           a real number; ``float 0 1`` one from 0 to 1
``layers``          two or more layer widths
a class             an instance of it
a mapping, a tuple  the specs of a tuple's items
=================== ===================================================================================

A side is a number or a name. A name stands for the same number everywhere in a call, and the name of an ``int`` for
its value. ``N*A`` is a product, ``N+1`` is one more, ``N>0`` is at least 1. Bounds on the values follow the sides:
``< N`` indices from 0 to N - 1, ``in 1 N`` numbers from 1 to N, ``parts N`` offsets from 0, never falling, to N.
Specs are read in order: the N of a bound is a side of this or an earlier argument.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

from septet.errors import InputError
from septet.specs import Bound, Spec, layers, parse, parse_text

__all__ = ["Bound", "Checked", "Fault", "Spec", "checked", "fit", "fit_all", "layers", "parameter_count"]

P = ParamSpec("P")
R = TypeVar("R")
Fault = tuple[str, str, object]
"""Argument, what was expected, what was found."""
Rule = Callable[[Mapping[str, Any], Bound], Fault | None]
"""Looks at arguments together, when each is right by itself, and at the sizes of their sides."""


class Checked(Generic[P, R]):
    """A compiled function that checks its arguments when Python calls it, and not when compiled code does.

    Attributes:
        unchecked: the compiled function itself, for loops whose arrays were checked before the loop.
    """

    def __init__(
        self,
        function: Callable[P, R],
        specs: Mapping[str, Spec],
        sizes: Callable[..., Bound] | None,
        rule: Rule | None,
    ) -> None:
        self.unchecked = function
        python: Any = getattr(function, "py_func", function)
        functools.update_wrapper(self, python)
        self._label, self._names = python.__name__, tuple(inspect.signature(python).parameters)
        self._fits = [(self._names.index(name), parse(self._label, name, spec)) for name, spec in specs.items()]
        self._sizes, self._rule = sizes, rule
        self._numba_type_ = getattr(function, "_numba_type_", None)  # compiled callers get the function itself

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Check, then call.

        Raises:
            InputError: an argument does not fit its spec, or is of a type that the function is not compiled for.
        """
        values = list(args)
        if len(values) + len(kwargs) == len(self._names):
            values += [kwargs[name] for name in self._names[len(values) :] if name in kwargs]
        if len(values) != len(self._names):
            raise TypeError(f"{self._label}() takes the arguments {', '.join(self._names)}")
        bound: Bound = self._sizes(*values) if self._sizes is not None else {}
        for place, fit in self._fits:
            values[place] = fit(values[place], bound)
        if self._rule is not None:
            _hold(self._label, self._rule, dict(zip(self._names, values, strict=True)), bound)
        try:
            return self.unchecked(*values)  # type: ignore[arg-type, call-arg]
        except _typing_error():
            found = ", ".join(f"{name} {type(value).__name__}" for name, value in zip(self._names, values, strict=True))
            raise InputError(self._label, expected="arrays and numbers", found=found) from None


def _typing_error() -> type[Exception]:
    """What numba raises; only a call that fails comes here."""
    from numba.core.errors import TypingError

    return TypingError


def checked(
    sizes: Callable[..., Bound] | None = None, rule: Rule | None = None, /, **specs: Spec
) -> Callable[[Callable[P, R]], Checked[P, R]]:
    """Decorator over `septet.compiled.compiled`: say what arguments a function takes.

    Args:
        sizes: from the arguments, values of names of sides that the arrays alone do not give.
        rule: looks at the arguments together.
        specs: what each argument is, as listed above.
    """
    return lambda function: Checked(function, specs, sizes, rule)


def fit(where: str, spec: str, value: Any, bound: Bound | None = None) -> Any:
    """One argument by its spec, as in `checked`; the names of its sides are looked up and kept in `bound`.

    Raises:
        InputError: an argument that does not fit.
    """
    return parse_text(where, spec)(value, {} if bound is None else bound)


def fit_all(
    where: str,
    specs: Mapping[str, Spec],
    values: Mapping[str, Any],
    bound: Bound | None = None,
    rule: Rule | None = None,
) -> dict[str, Any]:
    """The values that have a spec, and all of them by a rule, as in `checked`.

    Raises:
        InputError: a value that does not fit.
    """
    bound = {} if bound is None else bound
    found = {name: parse(where, name, spec)(values[name], bound) for name, spec in specs.items()}
    if rule is not None:
        _hold(where, rule, {**values, **found}, bound)
    return found


def _hold(where: str, rule: Rule, values: Mapping[str, Any], bound: Bound) -> None:
    fault = rule(values, bound)
    if fault is not None:
        raise InputError(f"{where}: {fault[0]}", expected=fault[1], found=fault[2])


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases of dense layers of these widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))
