"""Figures of WALL-E: its figures 3 to 7, and what they leave out (return against samples, Amdahl's curve)."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import BANDS, figure
from septet.report.statistics import Array, percentile_interval
from septet.report.tables import CONTENDED, Paper
from septet.seeding import stream

LEARNING = {"half_cheetah": "HalfCheetah-v5", "walker": "Walker2d-v5", "hopper": "Hopper-v5"}
SYSTEM = {
    "slow_simulator": "A simulator that waits 1 ms per step",
    "processor_bound": "HalfCheetah-v5, bound by the processor",
}
RUNS = [
    Series("n1", "N = 1", theme.ORANGE),
    Series("n2", "N = 2", theme.BLUE),
    Series("n10", "N = 10", theme.SKY),
    Series("n2_own_scaling", "N = 2, a scaler per sampler", theme.GREEN),
    Series("n1_script", "N = 1 as in the authors' script", theme.VERMILION),
    Series("asynchronous", "N = 2, asynchronous", theme.PURPLE),
]
POOL = Series("pool", "N samplers", theme.BLUE)
LOOP = Series("in_process", "loop in one process", theme.GREY)
ASYNCHRONOUS = Series("asynchronous", "asynchronous", theme.PURPLE)
SPEEDUPS = [
    Series("linear", "N", theme.GREY),
    Series("collect", "collection", theme.BLUE),
    Series("iteration", "whole iteration", theme.VERMILION),
    Series("amdahl", "Amdahl's curve", theme.ORANGE),
]
MEDIANS = "Medians over iterations, the first one left out; bands are 95 % bootstrap intervals over iterations."
SHARES = [Series("share(collect)", "collection", theme.ORANGE), Series("share(learn)", "learning", theme.BLUE)]


def _medians(values: Array, name: str, resamples: int = 2_000) -> Array:
    """Bootstrap draws of the median; shape ``(resamples + 1,)``, the first one is the median itself."""
    draws = stream(0, "walle", name).integers(0, len(values), (resamples, len(values)))
    return np.concatenate([[np.median(values)], np.median(values[draws], axis=1)])


def _iterations(paper: Paper, metric: str, tasks: Iterable[str] = SYSTEM) -> pl.DataFrame:
    """Iterations of every method, and pool of a job: columns `task, method, samplers, value, run`."""
    timed = tables.timed(paper)
    sizes = {
        label: float(settings.get("samplers", card.config["samplers"]))  # one of several pools, or the job's own
        for card in paper.cards
        for label, settings in card.methods.items()
    }
    rows = tables.with_runs(timed).filter(pl.col("metric") == metric, pl.col("task").is_in(list(tasks)))
    return rows.select(
        "task",
        pl.col("method").str.split("/").list.last(),
        pl.col("method").replace_strict(sizes, return_dtype=pl.Float64).alias("samplers"),
        "value",
        "run",
    )


@figure("Return and time")
def return_and_time(paper: Paper) -> charts.Panels:
    """In place of the paper's figure 3, return against time, of which each method's time only stretches the axis: mean
    return over all of training, with 95 % bootstrap intervals over seeds, and seconds of an iteration, all seeds in
    lockstep, median over iterations; jobs that shared the processors have none. More samplers change the time, not the
    return.
    """
    returns = tables.curves(tables.mean_over_steps(paper, "return"), "return", charts.labelled(RUNS))
    alone = [card.id for card in paper.cards if (card.contention or 0.0) <= CONTENDED]
    seconds = _summary(_iterations(paper, "seconds(iteration)", LEARNING).filter(pl.col("run").is_in(alone)))
    drawn = []
    for task, name in LEARNING.items():
        for frame, title in ((returns, "return, mean over training"), (seconds, "seconds of an iteration")):
            rows = frame.filter(charts.labelled(RUNS), pl.col("task") == task)
            if not rows.is_empty():
                drawn.append(charts.titled(charts.dots(rows, RUNS, x_title=title, width=180), name))
    return drawn


def _kind() -> pl.Expr:
    """The series of a method: a pool of N samplers, the loop in one process, or the asynchronous pool."""
    alone = pl.col("method").is_in([LOOP.label, ASYNCHRONOUS.label])
    return pl.when(alone).then("method").otherwise(pl.lit(POOL.label)).alias("kind")


def _summary(
    rows: pl.DataFrame, estimate: Callable[[str, str, Array], Array] = lambda task, method, draws: draws
) -> pl.DataFrame:
    """One point per task and method: median over iterations with its interval; `estimate` maps its draws."""
    points = []
    for (task, method), group in rows.group_by(["task", "method"], maintain_order=True):
        values = group["value"].to_numpy()
        draws = estimate(str(task), str(method), _medians(values, f"{task}/{method}"))
        low, high = percentile_interval(draws[1:], len(values))
        # One process, or none: the loop stands at N = 1.
        samplers = max(float(group["samplers"][0]), 1.0)
        points.append((task, method, samplers, draws[0], float(low), float(high), group["run"][0]))
    columns = {"task": pl.String, "method": pl.String, "samplers": pl.Float64}
    numbers = dict.fromkeys(("mean", "low", "high"), pl.Float64)
    return pl.DataFrame(points, schema={**columns, **numbers, "run": pl.String}, orient="row")


def _against_samplers(
    frame: pl.DataFrame,
    series: Sequence[Series],
    y_title: str,
    domain: Callable[[pl.DataFrame], tuple[float, float] | None],
    height: int = 200,
) -> charts.Panels:
    """Curves against N, with ticks at the pools that were run; `domain` gives the vertical limits of a panel's rows."""
    return charts.panels(
        frame,
        SYSTEM,
        lambda rows: charts.curves(
            rows, series, x="samplers", column="kind", x_title="sampler processes N", y_title=y_title, points=True,
            x_ticks={size: f"{size:g}" for size in rows["samplers"].unique().sort()}, y_domain=domain(rows),
            height=height, width=250,
        ),
    )  # fmt: skip


