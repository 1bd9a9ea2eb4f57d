"""Write the table of verdicts of the published run into README.md, between its markers."""

import re
from collections import Counter
from pathlib import Path

from septet.report.claims import read_claims
from septet.report.formatting import SYMBOLS
from septet.report.tables import read_paper
from septet.report.verdicts import judge
from septet.workflow_config import read_papers

ROOT = Path(__file__).parents[1]
BLOCK = r"(<!-- verdicts: begin[^\n]*-->\n).*?(<!-- verdicts: end -->)"


def table(root: Path) -> str:
    """One row per published paper: how many of its claims stand; what we ask besides is counted apart."""
    outcomes = list(SYMBOLS)
    head = [
        "paper",
        *(f"{SYMBOLS[outcome]} {outcome.removesuffix(' at this scale')}" for outcome in outcomes),
        "of our own claims",
    ]
    rows, total, total_own = [], Counter[str](), Counter[str]()
    for paper, row in read_papers(root).items():
        folder = root / "published" / paper
        if row.optional or not folder.is_dir():
            continue
        file, results = read_claims(root / f"config/claims/{paper}.yaml"), read_paper(folder)
        found = [one for one in judge(file, results, results.scale) if not one.by_construction]
        counts = Counter(verdict.verdict for verdict in found if not verdict.ours)
        own = Counter("hold" if verdict.verdict == "reproduced" else "do not" for verdict in found if verdict.ours)
        total.update(counts)
        total_own.update(own)
        page = f"packages/{row.program or paper}/README.md"
        title = f"[{file.paper.title}]({page}) (`{paper}`, [{file.paper.year}]({file.paper.url}))"
        rows.append([title, *(str(counts[outcome]) for outcome in outcomes), _share(own)])
    rows.append(["together", *(str(total[outcome]) for outcome in outcomes), _share(total_own)])
    lines = [head, ["---", *["---:"] * len(outcomes), "---"], *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def _share(own: Counter[str]) -> str:
    return f"{own['hold']} of {own.total()} hold" if own else "-"


def readme(root: Path) -> str:
    """The text of README.md with the table as it is now."""
    return re.sub(
        BLOCK,
        lambda found: found[1] + table(root) + found[2],
        (root / "README.md").read_text(encoding="utf-8"),
        flags=re.S,
    )


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(ROOT), encoding="utf-8")
