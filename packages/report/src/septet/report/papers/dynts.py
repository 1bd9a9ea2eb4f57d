"""Figures of Thompson sampling in dynamic systems (listed in section 4 of `docs/papers/dynts.md`)."""

import polars as pl

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import BANDS_AND_BARS, figure
from septet.report.statistics import bootstrap_means, percentile_interval
from septet.report.tables import Paper
from septet.seeding import stream

WORLDS = {
    "static": "Static",
    "tau5000": "Memory 5,000 rounds",
    "tau1000": "Memory 1,000 rounds",
    "tau200": "Memory 200 rounds",
    "reset1000": "Reset every 1,000 rounds",
    "shared1000": "Shared weights, memory 1,000",
}
NO_DECAY = 3e-5
"""Where 'no decay' stands on the logarithmic axes, whose next value is 1e-4."""
TICKS = {NO_DECAY: "none", 1e-4: "0.0001", 5e-4: "0.0005", 2e-3: "0.002", 1e-2: "0.01"}

CURVES = [
    Series("ts/exp-0.998", "TS, γ = 0.998", theme.BLUE),
    Series("ts/none", "TS, no decay", theme.SKY),
    Series("ts_small/exp-0.998", "TS α = 0.03, γ = 0.998", theme.PURPLE),
    Series("ucb/exp-0.998", "UCB, γ = 0.998", theme.GREEN),
    Series("greedy/exp-0.998", "greedy, γ = 0.998", theme.ORANGE),
    Series("greedy/none", "greedy, no decay", theme.GREY),
]
POLICIES = [
    Series("ts/none", "TS", theme.BLUE),
    Series("ts/exp-0.998", "TS, γ = 0.998", theme.BLUE),
    Series("ts/exp-0.998-uncapped", "TS, γ = 0.998, uncapped", theme.SKY),
    Series("ts/poly-1-0.75", "TS, γ = 1 - t^-0.75", theme.BLUE),
    Series("ts/harm-1", "TS, γ = 1 - 1/t", theme.BLUE),
    Series("ts_window/window-500", "TS, window 500", theme.BLUE),
    Series("ts_window/window-1000", "TS, window 1,000", theme.BLUE),
    Series("ts_pull/exp-0.99", "TS, pulled arm γ = 0.99", theme.BLUE),
    Series("ts_kalman/none", "TS, exact Kalman Q", theme.BLUE),
    Series("ts_quarter/none", "TS α = ¼", theme.PURPLE),
    Series("ts_quarter/exp-0.998", "TS α = ¼, γ = 0.998", theme.PURPLE),
    Series("ts_small/none", "TS α = 0.03", theme.PURPLE),
    Series("ts_small/exp-0.998", "TS α = 0.03, γ = 0.998", theme.PURPLE),
    Series("ucb/none", "UCB", theme.GREEN),
    Series("ucb/exp-0.998", "UCB, γ = 0.998", theme.GREEN),
    Series("greedy/none", "greedy", theme.ORANGE),
    Series("greedy/exp-0.998", "greedy, γ = 0.998", theme.ORANGE),
    Series("epsilon/none", "ε-greedy", theme.VERMILION),
    Series("epsilon/exp-0.998", "ε-greedy, γ = 0.998", theme.VERMILION),
    Series("beta/none", "Beta TS, no context", theme.GREY),
    Series("ucb1/none", "UCB1, no context", theme.GREY),
    Series("random/none", "random", theme.BLACK),
]
DRIFTS = [
    Series("tau200", "memory 200", theme.VERMILION),
    Series("tau1000", "memory 1,000", theme.ORANGE),
    Series("reset1000", "resets 1,000", theme.PURPLE),
    Series("tau5000", "memory 5,000", theme.GREEN),
    Series("static", "static", theme.GREY),
]
SCHEDULES = [
    Series("ts/none", "none", theme.GREY),
    Series("ts/exp-0.9999", "γ = 0.9999", theme.SKY),
    Series("ts/exp-0.998", "γ = 0.998", theme.BLUE),
    Series("ts/exp-0.99", "γ = 0.99", theme.PURPLE),
    Series("ts/poly-1-0.75", "1 - t^-0.75", theme.GREEN),
    Series("ts/harm-1", "1 - 1/t", theme.ORANGE),
]
PATHS = {"ts/none": "No decay", "ts/exp-0.998": "γ = 0.998", "ts/exp-0.99": "γ = 0.99"}
PATH_SERIES = [Series("posterior", "posterior", theme.BLUE), Series("weight", "true weight", theme.BLACK)]
HEADLINES = {"headlines": "All weeks", "headlines_clean": "Weeks with sound randomisation"}
TRACKERS = [
    Series("tracker", "prior kept", theme.BLUE),
    Series("tracker-uncapped", "uncapped", theme.VERMILION),
    Series("tracker-trace", "trace capped", theme.ORANGE),
    Series("tracker/constant", "best constant", theme.GREY),
    Series("tracker/true-rates", "real rates", theme.BLACK),
]
LOSS_SHOWN = 1.1
"""Multiple of the loss without decay above which a wound-up filter is left out: it would flatten all others."""
BANDIT = [
    Series("headline_ucb/none", "UCB", theme.GREEN),
    Series("headline_ucb/exp-0.999", "UCB, γ = 0.999", theme.GREEN),
    Series("headline_ts_small/none", "TS α = 0.03", theme.PURPLE),
    Series("headline_ts_small/exp-0.999", "TS α = 0.03, γ = 0.999", theme.PURPLE),
    Series("headline_ts/none", "TS", theme.BLUE),
    Series("headline_ts/exp-0.999", "TS, γ = 0.999", theme.BLUE),
    Series("headline_ts/exp-0.99", "TS, γ = 0.99", theme.BLUE),
    Series("headline_ts/exp-0.999-uncapped", "TS, γ = 0.999, uncapped", theme.SKY),
    Series("headline_greedy/none", "greedy", theme.ORANGE),
    Series("random/none", "random", theme.BLACK),
]


