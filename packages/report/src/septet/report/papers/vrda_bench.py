"""Bench figures of voted RDA: what an example costs as rows get longer and as the space grows."""

import altair as alt
import polars as pl

from septet.errors import InputError
from septet.report import charts, theme
from septet.report.charts import Series
from septet.report.draw import figure

ROW = r"^time per non-zero, ([0-9.e]+) (draws a row|columns)$"
"""Names of the rows that `septet.vrda.bench.growth` writes."""
PANELS = {"draws a row": "Longer rows, 131,072 columns", "columns": "Wider space, 80 draws a row"}
TITLES = {"draws a row": "non-zeros drawn for a row", "columns": "columns"}
TICKS = {
    "draws a row": {float(n): str(n) for n in (10, 30, 100, 300)},
    "columns": {10.0**n: f"1e{n}" for n in range(4, 9)},
}
COST = [Series("fit", "fit", theme.BLUE)]


@figure("Cost against non-zeros and dimension")
def growth(rows: pl.DataFrame) -> charts.Panels:
    """Time of one pass of fit, checks included, per non-zero of the data (median of three passes): level where the cost
    is proportional to the non-zeros and blind to the number of columns. Horizontal axes logarithmic.
    """
    parts = pl.col("name").str.extract_groups(ROW)
    frame = rows.with_columns(
        x=parts.struct.field("1").cast(pl.Float64),
        task=parts.struct.field("2"),
        method=pl.lit("fit"),
        mean="value",
        low="value",
        high="value",
    ).drop_nulls("x")
    if missing := set(PANELS) - set(frame["task"]):
        found = f"none of {len(rows)} rows"
        raise InputError("bench file", expected=f"rows 'time per non-zero, N {min(missing)}'", found=found)
    top = 1.1 * float(frame["mean"].to_numpy().max())

    def panel(cost: pl.DataFrame) -> alt.LayerChart:
        kind = cost["task"][0]
        return charts.curves(
            cost, COST, x="x", x_title=TITLES[kind], y_title="ns per non-zero and pass", log_x=True, points=True,
            x_ticks=TICKS[kind], y_domain=(0.0, top), height=240, width=320,
        )  # fmt: skip

    return charts.panels(frame, PANELS, panel)


FIGURES = [growth]
