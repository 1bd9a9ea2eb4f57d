"""`python -m septet.report show results/<scale>[/<paper>]`: the verdicts in a terminal, and where the page is."""

import argparse
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from septet.errors import InputError
from septet.reading import is_file, is_folder
from septet.report.formatting import SYMBOLS, estimate_text
from septet.report.verdicts import OUTCOMES, Outcome, Verdict, check_runs, read_verdicts

INDENT = 4
COLOURS: dict[Outcome, int] = {"reproduced": 32, "not reproduced": 31, "undecided": 33, "not judged at this scale": 90}


def show(verdicts: list[Verdict], width: int) -> str:
    """The verdicts as lines of at most `width` columns, grouped by paper."""
    lines = []
    for paper in dict.fromkeys(verdict.paper for verdict in verdicts):
        lines += [paper, "-" * len(paper)]
        for verdict in (one for one in verdicts if one.paper == paper):
            lines += _claim(verdict, width)
        lines.append("")
    for group, ours in (("the papers'", False), ("ours", True)):
        counts = Counter(one.verdict for one in verdicts if one.ours == ours and not one.by_construction)
        listed = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
        lines += textwrap.wrap(f"{group}: {listed}", width, subsequent_indent=" " * INDENT) if listed else []
    return "\n".join(lines)


def table(verdicts: list[Verdict], colour: bool) -> str:
    """A row per paper: how many claims have each verdict; `2 + 3` is two of the paper's and three of ours."""
    papers = dict.fromkeys(one.paper for one in verdicts)
    wide = max(len(paper) for paper in papers)
    found = Counter((one.paper, one.verdict, one.ours) for one in verdicts if not one.by_construction)
    titles = {outcome: f"{SYMBOLS[outcome]} {outcome.removesuffix(' at this scale')}" for outcome in OUTCOMES}
    lines = ["  ".join([" " * wide, *titles.values()])]
    for paper in papers:
        cells = [paper.ljust(wide)]
        for outcome, title in titles.items():
            cell = f"{found[paper, outcome, False]} + {found[paper, outcome, True]}".center(len(title))
            cells.append(f"\x1b[{COLOURS[outcome]}m{cell}\x1b[0m" if colour else cell)
        lines.append("  ".join(cells))
    return "\n".join([*lines, "", "the paper's claims + ours; every claim: make verdicts"])


def _claim(verdict: Verdict, width: int) -> list[str]:
    ours = "" if verdict.estimate is None else f"{estimate_text(verdict)}, claimed {verdict.line}, "
    on = f", judged on {verdict.judged_on}" if verdict.judged_on else ""
    judged = f"{ours}{verdict.seeds} {verdict.replicates}{on}" if ours else verdict.reason
    head = f"{SYMBOLS[verdict.verdict]} {verdict.verdict}: {verdict.claim}{' (ours)' if verdict.ours else ''}"
    pad = " " * INDENT
    parts = (("", head), (pad, verdict.statement), (pad, judged))
    return [
        line
        for start, text in parts
        for line in textwrap.wrap(text, width, initial_indent=start, subsequent_indent=pad)
    ]


def main(arguments: Sequence[str]) -> None:
    """Print the verdicts below the folder given, then the path of its report page."""
    parser = argparse.ArgumentParser(prog="python -m septet.report show", allow_abbrev=False)
    parser.add_argument("results", type=Path, help="folder such as results/laptop or results/laptop/dynts")
    parser.add_argument("--all", action="store_true", help="every claim instead of a row per paper")
    parser.add_argument("--source", help="the folder that the runs were taken from")
    given = parser.parse_args(arguments)
    results: Path = given.results
    report = results / "report"
    file = (report if is_folder(report) else results) / "verdicts.json"
    verdicts = read_verdicts(file)
    here = results.absolute()
    one_paper = is_file(here / "runs.json")
    if one_paper and (odd := {one.paper for one in verdicts} - {here.name}):
        raise InputError(str(file), expected=f"verdicts of {here.name}", found=f"some of {min(odd)}")
    folder = here.parent if one_paper else here
    check_runs(file, verdicts, folder, *sorted(folder.parent.glob(f"{folder.name}-*")))
    if given.all:
        print(show(verdicts, min(100, shutil.get_terminal_size((100, 24)).columns)))
    else:
        print(table(verdicts, sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    page = report / "index.html"
    if page.is_file():
        print(f"\nreport: {page}{f' (runs from {given.source})' if given.source else ''}")
