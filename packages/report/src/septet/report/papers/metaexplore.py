"""Figures of learning to explore with a meta-policy gradient (listed in section 4 of `docs/papers/metaexplore.md`)."""

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import BANDS_AND_BARS, figure
from septet.report.tables import Paper

TASKS = {
    "navigation": "Navigation, deceptive",
    "sparse_navigation": "Navigation, one far goal",
    "pendulum": "Pendulum-v1",
    "double_pendulum": "InvertedDoublePendulum-v5",
    "pendulum_long": "Pendulum-v1, long run",
    "inverted_pendulum": "InvertedPendulum-v5",
    "inverted_double_pendulum": "InvertedDoublePendulum-v5, long run",
    "reacher": "Reacher-v5",
    "hopper": "Hopper-v5",
    "half_cheetah": "HalfCheetah-v5",
}
META = Series("meta", "meta", theme.BLUE)
FROZEN = Series("frozen", "frozen teacher", theme.GREY)
SHUFFLED = Series("shuffled", "shuffled rewards", theme.ORANGE)
RANDOM = Series("random", "random actions", theme.PURPLE)
OU = Series("ou", "DDPG, OU noise", theme.GREEN)
UNIFORM = Series("uniform", "DDPG, uniform noise", theme.VERMILION)
GAUSSIAN = Series("gaussian", "DDPG, Gaussian noise", theme.SKY)
PARAMETER = Series("parameter", "DDPG, parameter noise", theme.BLACK)
METHODS = [META, FROZEN, SHUFFLED, RANDOM, OU, UNIFORM, GAUSSIAN, PARAMETER]
FAMILIES = [
    META,
    Series("local", "local teacher", theme.ORANGE),
    Series("informed", "teacher that sees Q", theme.GREEN),
    FROZEN,
]
CONTRASTS = {
    "meta - frozen": ("meta", "frozen"),
    "meta - shuffled": ("meta", "shuffled"),
    "group - frozen": ("group", "group_frozen"),
    "group - shuffled": ("group", "group_shuffled"),
}
CONTRAST_SERIES = [
    Series("meta - frozen", "meta − frozen", theme.BLUE),
    Series("meta - shuffled", "meta − shuffled", theme.BLUE),
    Series("group - frozen", "group − its frozen", theme.SKY),
    Series("group - shuffled", "group − its shuffled", theme.SKY),
]
COUNTINGS = {
    f"{teacher} - {noise}{counting}": (teacher, f"{noise}{counting}")
    for counting in ("", "_double")
    for noise in ("ou", "uniform", "gaussian", "parameter")
    for teacher in ("meta", "frozen")
}
"""Both countings of section 3; the frozen teacher is the control in each."""
NOISES = {"ou": "OU", "uniform": "uniform", "gaussian": "Gaussian", "parameter": "parameter"}
COUNTING_SERIES = [
    Series(
        label,
        f"{teacher} − {NOISES[noise.removesuffix('_double')]}, {'total' if noise.endswith('_double') else 'student'}",
        theme.BLUE if teacher == "meta" else theme.GREY,
    )
    for label, (teacher, noise) in COUNTINGS.items()
]
DIAGNOSTICS = {
    "meta_reward": "meta-reward",
    "meta_std": "its running standard deviation",
    "sigma": "σ of the teacher",
    "distance": "mean |f(s) − μ(s)|",
    "teacher_return": "return of the teacher",
    "return": "return of the student",
}
SENSITIVITY = [
    Series("d0_50", "|D0| = 50", theme.BLUE),
    Series("meta", "|D0| 100, |D1| 200, 50 updates", theme.BLACK),
    Series("d0_200", "|D0| = 200", theme.BLUE),
    Series("d1_100", "|D1| = 100", theme.GREEN),
    Series("d1_400", "|D1| = 400", theme.GREEN),
    Series("updates_10", "10 updates on D0", theme.ORANGE),
    Series("updates_200", "200 updates on D0", theme.ORANGE),
]
STEPS = "environment steps, evaluations included"
CELLS = 12
"""Cells of a map, each way (septet.metaexplore.visits.BINS)."""
MARKS: list[dict[str, object]] = [
    {"x": (x + 1) / 2 * CELLS, "y": (y + 1) / 2 * CELLS, "text": text}
    for x, y, text in ((0.0, 0.0, "S"), (0.3, 0.0, "g"), (-0.6, 0.3, "G"))
]
"""Start, small goal and large goal of the deceptive navigation (septet.metaexplore.navigation.DEFAULTS)."""


def _where(rows: pl.DataFrame, method: str) -> pl.DataFrame:
    """The rows of the tasks that `method` ran on; all if it ran on none."""
    tasks = rows.filter(pl.col("method") == method)["task"].unique()
    return rows.filter(pl.col("task").is_in(tasks.implode())) if len(tasks) else rows


