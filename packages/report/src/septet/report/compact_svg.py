"""Vega's SVG made small: flat, on a grid of a tenth of a pixel, marks of one style drawn together.

Vega nests every mark in groups and repeats font and colour on each. What it draws comes out the same in
about a quarter of the text, which is what lets fifty figures travel inside one page.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby

TAG = "@"
"""A mark whose aria-label is `@17` is point 17: its place is reported, and its drawing kept if it shows."""

_CIRCLE = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0(Z?)")
_TRANSFORM = re.compile(r"translate\(([^,)]+)(?:,([^)]+))?\)(?: rotate\(([-\d.e]+)\)(?: translate\(0,-?3\))?)?")
# Vega moves turned text by three pixels across its line, which is less than the space around it: left out.
_PATH = re.compile(r"(?:[MLHVCAZhvz][-\d.e, ]*)+")
_STEP = re.compile(r"([A-Za-df-z])([^A-Za-df-z]*)")
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e-?\d+)?")
_STYLE = ("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity")
_TEXT_STYLE = ("fill", "font-size", "font-weight", "text-anchor", "opacity")
_DEFAULTS = {"fill": "none", "stroke": "none", "opacity": "1", "stroke-width": "1", "font-weight": "normal"}

Style = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Picture:
    """A drawing without its frame."""

    width: float
    height: float
    body: str
    """SVG elements, in pixels."""


@dataclass(frozen=True)
class _Mark:
    tag: str
    style: Style
    drawing: str


def compact(text: str) -> tuple[Picture, dict[int, tuple[float, float]]]:
    """The picture in an SVG file that Vega wrote, and where each tagged mark lies.

    Raises:
        ValueError: it holds an element, a transformation or a path that no release so far has written; nothing is left
            out of a figure unseen.
    """
    root = ET.fromstring(text)
    for ground in root.findall("{*}rect"):  # the white below everything
        root.remove(ground)
    points: dict[int, tuple[float, float]] = {}
    marks = list(_marks(root, 0.0, 0.0, points))
    return Picture(float(root.attrib["width"]), float(root.attrib["height"]), _body(marks)), points


def number(value: float) -> str:
    """A coordinate with one decimal at most, without a needless zero."""
    text = f"{value:.1f}".removesuffix(".0")
    text = "0" if text == "-0" else text
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _marks(node: ET.Element, x: float, y: float, points: dict[int, tuple[float, float]]) -> Iterator[_Mark]:
    for child in node:
        tag = child.tag.rpartition("}")[2]
        given = child.attrib
        if given.get("display") == "none":
            continue
        if tag == "g":
            dx, dy = _shift(given)
            yield from _marks(child, x + dx, y + dy, points)
        elif tag in ("path", "line", "text"):
            dx, dy = _shift(given)
            here = (x + dx, y + dy)
            _note(given, here, points)
            if given.get("opacity") == "0" or given.get("class") in ("background", "foreground"):
                continue
            if tag == "text":
                yield from _text(child, here)
                continue
            style = tuple(
                (name, given[name]) for name in _STYLE if given.get(name, _DEFAULTS.get(name)) != _DEFAULTS.get(name)
            )
            if not any(name in ("fill", "stroke") for name, _ in style):
                continue
            yield _line(given, here, style) if tag == "line" else _path(given, here, style)
        elif tag != "defs":
            raise _unknown(f"the element <{tag}>")


def _note(given: dict[str, str], here: tuple[float, float], points: dict[int, tuple[float, float]]) -> None:
    label = given.get("aria-label", "")
    if not label.startswith(TAG):
        return
    if "transform" not in given:  # a cell: its path starts in a corner and then says how wide and how high it is
        x, y, wide, high = (float(part) for part in _NUMBER.findall(given["d"])[:4])
        here = (here[0] + x + wide / 2, here[1] + y + high / 2)
    points[int(label.removeprefix(TAG))] = here


def _shift(given: dict[str, str]) -> tuple[float, float]:
    found = _transform(given)
    return (float(found[1]), float(found[2] or 0)) if found else (0.0, 0.0)


def _transform(given: dict[str, str]) -> re.Match[str] | None:
    if "transform" not in given:
        return None
    found = _TRANSFORM.fullmatch(given["transform"])
    if found is None:
        raise _unknown(f"the transformation {given['transform']}")
    return found


def _unknown(what: str) -> ValueError:
    return ValueError(f"Vega wrote {what}: septet.report.compact_svg has to learn it")


def _line(given: dict[str, str], here: tuple[float, float], style: Style) -> _Mark:
    x, y = here
    dx, dy = float(given.get("x2", 0)), float(given.get("y2", 0))
    end = f"V{number(y + dy)}" if dx == 0 else f"H{number(x + dx)}" if dy == 0 else f"L{_pair(x + dx, y + dy)}"
    return _Mark("path", style, f"M{_pair(x, y)}{end}")


def _path(given: dict[str, str], here: tuple[float, float], style: Style) -> _Mark:
    x, y = here
    if circle := _CIRCLE.fullmatch(given["d"]):
        return _Mark("circle", style, f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(float(circle[1]))}"/>')
    return _Mark("path", style, "".join(_steps(given["d"], x, y)))


def _steps(d: str, x: float, y: float) -> Iterator[str]:
    """A path's steps, moved by (x, y); a step that rounds to no step is left out."""
    if not _PATH.fullmatch(d):
        raise _unknown(f"the path {d[:60]}")
    last = ""
    for letter, rest in _STEP.findall(d):
        values = [float(part) for part in _NUMBER.findall(rest)]
        if letter in "MLC":
            values = [value + (x, y)[place % 2] for place, value in enumerate(values)]
        elif letter in "HV":
            values = [values[0] + (x if letter == "H" else y)]
        elif letter == "A":
            values = [*values[:-2], values[-2] + x, values[-1] + y]
        step = letter + " ".join(number(value) for value in values).replace(" -", "-")
        if letter != "L" or step[1:] != last:
            yield step
        last = step[1:] if letter in "ML" else ""


