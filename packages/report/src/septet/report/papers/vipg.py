"""Figures of the variational policy gradient: returns, sampler, posteriors (section 4 of `docs/papers/vipg.md`)."""

from collections.abc import Sequence

import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import BANDS, figure
from septet.report.papers.vipg_posterior import posterior
from septet.report.tables import Paper

TASKS = {
    "cart_pole": "Cart-pole",
    "pendulum": "Pendulum swing-up",
    "double_pendulum": "InvertedDoublePendulum-v5",
    "swing_up": "The author's double pendulum",
    "swimmer": "Swimmer-v5",
    "half_cheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
}
SPARSE = {"sparse_car": "Mountain car, reward 1 at the goal"}
ALGORITHMS = {"vpg": ("VPG", theme.GREEN), "trpo": ("TRPO", theme.PURPLE), "ppo": ("PPO", theme.VERMILION)}
MAIN = "0.01"
TWINS = (f"/alpha-{MAIN}", "_one")
"""How the label of a twin ends, by task: where it runs with several alphas, and with one."""
PAIRS = [
    one
    for name, (title, _) in ALGORITHMS.items()
    for one in (
        *(Series(f"v_{name}{end}", f"V-{title}", theme.BLUE) for end in TWINS),
        Series(name, title, theme.ORANGE),
    )
]
WIDTH, HEIGHT = 250, 200


@figure("Each method next to its variational twin", BANDS)
def returns(paper: Paper) -> charts.Panels:
    """Score of the episodes of each iteration (0: a policy that knows nothing, 1: a good one) against episodes, the
    same number for both: VPG, TRPO and PPO, and their twins with mean-field weights at α = 0.01. The twin's episodes
    are run with sampled weights, so they carry weight noise.
    """
    frame, drawn = tables.curves(paper, "score", charts.labelled(PAIRS)), []
    for task, title in TASKS.items():
        here = frame.filter(pl.col("task") == task)
        for name, (shown, _) in ALGORITHMS.items():
            pair = [one for one in PAIRS if one.label in (name, *(f"v_{name}{end}" for end in TWINS))]
            rows = here.filter(charts.labelled(pair))
            if rows.is_empty():
                continue
            domain = (min(0.0, float(here["low"].min())), float(here["high"].max()))  # type: ignore[arg-type]
            chart = charts.curves(
                rows, pair, x_title="episodes per seed", y_title="score", y_domain=domain, width=175, height=130
            )
            drawn.append(charts.titled(chart, f"{title}: {shown}"))
    return drawn


@figure("What the variational twin gains")
def gains(paper: Paper) -> charts.Panels:
    """Score of the twin minus that of its algorithm on the same seeds: mean over training, where the twin's episodes
    carry weight noise, and at the end that of one policy without noise in the actions, for the twin the one with the
    sampler's mean weights. Right of 0 the twin is ahead. Bars are 95 % bootstrap intervals over seeds.
    """
    pairs, series, parts = {}, [], []
    for metric, what, area in (("score", "training", True), ("mean_policy_score", "mean policy", False)):
        for name, (title, colour) in ALGORITHMS.items():
            for end in TWINS:
                pairs[f"{metric}/{name}{end}"] = (f"{metric}/v_{name}{end}", f"{metric}/{name}")
                series.append(Series(f"{metric}/{name}{end}", f"{title}: {what}", colour))
        rows = paper.scores.filter(pl.col("metric") == metric, charts.labelled(PAIRS))
        last = rows.filter(pl.col("step") == pl.col("step").max().over("method", "task"))
        values = tables.per_seed(rows if area else last, [], area=True, step=None)
        parts.append(values.with_columns(pl.format("{}/{}", pl.lit(metric), "method").alias("method")))
    frame = tables.differences(paper, pl.concat(parts), pairs, TASKS)
    return charts.by_task(
        frame, TASKS, series, charts.dots, x_title="gain of the twin in score", reference=0.0, width=130
    )


SHADES = (theme.BLACK, theme.SKY, theme.BLUE, theme.GREEN, theme.ORANGE, theme.VERMILION)