def _areas(paper: Paper) -> pl.DataFrame:
    rows = paper.scores.filter(pl.col("metric") == "return")
    return tables.per_seed(rows, [], area=True, step=None)


def _differences(paper: Paper, pairs: Mapping[str, tuple[str, str]], series: Sequence[Series]) -> charts.Panels:
    """Area under the learning curve, first minus second of each pair, seed by seed: a dot per pair and task."""
    title = "area under the return curve, difference"
    frame = tables.differences(paper, _areas(paper), pairs, TASKS)
    return charts.by_task(frame, TASKS, series, charts.dots, x_title=title, reference=0.0)


@figure("What the meta gradient learns", BANDS_AND_BARS)
def contrasts(paper: Paper) -> charts.Panels:
    """Area under the learning curve (mean return over the budget): meta minus a teacher of the same kind that is never
    trained, and minus one that is trained on its meta-rewards in random order. Right of 0, the meta gradient helps.
    """
    return _differences(paper, CONTRASTS, CONTRAST_SERIES)


@figure("Against noise, under two countings of the updates", BANDS_AND_BARS)
def countings(paper: Paper) -> charts.Panels:
    """Area under the learning curve: meta (blue) and the teacher that is never trained (grey) minus DDPG with noise
    around its actor. Student: noise has as many updates as their student, 50 in 300 steps. Total: as many as student
    and trial student together, 100 in 300 steps. Right of 0, the teacher is ahead; what the grey dots show as well is
    not learned by the meta gradient.
    """
    return _differences(paper, COUNTINGS, COUNTING_SERIES)


@figure("Teacher families", BANDS_AND_BARS)
def teacher_families(paper: Paper) -> charts.Panels:
    """A teacher of its own, one around the actor that learns σ alone, and one that sees the student's Q."""
    frame = tables.curves(paper, "return", charts.labelled(FAMILIES))
    frame = _where(frame, "local")
    return charts.by_task(frame, TASKS, FAMILIES, x_title=STEPS, y_title="return", height=200, width=250)


@figure("Where explorer and student go")
def visitation(paper: Paper) -> charts.Panels:
    """Share of the last 500 states of the explorer and of the student's test episodes in each cell of the plane (x, y)
    at the end of training, mean over seeds; each map has its own scale, a stronger colour is more often. S is the
    start, g the small goal, G the large one.
    """
    pattern = r"visits\((\w+)\)\[(\d+),(\d+)\]"
    rows = paper.scores.filter(pl.col("metric").str.starts_with("visits"), pl.col("task").is_in(list(TASKS)))
    task = tables.first(task for task in TASKS if task in set(rows["task"]))
    rows = rows.filter(pl.col("task") == task).filter(pl.col("step") == pl.col("step").max())
    seeds = rows["seed"].n_unique()
    shares = rows.group_by("method", "metric").agg(pl.col("value").sum() / seeds)
    shares = shares.with_columns(
        pl.col("metric").str.extract(pattern, 1).alias("who"),
        *(pl.col("metric").str.extract(pattern, k + 2).cast(pl.Int64).alias(axis) for k, axis in enumerate("xy")),
    )
    named = [one for one in (META, FROZEN, OU) if one.label in set(shares["method"])]
    places = MARKS if task == "navigation" else []
    drawn = []
    for who in ("explorer", "student"):
        for one in named:
            here = shares.filter(pl.col("method") == one.label, pl.col("who") == who, pl.col("value") > 0)
            run = tables.runs_behind(paper, [one.label], task)
            top = float(here["value"].max() or 1.0)  # type: ignore[arg-type]
            values = [
                {"x": x, "y": y, "share": float(f"{value:.4g}"), "ink": round((value / top) ** 0.5, 3), "run": run}
                for x, y, value in here.sort("x", "y").select("x", "y", "value").iter_rows()
            ]
            drawn.append(_map(values, places, f"{one.name}: {who}"))
    return drawn