def _text(node: ET.Element, here: tuple[float, float]) -> Iterator[_Mark]:
    given = node.attrib
    if not "".join(node.itertext()).strip():
        return
    kept = {
        name: given.get(name, "start" if name == "text-anchor" else _DEFAULTS.get(name, "")) for name in _TEXT_STYLE
    }
    style = tuple((name, value) for name, value in kept.items() if value not in ("", "start", "1", "normal"))
    found = _transform(given)
    turn = found[3] if found else None
    lines = [("".join(node.itertext()), 0.0)]
    if len(node):
        lines = [("".join(part.itertext()), place * float(part.get("dy", 0))) for place, part in enumerate(node)]
    for words, down in lines:
        x, y = number(here[0]), number(here[1] + down)
        place = f'transform="translate({x} {y}) rotate({number(float(turn))})"' if turn else f'x="{x}" y="{y}"'
        yield _Mark("text", style, f"<text {place}>{escape(words, quote=False)}</text>")


def _pair(x: float, y: float) -> str:
    return f"{number(x)} {number(y)}".replace(" -", "-")


def _body(marks: list[_Mark]) -> str:
    """Neighbours of one style as one group, and as one path unless they shine through each other."""
    parts = []
    for (tag, style), group in groupby(marks, key=lambda mark: (mark.tag, mark.style)):
        attributes = "".join(f' {name}="{value.removesuffix("px")}"' for name, value in style)
        drawings = [mark.drawing for mark in group]
        if tag == "path":
            given = {name for name, _ in style}
            fill = "" if "fill" in given else ' fill="none"'
            joined = drawings if "opacity" in given else ["".join(_chained(drawings))]
            parts += [f'<path{fill}{attributes} d="{d}"/>' for d in joined]
        elif len(drawings) == 1:
            parts.append(drawings[0].replace(f"<{tag}", f"<{tag}{attributes}", 1))
        else:
            parts.append(f"<g{attributes}>{''.join(drawings)}</g>")
    return "".join(parts)


def _chained(drawings: list[str]) -> list[str]:
    """Paths of one step each that start where another one ends, as one path: contours come in such pieces."""
    ends: dict[str, list[int]] = {}
    chains: list[list[str]] = []
    for drawing in drawings:
        start, step, end = drawing.removeprefix("M").partition("L")
        if not step or "L" in end or "Z" in end:
            chains.append([drawing])
            continue
        for here, there in ((start, end), (end, start)):
            if ends.get(here):
                chain = ends[here].pop()
                chains[chain].append(f"L{there}")
                ends.setdefault(there, []).append(chain)
                break
        else:
            ends.setdefault(end, []).append(len(chains))
            chains.append([drawing])
    return ["".join(chain) for chain in chains]
