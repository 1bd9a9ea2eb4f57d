"""Figures of voted RDA: the paper's five, and three of ours (section 4 of `docs/papers/vrda.md`)."""

from collections.abc import Callable

import altair as alt
import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import figure
from septet.report.tables import Paper

INTERVAL = "Bands and bars are 95 % bootstrap intervals over shuffles of the training lists, for one test set."
TASKS = {"craft_small": "Parses of CRAFT", "ewt": "Tags of UD English EWT (F is accuracy)"}
LOSSES = {"vrda_hinge": "hinge loss", "vrda_log": "log loss"}
NO_L1 = 3e-6
"""Where 'no l1' is on the logarithmic axes, whose next value is 1e-5."""
TICKS = {NO_L1: "0", 1e-5: "1e-5", 1e-4: "1e-4", 1e-3: "1e-3"}

FAMILIES = [
    Series("vrda_hinge", "vRDA, hinge", theme.BLUE),
    Series("vrda_log", "vRDA, log", theme.SKY),
    Series("rda_hinge", "RDA, hinge", theme.PURPLE),
    Series("rda_log", "RDA, log", theme.VERMILION),
    Series("tg", "truncated gradient", theme.ORANGE),
    Series("fobos", "FOBOS", theme.GREEN),
    Series("maxent", "batch MaxEnt", theme.BLACK),
    Series("perceptron", "perceptron", theme.GREY),
]
SWEEP = [
    Series("l1-0", "λ = 0", theme.BLACK),
    Series("l1-1e-5", "1e-5", theme.BLUE),
    Series("l1-1e-4", "1e-4", theme.SKY),
    Series("l1-3e-4", "3e-4", theme.GREEN),
    Series("l1-6e-4", "6e-4", theme.ORANGE),
    Series("l1-1e-3", "1e-3", theme.VERMILION),
    Series("l1-3e-3", "3e-3", theme.PURPLE),
]
PERCEPTRON = Series("perceptron", "perceptron", theme.GREY)
LAMBDAS = [
    Series("vrda_hinge/averaged", "hinge, averaged", theme.BLUE),
    Series("vrda_hinge/last", "hinge, last", theme.SKY),
    Series("vrda_log/averaged", "log, averaged", theme.VERMILION),
    Series("vrda_log/last", "log, last", theme.ORANGE),
]
SINGLE = [
    Series("vrda_hinge/l1-1e-5/averaged", "hinge, averaged", theme.BLUE),
    Series("vrda_hinge/l1-1e-5/last", "hinge, single", theme.SKY),
    Series("vrda_log/l1-1e-4/averaged", "log, averaged", theme.VERMILION),
    Series("vrda_log/l1-1e-4/last", "log, single", theme.ORANGE),
]
EVERY = [
    Series("vrda_hinge/l1-1e-5/averaged", "hinge, vRDA", theme.BLUE),
    Series("rda_hinge/l1-1e-5/averaged", "hinge, RDA", theme.PURPLE),
    Series("rda_hinge_tuned/l1-1e-4/averaged", "hinge, RDA, own η and λ", theme.SKY),
    Series("vrda_log/l1-1e-4/averaged", "log, vRDA", theme.VERMILION),
    Series("rda_log/l1-1e-4/averaged", "log, RDA", theme.ORANGE),
    Series("rda_log_tuned/l1-2e-4/averaged", "log, RDA, own η and λ", theme.GREEN),
]
METHODS = [
    Series("vrda_hinge/l1-1e-5/averaged", "vRDA hinge λ = 1e-5, averaged", theme.BLUE),
    Series("vrda_hinge/l1-1e-5/last", "vRDA hinge λ = 1e-5, last", theme.BLUE),
    Series("vrda_log/l1-1e-4/averaged", "vRDA log λ = 1e-4, averaged", theme.SKY),
    Series("vrda_log/l1-1e-4/last", "vRDA log λ = 1e-4, last", theme.SKY),
    Series("rda_hinge/l1-1e-5/averaged", "RDA hinge λ = 1e-5, averaged", theme.PURPLE),
    Series("rda_hinge_tuned/l1-1e-4/averaged", "RDA hinge, own η and λ, averaged", theme.PURPLE),
    Series("rda_log/l1-1e-4/averaged", "RDA log λ = 1e-4, averaged", theme.VERMILION),
    Series("rda_log_tuned/l1-2e-4/averaged", "RDA log, own η and λ, averaged", theme.VERMILION),
    Series("tg/l1-1e-3/averaged", "TG λ = 1e-3, averaged", theme.ORANGE),
    Series("tg/l1-1e-3/last", "TG λ = 1e-3, last", theme.ORANGE),
    Series("fobos/l1-3e-5/averaged", "FOBOS λ = 3e-5, averaged", theme.GREEN),
    Series("maxent/l1-3e-4/last", "batch MaxEnt λ = 3e-4", theme.BLACK),
    Series("perceptron/l1-0/averaged", "perceptron, averaged", theme.GREY),
    Series("perceptron/l1-0/last", "perceptron, last", theme.GREY),
]
BOUND = [Series("bound", "bound", theme.VERMILION), Series("mistakes", "mistakes", theme.BLUE)]