def _map(values: list[dict[str, object]], places: list[dict[str, object]], title: str) -> alt.LayerChart:
    """Cells whose opacity is the square root of their share of the largest, so that it reads on any ground."""
    scale = alt.Scale(domain=[0, CELLS], nice=False)
    x, y = (alt.X("x:Q", axis=None, scale=scale), alt.Y("y:Q", axis=None, scale=scale))
    ends = {"x2": alt.X2("right:Q"), "y2": alt.Y2("top:Q")}
    cells = [{**row, "right": row["x"] + 1, "top": row["y"] + 1} for row in values]  # type: ignore[operator]
    frame = [{"x": 0, "y": 0, "right": CELLS, "top": CELLS}]
    tooltip = [alt.Tooltip("share:Q", title="share of the states"), alt.Tooltip("run:N", title="run card")]
    opacity = alt.Opacity("ink:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None)
    here = alt.Chart(charts.inline(places))
    return alt.LayerChart(
        layer=[
            alt.Chart(charts.inline(frame)).mark_rect(filled=False, stroke=theme.AXIS).encode(x=x, y=y, **ends),
            alt.Chart(charts.inline(cells))
            .mark_rect(color=theme.BLUE)
            .encode(x=x, y=y, **ends, opacity=opacity, tooltip=tooltip),
            here.mark_point(filled=True, opacity=1, size=40, color=theme.VERMILION).encode(x=x, y=y),
            here.mark_text(dy=-13, fontWeight="bold", color=theme.VERMILION).encode(x=x, y=y, text="text:N"),
        ],
        width=262,
        height=262,
        title=title,
    )


@figure("Diagnostics", BANDS_AND_BARS)
def diagnostics(paper: Paper) -> charts.Panels:
    """Means over the cycles between two points of the curve, deceptive navigation."""
    series, frames = [META, SHUFFLED, FROZEN], []
    task = tables.first(task for task in TASKS if task in set(paper.scores["task"]))
    for metric in DIAGNOSTICS:
        frame = tables.curves(paper, metric, charts.labelled(series) & (pl.col("task") == task))
        frames.append(frame.with_columns(task=pl.lit(metric)))
    return charts.by_task(pl.concat(frames), DIAGNOSTICS, series, x_title="environment steps", y_title="", width=240)


def _judged(paper: Paper, metric: str, label: str = "") -> list[dict[str, object]]:
    """Dots of one metric of the study, per task and setting; `label` renames the setting."""
    rows = paper.scores.filter(pl.col("method").str.contains("^signal(_late)?/"), pl.col("metric") == metric)
    over_stages = rows.group_by("task", "method", "seed", maintain_order=True).agg(pl.col("value").mean())
    return [
        tables.dot(paper, str(task), label or str(method).partition("/")[2], group, [str(method)])
        for (task, method), group in over_stages.group_by(["task", "method"], maintain_order=True)
    ]


def _study(points: list[dict[str, object]], title: str) -> charts.Panels:
    frame = pl.DataFrame(points, schema=None if points else ["task", "method"])
    series = [Series(str(label), str(label), theme.BLUE) for label in frame["method"].unique(maintain_order=True)]
    return charts.by_task(
        frame, TASKS, series, charts.dots, x_title=title, reference=0.0, x_domain=(-1.0, 1.0), width=220
    )


@figure("How much of the meta-reward is signal", BANDS_AND_BARS)
def signal(paper: Paper) -> charts.Panels:
    """16 data sets D0 from one saved student, each judged twice: correlation of the two judgements, mean over two
    stages of training (InvertedDoublePendulum: the late one alone). 1: the meta-reward depends on D0 alone; 0: it is
    noise. Last row: correlation with the return after learning from the replay and the same D0 together.
    """
    points = [*_judged(paper, "reliability"), *_judged(paper, "alignment", "agreement with the replay")]
    return _study(points, "correlation of two judgements of D0")


@figure("How much of the gradient is signal", BANDS_AND_BARS)
def gradient(paper: Paper) -> charts.Panels:
    """Cosine of two meta-gradients from M trials each, M = 8 if not said. 0: a direction at random."""
    points = _judged(paper, "cosine[8]")
    for trials in (4, 2):
        given = _judged(paper, f"cosine[{trials}]")
        points += [{**row, "method": f"default, M = {trials}"} for row in given if row["method"] == "default"]
    return _study(points, "cosine of two gradient estimates")


@figure("Sensitivity", BANDS_AND_BARS)
def sensitivity(paper: Paper) -> charts.Panels:
    """|D0|, |D1| and the updates on D0 changed one at a time, on deceptive navigation."""
    areas = _where(_areas(paper).filter(charts.labelled(SENSITIVITY)), "updates_10")
    points = [
        tables.dot(paper, str(task), str(method), group, [str(method)])
        for (task, method), group in areas.group_by(["task", "method"], maintain_order=True)
    ]
    title = "area under the return curve"
    return charts.by_task(pl.DataFrame(points), TASKS, SENSITIVITY, charts.dots, x_title=title, width=300)


@figure("Learning curves", BANDS_AND_BARS)
def learning_curves(paper: Paper) -> charts.Panels:
    """Noise-free return of the student against environment steps of every kind, D0 and D1 included; every method with
    the same number of updates of its student.
    """
    return charts.metric_by_task(
        paper, "return", TASKS, METHODS, x_title=STEPS, y_title="return", height=200, width=250
    )


@figure("Overlap of explorer and student", BANDS_AND_BARS)
def overlap(paper: Paper) -> charts.Panels:
    """Intersection of the two histograms of the figure above: 1 where both go the same ways, 0 where never."""
    return charts.metric_by_task(
        paper, "overlap", TASKS, [META, FROZEN, OU, RANDOM], x_title=STEPS, y_title="overlap", height=200, width=250
    )


FIGURES = [
    contrasts,
    countings,
    learning_curves,
    teacher_families,
    visitation,
    overlap,
    diagnostics,
    signal,
    gradient,
    sensitivity,
]
