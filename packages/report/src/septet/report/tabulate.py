"""Tables for papers: the same rows as CSV, LaTeX and Markdown."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from septet.files import write_text
from septet.report.formatting import estimate_text, interval_text

if TYPE_CHECKING:  # figures do not depend on how claims are judged, nor verdicts on how figures are drawn
    from septet.report.figure_files import Panel
    from septet.report.verdicts import Verdict

Row = Sequence[str]

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": "$-$", "–": "--", "≤": r"$\le$", "≥": r"$\ge$", "±": r"$\pm$", "×": r"$\times$", "¼": r"$\frac{1}{4}$",
    "½": r"$\frac{1}{2}$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "ε": r"$\varepsilon$", "η": r"$\eta$",
    "λ": r"$\lambda$", "μ": r"$\mu$", "σ": r"$\sigma$", "θ": r"$\theta$", "π": r"$\pi$", "Λ": r"$\Lambda$",
    "∞": r"$\infty$", "→": r"$\to$", "√": r"$\surd$", "²": r"$^2$", "·": r"$\cdot$", "Δ": r"$\Delta$", "§": r"\S{}",
    "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip


def as_csv(header: Row, rows: Sequence[Row]) -> str:
    """Comma-separated values, UTF-8."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def as_markdown(header: Row, rows: Sequence[Row]) -> str:
    """A pipe table; the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


LINE = 90
"""Characters of a line of text in print."""
ROWS_OF_A_PAGE = 45


def as_latex(header: Row, rows: Sequence[Row]) -> str:
    r"""A booktabs table to \input, as wide as the text at most; a long one breaks across pages.

    Where the cells are too wide together, columns have the widths of `shares`, and text breaks inside them. The first
    line names the packages that are needed.
    """
    columns = [[line[place] for line in (header, *rows)] for place in range(len(header))]
    if sum(max(map(len, column)) for column in columns) + 2 * len(columns) <= LINE:
        packages, form, tall = ["booktabs"], "l" + "r" * (len(header) - 1), len(rows) > ROWS_OF_A_PAGE
    else:
        widths = shares(columns)
        parts = [rf"p{{\dimexpr{width:.3f}\linewidth-2\tabcolsep\relax}}" for width in widths]
        packages, form = ["booktabs", "array"], "".join(rf">{{\raggedright\arraybackslash}}{part}" for part in parts)
        tall = sum(_lines(row, widths) for row in rows) > ROWS_OF_A_PAGE
    name = "longtable" if tall else "tabular"
    head, *body = (" & ".join(latex(cell) for cell in line) + r" \\" for line in (header, *rows))
    return "\n".join(
        [
            rf"% \usepackage{{{', '.join([*packages, 'longtable'] if tall else packages)}}}",
            *(rf"\begin{{{name}}}{{{form}}}", r"\toprule", head, r"\midrule", *([r"\endhead"] if tall else [])),
            *(*body, r"\bottomrule", rf"\end{{{name}}}", ""),
        ]
    )


def _lines(row: Row, widths: Sequence[float]) -> int:
    """Lines that a row takes in columns of these shares."""
    return max(math.ceil(len(cell) / (LINE * width)) for cell, width in zip(row, widths, strict=True))


def shares(columns: Sequence[Sequence[str]]) -> list[float]:
    """Shares of a line, 1 together: each column has room for its longest word, the rest is split by length of text."""
    words = [max(len(word) + 2 for cell in column for word in (cell.split() or [""])) for column in columns]
    more = [max(0, min(LINE, max(map(len, column))) - word) for column, word in zip(columns, words, strict=True)]
    room = max(0, LINE - sum(words)) / (sum(more) or 1)
    widths = [word + room * extra for word, extra in zip(words, more, strict=True)]
    return [width / sum(widths) for width in widths]


def latex(text: str) -> str:
    """Text with LaTeX's special signs, and the symbols of our captions, as LaTeX writes them."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def levels(panels: "Sequence[Panel]") -> tuple[Row, list[Row]]:
    """What a figure says in numbers: a row per series, a column per panel, `mean [low, high]` in each cell.

    Of a line the right end counts. Of panels without means (samples, maps) only the points are counted.
    """
    ends = [_ends(panel) for panel in panels]
    names = list(dict.fromkeys(name for one in ends for name in one))
    if not names:
        return ("panel", "points"), [(panel.title or "all", str(len(panel.points))) for panel in panels]
    titles = [panel.title or panel.titles.get("mean", "value") for panel in panels]
    return ("", *titles), [(name, *(one.get(name, "–") for one in ends)) for name in names]


def claims(verdicts: "Sequence[Verdict]") -> tuple[Row, list[Row]]:
    """Our numbers next to the paper's."""
    header = (
        *("claim", "where in the paper", "judged on", "paper reports", "held against", "ours, 95 % interval"),
        *("claimed", "replicates", "verdict", "replicates needed"),
    )
    rows: list[Row] = [
        (
            *(one.statement, one.source, one.judged_on, one.reported, _held(one), estimate_text(one), one.line),
            *(f"{one.seeds} {one.replicates}", one.verdict, "" if one.seeds_needed is None else str(one.seeds_needed)),
        )
        for one in verdicts
    ]
    return header, rows


def claims_in_print(verdicts: "Sequence[Verdict]") -> tuple[Row, list[Row]]:
    """The columns of `claims` that a page has room for, under short names; the others are in CSV and Markdown."""
    rows: list[Row] = [
        (
            f"{one.statement}{' (ours)' if one.ours else ''}",
            *("–" if one.reported == "not recovered" else one.reported, estimate_text(one), one.line),
            *(str(one.seeds or "–"), one.verdict.removesuffix(" at this scale")),
        )
        for one in verdicts
    ]
    return ("Claim", "Paper", "Ours [95 %]", "Claimed", "n", "Verdict"), rows


def write_claims(stem: Path, verdicts: "Sequence[Verdict]") -> None:
    """Write `<stem>.csv`, `<stem>.md` and `<stem>.tex`."""
    write_text(stem.with_suffix(".csv"), as_csv(*claims(verdicts)))
    write_text(stem.with_suffix(".md"), as_markdown(*claims(verdicts)))
    write_text(stem.with_suffix(".tex"), as_latex(*claims_in_print(verdicts)))


def _held(verdict: "Verdict") -> str:
    """The paper's number and whether ours agrees, or that there is none."""
    return verdict.number if verdict.number_verdict is None else f"{verdict.number}: {verdict.number_verdict}"


def points(panels: "Sequence[Panel]") -> tuple[Row, list[Row]]:
    """Every point that is drawn, one row each, with the ids of its run cards."""
    rows = [{"panel": panel.title, **point.row} for panel in panels for point in panel.points]
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if not name.startswith("_")]
    return columns, [[_plain(row.get(name, "")) for name in columns] for row in rows]


def _ends(panel: "Panel") -> dict[str, str]:
    found: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for point in panel.points:
        row = point.row
        if "mean" in row and (row["series"] not in found or point.x >= found[row["series"]][0]):
            found[row["series"]] = (point.x, row)
    return {name: interval_text(row["mean"], row["low"], row["high"]) for name, (_, row) in found.items()}


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
