"""Write docs/verdict-changes.md: verdicts that changed, the reasons, and the distribution of the scores."""

from pathlib import Path

import numpy as np

from septet.files import write_text
from septet.report import judging, tables
from septet.report.claims import Claim, Improvement, ShiftOfBest, read_all
from septet.report.estimands import Contrast
from septet.report.formatting import estimate_text
from septet.report.judge import judge_published
from septet.report.remarks import change, needs
from septet.report.statistics import Array
from septet.report.tables import Paper
from septet.report.tabulate import as_markdown
from septet.report.verdicts import Verdict, best

ROOT = Path(__file__).parents[1]


def looks_like(z: Array) -> str:
    """Classify the values of one claim by their outliers and skewness."""
    spread = 1.4826 * np.median(np.abs(z - np.median(z)))
    if spread == 0 or np.ptp(z) <= 1e-12 * np.abs(z).max():
        return "few values"
    if (np.abs(z - np.median(z)) > 6 * spread).any():
        return "a few runs far from the others"
    error = np.sqrt(6 * len(z) * (len(z) - 1) / ((len(z) - 2) * (len(z) + 1) * (len(z) + 3)))
    return "skewed" if abs(_moment(z, 3)) > 2 * error else "nearly symmetric"


COVERED = {
    "few values": "0/1",
    "a few runs far from the others": "one run in five fails",
    "skewed": "lognormal",
    "nearly symmetric": "normal, heavy tails, accuracies, counts",
}


def _moment(z: Array, order: int) -> float:
    return float((((z - z.mean()) / z.std()) ** order).mean()) if z.std() > 0 else 0.0


def shape(claim: Claim, paper: Paper) -> list[str] | None:
    """A row on the scores of a judged claim: seeds, skewness, excess kurtosis, distinct values, distribution."""
    results = tables.timed(paper) if claim.is_timed else paper
    try:
        scores, seeds = judging.seed_array(claim, results)
        quantity = judging.quantity_of(claim, results, scores)
    except judging.NotJudged:
        return None
    row = [paper.id, claim.id, str(len(seeds))]
    if isinstance(claim.estimand, Improvement | ShiftOfBest) or not isinstance(quantity, Contrast):
        return [*row, "", "", "", "ranks: any shape" if isinstance(claim.estimand, Improvement) else "see coverage"]
    z = quantity.influence()
    numbers = [f"{_moment(z, 3):.1f}", f"{_moment(z, 4) - 3:.1f}", str(len(np.unique(np.round(z, 12))))]
    if claim.is_timed:
        centred = z - z.mean()
        lag = float((centred[1:] * centred[:-1]).sum() / (centred**2).sum())
        return [*row, *numbers, f"series, lag-1 autocorrelation {lag:.2f}"]
    if claim.range is not None:
        return [*row, *numbers, f"within [{claim.range[0]:g}, {claim.range[1]:g}]: any shape"]
    found = looks_like(z)
    return [*row, *numbers, f"{found} ({COVERED[found]}){'; declared regular' if claim.regular else ''}"]


def page(root: Path) -> str:
    """Return the page, computed from published/ and the current claims."""
    changed: list[list[str]] = []
    shapes: list[list[str]] = []
    verdicts: list[Verdict] = []
    for file in read_all(sorted((root / "config/claims").glob("*.yaml"))):
        at_scales = judge_published(file, root / "published")
        papers = {paper.scale: paper for paper, _ in at_scales}
        at_best = [best(each)[0] for each in zip(*(found for _, found in at_scales), strict=True)]
        for claim, one in zip(file.claims if papers else [], at_best, strict=True):
            verdicts.append(one)
            if one.estimate is not None and (row := shape(claim, papers[one.scale])):
                shapes.append(row)
            if was := change(one):
                undecided = f" {needs(one)}" if one.verdict == "undecided" else ""
                now = f"{one.verdict}, {estimate_text(one)}"
                changed.append([one.paper, one.claim, was[0], now, f"{was[1]}.{undecided}"])
    judged = sum(one.estimate is not None for one in verdicts)
    return f"""# Verdicts that changed

Written by `tools/verdict_changes.py` (part of `make coverage`) from `published/`. For {len(changed)} of {judged} judged
claims, the verdict differs from that of the percentile bootstrap on the laptop run. [Statistics](statistics.md)
explains the tests.

{as_markdown(["paper", "claim", "was", "is", "why"], changed)}
## Distribution of the judged scores

One number per seed: its influence on the estimate; with several rivals, for the decisive one. Skewness and excess
kurtosis of so few values are rough (the skewness of five values never exceeds 1.5). The last column names the
distributions of the coverage study that they resemble.

{as_markdown(["paper", "claim", "n", "skewness", "excess kurtosis", "distinct values", "looks like"], shapes)}"""


if __name__ == "__main__":
    write_text(ROOT / "docs/verdict-changes.md", page(ROOT))
