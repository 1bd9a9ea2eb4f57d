"""Tables for papers: the same rows as CSV, LaTeX and Markdown."""

import csv
import io
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


def write_tables(stem: Path, header: Row, rows: Sequence[Row]) -> None:
    """Write `<stem>.csv`, `<stem>.md` and `<stem>.tex`."""
    write_text(stem.with_suffix(".csv"), as_csv(header, rows))
    write_text(stem.with_suffix(".md"), as_markdown(header, rows))
    write_text(stem.with_suffix(".tex"), as_latex(header, rows))


def as_csv(header: Row, rows: Sequence[Row]) -> str:
    """Comma-separated values, UTF-8."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def as_markdown(header: Row, rows: Sequence[Row]) -> str:
    """A pipe table; the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def as_latex(header: Row, rows: Sequence[Row]) -> str:
    r"""A `tabular` to \input: no package is needed."""
    lines = [" & ".join(latex(cell) for cell in line) + r" \\" for line in (header, *rows)]
    body = "\n".join(lines[1:])
    columns = "l" + "r" * (len(header) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{lines[0]}\n\\hline\n{body}\n\\hline\n\\end{{tabular}}\n"


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
    """Our numbers beside the paper's."""
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
