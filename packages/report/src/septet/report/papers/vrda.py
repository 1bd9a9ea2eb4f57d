"""Figures of voted RDA (listed in section 4 of `docs/papers/vrda.md`)."""

import altair as alt
import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import Figure
from septet.report.tables import Paper

TASKS = {
    "craft_small": "Parses, 2,500 training sentences",
    "craft": "Parses, all ready lists",
    "craft_scratch": "Parses, lists from scratch",
    "ewt": "Tags of UD English EWT (F is accuracy)",
}
NO_L1 = 3e-5
"""Where 'no l1' stands on the logarithmic axes, whose next value is 1e-4."""
TICKS = {NO_L1: "0", 1e-4: "1e-4", 1e-3: "1e-3", 1e-2: "1e-2"}

FAMILIES = [
    Series("vrda_hinge", "vRDA, hinge", theme.BLUE),
    Series("vrda_log", "vRDA, log", theme.SKY),
    Series("rda", "RDA, every example", theme.PURPLE),
    Series("tg", "truncated gradient", theme.ORANGE),
    Series("fobos", "FOBOS", theme.GREEN),
    Series("maxent", "batch MaxEnt", theme.BLACK),
    Series("perceptron", "perceptron", theme.GREY),
]
LAMBDAS = [
    Series("vrda_hinge/averaged", "hinge, averaged", theme.BLUE),
    Series("vrda_hinge/last", "hinge, last", theme.SKY),
    Series("vrda_log/averaged", "log, averaged", theme.VERMILION),
    Series("vrda_log/last", "log, last", theme.ORANGE),
]
LEARNING = [
    Series("vrda_hinge/l1-6e-4/averaged", "averaged, λ = 6e-4", theme.BLUE),
    Series("vrda_hinge/l1-6e-4/last", "last, λ = 6e-4", theme.SKY),
    Series("perceptron/l1-0/averaged", "averaged perceptron", theme.BLACK),
    Series("perceptron/l1-0/last", "perceptron", theme.GREY),
]
METHODS = [
    Series("vrda_hinge/l1-6e-4/averaged", "vRDA hinge λ = 6e-4, averaged", theme.BLUE),
    Series("vrda_hinge/l1-6e-4/voted", "vRDA hinge λ = 6e-4, voted", theme.BLUE),
    Series("vrda_hinge/l1-6e-4/last", "vRDA hinge λ = 6e-4, last", theme.BLUE),
    Series("vrda_hinge/l1-1e-3/averaged", "vRDA hinge λ = 1e-3, averaged", theme.BLUE),
    Series("vrda_hinge/l1-1e-3/last", "vRDA hinge λ = 1e-3, last", theme.BLUE),
    Series("vrda_log/l1-6e-4/averaged", "vRDA log λ = 6e-4, averaged", theme.SKY),
    Series("vrda_log/l1-6e-4/last", "vRDA log λ = 6e-4, last", theme.SKY),
    Series("rda/l1-6e-4/averaged", "RDA λ = 6e-4, averaged", theme.PURPLE),
    Series("rda/l1-6e-4/last", "RDA λ = 6e-4, last", theme.PURPLE),
    Series("tg/l1-1e-3/averaged", "TG λ = 1e-3, averaged", theme.ORANGE),
    Series("tg/l1-1e-3/last", "TG λ = 1e-3, last", theme.ORANGE),
    Series("fobos/l1-1e-3/averaged", "FOBOS λ = 1e-3, averaged", theme.GREEN),
    Series("fobos/l1-1e-3/last", "FOBOS λ = 1e-3, last", theme.GREEN),
    Series("maxent/l1-3e-3/last", "batch MaxEnt λ = 3e-3", theme.BLACK),
    Series("perceptron/l1-0/averaged", "perceptron, averaged", theme.GREY),
    Series("perceptron/l1-0/voted", "perceptron, voted", theme.GREY),
    Series("perceptron/l1-0/last", "perceptron, last", theme.GREY),
]
GROWING = [
    Series("bound/vrda_hinge/l1-6e-4/last", "bound, λ = 6e-4", theme.VERMILION),
    Series("mistakes/vrda_hinge/l1-6e-4/last", "mistakes, λ = 6e-4", theme.BLUE),
    Series("bound/vrda_hinge/l1-1e-2/last", "bound, λ = 1e-2", theme.ORANGE),
    Series("mistakes/vrda_hinge/l1-1e-2/last", "mistakes, λ = 1e-2", theme.SKY),
]
BOUND = [
    Series("bound", "bound", theme.VERMILION),
    Series("mistakes", "mistakes", theme.BLUE),
]


