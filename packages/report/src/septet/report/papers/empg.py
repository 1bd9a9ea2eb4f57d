"""Figures of the EM policy gradient (section 4 of `docs/papers/empg.md`), and what explains its gap."""

import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import BANDS_AND_BARS, figure
from septet.report.tables import Paper

TASKS = {
    "warm": "Warm base",
    "cold": "Cold base",
    "steps": "Three operations",
    "gsm8k_qwen15": "1.5B, GSM8K",
    "math_qwen15": "1.5B, MATH",
    "gsm8k_qwen7": "7B, GSM8K",
    "math_qwen7": "7B, MATH",
    "gsm8k_qwenmath7": "Math-7B, GSM8K",
    "math_qwenmath7": "Math-7B, MATH",
    "gsm8k_qwen14": "14B-Instruct, GSM8K",
    "math_qwen14": "14B-Instruct, MATH",
}
EMPG = Series("empg", "EMPG", theme.BLUE)
METHODS = [
    EMPG,
    Series("grpo", "GRPO", theme.ORANGE),
    Series("dr_grpo", "Dr. GRPO", theme.VERMILION),
    Series("rloo", "RLOO", theme.PURPLE),
    Series("reinforce_pp", "REINFORCE++", theme.GREEN),
    Series("raft", "RAFT", theme.SKY),
    Series("ppo", "PPO", theme.GREY),
]
MECHANISM = [
    Series("empg", "EMPG", theme.BLUE),
    Series("empg_kl", "EMPG, KL in reward", theme.SKY),
    Series("grpo", "GRPO", theme.ORANGE),
    Series("grpo_kl_loss", "GRPO, KL in loss", theme.PURPLE),
    Series("grpo_kl", "GRPO, KL in reward", theme.VERMILION),
    Series("dr_grpo", "Dr. GRPO", theme.GREY),
    Series("dr_grpo_kl", "Dr. GRPO, KL in reward", theme.BLACK),
]
INNER = [
    Series("empg", "EMPG", theme.SKY),
    Series("empg_m4", "EMPG, M = 4", theme.BLUE),
    Series("empg_raw", "EMPG, no sigmoid", theme.PURPLE),
    Series("grpo", "GRPO", theme.ORANGE),
    Series("grpo_m4", "GRPO, M = 4", theme.VERMILION),
    Series("raft", "RAFT", theme.GREY),
    Series("raft_m4", "RAFT, M = 4", theme.BLACK),
]


def _test(paper: Paper) -> dict[str, list[str]]:
    """Metric of test accuracy -> its tasks: greedy completions, or sampled ones where no greedy ones were drawn."""
    found: dict[str, list[str]] = {}
    for metric in ("accuracy", "sampled"):
        tasks = paper.scores.filter(pl.col("metric") == metric)["task"].unique().sort()
        found[metric] = [task for task in tasks if not any(task in known for known in found.values())]
    return found


@figure("Test accuracy", BANDS_AND_BARS)
def test_score(paper: Paper) -> charts.Panels:
    """Accuracy on held-out problems, mean over the evaluations of a run (area under the paper's figures 3 to 6), minus
    that of EMPG on the same seeds; greedy completions, sampled ones for three operations. Right of 0 a method is ahead
    of EMPG.
    """
    frame = _test(paper)
    own = [
        tables.per_seed(
            paper.scores.filter(pl.col("metric") == metric, pl.col("task").is_in(tasks)), [], area=True, step=None
        )
        for metric, tasks in frame.items()
    ]
    pairs = {one.label: (one.label, EMPG.label) for one in METHODS if one != EMPG}
    rows = tables.differences(paper, pl.concat(own), pairs, TASKS)
    title = "mean test accuracy over training, minus EMPG's"
    return charts.by_task(rows, TASKS, METHODS, charts.dots, x_title=title, reference=0.0)


@figure("Length of correct answers", BANDS_AND_BARS)
def length(paper: Paper) -> charts.Panels:
    """Tokens of the correct answers of the training batch (figures 7 to 10 show those of all responses)."""
    metric = "length_correct" if "length_correct" in paper.scores["metric"].unique() else "length"
    return charts.metric_by_task(
        paper, metric, TASKS, METHODS, x_title="step", y_title="tokens of correct answers", height=200
    )


def _reward_with(paper: Paper, series: list[Series], ending: str) -> charts.Panels:
    """Training reward on the tasks that have a method of this ending."""
    frame = tables.curves(paper, "reward", charts.labelled(series))
    frame = frame.filter(pl.col("method").str.ends_with(ending).any().over("task"))
    return charts.by_task(frame, TASKS, series, x_title="step", y_title="training reward", height=260, width=340)


@figure("KL in the reward", BANDS_AND_BARS)
def kl_in_reward(paper: Paper) -> charts.Panels:
    """Training reward from the cold base, with and without the KL in the reward (c = 0.01): dividing by the group's
    standard deviation blows it up, subtracting the mean alone does not.
    """
    return _reward_with(paper, MECHANISM, "_kl")


@figure("More than one inner step", BANDS_AND_BARS)
def inner_steps(paper: Paper) -> charts.Panels:
    """Training reward from the warm base with M = 1, where 'no importance weights' is an identity, and with M = 4,
    where it is not; and EMPG without its sigmoid.
    """
    return _reward_with(paper, INNER, "_m4")


@figure("Test scores", BANDS_AND_BARS)
def final(paper: Paper) -> charts.Panels:
    """Mean of the last ten evaluations, as in the paper's table."""
    return charts.by_task(
        tables.levels(paper, "score"), TASKS, METHODS, charts.dots, x_title="mean of the last ten evaluations"
    )


@figure("Time of an iteration")
def cost(paper: Paper) -> charts.Panels:
    """Wall-clock seconds of one iteration, all seeds together; intervals are over iterations, without the first."""
    frame = tables.levels(tables.timed(paper), "seconds(iteration)")
    return charts.by_task(frame, TASKS, METHODS, charts.dots, x_title="seconds of an iteration, all seeds")


@figure("Training reward", BANDS_AND_BARS)
def reward(paper: Paper) -> charts.Panels:
    """Mean reward of the training batch (figures 1 and 2)."""
    return charts.metric_by_task(paper, "reward", TASKS, METHODS, x_title="step", y_title="training reward", height=200)


FIGURES = [test_score, reward, length, kl_in_reward, inner_steps, final, cost]
