"""Colours, fonts and lines of every figure: one Vega-Lite configuration.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), told apart with any common
colour blindness; their yellow is left out, as it is too pale for a thin line on white.
"""

from typing import Any

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
BLACK = "#000000"
GREY = "#7F7F7F"
WHITE = "#F0EFEA"
"""In place of black on a dark ground."""

PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
"""In order of use: the paper's own method is blue, a plain baseline is grey or black."""

INK = "#222222"
FAINT = "#6B6B6B"
RULE = "#E4E4E4"

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Liberation Sans comes with vl-convert and has the metrics of Arial, so files and page agree."""

SIZE = 11
"""Points of a tick label; titles are one larger. Readable at the width of a paper's column."""

CONFIG: dict[str, Any] = {
    "background": "white",
    "aria": False,  # the caption describes the figure; a label on each of hundreds of marks would hide it
    "font": FONT,
    "padding": 4,
    "view": {"stroke": None, "continuousWidth": 260, "continuousHeight": 180},
    "axis": {
        "labelColor": FAINT,
        "labelFontSize": SIZE,
        "titleColor": INK,
        "titleFontSize": SIZE + 1,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": RULE,
        "gridWidth": 0.6,
        "domainColor": "#B5B5B5",
        "tickColor": "#B5B5B5",
        "tickSize": 4,
        "labelPadding": 3,
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False, "grid": True},
    "title": {
        "anchor": "start",
        "color": INK,
        "fontSize": SIZE + 1,
        "fontWeight": "bold",
        "offset": 10,
        "frame": "group",
    },
    "line": {"strokeWidth": 1.8, "strokeJoin": "round", "strokeCap": "round"},
    "area": {"opacity": 0.15, "line": False},
    "text": {"fontSize": SIZE, "color": INK},
    "rule": {"color": FAINT},
}


def ink(colour: str) -> str:
    """`colour` darkened as far as text on white needs it: a contrast of 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    return shade(colour, "#FFFFFF", TEXT_CONTRAST)


def shade(colour: str, ground: str, contrast: float) -> str:
    """`colour` moved towards black, or on a dark ground towards white, until it stands out from the ground."""
    away = 0 if luminance(ground) > 0.18 else 255
    parts = _parts(colour)
    for percent in range(100, -1, -5):
        moved = [round(part * percent / 100 + away * (1 - percent / 100)) for part in parts]
        found = "#" + "".join(f"{part:02X}" for part in moved)
        if contrast_of(found, ground) >= contrast:
            break
    return found


def contrast_of(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in _parts(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _parts(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]


TEXT_CONTRAST, MARK_CONTRAST = 4.5, 3.0
"""What WCAG 2.2 asks of text (1.4.3) and of lines and points (1.4.11)."""

LIGHT, DARK = "#FDFDFB", "#161615"
"""The grounds of the report page."""

AXIS = "#B5B5B5"

PAGE_TEXT = {INK: "var(--ink)", FAINT: "var(--faint)"} | {
    form.upper(): f"var(--t{place})" for place, colour in enumerate(PALETTE) for form in (colour, ink(colour))
}
"""Colour of a text in a figure -> the page's variable for it."""

PAGE_MARKS = {INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)", AXIS: "var(--axis)"} | {
    colour.upper(): f"var(--c{place})" for place, colour in enumerate(PALETTE)
}
"""Colour of a line, point or band in a figure -> the page's variable for it."""


def page_colour(colour: str, ground: str, contrast: float) -> str:
    """A colour of the palette where it can be seen; in the dark black becomes white, to differ from `GREY`."""
    return shade(WHITE if colour == BLACK and ground == DARK else colour, ground, contrast)


def page_colours() -> str:
    """The variables of `PAGE_TEXT` and `PAGE_MARKS` as CSS: each colour for light and dark, where it can be seen."""
    found = []
    for place, colour in enumerate(PALETTE):
        for letter, contrast in (("c", MARK_CONTRAST), ("t", TEXT_CONTRAST)):
            light, dark = (page_colour(colour, ground, contrast) for ground in (LIGHT, DARK))
            found.append(f"--{letter}{place}: light-dark({light}, {dark});")
    return f":root {{ --axis: light-dark({AXIS}, #5C5A54); {' '.join(found)} }}\n"