def _split(frame: pl.DataFrame) -> pl.DataFrame:
    """With the parts of a label `family/l1-X/prediction`, and `kind` as `family/prediction`."""
    parts = pl.col("method").str.split("/")
    frame = frame.with_columns(family=parts.list.first(), prediction=parts.list.last(), setting=parts.list.get(1))
    return frame.with_columns(kind=pl.concat_str("family", "prediction", separator="/"))


def _by_lambda(paper: Paper, metric: str) -> pl.DataFrame:
    """The last points of `metric` with lambda as a column that a logarithmic axis can show."""
    found = tables.settings(paper, "l1")
    places = {label: max(value, NO_L1) for label, value in found.items()}
    frame = tables.levels(paper, metric, pl.col("method").is_in(list(places)))
    return _split(frame).with_columns(l1=pl.col("method").replace_strict(places, return_dtype=pl.Float64))


def _row(frames: dict[str, pl.DataFrame], draw: Callable[[str, pl.DataFrame], alt.LayerChart]) -> charts.Panels:
    """For each task a panel of each frame, side by side; `draw` takes the name of the frame and its rows."""
    here = [task for task in TASKS if any(task in set(frame["task"]) for frame in frames.values())]
    return [
        charts.titled(draw(name, rows), f"{TASKS[task]}: {name}" if len(here) > 1 else name)
        for task in here
        for name, frame in frames.items()
        if not (rows := frame.filter(pl.col("task") == task)).is_empty()
    ]


@figure("Weights as examples go by", INTERVAL)
def weights(paper: Paper) -> charts.Panels:
    """The paper's figure 1: non-zero weights of the last predictor against the training lists presented (twenty
    passes), a line for each λ.
    """
    frame = _split(tables.curves(paper, "nonzeros")).filter(pl.col("prediction") == "last")
    return _row(
        {name: frame.filter(pl.col("family") == family) for family, name in LOSSES.items()},
        lambda _, rows: charts.curves(
            rows, SWEEP, column="setting", x_title="lists presented", y_title="weights of the last predictor",
            height=240, width=320,
        ),
    )  # fmt: skip


@figure("Weights and F against λ", INTERVAL)
def f_against_lambda(paper: Paper) -> charts.Panels:
    """The paper's figure 2: means over the ends of the epochs. The paper tests the averaged predictor; sparsity belongs
    to the last one, the average is a union of supports.
    """
    frames = {"weights": _by_lambda(paper, "nonzeros_epochs"), "F on test": _by_lambda(paper, "f_epochs")}
    return _row(
        frames,
        lambda name, rows: charts.curves(
            rows, LAMBDAS, x="l1", column="kind", x_title="λ", y_title=name, log_x=True, log_y=name == "weights",
            points=True, x_ticks=TICKS, height=240, width=320,
        ),
    )  # fmt: skip


