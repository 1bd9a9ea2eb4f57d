"""Whether two written answers of MATH say the same: their structure by text, their parts by exact algebra.

Runs in a grader's worker, under its limits, for answers are hostile. Lists, sets, pairs, intervals and chains of equal
terms are taken apart here; `math-verify` reads the parts, without computing; numbers are then compared exactly, for in
floating point 1/2^99 and 1/2^98 are equal. What cannot be proven equal is different.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

import sympy  # type: ignore[import-untyped]

from septet.empg.algebra import computed, equal, read, same_equation

PARTS = 40
"""Longer lists are not compared."""

_WRITTEN = [
    (re.compile(r"\\left\b|\\right\b|\\[!,;:]|\\displaystyle|\\\$|\$|\*\*|`"), " "),
    (re.compile(r"[\u2212\uff0d]"), "-"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[dt]frac\b"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\leq?q?(?:slant)?(?![a-z])|\u2264|<="), r"\\le "),
    (re.compile(r"\\geq?q?(?:slant)?(?![a-z])|\u2265|>="), r"\\ge "),
    (re.compile(r"\\lt(?![a-z])"), "<"),
    (re.compile(r"\\gt(?![a-z])"), ">"),
    (re.compile(r"\\[lc]?dots[cbmio]?(?![a-z])|\.\.\.+|\u2026"), r"\\dots "),
    (
        re.compile(r"\\(?:text|textrm|mathrm)\s*\{\s*,?\s*(?:or|and)\s*\}|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])"),
        r"\\or ",
    ),
    (re.compile(r"\\infin(?![a-z])|\u221e"), r"\\infty "),
    (re.compile(r"\u221a|(?<![\\A-Za-z])sqrt(?![A-Za-z])"), r"\\sqrt"),
    (re.compile(r"\\sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])|\u03c0"), r"\\pi "),
    (
        re.compile(
            r"(\\(?:sin|cos|tan|cot|sec|csc))\s*[({]?\s*(\d+(?:\.\d+)?)\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degree)\s*[)}]?"
        ),
        r"\1(\\frac{\2\\pi}{180})",
    ),
    (re.compile(r"^\([A-Za-z](?:\s*,\s*[A-Za-z])+\)\s*="), ""),
    (re.compile(r"\u222a"), r"\\cup "),
    (re.compile(r"\\in(?![A-Za-z])|\u2208"), r"\\in "),
    (re.compile(r"(?<=\d) (?=\d{3}(?![\d/]))"), ""),
    (re.compile(r"(?<![\w.}^_])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.!^])"), r"(\1+\2/\3)"),
    (re.compile(r"\s+"), " "),
]
_LOGIC = re.compile(
    r"\\(?:forall|exists|nexists|implies|iff|land|lor|neg|lnot|wedge|vee|Rightarrow|Leftrightarrow|to|rightarrow|mid|ne|neq)"
    r"(?![A-Za-z])|(?:for all|for every|there exists?|implies|if|not|unless|except|where|when)\b"
    r"|[\u2200\u2203\u21d2\u2260]"
)
_THOUSANDS = re.compile(r"-?\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?")
_BASED = re.compile(r"(-?)(\d{1,60})_(?:\{(\d{1,2})\}|(\d))")
_RATIO = re.compile(r"(-?)(?:\\frac(?:\{(\d{1,60})\}|(\d))(?:\{(\d{1,60})\}|(\d))|(\d{1,60})/(\d{1,60}))")
_REPEATING = re.compile(r"(-?)(\d{0,40})\.(\d{0,40})\\(?:overline|bar|dot)\{?(\d{1,40})\}?")
_DECIMAL = re.compile(r"[-+]?(?:\d{1,80}(?:\.\d{0,80})?|\.\d{1,80})")
_NAME = re.compile(r"\\?[A-Za-z]+'*(?:_(?:\w|\{\w{1,8}\}))?(?:\([A-Za-z](?:,[A-Za-z])*\))?")
_ORDER = re.compile(r"\\le |\\ge |<|>")
_APPROXIMATELY = re.compile(r"\\(?:approx|simeq)(?![a-z])|\u2248")
_WORDS = re.compile(r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mbox|rm)\s*\{([^{}\\]*)\}")
_BRACES = re.compile(r"^\{([^{}]*)\}$")
_UNITS = re.compile(r"\\(?:text|textrm|mathrm|mbox)\s*\{\s*([A-Za-z .]+?)\s*(?:\^?\d)?\}")


def same_answer(gold: str, answer: str) -> bool:
    """Whether an answer says what the gold answer says."""
    return _same(written(gold), written(answer), 0)


def written(text: str) -> str:
    """An answer in one spelling of what has several."""
    for pattern, plain in _WRITTEN:
        text = pattern.sub(plain, text)
    return text.strip().rstrip(".").strip()


def _bare(text: str) -> str:
    return text.replace(" ", "")


def _tight(text: str) -> str:
    """A text without spaces, but for those between digits: 1 2 is not 12."""
    return re.sub(r"(?<!\d) | (?!\d)", "", text)


def _same(gold: str, answer: str, depth: int) -> bool:
    if _tight(gold) == _tight(answer):
        return bool(gold)
    if depth > 6 or not gold or not answer:
        return False
    if _LOGIC.search(gold) or _LOGIC.search(answer):  # who may leave out a quantifier or a negation?
        return False
    if _ORDER.search(gold) and _ORDER.search(answer) and _names(gold) != _names(answer):
        return False
    if "\\dots" in gold or "\\dots" in answer or ":" in gold + answer:
        return _in_order(_dotted(gold), _dotted(answer), depth)
    (kind, some), (other_kind, others) = _parts(gold), _parts(answer)
    if kind == other_kind == "one":
        return _one(some[0], others[0], depth)
    if {kind, other_kind} <= {"one", "list", "{}"}:
        return _in_any_order(some, others, depth)
    return kind == other_kind and _in_order(some, others, depth)


def _names(text: str) -> set[str]:
    """The variables of a text."""
    return set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", text))


def _dotted(text: str) -> list[str]:
    parts = re.split(r"(:)", text) if ":" in text else _split(text, (",", "\\or "))
    return [str(int(part)) if part.strip().isdigit() and len(part) < 20 else part for part in parts]


def _parts(text: str) -> tuple[str, list[str]]:
    """What a text lists, and how: a pair of brackets, `{}` for a set, `list` without any, `one` thing."""
    if _THOUSANDS.fullmatch(_bare(text)) and " " not in text:
        return "one", [text.replace(",", "")]
    inner, pair = _unwrapped(text)
    if pair == "{}":
        return pair, _signs(_split(inner, (",",)))
    if pair and (len(parts := _split(inner, (",",))) > 1 or pair != "()"):
        return pair, parts
    parts = _signs(_split(text, (",", "\\or ", "\\cup", ";")))
    if len(parts) > 1:
        return "list", parts
    return ("one", parts) if (limits := _interval(text)) is None else limits


def _unwrapped(text: str) -> tuple[str, str]:
    """What stands between the brackets that enclose a whole text, and which they are; none if there are none."""
    for opening, closing in (("\\{", "\\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")")):
        if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening) + len(closing):
            inner = text[len(opening) : -len(closing)]
            if _balanced(inner):
                return inner.strip(), "{}" if opening == "\\{" else opening + closing
    return text, ""


def _balanced(text: str) -> bool:
    depths = list(accumulate((letter in "([{") - (letter in ")]}") for letter in text))
    return not depths or (min(depths) >= 0 and depths[-1] == 0)


def _split(text: str, marks: Sequence[str]) -> list[str]:
    """A text cut at marks outside of all brackets."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        depth += (text[place] in "([{") - (text[place] in ")]}")
        mark = next((mark for mark in marks if depth == 0 and text.startswith(mark, place)), None)
        if mark is None:
            place += 1
            continue
        parts.append(text[start:place])
        start = place = place + len(mark)
    parts = [part.strip() for part in [*parts, text[start:]]]
    return [part for part in parts if part] if len(parts) > 1 else parts


