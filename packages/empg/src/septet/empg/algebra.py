"""Terms of sympy compared exactly: equal where that is proven, else different.

Imported by a grader's worker only: sympy takes a second to import.
"""

from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import parse

BITS = 200_000
"""Larger whole numbers are not computed: 2004! has 20,000 bits."""
COMBINATORIAL = (
    sympy.factorial, sympy.factorial2, sympy.subfactorial, sympy.binomial, sympy.gamma, sympy.fibonacci,
    sympy.RisingFactorial, sympy.FallingFactorial,
)  # fmt: skip


class TooLarge(ValueError):
    """A number that would be too large to compute."""


def read(text: str) -> Any:
    """A term as an expression of sympy that is not yet computed; none if it is none."""
    found = parse(f"\\boxed{{{text}}}", parsing_timeout=None)
    return found[0] if found and not isinstance(found[0], str) else None


def equal(some: Any, others: Any) -> bool:
    """Whether two parsed terms are equal: exactly, or not at all."""
    matrices = [isinstance(one, sympy.MatrixBase) for one in (some, others)]
    if any(matrices):
        fits = all(matrices) and some.shape == others.shape
        return fits and all(equal(a, b) for a, b in zip(some, others, strict=True))
    if not (isinstance(some, sympy.Expr) and isinstance(others, sympy.Expr)):
        return type(some) is type(others) and bool(some == others)
    some, others = computed(some), computed(others)
    if some == others:
        return True
    if some.has(sympy.oo, sympy.zoo, sympy.nan) or others.has(sympy.oo, sympy.zoo, sympy.nan):
        return False
    difference = some - others
    if difference.is_Rational:
        return bool(difference == 0)
    if difference.is_number:
        return _apart(difference, some, others) is False and _vanishes(difference)
    return not _differ_somewhere(some, others) and _vanishes(difference)


def same_equation(golds: list[str], answers: list[str]) -> bool:
    """Whether two equations are the same up to a factor."""
    sides = [read(text) for text in (*golds, *answers)]
    if not all(isinstance(side, sympy.Expr) for side in sides):
        return False
    first, second = sides[0] - sides[1], sides[2] - sides[3]
    if not first.free_symbols or first.free_symbols != second.free_symbols:
        return False
    ratio = sympy.simplify(computed(first) / computed(second))
    return bool(ratio.is_number and ratio.is_finite and ratio != 0)


def computed(expression: Any) -> Any:
    """An expression computed from its leaves up, exactly. Raises TooLarge."""
    if isinstance(expression, sympy.Float):
        return sympy.Rational(str(expression))
    if not expression.args or isinstance(expression, sympy.Integral | sympy.Sum | sympy.Product | sympy.Limit):
        return expression.doit() if expression.args else expression
    arguments = [computed(one) for one in expression.args]
    if isinstance(expression, sympy.UnevaluatedExpr):
        return arguments[0]
    if isinstance(expression, sympy.Pow):
        base, power = arguments
        if base.is_Rational and power.is_Rational and base not in (0, 1, -1):
            size = max(abs(base.p), base.q).bit_length()
            if size * abs(power) > BITS:
                raise TooLarge
        elif power.is_Integer and abs(power) > 1000:
            raise TooLarge
        return base**power
    if isinstance(expression, COMBINATORIAL) and any(one.is_Rational and abs(one) > 10_000 for one in arguments):
        raise TooLarge
    return expression.func(*arguments)


def _apart(difference: Any, some: Any, others: Any) -> bool | None:
    """Whether 60 digits tell two numbers apart; none if they cannot be evaluated."""
    try:
        gap, size = (abs(sympy.N(one, 60)) for one in (difference, abs(some) + abs(others)))
        return bool(gap > size * sympy.Float("1e-40", 60))
    except (TypeError, ValueError):
        return None


def _differ_somewhere(some: Any, others: Any) -> bool:
    """Whether two expressions differ at some real point; where neither is real they may."""
    names = sorted(some.free_symbols | others.free_symbols, key=str)
    points = [[sympy.Rational((7 * i * i + 11 * j + 3) % 23 + 1, 7) * sign for j, _ in enumerate(names)]
              for i, sign in ((1, 1), (2, 1), (3, -1), (4, -1))]  # fmt: skip
    for point in points:
        values = [sympy.N(one.subs(dict(zip(names, point, strict=True))), 40) for one in (some, others)]
        if not all(value.is_number and value.is_finite for value in values):
            continue
        real = [abs(sympy.im(value)) <= abs(value) * sympy.Float("1e-20") for value in values]
        if real[0] != real[1]:
            return True
        if real[0] and abs(values[0] - values[1]) > (abs(values[0]) + abs(values[1])) * sympy.Float("1e-20"):
            return True
    return False


def _vanishes(difference: Any) -> bool:
    """Whether a difference is proven to be 0, its variables taken as positive."""
    positive = {name: sympy.Symbol(f"{name}_", positive=True) for name in difference.free_symbols}
    difference = difference.subs(positive)
    return bool(sympy.expand(difference) == 0 or sympy.simplify(difference) == 0 or difference.equals(0))
