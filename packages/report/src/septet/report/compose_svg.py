"""A figure's panels as one picture of a width that journals print: one, one and a half, or two columns."""

from collections.abc import Sequence
from html import escape

from septet.report import theme
from septet.report.compact_svg import number
from septet.report.figure_files import Panel

WIDTHS_MM = (84, 120, 174)
"""The widths of figure files: one column, one and a half, two."""

PIXELS_PER_INCH, POINTS_PER_INCH = 96, 72
PIXELS_PER_MM = PIXELS_PER_INCH / 25.4
HEIGHT_MM = 230
"""The tallest figure: what a caption leaves of the text of a page."""
SMALLEST = 0.75
"""How far a panel may be shrunk to fit a width: 11 pixels become 6.2 points."""

GAP = 18.0


def arrange(panels: Sequence[Panel]) -> tuple[int, int]:
    """Width in millimetres and number of columns: one panel as narrow as it reads, several side by side."""
    widths = [panel.picture.width for panel in panels]
    for columns in range(len(panels), 0, -1):
        natural = _natural(widths, columns)
        fitting = [mm for mm in WIDTHS_MM if mm * PIXELS_PER_MM >= SMALLEST * natural]
        if fitting:
            return fitting[0], columns
    return WIDTHS_MM[-1], 1


def compose(panels: Sequence[Panel], title: str, *, points: bool = False) -> str:
    """An SVG file with all panels, as wide as `arrange` says, no taller than a page, and no larger than life.

    Text stays text, in Liberation Sans or whichever font of the same metrics is at hand.

    Args:
        points: state the size in points, as plain numbers; for PDF, which has no other unit.
    """
    mm, columns = arrange(panels)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    wide = [max(row[place].picture.width for row in rows if place < len(row)) for place in range(columns)]
    tall = [max(panel.picture.height for panel in row) for row in rows]
    height = sum(tall) + GAP * (len(rows) - 1)
    natural = _natural([panel.picture.width for panel in panels], columns)
    scale = min(1.0, mm * PIXELS_PER_MM / natural, HEIGHT_MM * PIXELS_PER_MM / height)
    width = mm * PIXELS_PER_MM / scale
    parts = []
    for line, row in enumerate(rows):
        for place, panel in enumerate(row):
            x, y = sum(wide[:place]) + GAP * place, sum(tall[:line]) + GAP * line
            parts.append(f'<g transform="translate({number(x)} {number(y)})">{panel.picture.body}</g>')
    unit, size = ("", mm / 25.4 * POINTS_PER_INCH) if points else ("mm", mm)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size:.6g}{unit}" height="{height / width * size:.6g}{unit}"'
        f' viewBox="0 0 {width:.1f} {height:.1f}" font-family="{theme.FONT}"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _natural(widths: Sequence[float], columns: int) -> float:
    """Width of the panels in so many columns, each as wide as its widest panel."""
    return sum(max(widths[place::columns]) for place in range(columns)) + GAP * (columns - 1)