GUARDS = {"": "prior kept", "-uncapped": "uncapped", "-trace": "trace capped"}
"""Suffix of a schedule -> what holds the discounted covariance."""
FAMILIES = [
    (method, suffix, f"{name}: {guard}")
    for method, name in (("ts", "TS"), ("ts_quarter", "TS α = ¼"), ("ts_small", "TS α = 0.03"))
    for suffix, guard in GUARDS.items()
]


def _decays(paper: Paper, method: str, suffix: str = "") -> pl.DataFrame:
    """The labels `method/none` and `method/exp-*` of one guard with their place on the axis of 1 - gamma."""
    rates = tables.settings(paper, "forgetting")
    others = tuple(other for other in GUARDS if other not in ("", suffix))
    labels = [
        label
        for label in rates
        if label == f"{method}/none"
        or (label.startswith(f"{method}/exp") and label.endswith(suffix) and not label.endswith(others))
    ]
    places = [max(rates[label], NO_DECAY) for label in labels]
    return pl.DataFrame(
        {"method": labels, "forgetting": places}, schema={"method": pl.String, "forgetting": pl.Float64}
    )


@figure("Regret over time", BANDS_AND_BARS)
def regret_curves(paper: Paper) -> charts.Panels:
    """Cumulative pseudo-regret against the moving oracle, one panel per world; each line carries its policy's name."""
    return charts.metric_by_task(paper, "regret", WORLDS, CURVES, x_title="round", y_title="cumulative regret")


@figure("How fast to forget", BANDS_AND_BARS)
def regret_against_decay(paper: Paper) -> charts.Panels:
    """Regret at the end relative to the same policy without decay on the same seeds, against 1 - γ (both axes
    logarithmic). Below 1 forgetting helps: the faster the drift, the further right the minimum. With the prior kept
    only samples are discounted; uncapped, the prior too, and what is not observed winds up; with the trace capped,
    every fast decay is the same.
    """
    parts = []
    for method, suffix, name in FAMILIES:
        rows = paper.scores.filter(pl.col("metric") == "regret", pl.col("method").str.starts_with(f"{method}/"))
        rows = rows.filter(pl.col("step") == pl.col("step").max().over("task"))
        plain = rows.filter(pl.col("method") == f"{method}/none").select("task", "seed", base="value")
        decays = _decays(paper, method, suffix)
        if len(decays) < 2:
            continue  # this guard was not run
        rows = tables.with_runs(paper, rows.join(plain, on=["task", "seed"]).join(decays, on="method"))
        for (task, forgetting), group in rows.group_by(["task", "forgetting"], maintain_order=True):
            values = group.sort("seed").select("value", "base").to_numpy()
            sums = bootstrap_means(values, stream(0, "decay", method, suffix, str(task)))
            low, high = percentile_interval(sums[:, 0] / sums[:, 1], len(values))
            place = {"task": name, "world": task, "forgetting": forgetting}
            mean = values[:, 0].mean() / values[:, 1].mean()
            parts.append({**place, "mean": mean, "low": float(low), "high": float(high), "run": group["run"][0]})
    if not parts:
        return []
    frame = pl.DataFrame(parts)
    domain = (float(frame["low"].min()), float(frame["high"].max()))  # type: ignore[arg-type]
    names = {name: name for name in frame["task"].unique(maintain_order=True)}
    return charts.by_task(
        frame, names, DRIFTS, column="world", x="forgetting", x_title="1 - γ",
        y_title="regret / regret without decay", log_x=True, log_y=True, points=True, x_ticks=TICKS, y_domain=domain,
        height=240,
    )  # fmt: skip


