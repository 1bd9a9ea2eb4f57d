"""The figures of the demo paper: the example that the tests draw."""

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import Figure

TASKS = {"static": "Static world", "drift": "Drifting world", "reset": "Reset every 1,000 steps"}
SERIES = [
    Series("ts/exp-0.99", "discount 0.99", theme.BLUE),
    Series("ts/exp-0.999", "discount 0.999", theme.SKY),
    Series("ts/none", "no discount", theme.VERMILION),
    Series("ucb", "UCB", theme.GREEN),
    Series("random", "random", theme.GREY),
]


def regret_curves(paper):
    frame = tables.curves(paper, "regret")

    def panel(rows):
        return charts.curves(rows, SERIES, y_title="cumulative regret")

    return charts.panels(frame, TASKS, panel)


def final_regret(paper):
    frame = tables.levels(paper, "regret")

    def panel(rows):
        return charts.dots(rows, SERIES, x_title="regret at the last step", log_x=True)

    return charts.panels(frame, TASKS, panel)


FIGURES = [
    Figure(
        "regret_curves",
        "Regret over time",
        "Cumulative regret against the step, one panel per world; the band is the 95 % bootstrap interval over seeds.",
        regret_curves,
    ),
    Figure(
        "final_regret",
        "Regret at the end",
        "Regret at the last step, mean and 95 % bootstrap interval over seeds; logarithmic axis.",
        final_regret,
    ),
]
