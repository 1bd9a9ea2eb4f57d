"""Write what the published run and the claims say between the markers of README.md and of the packages' pages."""

import math
import os
import re
from collections import Counter
from functools import cache
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: the products are small

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t

from septet.reading import read_mapping
from septet.report.claims import read_claims
from septet.report.formatting import SYMBOLS, duration_text, estimate_text
from septet.report.judge import judge_published
from septet.report.source import evidence
from septet.report.tables import read_runs
from septet.report.verdicts import Verdict, best
from septet.scores import read_scores
from septet.workflow_config import read_papers

ROOT = Path(__file__).parents[1]
BLOCK = r"(<!-- {name}: begin[^\n]*-->\n).*?(<!-- {name}: end -->)"


@cache  # the tables of README.md and of the packages both ask
def judged(root: Path, paper: str) -> list[tuple[Verdict, list[Verdict]]]:
    """The verdict on each claim of a paper by the best published evidence, and those at other scales."""
    at_scales = judge_published(read_claims(root / f"config/claims/{paper}.yaml"), root / "published")
    return [best(verdicts) for verdicts in zip(*(found for _, found in at_scales), strict=True)]


def folders(root: Path, paper: str) -> list[Path]:
    """The folders of a paper's published runs, the best evidence first."""
    return [folder / paper for folder in evidence(root / "published", paper).values()]


def table(root: Path) -> str:
    """One row per published paper: how many of its claims stand; what we ask besides is counted apart."""
    outcomes = list(SYMBOLS)
    marks = [f"{symbol} {outcome.removesuffix(' at this scale')}" for outcome, symbol in SYMBOLS.items()]
    rows, total, total_own = [], Counter[str](), Counter[str]()
    for paper, row in read_papers(root).items():
        if row.optional or not folders(root, paper):
            continue
        found = [one for one, _ in judged(root, paper) if not one.by_construction]
        counts = Counter(verdict.verdict for verdict in found if not verdict.ours)
        own = Counter("hold" if verdict.verdict == "reproduced" else "do not" for verdict in found if verdict.ours)
        total.update(counts)
        total_own.update(own)
        title = f"[{paper}](packages/{row.program or paper}/README.md)"
        rows.append([title, *(str(counts[outcome]) for outcome in outcomes), _share(own)])
    rows.append(["together", *(str(total[outcome]) for outcome in outcomes), _share(total_own)])
    return _lines([["paper", *marks, "of our own claims"], ["---", *["---:"] * len(outcomes), "---"], *rows])


def findings(root: Path) -> str:
    """One line per published paper: its finding in a sentence."""
    rows = []
    for paper, row in read_papers(root).items():
        if not row.optional and folders(root, paper):
            known = read_claims(root / f"config/claims/{paper}.yaml").paper
            page = f"packages/{row.program or paper}/README.md"
            rows.append(f"- **[{paper}]({page})**, *{known.title}* ([{known.year}]({known.url})). {known.finding}\n")
    return "".join(rows)


def cost(root: Path) -> str:
    """One row per scale and processor of the published runs: time of the jobs, as their cards say."""
    jobs, spent, wall = (Counter[tuple[str, str]]() for _ in range(3))
    for paper, row in read_papers(root).items():
        if row.optional:
            continue
        for runs in (read_runs(folder / "runs.json") for folder in folders(root, paper)):
            for card in runs.runs:
                processor = f"{card.host.get('processor', 'not recorded')}, {card.host.get('cores', '?')} cores"
                where = runs.scale, processor
                jobs[where] += 1
                spent[where] += card.cpu_seconds
                wall[where] += card.wall_seconds
    head = ["scale", "processor", "training jobs", "processor time", "one job after the other"]
    rows = [[*at, str(jobs[at]), duration_text(spent[at]), duration_text(wall[at])] for at in sorted(jobs)]
    return _lines([head, ["---", "---", *["---:"] * 3], *rows])