def _signs(parts: list[str]) -> list[str]:
    """Both values of each part that has a plus-or-minus sign."""
    both = []
    for part in parts:
        if part.count("\\pm") + part.count("\u00b1") == 1:
            both += [re.sub(r"\\pm(?![A-Za-z])|\u00b1", sign, part).strip().removeprefix("+") for sign in "+-"]
        else:
            both.append(part)
    return both


def _interval(text: str) -> tuple[str, list[str]] | None:
    """The limits of `0 < x < 5`, `x >= 2` or `x in (0, 5)`."""
    name, belongs, range_ = text.partition("\\in ")
    if belongs and _NAME.fullmatch(_bare(name)):
        return _parts(range_.strip())
    signs, sides = _ORDER.findall(text), [side.strip() for side in _ORDER.split(text)]
    if not signs or len(signs) > 2 or not all(sides):
        return None
    upwards = {sign in ("<", "\\le ") for sign in signs}
    if len(upwards) > 1:
        return None
    if upwards == {False}:
        signs, sides = signs[::-1], sides[::-1]
    closed = ["\\" in sign for sign in signs]
    named = [_NAME.fullmatch(_bare(side)) is not None for side in sides]
    if len(sides) == 3 and named[1]:
        return ("(["[closed[0]] + ")]"[closed[1]]), [sides[0], sides[2]]
    if named == [True, False]:
        return "(" + ")]"[closed[0]], ["-\\infty", sides[1]]
    if len(sides) == 2 and named[1]:
        return "(["[closed[0]] + ")", [sides[0], "\\infty"]
    return None