@figure("All policies", BANDS_AND_BARS)
def policies(paper: Paper) -> charts.Panels:
    """Regret at the end of every policy and baseline on the same filter and the same random numbers."""
    frame = tables.levels(paper, "regret", charts.labelled(POLICIES) & pl.col("task").is_in(list(WORLDS)))
    return charts.by_task(frame, WORLDS, POLICIES, charts.dots, x_title="regret at the end", width=120, row=15)


@figure("Following one weight")
def tracking(paper: Paper) -> charts.Panels:
    """One weight of one arm (black) and its posterior mean with two standard deviations, for three decays. Without
    decay the posterior grows sure and lags; with too much it stays vague.
    """
    frame = tables.with_runs(paper, paper.scores.filter(pl.col("metric").str.starts_with("path_")))
    task = tables.first(sorted(frame["task"].unique(maintain_order=True), key=lambda task: task != "tau1000"))
    frame = frame.filter(pl.col("task") == task, pl.col("method").is_in(list(PATHS)))
    wide = frame.pivot(on="metric", index=["method", "step", "run"], values="value").rename({"method": "task"})
    lines = {"posterior": (pl.col("path_mean"), 2 * pl.col("path_sd")), "weight": (pl.col("path_weight"), pl.lit(0.0))}
    both = pl.concat(
        wide.select("task", "step", "run", series_of=pl.lit(name), mean=mean, low=mean - half, high=mean + half)
        for name, (mean, half) in lines.items()
    )
    domain = (float(both["low"].min()), float(both["high"].max()))  # type: ignore[arg-type]
    return charts.by_task(
        both, PATHS, PATH_SERIES, column="series_of", x_title="round", y_title="weight", y_domain=domain,
        width=200,
    )  # fmt: skip


@figure("What a schedule remembers", BANDS_AND_BARS)
def memory(paper: Paper) -> charts.Panels:
    """Effective sample size and mean posterior variance under Thompson sampling, by schedule. A constant decay keeps
    the variance, and so the exploration, from vanishing.
    """
    parts = []
    for metric, name in (("effective_samples", "Effective sample size"), ("posterior_variance", "Posterior variance")):
        frame = tables.curves(paper, metric, charts.labelled(SCHEDULES))
        task = tables.first(sorted(frame["task"].unique(maintain_order=True), key=lambda task: task != "tau1000"))
        parts.append(frame.filter(pl.col("task") == task).with_columns(task=pl.lit(name)))
    names = {"Effective sample size": "Effective sample size N_t", "Posterior variance": "Posterior variance"}
    return charts.panels(
        pl.concat(parts),
        names,
        lambda rows: charts.curves(
            rows, SCHEDULES, x_title="round", y_title=names[rows["task"][0]], log_y=True, height=220
        ),
    )


@figure("Real click rates: tracking", BANDS_AND_BARS)
def headline_tracking(paper: Paper) -> charts.Panels:
    """Log loss per 1,000 impressions of click rates predicted before they are seen, headlines in the order of time,
    against 1 - γ; with the best constant in hindsight and the real rates themselves. Points with a tenth more loss than
    no decay are left out: fast decays of the uncapped filter.
    """
    frame = tables.levels(paper, "log_loss", pl.col("task").is_in(list(HEADLINES)))
    decays = _decays(paper, "tracker")
    filters = pl.concat(
        frame.join(_decays(paper, "tracker", suffix), on="method").with_columns(method=pl.lit(f"tracker{suffix}"))
        for suffix in GUARDS
    )
    plain = pl.col("mean").filter(pl.col("forgetting") == NO_DECAY).max().over("task")
    filters = filters.filter(pl.col("mean") < LOSS_SHOWN * plain)
    ends = decays["forgetting"].min(), decays["forgetting"].max()
    flat = frame.filter(pl.col("method").is_in(["tracker/constant", "tracker/true-rates"]))
    lines = [flat.with_columns(forgetting=pl.lit(end, dtype=pl.Float64)) for end in ends]
    return charts.by_task(
        pl.concat([filters, *(line.select(filters.columns) for line in lines)]), HEADLINES, TRACKERS, x="forgetting",
        x_title="1 - γ", y_title="log loss per 1,000 impressions", log_x=True, points=True, x_ticks=TICKS, height=220,
    )  # fmt: skip


@figure("Real click rates: choosing", BANDS_AND_BARS)
def headline_bandit(paper: Paper) -> charts.Panels:
    """Clicks lost per 1,000 visitors of real headline tests in the order of time, against always showing the best
    headline.
    """
    frame = tables.levels(paper, "regret", charts.labelled(BANDIT) & (pl.col("task") == "headline_bandit"))
    per_thousand = [(pl.col(name) * 1000 / pl.col("step")).alias(name) for name in ("mean", "low", "high")]
    frame = frame.with_columns(per_thousand)
    return [charts.dots(frame, BANDIT, x_title="clicks lost per 1,000 visitors", width=360)]


FIGURES = [regret_curves, regret_against_decay, policies, tracking, memory, headline_tracking, headline_bandit]