def bibtex(root: Path) -> str:
    """An entry for this project and for each paper."""
    version = re.search(r"^version: (\S+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    title = "Septet: seven papers on policy gradients and online learning, reproduced end to end"
    entries = [("septet", "{The Septet authors}", title, f"note = {{Version {version[1] if version else '?'}}}")]
    for paper, row in read_papers(root).items():
        if row.optional:
            continue
        known = read_claims(root / f"config/claims/{paper}.yaml").paper
        authors, number = " and ".join(known.authors.split(", ")), known.url.rpartition("/")[2]
        source = f"year = {{{known.year}}}, eprint = {{{number}}}, archivePrefix = {{arXiv}}"
        entries.append((paper, authors, known.title, source))
    lines = [
        f"@misc{{{name}, author = {{{who}}},\n  title = {{{{{what}}}}},\n  {more}}}\n"
        for name, who, what, more in entries
    ]
    return f"```bibtex\n{''.join(lines)}```\n"


def claims(root: Path, paper: str) -> str:
    """One row per claim of a published paper: statement, the paper's number, ours with its interval, verdict."""
    rows = [["claim", "the paper's number", "ours [95 %]", "over", "verdict"], ["---"] * 5]
    for one, others in judged(root, paper):
        verdict = "by construction" if one.by_construction else one.verdict
        row = [f"{'*ours:* ' if one.ours else ''}{one.statement}", one.reported, estimate_text(one)]
        over = f"{one.seeds} {one.replicates}, {one.scale}" if one.seeds else "–"
        also = [f"; {other.scale}: {other.verdict}, {estimate_text(other)}" for other in others]
        row += [over, f"{SYMBOLS[one.verdict]} {verdict}{''.join(also)}"]
        rows.append([text.replace("|", "\\|") for text in row])
    return _lines(rows)


def means(root: Path, paper: str, metric: str) -> str:
    """One row per method: mean over a run of `metric` on each task, with its standard error over seeds."""
    scores = read_scores(folders(root, paper)[0] / "scores.parquet").filter(metric=metric)
    of_seed = scores.group_by("task", "method", "seed").agg(pl.col("value").mean())
    found = of_seed.group_by("task", "method").agg(
        mean=pl.col("value").mean(), error=pl.col("value").std() / pl.len().sqrt()
    )
    tasks, methods = (sorted(found[name].unique()) for name in ("task", "method"))
    cells = {(row["method"], row["task"]): row for row in found.iter_rows(named=True)}
    rows = [["method", *(task.replace("_", " ") for task in tasks)], ["---", *["---:"] * len(tasks)]]
    for method in methods:
        here = [cells.get((method, task)) for task in tasks]
        rows.append([f"`{method}`", *("–" if each is None else _mean(each) for each in here)])
    return _lines(rows)


def differences(root: Path, paper: str, metric: str, method: str, others: list[str], tasks: list[str]) -> str:
    """One row per other method, by default all that ran on all `tasks`.

    A cell is the mean over seeds of a difference: the mean of `metric` over a run of `method`, minus the other's.
    """
    scores = read_scores(folders(root, paper)[0] / "scores.parquet").filter(pl.col("task").is_in(tasks), metric=metric)
    of_seed = scores.group_by("task", "method", "seed").agg(pl.col("value").mean())
    pairs = of_seed.filter(pl.col("method") != method).join(of_seed.filter(method=method), on=["task", "seed"])
    found = pairs.group_by("method", "task").agg(
        mean=(pl.col("value_right") - pl.col("value")).mean(),
        error=(pl.col("value_right") - pl.col("value")).std() / pl.len().sqrt(),
    )
    cells = {(row["method"], row["task"]): _mean(row) for row in found.iter_rows(named=True)}
    rows = [[f"`{method}` minus", *(task.replace("_", " ") for task in tasks)], ["---", *["---:"] * len(tasks)]]
    everywhere = [each for each in sorted(found["method"].unique()) if all((each, task) in cells for task in tasks)]
    rows += [[f"`{other}`", *(cells[other, task] for task in tasks)] for other in others or everywhere]
    return _lines(rows)


def anchors(root: Path, paper: str) -> str:
    """One row per task and algorithm: our return over the last tenth of training, and what others published."""
    known = read_mapping(str(root / "config/anchors.yaml"))
    scores = pl.concat(_last_tenth(folder, known["steps"]) for folder in folders(root, paper))
    ours = ("", "_normalised")
    head = ["task", "algorithm", "ours", "ours, observations normalised", *known["sources"]]
    rows = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for task, algorithms in known["returns"].items():
        for algorithm, published in algorithms.items():
            found = [scores.filter(task=task, method=f"{algorithm}{kind}")["value"].to_numpy() for kind in ours]
            cells = [_interval(values) if len(values) > 1 else "–" for values in found]
            rows.append([task, algorithm.upper(), *cells, *(published.get(one, "–") for one in known["sources"])])
    notes = "".join(f"- *{name}*: {text}.\n" for name, text in known["sources"].items())
    return f"{_lines(rows)}\n{notes}"


def _last_tenth(folder: Path, steps: int) -> pl.DataFrame:
    """Mean return of each seed over the last tenth of `steps`, where a task was trained that long."""
    rows = read_scores(folder / "scores.parquet").filter(metric="return")
    long = rows.filter(pl.col("step").max().over("task") >= steps, pl.col("step") > 0.9 * steps)
    return long.group_by("task", "method", "seed").agg(pl.col("value").mean())


def _interval(values: NDArray[np.float64]) -> str:
    """Mean over seeds and Student's 95 % interval."""
    reach = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    mean = float(values.mean())
    return f"{mean:.0f} [{mean - reach:.0f}, {mean + reach:.0f}]"


def _mean(row: dict[str, float]) -> str:
    places = max(0, 1 - math.floor(math.log10(row["error"]))) if row["error"] else 3
    return f"{row['mean']:.{places}f} ± {row['error']:.{places}f}"


def _lines(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(' '.join(cell.split()) for cell in row)} |\n" for row in rows)


def _share(own: Counter[str]) -> str:
    return f"{own['hold']} of {own.total()} hold" if own else "-"


def _between(text: str, name: str, new: str) -> str:
    return re.sub(BLOCK.format(name=name), lambda found: found[1] + new + found[2], text, flags=re.S)


def pages(root: Path) -> dict[Path, str]:
    """The pages that have verdicts, as they should be now: README.md, and a page for each published paper."""
    front = root / "README.md"
    text = _between(front.read_text(encoding="utf-8"), "findings", findings(root))
    for name, block in (("verdicts", table), ("cost", cost), ("bibtex", bibtex)):
        text = _between(text, name, block(root))
    found = {front: text}
    for paper, row in read_papers(root).items():
        page = root / f"packages/{row.program or paper}/README.md"
        if folders(root, paper):
            text = found.get(page) or page.read_text(encoding="utf-8")
            known = read_claims(root / f"config/claims/{paper}.yaml").paper
            text = _between(text, f"finding of {paper}", f"{known.finding}\n")
            text = _between(text, f"claims of {paper}", claims(root, paper))
            for metric in re.findall(rf"<!-- means of {paper}, (\w+): begin", text):
                text = _between(text, f"means of {paper}, {metric}", means(root, paper, metric))
            for key, metric, method, others, tasks in re.findall(
                rf"<!-- (differences of {paper}, (\w+), (\w+)(?: against ([\w ]+))?, ([\w ]+)): begin", text
            ):
                text = _between(text, key, differences(root, paper, metric, method, others.split(), tasks.split()))
            if f"<!-- anchors of {paper}: begin" in text:
                text = _between(text, f"anchors of {paper}", anchors(root, paper))
            found[page] = text
    return found


if __name__ == "__main__":
    for path, text in pages(ROOT).items():
        path.write_text(text, encoding="utf-8")