def _in_order(some: list[str], others: list[str], depth: int) -> bool:
    fit = len(some) == len(others) <= PARTS
    return fit and all(_same(one, other, depth + 1) for one, other in zip(some, others, strict=True))


def _in_any_order(some: list[str], others: list[str], depth: int) -> bool:
    if not len(some) == len(others) <= PARTS:
        return False
    left = list(others)
    for one in some:
        match = next((other for other in left if _same(one, other, depth + 1)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _one(gold: str, answer: str, depth: int) -> bool:
    """Compare two terms, or chains of equal ones; a rounded value behind an exact one is left out if it is close."""
    if gold.endswith("=") or answer.endswith("="):
        return False
    exact = [_without_rounding(text) for text in (gold, answer)]
    if None in exact:
        return False
    golds, answers = (_split(text, ("=",)) for text in exact if text is not None)
    named = [_NAME.fullmatch(_bare(chain[0])) is not None and len(chain) > 1 for chain in (golds, answers)]
    if all(named) and _bare(golds[0]) != _bare(answers[0]):
        return len(golds) == len(answers) == 2 and same_equation(golds, answers)
    golds, answers = (chain[1:] if name else chain for chain, name in zip((golds, answers), named, strict=True))
    if len(golds) == 1 or len(answers) == 1:  # each term of a chain must be the other's: `7 = 8` is a hedge
        return all(_terms(one, other) for one in golds for other in answers)
    return len(golds) == len(answers) == 2 and same_equation(golds, answers)


def _without_rounding(text: str) -> str | None:
    """What stands before an approximate equality; none if what is behind is not within 1 % of it."""
    exact, *rounded = _APPROXIMATELY.split(text)
    sides = [read(_split(side, ("=",))[-1]) for side in (exact, *rounded)] if rounded else []
    if not all(isinstance(side, sympy.Expr) and side.is_number for side in sides):
        return None
    values = [sympy.N(computed(side), 30) for side in sides]
    return exact.strip() if all(abs(value - values[0]) * 100 <= abs(values[0]) for value in values[1:]) else None


def _terms(gold: str, answer: str) -> bool:
    """Compare two terms without an equals sign; what is left of two numbers side by side is no term."""
    if re.search(r"(?<![\w.^])\d[\d.]* \d", f"{gold},{answer}"):
        return False
    words = [_bare(_WORDS.sub(r"\1", text)).casefold() for text in (gold, answer)]
    if words[0] == words[1] and words[0].isalpha() and len(words[0]) > 1:
        return True
    values = [_value(_BRACES.sub(r"\1", _bare(_WORDS.sub(r"\1", text)))) for text in (gold, answer)]
    if None not in values:
        return values[0] == values[1]
    if any(_BASED.fullmatch(_bare(text)) for text in (gold, answer)) and "_" in gold and "_" in answer:
        return False
    units = [" ".join(_UNITS.findall(text)).lower().rstrip("s.") for text in (gold, answer)]
    if all(units) and units[0] != units[1]:
        return False
    share = [text.rstrip().endswith("%") for text in (gold, answer)]
    if share[0] != share[1] and _terms(gold.rstrip("% \\"), answer.rstrip("% \\")):
        return True  # 10 % for 10: the question named the unit
    some, others = read(gold), read(answer)
    return some is not None and others is not None and equal(some, others)


def _value(text: str) -> Fraction | None:
    """The value of a decimal number, of a fraction of whole ones, or of a number in another base."""
    if (based := _BASED.fullmatch(text)) is not None:
        base = int(based[3] or based[4])
        if 2 <= base <= 36 and all(int(digit) < base for digit in based[2]):
            return Fraction(int(based[1] + based[2], base))
        return None
    if (ratio := _RATIO.fullmatch(text)) is not None:
        top, bottom = int(ratio[2] or ratio[3] or ratio[6]), int(ratio[4] or ratio[5] or ratio[7])
        return Fraction(-top if ratio[1] else top, bottom) if bottom else None
    if (endless := _REPEATING.fullmatch(text)) is not None:
        whole, once, again = endless[2] or "0", endless[3], endless[4]
        value = Fraction(int(whole + once + again) - int(whole + once), (10 ** len(again) - 1) * 10 ** len(once))
        return -value if endless[1] else value
    text = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    return Fraction(text) if _DECIMAL.fullmatch(text) and text.rstrip(".") else None
