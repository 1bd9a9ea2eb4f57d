"""Figures of SVRPO: returns, and what goes on inside an iteration."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import BANDS, figure
from septet.report.tables import Paper

TASKS = {
    "cart_pole": "Cart-pole, N = 2,000",
    "pendulum": "Pendulum swing-up, N = 5,000",
    "swimmer": "Swimmer-v5, N = 50,000",
    "half_cheetah": "HalfCheetah-v5, N = 50,000",
    "hopper": "Hopper-v5, N = 50,000",
    "walker": "Walker2d-v5, N = 50,000",
    "ant": "Ant-v5, N = 50,000",
}
SVRPO = Series("svrpo", "SVRPO", theme.BLUE)
FULL = Series("full", "full gradient", theme.ORANGE)
SGD = Series("sgd", "inner SGD", theme.GREEN)
TRPO = Series("trpo", "TRPO", theme.GREY)
STOP = Series("svrpo_stop", "SVRPO, stopped early", theme.SKY)
RATIO = Series("svrpo_ratio", "SVRPO, ratio", theme.PURPLE)
SVRPG = Series("svrpg", "SVRPG", theme.VERMILION)
SRVRPG = Series("srvrpg", "SRVR-PG", theme.BLACK)
CONTROLS = [SVRPO, FULL, SGD, TRPO]
LOOPS = [SVRPO, FULL, SGD]
OTHERS = [SVRPO, RATIO, STOP, SVRPG, SRVRPG, TRPO]
HEIGHT, WIDTH = 190, 240
STEPS = "environment steps per seed"


def _curves(
    paper: Paper, metric: str, y_title: str, series: Sequence[Series], x_title: str = STEPS, **options: Any
) -> charts.Panels:
    """One panel per task with the curves of a metric."""
    return charts.metric_by_task(
        paper, metric, TASKS, series, x_title=x_title, y_title=y_title, height=HEIGHT, width=WIDTH, **options
    )


DIAGNOSTICS = {
    "gradient_norm": "norm of the snapshot's gradient",
    "gradient_distance": "mean inner gradient's distance from it",
    "relative_distance": "distance moved / norm of the parameters",
    "kl_largest": "largest KL divergence of a state, nats",
}


@figure("Inside the iterations")
def diagnostics(paper: Paper) -> charts.Panels:
    """What the author's code logs: norm of the full gradient at the snapshot, distance of the mean inner gradient from
    it, relative distance of the parameters, and the largest KL divergence of a state.
    """
    present = set(paper.scores.filter(pl.col("metric") == "kl")["task"])
    task = tables.first(task for task in reversed(TASKS) if task in present)
    rows = []
    for place, (metric, title) in enumerate(DIAGNOSTICS.items()):
        frame = tables.curves(paper, metric, charts.labelled(CONTROLS) & (pl.col("task") == task))
        chart = charts.curves(frame, CONTROLS, x_title=STEPS, y_title="", height=HEIGHT, width=WIDTH)
        rows.append(charts.titled(chart, f"{TASKS[task]}: {title}" if place == 0 else title[0].upper() + title[1:]))
    return rows


PARTS = {"gradient_passes": "gradients", "hessian_passes": "Hessian", "evaluations": "line search"}


@figure("Cost of an iteration")
def cost(paper: Paper) -> charts.Panels:
    """Passes over the batch of N samples per iteration: gradients, Hessian products (a product on a tenth of the batch
    counts a tenth), and the line search's evaluations. Means over iterations.
    """
    frame = pl.concat(
        tables.curves(tables.mean_over_steps(paper, metric), metric).with_columns(part=pl.lit(metric))
        for metric in PARTS
    )
    shown = [SVRPO, STOP, FULL, SGD, TRPO]
    order = [(one, part) for one in shown for part in PARTS]
    series = [Series(f"{one.label} {part}", f"{one.name}: {PARTS[part]}", one.colour) for one, part in order]
    frame = frame.with_columns(pl.format("{} {}", "method", "part").alias("row"))
    return charts.by_task(
        frame, TASKS, series, charts.dots, column="row", x_title="passes over the batch per iteration", log_x=True,
        width=180, row=17,
    )  # fmt: skip


BANDITS = {
    "bandit_near": "best action 1 sd away",
    "bandit": "best action 2 sd away",
    "bandit_far": "best action 3 sd away",
}
NO_RATIO = Series("estimators/svrg", "SVRG, no ratio", theme.BLUE)
WITH_RATIO = Series("estimators/svrg_ratio", "SVRG, ratio", theme.PURPLE)
PLAIN_RATIO = Series("estimators/sgd_ratio", "mini-batch, ratio", theme.GREEN)
TRADED = {
    "bias": ("bias / size of the gradient", [NO_RATIO, WITH_RATIO]),
    "variance_ratio": ("variance / mini-batch's", [NO_RATIO, WITH_RATIO]),
    "squared_error": ("squared error / size squared", [NO_RATIO, WITH_RATIO, PLAIN_RATIO]),
}


@figure("What variance is traded for")
def bias_and_variance(paper: Paper) -> charts.Panels:
    """The inner gradient on a Gaussian bandit, whose true gradient is known, at policies on the way along the natural
    gradient; the budget is 0.01 nats. Above: distance of the mean gradient from the true one, as a share of the true
    one's size (in the Fisher metric). The published gradient has no importance ratio, with or without the control
    variate. Middle: variance of SVRG over that of the mini-batch of the same surrogate, given the batch. Below: bias
    squared plus variance, with N = 2,000 and b = 200. With the ratio the bias that is left is that of a finite number
    of batches.
    """
    drawn = []
    for metric, (y_title, series) in TRADED.items():
        frame = tables.curves(paper, metric, charts.labelled(series)).with_columns(nats=pl.col("step") / 1000)
        for task, title in BANDITS.items():
            rows = frame.filter(pl.col("task") == task)
            if not rows.is_empty():
                chart = charts.curves(
                    rows, series, x="nats", x_title="KL divergence, nats", y_title=y_title, log_x=True, log_y=True,
                    points=True, width=95, height=120,
                )  # fmt: skip
                drawn.append(charts.titled(chart, title))
    return drawn


@figure("Return against samples", BANDS)
def returns(paper: Paper) -> charts.Panels:
    """Mean undiscounted return of the episodes of each batch against environment steps: SVRPO, TRPO, and the two
    controls that tell variance reduction (against inner SGD) from several steps in one KL budget (the full-gradient
    loop).
    """
    return _curves(paper, "return", "return", CONTROLS)


@figure("Variants, and the methods that share the idea", BANDS)
def other_methods(paper: Paper) -> charts.Panels:
    """SVRPO next to its ratio surrogate, its early-stopped loop, and SVRPG and SRVR-PG, which sample new trajectories
    in the inner loop, weight them and follow a first-order rule. They need episodes of one length, so they run on the
    pendulum only.
    """
    return _curves(paper, "return", "return", OTHERS)


@figure("Accepted inner steps")
def acceptance(paper: Paper) -> charts.Panels:
    """Share of inner steps that the line search accepts, by position in the inner loop."""
    return _curves(paper, "acceptance_at", "share accepted", LOOPS, "inner step", points=True)


@figure("Variance of the gradient")
def variance_ratio(paper: Paper) -> charts.Panels:
    """Conditional variance of the SVRG gradient over that of a plain mini-batch of the same size, at the iterates of
    each loop, on mini-batches redrawn. It is 0 at the first step, where SVRG is the full gradient.
    """
    return _curves(paper, "variance_ratio_at", "variance ratio", [SVRPO, SGD], "inner step", points=True)


@figure("KL budget")
def budget(paper: Paper) -> charts.Panels:
    """Mean KL divergence from the sampling policy after each inner step; the budget is 0.01. TRPO's one step leaves a
    part of it.
    """
    return _curves(paper, "kl_at", "mean KL divergence, nats", CONTROLS, "inner step", points=True)


FIGURES = [returns, other_methods, diagnostics, acceptance, variance_ratio, bias_and_variance, budget, cost]