def _split(frame: pl.DataFrame) -> pl.DataFrame:
    """With the parts of a label `family/l1-X/prediction`, and `series` as `family/prediction`."""
    parts = pl.col("method").str.split("/")
    frame = frame.with_columns(family=parts.list.first(), prediction=parts.list.last())
    return frame.with_columns(kind=pl.concat_str("family", "prediction", separator="/"))


def _by_lambda(paper: Paper, metric: str) -> pl.DataFrame:
    """The last points of `metric` with lambda as a column that a logarithmic axis can show."""
    found = tables.settings(paper, "l1")
    places = {label: max(value, NO_L1) for label, value in found.items()}
    frame = tables.levels(paper, metric).filter(pl.col("method").is_in(list(places)))
    return _split(frame).with_columns(l1=pl.col("method").replace_strict(places, return_dtype=pl.Float64))


def table(paper: Paper) -> alt.TopLevelMixin:
    """F of every learner at its lambda: table A of `docs/papers/vrda.md`."""
    return charts.by_task(tables.levels(paper, "f"), TASKS, METHODS, charts.dots, x_title="F on test", width=360)


def nonzeros(paper: Paper) -> alt.TopLevelMixin:
    """Non-zeros against lambda."""
    return _lambda_panels(_by_lambda(paper, "nonzeros"), "non-zero weights", log_y=True)


def f_against_lambda(paper: Paper) -> alt.TopLevelMixin:
    """F against lambda."""
    return _lambda_panels(_by_lambda(paper, "f"), "F on test", log_y=False)


def _lambda_panels(frame: pl.DataFrame, title: str, *, log_y: bool) -> alt.TopLevelMixin:
    return charts.by_task(
        frame, TASKS, LAMBDAS, column="kind", x="l1", x_title="λ", y_title=title, log_x=True, log_y=log_y, points=True,
        x_ticks=TICKS, height=260, width=360,
    )  # fmt: skip


def frontier(paper: Paper) -> alt.TopLevelMixin:
    """F against the number of non-zeros of the last predictor, along the regularisation path."""
    sizes = tables.levels(paper, "nonzeros").select("method", "task", nonzeros=pl.col("mean"))
    frame = _split(tables.levels(paper, "f").join(sizes, on=["method", "task"])).filter(
        pl.col("prediction") == "last", pl.col("nonzeros") > 0
    )
    return charts.by_task(
        frame, TASKS, FAMILIES, column="family", x="nonzeros", x_title="non-zero weights",
        y_title="F of the last predictor", log_x=True, points=True, height=300, width=420,
    )  # fmt: skip


def learning(paper: Paper) -> alt.TopLevelMixin:
    """F against training lists presented, last and averaged."""
    return charts.by_task(
        tables.curves(paper, "f"), TASKS, LEARNING, x_title="lists presented", y_title="F on test", points=True,
        height=260, width=360,
    )  # fmt: skip