def _seconds(paper: Paper, metric: str, title: str) -> charts.Panels:
    frame = _summary(_iterations(paper, metric)).with_columns(_kind())
    series = (POOL, LOOP, ASYNCHRONOUS)
    return _against_samplers(frame, series, title, lambda rows: (0.0, 1.08 * float(np.max(rows["high"].to_numpy()))))


def _over_one(rows: pl.DataFrame) -> Callable[[str, str, Array], Array]:
    """Maps draws of a pool's time to those of its speed-up over one sampler, whose own is 1 without an interval."""
    ones = {
        str(task): _medians(group["value"].to_numpy(), f"{task}/n1/reference")
        for (task,), group in rows.filter(pl.col("samplers") == 1).group_by(["task"])
    }
    return lambda task, method, draws: np.ones_like(draws) if method == "n1" else ones[task] / draws


@figure("Speed-up", MEDIANS)
def speedup(paper: Paper) -> charts.Panels:
    """Time with one sampler divided by time with N, for collection (the paper's figure 5) and for the whole iteration;
    grey is N itself, orange what Amdahl's law allows the iteration, from the share of collection at N = 1.
    """
    frames = []
    for phase in ("collect", "iteration"):
        rows = _iterations(paper, f"seconds({phase})").filter(_kind() == POOL.label)
        frames.append(_summary(rows, _over_one(rows)).with_columns(kind=pl.lit(phase)))
    measured = frames[0]
    share = _summary(_iterations(paper, "share(collect)").filter(pl.col("samplers") == 1, _kind() == POOL.label))
    f = measured.join(share.select("task", f="mean"), on="task")
    bound = 1 / ((1 - pl.col("f")) + pl.col("f") / pl.col("samplers"))
    for kind, value in (("linear", pl.col("samplers")), ("amdahl", bound)):
        line = f.with_columns(mean=value, low=value, high=value, kind=pl.lit(kind)).drop("f")
        frames.append(line.select(frames[0].columns))
    return _against_samplers(pl.concat(frames), SPEEDUPS, "speed-up over N = 1", lambda rows: None, height=220)


@figure("Where the time goes", MEDIANS)
def shares(paper: Paper) -> charts.Panels:
    """Shares of collection and learning in an iteration (the paper's figure 6)."""
    frames = [
        _summary(_iterations(paper, one.label).filter(_kind() == POOL.label)).with_columns(kind=pl.lit(one.label))
        for one in SHARES
    ]
    return _against_samplers(pl.concat(frames), SHARES, "share of the iteration", lambda rows: (0.0, 1.0))


@figure("Return against samples", BANDS)
def return_against_samples(paper: Paper) -> charts.Panels:
    """The same runs against environment steps. The number of samplers alone changes no sample, so N = 1 lies under N =
    2; what differs is a scaler per sampler, or the policy of the authors' script for N = 1.
    """
    return charts.metric_by_task(
        paper, "return", LEARNING, RUNS, x_title="environment steps per seed", y_title="return", height=200, width=250
    )


@figure("Time to collect", MEDIANS)
def collection_time(paper: Paper) -> charts.Panels:
    """Seconds to collect the samples of one iteration (the paper's figure 4)."""
    return _seconds(paper, "seconds(collect)", "seconds to collect")


@figure("Time to learn", MEDIANS)
def learning_time(paper: Paper) -> charts.Panels:
    """Seconds of one policy update (the paper's figure 7), which do not depend on N."""
    return _seconds(paper, "seconds(learn)", "seconds to learn")


FIGURES = [return_and_time, return_against_samples, collection_time, speedup, shares, learning_time]
