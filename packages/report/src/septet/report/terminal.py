"""`python -m septet.report show results/<scale>[/<paper>]`: the verdicts in a terminal, and where the page is."""

import argparse
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from septet.errors import InputError
from septet.reading import is_file, is_folder
from septet.report.formatting import SYMBOLS, estimate_text
from septet.report.verdicts import OUTCOMES, Verdict, check_runs, read_verdicts

INDENT = 4


def show(verdicts: list[Verdict], width: int) -> str:
    """The verdicts as lines of at most `width` columns, grouped by paper."""
    lines = []
    for paper in dict.fromkeys(verdict.paper for verdict in verdicts):
        lines += [paper, "-" * len(paper)]
        for verdict in (one for one in verdicts if one.paper == paper):
            lines += _claim(verdict, width)
        lines.append("")
    counts = Counter(verdict.verdict for verdict in verdicts)
    lines.append(", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]))
    return "\n".join(lines)


def _claim(verdict: Verdict, width: int) -> list[str]:
    ours = "" if verdict.estimate is None else f"{estimate_text(verdict)}, claimed {verdict.line}, "
    on = f", judged on {verdict.judged_on}" if verdict.judged_on else ""
    judged = f"{ours}{verdict.seeds} {verdict.replicates}{on}" if ours else verdict.reason
    head = f"{SYMBOLS[verdict.verdict]} {verdict.verdict}: {verdict.claim}{' (ours)' if verdict.ours else ''}"
    pad = " " * INDENT
    return [
        *textwrap.wrap(head, width, subsequent_indent=pad),
        *textwrap.wrap(verdict.statement, width, initial_indent=pad, subsequent_indent=pad),
        *textwrap.wrap(judged, width, initial_indent=pad, subsequent_indent=pad),
    ]


def main(arguments: Sequence[str]) -> None:
    """Print the verdicts below the folder given, then the path of its report page."""
    parser = argparse.ArgumentParser(prog="python -m septet.report show", allow_abbrev=False)
    parser.add_argument("results", type=Path, help="folder such as results/laptop or results/laptop/dynts")
    results: Path = parser.parse_args(arguments).results
    report = results / "report"
    file = (report if is_folder(report) else results) / "verdicts.json"
    verdicts = read_verdicts(file)
    here = results.absolute()
    one_paper = is_file(here / "runs.json")
    if one_paper and (odd := {one.paper for one in verdicts} - {here.name}):
        raise InputError(str(file), expected=f"verdicts of {here.name}", found=f"some of {min(odd)}")
    check_runs(file, verdicts, here.parent if one_paper else here)
    print(show(verdicts, min(100, shutil.get_terminal_size((100, 24)).columns)))
    page = report / "index.html"
    if page.is_file():
        print(f"\nreport: {page}")
