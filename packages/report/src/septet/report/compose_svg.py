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
    """Width in millimetres and number of columns: one panel as narrow as it reads, several side by side.

    Panels too wide or too many to read at `SMALLEST` get the columns that leave them largest.
    """
    by_columns = range(len(panels), 0, -1)
    for columns in by_columns:
        for mm in WIDTHS_MM:
            if _scale(panels, mm, columns) >= SMALLEST:
                return mm, columns
    return WIDTHS_MM[-1], max(by_columns, key=lambda columns: _scale(panels, WIDTHS_MM[-1], columns))


def compose(panels: Sequence[Panel], title: str, *, points: bool = False) -> str:
    """An SVG file with all panels, as wide as `arrange` says, no taller than a page, and no larger than life.

    Text stays text, in Liberation Sans or whichever font of the same metrics is at hand.

    Args:
        points: state the size in points, as plain numbers; for PDF, which has no other unit.
    """
    mm, columns = arrange(panels)
    rows, wide, tall = _grid(panels, columns)
    height, width = _extent(tall), mm * PIXELS_PER_MM / _scale(panels, mm, columns)
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


def _grid(panels: Sequence[Panel], columns: int) -> tuple[list[Sequence[Panel]], list[float], list[float]]:
    """The panels row by row, the width of each column, and the height of each row."""
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    wide = [max(panel.picture.width for panel in panels[place::columns]) for place in range(columns)]
    return rows, wide, [max(panel.picture.height for panel in row) for row in rows]


def _extent(sizes: Sequence[float]) -> float:
    """Rows or columns with the gaps between them."""
    return sum(sizes) + GAP * (len(sizes) - 1)


def _scale(panels: Sequence[Panel], mm: int, columns: int) -> float:
    """By how much the panels shrink to fit a width and a page; at most 1."""
    _, wide, tall = _grid(panels, columns)
    return min(1.0, mm * PIXELS_PER_MM / _extent(wide), HEIGHT_MM * PIXELS_PER_MM / _extent(tall))