@figure("Mistakes as examples go by", INTERVAL)
def mistakes(paper: Paper) -> charts.Panels:
    """The paper's figure 3: training mistakes so far against the lists presented. With hinge loss λ = 0 is the
    perceptron.
    """
    frame = _split(tables.curves(paper, "mistakes")).with_columns(
        line=pl.when(pl.col("family") == "perceptron").then(pl.lit("perceptron")).otherwise("setting")
    )
    return _row(
        {name: frame.filter(pl.col("family").is_in([family, "perceptron"])) for family, name in LOSSES.items()},
        lambda _, rows: charts.curves(
            rows, [PERCEPTRON, *SWEEP], column="line", x_title="lists presented", y_title="mistakes so far",
            height=260, width=320,
        ),
    )  # fmt: skip


def _over_ten(paper: Paper, series: list[Series]) -> charts.Panels:
    """Mean and standard deviation of F over the first half of the epochs, as dots."""
    titles = {"mean over epochs": "f_half", "standard deviation over epochs": "f_spread_half"}
    return _row(
        {title: tables.levels(paper, metric) for title, metric in titles.items()},
        lambda name, rows: charts.dots(rows, series, x_title=f"F on test, {name}", width=300),
    )


@figure("Single and averaged prediction", INTERVAL)
def predictions(paper: Paper) -> charts.Panels:
    """The paper's figure 4: the weights at the end of each epoch against the average, over the first ten epochs, at the
    paper's λ and η.
    """
    return _over_ten(paper, SINGLE)


@figure("RDA on every example", INTERVAL)
def full_rda(paper: Paper) -> charts.Panels:
    """The paper's figure 5: averaged predictors of vRDA and of RDA on every example over the first ten epochs, at the
    paper's λ and η, and RDA at an η and λ of its own.
    """
    return _over_ten(paper, EVERY)


@figure("All learners", INTERVAL)
def table(paper: Paper) -> charts.Panels:
    """The paper's table 1 with more rows: F on test, mean over the ends of the epochs."""
    return charts.by_task(tables.levels(paper, "f_epochs"), TASKS, METHODS, charts.dots, x_title="F on test", width=360)


@figure("Sparsity against accuracy", INTERVAL)
def frontier(paper: Paper) -> charts.Panels:
    """F against non-zero weights along the regularisation path, means over the ends of the epochs; further up and left
    is better.
    """
    sizes = tables.levels(paper, "nonzeros_epochs").select("method", "task", nonzeros=pl.col("mean"))
    frame = _split(tables.levels(paper, "f_epochs").join(sizes, on=["method", "task"])).filter(pl.col("nonzeros") > 0)
    return _row(
        {f"{kind} predictor": frame.filter(pl.col("prediction") == kind) for kind in ("last", "averaged")},
        lambda name, rows: charts.curves(
            rows, FAMILIES, x="nonzeros", column="family", x_title="weights", y_title=f"F of the {name}",
            log_x=True, points=True, height=300, width=330,
        ),
    )  # fmt: skip


@figure("Mistakes and their bound", INTERVAL)
def bound(paper: Paper) -> charts.Panels:
    """Training mistakes M and the bound at the better of two comparators, the last and the averaged predictor, each at
    the multiple that fits the mistakes best; next to it the relative strength of regularisation.
    """
    hinge = pl.col("family") == "vrda_hinge"
    counts = pl.concat(
        _by_lambda(paper, metric).filter(hinge).with_columns(counted=pl.lit(metric)) for metric in ("mistakes", "bound")
    )
    strength = _by_lambda(paper, "strength").with_columns(counted=pl.lit("strength"))
    return _row(
        {"mistakes": counts, "relative strength Λ": strength},
        lambda name, rows: charts.curves(
            rows, BOUND if name == "mistakes" else [Series("strength", "Λ", theme.GREEN)], x="l1", column="counted",
            x_title="λ", y_title=name, log_x=True, log_y=name == "mistakes", points=True, x_ticks=TICKS, height=220,
            width=280,
        ),
    )  # fmt: skip


FIGURES = [weights, f_against_lambda, mistakes, predictions, full_rda, table, frontier, bound]
