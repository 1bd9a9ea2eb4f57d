"""Numbers in running text, read exactly: signs, separators, fractions, small sums, and what makes a text no answer.

Everything is a Fraction: a float would take 1/2^99 and 1/2^98 for equal. Texts are hostile: regular expressions do not
backtrack, and numbers of more digits than any answer has are not read.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

DIGITS = 60
"""Longer numerals are not read."""
POWER = 64
"""Larger exponents, and powers of ten beyond, are not computed."""

_SAME = [
    (re.compile(r"[\u2212\uff0d]|(?<![0-9])[\u2013\u2014](?=\$?[0-9.])"), "-"),
    (re.compile(r"[\u00a0\u2009\u202f]|\\[,;: !]|~"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\*\*(?=\s*\$?[-+]?[0-9.])(?<![0-9]\*\*)|(?<=[0-9.%])\*\*(?!\s*[0-9(])|__|`"), " "),
    (re.compile(r"\\text\{|\\mathrm\{|\\boxed\{|\\fbox\{|\\[()\[\]]|[{}]|\\?[$\u20ac\u00a3]"), " "),
    (re.compile(r"\\times\b|\\cdot\b|[\u00d7\u00b7]"), "*"),
    (re.compile(r"\\div\b|[\u00f7\u2044]"), "/"),
    (re.compile(r"\\[lc]?dots\b|\u2026"), "..."),
]
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]{1,80})\}\s*\{([^{}]{1,80})\}|([0-9])\s*([0-9]))")
_TOKEN = re.compile(
    r"(?P<number>(?>(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9,])|[0-9]{1,3}(?:[ ][0-9]{3})++(?![0-9])|[0-9]++)"
    r"(?:\.[0-9]++)?+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?)"
    r"|(?P<dots>\.\.\.*)|(?P<sign>\*\*|[-+*/^=()])|(?P<word>[A-Za-z][A-Za-z']*)|(?P<other>\S)"
)
_HEDGES = {"or", "and", "to", "through", "versus", "vs", ",", ";", "..."}
_UNITS = re.compile(
    r"(?:dollar|euro|pound|day|week|month|year|hour|hr|minute|min|yard|mile|meter)s?|feet|foot", re.IGNORECASE
)
_DENIALS = {"not", "isn't", "never", "<", ">", "\u2260", "\u2264", "\u2265", "\u00b1"}


class _Token(NamedTuple):
    kind: str
    text: str


def same_signs(text: str) -> str:
    """A text with one sign for each of minus, times, divided by, a dotted gap and a space; without money and markup."""
    text = _FRACTION.sub(lambda m: f"({m[1] or m[3]})/({m[2] or m[4]})", text)
    for pattern, plain in _SAME:
        text = pattern.sub(plain, text)
    return text


def number(text: str) -> Fraction | None:
    """The exact value of one numeral such as `1,234.50`, `.5` or `1e3`; none if it is longer than any answer."""
    text = text.replace(",", "").replace(" ", "")
    digits, _, exponent = text.lower().partition("e")
    if len(digits) > DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > POWER:
        return None
    return Fraction(text)


def after_mark(text: str) -> Fraction | None:
    """The answer at the start of a text, which may go on behind it; none if there is none, or more than one."""
    line = next((line for line in text[:2000].split("\n") if re.search("[0-9]", line)), "")
    tokens = _tokens(line[:400])
    for start, token in enumerate(tokens):
        if token.kind == "number" or (token.text in "(-+" and tokens[start + 1 : start + 2]):
            value, end, bare = _Reader(tokens, start).chain()
            if value is None and token.kind != "number":
                continue
            return value if _sure(tokens, start, end, bare) else None
    return None


def last_number(text: str) -> Fraction | None:
    """The number, or the sum with its result, that a text ends with, words behind it left out."""
    tokens = _tokens(text[-400:].partition(" ")[2] if len(text) > 400 else text)
    last = max((place for place, token in enumerate(tokens) if token.kind == "number"), default=-1)
    if last < 0:
        return None
    start = last
    while start and (tokens[start - 1].kind in ("number", "sign") or _times(tokens, start - 1)):
        start -= 1
    while tokens[start].text in ("=", "*", "/", "^", ")", "**"):
        start += 1
    value, end, bare = _Reader(tokens, start).chain()
    return value if end > last and _sure(tokens, start, end, bare) else None


def _tokens(text: str) -> list[_Token]:
    return [_Token(str(m.lastgroup), m[0]) for m in _TOKEN.finditer(same_signs(text))]


def _times(tokens: list[_Token], place: int) -> bool:
    """Whether an `x` stands between numbers."""
    around = tokens[place - 1 : place + 2] if place else []
    return len(around) == 3 and around[1].text in ("x", "X") and around[0].kind == around[2].kind == "number"


def _sure(tokens: list[_Token], start: int, end: int, bare: bool) -> bool:
    """Whether neither another number stands beside the answer as an alternative, nor a word that denies it."""
    before = [token.text.lower() for token in tokens[max(0, start - 3) : start]]
    numbered = start > 1 and tokens[start - 2].kind == "number"
    if before and (before[-1] in _DENIALS or before[-1] in ("...", "_") or (before[-1] == ":" and numbered)):
        return False
    if bare and numbered and before[-1] in _HEDGES:
        return len(before) > 2 and before[0] == "="  # the number before is the result of a sum, no alternative
    behind, further = [*tokens[end : end + 2], _Token("", ""), _Token("", "")][:2]
    if behind.text == "=" and further.kind == "word":
        return True
    if _UNITS.fullmatch(behind.text):  # 3 hours 20 minutes
        more = [token for token in tokens[end + 1 : end + 3] if token.text != "and"]
        if more and more[0].kind == "number":
            return False
    if behind.kind in ("number", "dots") or behind.text in ("_", "^", "**", "="):
        return False
    joins = behind.text.lower() in _HEDGES or behind.text in (":", "-", "/", ".", "\u00b1")
    if joins and further.kind in ("number", "dots") and behind.text != ".":
        return False
    return not (behind.kind == "word" and further.text == "=")


class _Reader:
    """Sums of numbers and chains of equal ones, from a place in a list of tokens."""

    def __init__(self, tokens: list[_Token], start: int) -> None:
        self._tokens, self._at, self._worked = tokens, start, False

    def chain(self) -> tuple[Fraction | None, int, bool]:
        """Value, end, and whether it is a single number; no value where sides differ or nothing says what a sum is."""
        value, alone = self._sum(0), not self._worked
        equal = False
        while value is not None and self._peek() == "=" and (other := self._behind(self._sum, 0)) is not None:
            equal = True
            if other != value:
                return None, self._at, False
        return (value if alone or equal else None), self._at, alone and not equal

    def _behind(self, read: Callable[[int], Fraction | None], depth: int) -> Fraction | None:
        """The number after a sign; without one the sign is put back."""
        before, self._at = self._at, self._at + 1
        value = read(depth)
        if value is None:
            self._at = before
        return value

    def _peek(self, ahead: int = 0) -> str:
        place = self._at + ahead
        if place >= len(self._tokens):
            return ""
        return "*" if _times(self._tokens, place) else self._tokens[place].text

    def _number(self, ahead: int) -> str:
        token = self._tokens[self._at + ahead : self._at + ahead + 1]
        return token[0].text if token and token[0].kind == "number" else ""

    def _sum(self, depth: int) -> Fraction | None:
        value = self._product(depth)
        while value is not None and (sign := self._peek()) in ("+", "-"):
            if (other := self._behind(self._product, depth)) is None:
                break
            value, self._worked = (value + other if sign == "+" else value - other), True
        return value

    def _product(self, depth: int) -> Fraction | None:
        value = self._signed(depth)
        while value is not None and (sign := self._peek()) in ("*", "/"):
            if (other := self._behind(self._signed, depth)) is None:
                break
            if sign == "/" and other == 0:
                return None
            value = value * other if sign == "*" else value / other
            self._worked |= sign == "*"
        return value

    def _signed(self, depth: int) -> Fraction | None:
        if depth > 20:
            return None
        if (sign := self._peek()) in ("-", "+"):
            self._at += 1
            value = self._signed(depth + 1)
            return value if value is None or sign == "+" else -value
        value = self._single(depth)
        if value is None or self._peek() not in ("^", "**"):
            return value
        if (power := self._behind(self._signed, depth + 1)) is None:
            return value
        if power.denominator != 1 or abs(power) > POWER or (value == 0 and power < 0):
            return None
        self._worked = True
        return value ** int(power)

    def _single(self, depth: int) -> Fraction | None:
        if self._peek() == "(":
            before, self._at = self._at, self._at + 1
            value = self._sum(depth + 1)
            if value is None or self._peek() != ")":
                self._at = before
                return None
            self._at += 1
            return value
        if not (text := self._number(0)):
            return None
        self._at += 1
        value, over = number(text), self._peek(1) == "/"
        mixed = text, self._number(0), self._number(2)  # 1 3/4
        if value is not None and over and all(map(str.isdigit, mixed)):
            top, bottom = number(mixed[1]), number(mixed[2])
            if bottom and top is not None and top < bottom:
                self._at += 3
                value += top / bottom
        return value