def _by_alpha(paper: Paper, task: str, methods: Sequence[str] = ("v_trpo", "v_trpo_alphas")) -> dict[float, str]:
    """Alpha -> method label of V-TRPO on a task, ascending."""
    known = set(paper.scores.filter(pl.col("task") == task)["method"])
    found = {
        alpha: label
        for label, alpha in tables.settings(paper, "alpha").items()
        if label in known and label.partition("/")[0] in methods and "/" in label
    }
    return dict(sorted(found.items()))


@figure("Spread of the weights against α", BANDS)
def alpha(paper: Paper) -> charts.Panels:
    """V-TRPO on the cart-pole. Above: standard deviation of the weights and entropy of the sampler during training.
    Below: where they end, and what that does to the scores; 0 on the axis is α = 0, no log-determinant.
    """
    task = tables.first(task for task in TASKS if _by_alpha(paper, task))
    labels = _by_alpha(paper, task)
    series = [
        Series(label, f"α = {value:g}", colour) for (value, label), colour in zip(labels.items(), SHADES, strict=False)
    ]
    over = {"sigma": ("σ of the weights (geometric mean)", True), "entropy": ("entropy of the sampler, nats", False)}
    drawn = []
    for metric, (y_title, log) in over.items():
        rows = tables.curves(paper, metric, charts.labelled(series) & (pl.col("task") == task))
        chart = charts.curves(
            rows, series, x_title="episodes per seed", y_title=y_title, log_y=log, width=WIDTH,
            height=HEIGHT,
        )  # fmt: skip
        drawn.append(charts.titled(chart, f"{TASKS[task]}: {'σ' if metric == 'sigma' else 'entropy'}"))
    positive = [value for value in labels if value > 0]
    least = min(positive, default=1e-3) / 10.0  # where alpha 0 stands on a logarithmic axis
    places = pl.DataFrame({"method": list(labels.values()), "alpha": [value or least for value in labels]})
    ticks = {value or least: f"{value:g}" for value in labels}
    ends = [
        ("σ", "σ at the end", [("sigma", "σ", theme.BLUE)], True),
        ("score", "score", [("score", "episodes of the last iteration", theme.BLUE),
                            ("mean_policy_score", "mean-weight policy", theme.VERMILION)], False),
    ]  # fmt: skip
    for title, y_title, metrics, log in ends:
        frames = [
            tables.levels(paper, name, pl.col("task") == task).join(places, on="method").with_columns(line=pl.lit(name))
            for name, _, _ in metrics
        ]
        chart = charts.curves(
            pl.concat(frames), [Series(*one) for one in metrics], x="alpha", column="line", x_title="α",
            y_title=y_title, log_x=True, log_y=log, points=True, x_ticks=ticks, width=WIDTH, height=HEIGHT,
        )  # fmt: skip
        drawn.append(charts.titled(chart, f"{TASKS[task]}: {title} against α"))
    return drawn


SCORES = [round(0.05 * step, 2) for step in range(23)]
"""Scores of a sampled policy, 0 to 1.1, at which its share is counted."""
ALPHAS = {0.0: theme.BLACK, 0.01: theme.BLUE, 0.1: theme.VERMILION, 1.0: theme.ORANGE}


@figure("Returns of sampled policies", BANDS)
def sampled_policies(paper: Paper) -> charts.Panels:
    """Share of the 32 policies drawn from the final sampler of each seed whose episode without action noise scores at
    least so much, V-TRPO. A step at 1: all policies of the sampler solve the task; a slope: they differ.
    """
    rows = paper.scores.filter(pl.col("metric") == "sampled_policy").drop("step")
    thresholds = pl.DataFrame({"step": list(range(len(SCORES))), "least": SCORES}, schema_overrides={"step": pl.Int64})
    reached = rows.join(thresholds, how="cross").with_columns(
        value=(pl.col("value") >= pl.col("least")).cast(pl.Float64)
    )
    share = reached.group_by("paper", "method", "task", "seed", "step", "metric").agg(pl.col("value").mean())
    own = Paper(paper.id, share.select(paper.scores.columns).sort(pl.all()), paper.cards, paper.scale, paper.timing)
    frame = tables.curves(own, "sampled_policy").with_columns(score=pl.col("step") * SCORES[1])
    drawn = []
    for task, title in {**TASKS, **SPARSE}.items():
        labels = _by_alpha(paper, task, ("v_trpo", "v_trpo_wide"))
        series = [Series(label, f"α = {value:g}", ALPHAS[value]) for value, label in labels.items() if value in ALPHAS]
        here = frame.filter(charts.labelled(series), pl.col("task") == task)
        if here.is_empty():
            continue
        chart = charts.curves(
            here, series, x="score", x_title="score", y_title="share of policies that reach it", y_domain=(0.0, 1.0),
            width=WIDTH, height=HEIGHT,
        )  # fmt: skip
        drawn.append(charts.titled(chart, title))
    return drawn