def bound(paper: Paper) -> alt.TopLevelMixin:
    """Mistakes and their bound against lambda, and the relative strength of regularisation."""
    hinge = pl.col("family") == "vrda_hinge"
    counts = pl.concat(
        [
            _by_lambda(paper, metric).filter(hinge).with_columns(counted=pl.lit(metric))
            for metric in ("mistakes", "bound")
        ]
    )
    strength = _by_lambda(paper, "strength").with_columns(counted=pl.lit("strength"))
    panels = [
        charts.curves(
            counts.filter(pl.col("task") == task), BOUND, x="l1", column="counted", x_title="λ", y_title="mistakes",
            log_x=True, log_y=True, points=True, x_ticks=TICKS, height=200, width=250,
        ).properties(title=name)
        for task, name in TASKS.items()
        if task in set(counts["task"])
    ]  # fmt: skip
    panels += [
        charts.curves(
            strength.filter(pl.col("task") == task), [Series("strength", "Λ", theme.GREEN)], x="l1", column="counted",
            x_title="λ", y_title="relative strength Λ", log_x=True, points=True, x_ticks=TICKS, height=200, width=250,
        ).properties(title=name)
        for task, name in TASKS.items()
        if task in set(strength["task"])
    ]  # fmt: skip
    return alt.concat(*panels, columns=2).resolve_scale(color="independent")


def mistakes(paper: Paper) -> alt.TopLevelMixin:
    """Mistakes so far and the bound on them, as the lists go by."""
    frame = pl.concat(
        [
            tables.curves(paper, metric).with_columns(kind=pl.concat_str(pl.lit(f"{metric}/"), "method"))
            for metric in ("mistakes", "bound")
        ]
    )
    return charts.by_task(
        frame, TASKS, GROWING, column="kind", x_title="lists presented", y_title="mistakes so far", log_y=True,
        points=True, height=260, width=360,
    )  # fmt: skip


def predictions(paper: Paper) -> alt.TopLevelMixin:
    """Last, averaged and voted prediction of the same runs."""
    voted = [label.removesuffix("/voted") for label in set(paper.scores["method"]) if label.endswith("/voted")]
    frame = tables.levels(paper, "f").filter(
        pl.col("method").is_in([f"{stem}/{kind}" for stem in voted for kind in ("last", "averaged", "voted")])
    )
    return charts.by_task(frame, TASKS, METHODS, charts.dots, x_title="F on test", width=360)


INTERVAL = "Bands and bars are 95 % bootstrap intervals over shuffles."

FIGURES = [
    Figure("table", "All learners", f"F on test at the end of training. {INTERVAL}", table),
    Figure(
        "nonzeros",
        "Sparsity against λ",
        "Non-zero weights of the last and of the averaged predictor (both axes logarithmic): sparsity belongs to the "
        f"last predictor, the average is a union of supports. {INTERVAL}",
        nonzeros,
    ),
    Figure(
        "f_against_lambda", "F against λ", f"F of the last and of the averaged predictor. {INTERVAL}", f_against_lambda
    ),
    Figure(
        "frontier",
        "Sparsity against accuracy",
        "F against non-zeros of the last predictor along the regularisation path; further up and left is better. "
        + INTERVAL,
        frontier,
    ),
    Figure(
        "learning",
        "Learning curves",
        f"F against the training lists presented (several passes); the spread is over shuffles. {INTERVAL}",
        learning,
    ),
    Figure(
        "bound",
        "Mistakes and their bound",
        "Training mistakes M and the bound at the better of two comparators, the last and the averaged predictor, each "
        f"at the multiple that fits the mistakes best; beside it the relative strength of regularisation. {INTERVAL}",
        bound,
    ),
    Figure(
        "mistakes",
        "Mistakes as examples go by",
        "Training mistakes so far against the lists presented (several passes), and the bound on them computed at the "
        f"same points from the mistakes until then; vertical axis logarithmic. {INTERVAL}",
        mistakes,
    ),
    Figure(
        "predictions",
        "Last, averaged, voted",
        f"F of the three predictions of the same training runs. {INTERVAL}",
        predictions,
    ),
]
