"""Figures of the EM policy gradient on a real language model."""

import textwrap
from typing import Any

import altair as alt
import polars as pl

from septet.errors import InputError
from septet.report import charts, tables, theme
from septet.report.draw import BANDS, figure
from septet.report.papers.empg import METHODS
from septet.report.tables import Paper

PANELS = {
    "sampled": "Held-out accuracy, sampled",
    "accuracy": "Held-out accuracy, greedy",
    "reward": "Training reward",
    "length": "Tokens of a response",
    "test_length_correct": "Tokens of a correct greedy response",
}
BEHAVIOURS = {
    "decomposition": "Three or more numbered steps",
    "verification": "Verification",
    "backtracking": "Backtracking",
    "code": "Code block",
}
TASKS = {"chat": "SmolLM2, sums", "gsm8k": "Qwen-Coder 0.5B, GSM8K"}
COLUMNS = (("question", 0, 34), ("before", 230, 44), ("after", 530, 44), ("gold", 830, 8))
LINES, EXAMPLES = 8, 5


def _panels(paper: Paper, names: dict[str, str], y_title: str) -> charts.Panels:
    """A panel for each metric of each task."""
    present = set(paper.scores["metric"].unique())
    found = {metric: tables.curves(paper, metric) for metric in names if metric in present}
    panels = {
        f"{task}.{metric}": f"{TASKS[task]}: {title[0].lower()}{title[1:]}"
        for task in TASKS
        for metric, title in names.items()
    }
    parts = [frame.with_columns(task=pl.col("task") + f".{metric}") for metric, frame in found.items()]
    return charts.by_task(pl.concat(parts), panels, METHODS, x_title="step", y_title=y_title)


@figure("Real language models learn", BANDS)
def real_curves(paper: Paper) -> charts.Panels:
    """Reinforcement learning of SmolLM2-135M-Instruct on one-digit arithmetic and, at scale overnight, of
    Qwen2.5-Coder-0.5B-Instruct on GSM8K's shorter problems: accuracy on held-out questions, reward and length against
    step.
    """
    return _panels(paper, PANELS, "mean over seeds")


@figure("Behaviours", BANDS)
def real_behaviours(paper: Paper) -> charts.Panels:
    """Share of training responses that match the patterns of each behaviour, against step."""
    return _panels(paper, BEHAVIOURS, "share of responses")


@figure("Before and after")
def real_completions(paper: Paper) -> charts.Panels:
    """Greedy completions of held-out questions by the base model and after training with EMPG, first seed; cut at eight
    lines.
    """
    cards = [card for card in paper.cards if card.methods.get("empg", {}).get("examples")]
    if not cards:
        raise InputError("run cards of empgreal", expected="a run of empg with examples", found="none")
    examples: list[dict[str, str]] = [
        one for card in cards for one in card.methods["empg"]["examples"][: EXAMPLES if len(cards) > 1 else None]
    ]
    rows: list[dict[str, Any]] = [{"x": x, "y": 0, "text": name, "bold": True} for name, x, _ in COLUMNS]
    line = 1.4
    for example in examples:
        cells = (example["prompt"], example["before"], example["after"], example["answer"])
        wrapped = [
            textwrap.wrap(cell, width)[:LINES] or ["(nothing)"]
            for cell, (_, _, width) in zip(cells, COLUMNS, strict=True)
        ]
        for (_, x, _), part in zip(COLUMNS, wrapped, strict=True):
            rows += [{"x": x, "y": line + place, "text": text, "bold": False} for place, text in enumerate(part)]
        line += max(len(part) for part in wrapped) + 0.6
    scale_x, scale_y = alt.Scale(domain=[0, 880], nice=False), alt.Scale(domain=[-1, line], nice=False, reverse=True)
    base = alt.Chart(charts.inline(rows)).mark_text(align="left", baseline="middle")
    chart = base.encode(
        x=alt.X("x:Q", axis=None, scale=scale_x),
        y=alt.Y("y:Q", axis=None, scale=scale_y),
        text=alt.Text("text:N"),
        color=alt.condition("datum.bold", alt.value(theme.FAINT), alt.value(theme.INK)),
    )
    return [chart.properties(width=880, height=15 * line)]


FIGURES = [real_curves, real_behaviours, real_completions]
