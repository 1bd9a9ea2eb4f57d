"""Figures of skeleton, from its score table and run cards alone."""

from septet.report import charts, tables, theme
from septet.report.charts import Series
from septet.report.draw import BANDS, figure
from septet.report.tables import Paper

SERIES = [Series("shrunk", "shrunk", theme.BLUE), Series("plain", "plain mean", theme.VERMILION)]


@figure("Squared error of the estimates", BANDS)
def error(paper: Paper) -> charts.Panels:
    """Mean squared error of the estimate after t observations."""
    rows = tables.curves(paper, "squared_error")
    return [charts.curves(rows, SERIES, x_title="observations", y_title="squared error", log_x=True, log_y=True)]


FIGURES = [error]