BASELINES = [
    Series(f"v_vpg/alpha-{MAIN}", "V-VPG, mean field", theme.BLUE),
    Series("vpg", "VPG", theme.GREY),
    Series("v_vpg/alpha-0", "V-VPG without log-determinant", theme.SKY),
    Series("v_vpg_fixed", "fixed parameter noise", theme.SKY),
    Series("svpg", "SVPG, 16 particles", theme.ORANGE),
    Series("amortised_svgd", "amortised SVGD", theme.ORANGE),
    Series("score", "score-function gradient", theme.PURPLE),
    Series("action_sgd/alpha-1", "action space, SGD, α = 1", theme.GREEN),
    Series("action_sgd/alpha-0.01", "action space, SGD, α = 0.01", theme.GREEN),
    Series("action_trust/alpha-1", "action space, trust regions, α = 1", theme.GREEN),
    Series("action_trust/alpha-0.01", "action space, trust regions, α = 0.01", theme.GREEN),
    Series(f"v_trpo/alpha-{MAIN}", "V-TRPO, mean field", theme.BLUE),
    Series("v_trpo_low_rank", "V-TRPO, low rank", theme.VERMILION),
    Series("v_trpo_planar", "V-TRPO, planar flow", theme.VERMILION),
    Series("v_trpo_coupling", "V-TRPO, coupling flow", theme.VERMILION),
    Series("trpo", "TRPO", theme.GREY),
]


@figure("All methods on one task")
def baselines(paper: Paper) -> charts.Panels:
    """Mean score over training, and score of the mean-weight policy at the end: the method, what its parts are worth,
    other families of samplers, and other ways to spread policies. Bars are 95 % bootstrap intervals over seeds.
    """
    present = set(paper.scores.filter(pl.col("metric") == "score")["task"])
    task = tables.first(task for task in TASKS if task in present)
    shown = charts.labelled(BASELINES) & (pl.col("task") == task)
    whole = tables.curves(tables.mean_over_steps(paper, "score"), "score", shown)
    end = tables.levels(paper, "mean_policy_score", shown)
    drawn = []
    for title, frame in (("mean over training", whole), ("mean-weight policy at the end", end)):
        chart = charts.dots(frame, BASELINES, x_title="score", width=160)
        drawn.append(charts.titled(chart, f"{TASKS[task]}: {title}"))
    return drawn


EXPLORERS = [
    Series("v_trpo_wide/alpha-0.1", "V-TRPO, α = 0.1", theme.BLUE),
    Series("v_trpo_wide/alpha-1", "V-TRPO, α = 1", theme.VERMILION),
    Series("v_trpo_wide/alpha-0", "V-TRPO, α = 0", theme.SKY),
    Series("v_trpo_fixed", "fixed parameter noise", theme.ORANGE),
    Series("trpo", "TRPO", theme.GREY),
]


@figure("Exploration where reward is rare", BANDS)
def exploration(paper: Paper) -> charts.Panels:
    """Share of episodes that reach the goal of a mountain car whose only reward is at the goal. Weight noise, σ = 0.3
    at the start, moves the car the same way for a whole episode; action noise does not.
    """
    return charts.metric_by_task(
        paper,
        "score",
        SPARSE,
        EXPLORERS,
        x_title="episodes per seed",
        y_title="share of episodes at the goal",
        width=WIDTH,
        height=HEIGHT,
    )


FIGURES = [returns, gains, alpha, posterior, sampled_policies, baselines, exploration]
