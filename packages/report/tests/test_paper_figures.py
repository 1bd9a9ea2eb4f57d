"""Figures as a journal takes them: stated widths, text that can be read, fonts inside, tables beside them."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import zlib

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert
from PIL import Image, ImageFont

from septet.errors import InputError
from septet.report import charts, compact_svg, compose_svg, draw, tables, tabulate, theme
from septet.report.compact_svg import Picture
from septet.report.figure_files import Panel, Point, read_figure


def panel(width: float, height: float = 100.0) -> Panel:
    return Panel("p", Picture(width, height, "<text/>"), [], {})


def test_a_figure_takes_the_narrowest_width_that_holds_its_panels_side_by_side():
    assert compose_svg.arrange([panel(317)]) == (84, 1)
    assert compose_svg.arrange([panel(500)]) == (120, 1)
    assert compose_svg.arrange([panel(800)]) == (174, 1)
    assert compose_svg.arrange([panel(400), panel(400)]) == (174, 2)
    assert compose_svg.arrange([panel(400)] * 6) == (174, 2)
    assert compose_svg.arrange([panel(250)] * 9) == (174, 3)
    # ten tasks on one page: two columns read better than a column of half the size, or than three narrow ones
    assert compose_svg.arrange([panel(460, 270)] * 10) == (174, 2)


def test_a_figure_that_would_be_taller_than_a_page_is_shrunk_to_fit_it():
    def size(panels):
        text = compose_svg.compose(panels, "t")
        mm = [float(part) for part in re.search(r'width="([\d.]+)mm" height="([\d.]+)mm"', text).groups()]
        box = [float(part) for part in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()]
        return mm, box

    mm, box = size([panel(800, 500), panel(800, 500), panel(800, 500)])  # 1536 pixels of height
    assert mm == pytest.approx([174, 230], abs=0.01)
    assert box == pytest.approx([174 / 230 * 1536, 1536], abs=0.1)  # nothing is distorted, and all panels are inside
    mm, box = size([panel(300, 100), panel(300, 100)])
    assert mm == pytest.approx([174, 100 / 657.6 * 174], abs=0.1) and box[0] == pytest.approx(657.6, abs=0.1)


def test_files_have_the_width_that_they_state(drawn):
    for name in ("regret_curves", "final_regret"):
        mm, _ = compose_svg.arrange(read_figure(drawn / f"{name}.json").panels)
        assert re.search(r'<svg [^>]*width="([\d.]+)mm"', (drawn / f"{name}.svg").read_text())[1] == str(mm)
        box = re.search(rb"/MediaBox ?\[0 0 ([\d.]+)", (drawn / f"{name}.pdf").read_bytes())
        assert float(box[1]) / 72 * 25.4 == pytest.approx(mm, abs=0.1)
        with Image.open(drawn / f"{name}.png") as image:
            assert image.info["dpi"][0] == pytest.approx(200, abs=0.1)
            assert image.width / 200 * 25.4 == pytest.approx(mm, abs=0.2)


def test_text_in_a_file_is_six_points_or_more(drawn):
    text = (drawn / "regret_curves.svg").read_text()
    mm, wide = (float(part) for part in re.search(r'width="([\d.]+)mm".*?viewBox="0 0 ([\d.]+) ', text).groups())
    smallest = min(float(size) for size in re.findall(r'font-size="([\d.]+)', text))
    assert smallest * (mm / 25.4 * 72) / wide >= 6


def test_the_pdf_holds_its_font(drawn):
    data = (drawn / "regret_curves.pdf").read_bytes()
    packed = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
    whole = data + b"".join(zlib.decompress(part) for part in packed if part[:1] == b"x")
    assert b"/FontFile" in whole
    assert b"+LiberationSans" in whole


def test_a_table_says_where_the_lines_end(drawn):
    rows = list(csv.DictReader(io.StringIO((drawn / "final_regret.csv").read_text())))
    assert len(rows) == 15
    assert set(rows[0]) >= {"panel", "series", "mean", "low", "high", "run"}
    text = (drawn / "regret_curves.md").read_text()
    assert text.splitlines()[0] == "|  | Static world | Drifting world | Reset every 1,000 steps |"
    assert len(text.splitlines()) == 2 + 5
    latex = (drawn / "regret_curves.tex").read_text()
    assert latex.count(r"\\") == 1 + 5
    # the same level in the table of the curves and in that of their last points
    last = next(row for row in rows if row["series"] == "UCB" and row["panel"] == "Static world")
    shown = next(line for line in text.splitlines() if line.startswith("| UCB"))
    assert float(re.search(r"\| UCB \| ([\d.,]+) ", shown)[1].replace(",", "")) == pytest.approx(
        float(last["mean"]), rel=0.02
    )


def test_latex_escapes_what_latex_would_read():
    assert tabulate.latex("50 % of a_b & $x$ {y} ~ \\ γ") == (
        r"50 \% of a\_b \& \$x\$ \{y\} \textasciitilde{} \textbackslash{} $\gamma$"
    )
    assert tabulate.as_markdown(("a", "b"), [("x|y", "1")]).splitlines()[2] == "| x\\|y | 1 |"


def test_a_narrow_latex_table_is_a_plain_booktabs_table():
    assert tabulate.as_latex(("", "Static"), [("UCB", "12 [10, 14]"), ("a_b", "3 %")]) == (
        "% \\usepackage{booktabs}\n\\begin{tabular}{lr}\n\\toprule\n & Static \\\\\n\\midrule\n"
        "UCB & 12 [10, 14] \\\\\na\\_b & 3 \\% \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


def test_a_wide_latex_table_breaks_its_text_inside_columns_of_the_width_of_a_line():
    rows = [("word " * 30, "undecided", "1 [0, 2]")] * 3
    text = tabulate.as_latex(("Claim", "Verdict", "Ours"), rows)
    assert text.startswith("% \\usepackage{booktabs, array}\n\\begin{tabular}{>{\\raggedright")
    widths = [float(width) for width in re.findall(r"p\{\\dimexpr([\d.]+)\\linewidth-2\\tabcolsep\\relax\}", text)]
    assert sum(widths) == pytest.approx(1, abs=0.002)
    assert widths[0] > widths[1] > widths[2] and widths[1] * tabulate.LINE >= len("undecided")
    assert text.count("{") == text.count("}")
    long = tabulate.as_latex(("Claim", "Verdict", "Ours"), rows * 20)
    assert "\\begin{longtable}" in long and "\\endhead" in long and "longtable}\n" in long.splitlines()[0] + "\n"


def test_a_figure_without_means_is_counted():
    samples = Panel("s", Picture(9, 9, ""), [Point(1, 1, {"run": "r"})] * 3, {"run": "run card"})
    assert tabulate.levels([samples]) == (("panel", "points"), [("s", "3")])


@pytest.mark.usefixtures("demo_papers")
def test_one_figure_can_be_drawn_alone_and_an_unknown_one_lists_the_names(demo, tmp_path):
    draw.draw(demo, tmp_path, "dynts", "final_regret")
    assert {path.stem for path in tmp_path.iterdir()} == {"final_regret"}
    with pytest.raises(InputError, match="figure: expected one of regret_curves, final_regret, found nonsense"):
        draw.draw(demo, tmp_path, "dynts", "nonsense")


@pytest.mark.usefixtures("demo_papers")
def test_a_figure_that_a_paper_no_longer_has_goes_with_its_table(demo, tmp_path):
    """The page takes what lies in the folder, and refuses a figure of another table."""
    table = tables.paper_of(demo, "dynts").table
    for name, source in (("old", "another"), ("edited", "another"), ("mine", table)):
        chart = alt.Chart(alt.Data(values=[{"x": 1, "y": 2}])).mark_point().encode(x="x:Q", y="y:Q")
        draw.export([chart], tmp_path, name, title=name, caption="", source=source)
    (tmp_path / "edited.csv").write_text("note\n")
    draw.draw(demo, tmp_path, "dynts")
    assert {path.stem for path in tmp_path.iterdir()} == {"regret_curves", "final_regret", "edited", "mine"}


def test_what_is_drawn_small_is_what_vega_drew():
    frame = pl.DataFrame({"s": ["a"] * 3, "step": [0, 5, 10], "mean": [0.0, 1.0, 4.0], "run": "r"})
    frame = frame.with_columns(low=pl.col("mean") - 1, high=pl.col("mean") + 1)
    chart = charts.curves(
        frame, [charts.Series("a", "A & B", theme.BLUE)], column="s", y_title="y", width=100, height=50
    )
    spec = chart.to_dict() | {"config": theme.CONFIG}
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=draw.VEGA_LITE)
    picture, _ = compact_svg.compact(drawn)
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width}" height="{picture.height}"'
        f' font-family="{theme.FONT}"><rect width="100%" height="100%" fill="white"/>{picture.body}</svg>'
    )
    ours, theirs = (
        np.asarray(Image.open(io.BytesIO(vl_convert.svg_to_png(text, scale=2))).convert("L"), dtype=float)
        for text in (whole, drawn)
    )
    assert ours.shape == theirs.shape
    assert theirs.min() < 100  # something is drawn
    assert np.abs(ours - theirs).mean() < 1
    assert "A &amp; B" in picture.body
    assert len(whole) < len(drawn) / 2


def test_points_lie_where_they_are_drawn(tmp_path):
    frame = pl.DataFrame({"s": ["a"] * 3, "step": [0, 5, 10], "mean": [0.0, 1.0, 4.0], "run": ["r", "s", "t"]})
    frame = frame.with_columns(low=pl.col("mean"), high=pl.col("mean"))
    chart = charts.curves(
        frame,
        [charts.Series("a", "A", theme.BLUE)],
        column="s",
        y_title="y",
        points=True,
        y_domain=(0, 4),
        width=100,
        height=50,
    )
    (found,) = draw.export([chart], tmp_path, "three", title="t", caption="c")
    assert [point.row["run"] for point in found.points] == ["r", "s", "t"]
    x, y = (np.array([getattr(point, axis) for point in found.points]) for axis in "xy")
    np.testing.assert_allclose(np.diff(x), [50, 50], atol=0.15)
    np.testing.assert_allclose(np.diff(y), [-12.5, -37.5], atol=0.15)
    circles = [(float(a), float(b)) for a, b in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', found.picture.body)]
    np.testing.assert_allclose(circles, np.column_stack([x, y]), atol=0.11)


def test_thinning_keeps_ends_and_the_spike():
    x = np.arange(10_000.0)
    y = np.sin(x / 700)
    y[4321] = 9.0
    kept = charts.largest_triangles(x, y, 100)
    assert len(kept) == 100
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert (np.diff(kept) > 0).all()
    assert 4321 in kept
    np.testing.assert_allclose(np.interp(x[:4000], x[kept], y[kept]), y[:4000], atol=0.05)
    assert charts.largest_triangles(x[:5], y[:5], 100).tolist() == [0, 1, 2, 3, 4]


def test_a_curve_holds_no_more_points_than_can_be_seen():
    steps = np.arange(20_000)
    frame = pl.DataFrame({"s": "a", "step": steps, "mean": np.sqrt(steps), "run": "r"})
    frame = frame.with_columns(low=pl.col("mean") - 1, high=pl.col("mean") + 1)
    chart = charts.curves(frame, [charts.Series("a", "A", theme.BLUE)], column="s", y_title="y", width=240)
    values = json.loads(max(chart.to_dict()["datasets"].values(), key=len))
    assert len(values) == 120
    assert (values[0]["step"], values[-1]["step"]) == (0, 19_999)


@pytest.mark.parametrize("ground", [theme.LIGHT, theme.DARK])
def test_every_colour_can_be_seen_on_the_page(ground):
    for colour in theme.PALETTE:
        assert theme.contrast_of(theme.shade(colour, ground, 4.5), ground) >= 4.5
        assert theme.contrast_of(theme.shade(colour, ground, 3.0), ground) >= 3.0
    assert theme.contrast_of("#000000", "#FFFFFF") == pytest.approx(21)


def test_a_chart_of_cells_tells_where_they_lie(tmp_path):
    rows = [{"x": x, "y": y, "share": x + y, "run": "r"} for x in range(3) for y in range(2)]
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_rect()
        .encode(x="x:O", y="y:O", color=alt.Color("share:Q", legend=None), tooltip=["share:Q"])
        .properties(width=30, height=20)
    )
    (found,) = draw.export([chart], tmp_path, "cells", title="t", caption="c")
    places = {(point.row["x"], point.row["y"]): (point.x, point.y) for point in found.points}
    assert len(places) == 6
    np.testing.assert_allclose(np.subtract(places[1, 0], places[0, 0]), [10, 0], atol=0.15)
    np.testing.assert_allclose(np.subtract(places[0, 1], places[0, 0]), [0, 10], atol=0.15)


FRAME = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><g transform="translate(1,2)">{}</g></svg>'


def test_what_vega_writes_is_moved_rounded_and_joined():
    """By hand: moved by (1, 2), on a grid of a tenth; two rules of one style are one path, a dot is a circle."""
    marks = (
        '<line transform="translate(1,1)" x2="3" y2="0" stroke="#6B6B6B"/>'
        '<line transform="translate(1,2)" x2="0" y2="3" stroke="#6B6B6B"/>'
        '<path transform="translate(4.04,5)" d="M2,0A2,2,0,1,1,-2,0A2,2,0,1,1,2,0" fill="#0072B2" aria-label="@7"/>'
        '<text transform="translate(0,5) rotate(-90)" fill="#222222">a &lt; b</text>'
    )
    picture, places = compact_svg.compact(FRAME.format(marks))
    assert picture.body == (
        '<path fill="none" stroke="#6B6B6B" d="M2 3H5M2 4V7"/>'
        '<circle fill="#0072B2" cx="5" cy="7" r="2"/>'
        '<text fill="#222222" transform="translate(1 7) rotate(-90)">a &lt; b</text>'
    )
    assert places == {7: (pytest.approx(5.04), 7.0)}


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ('<image href="x.png" width="2" height="2"/>', "the element <image>"),
        ('<rect width="2" height="2" fill="#000000"/>', "the element <rect>"),
        ('<path d="M0,0Q1,1,2,0" fill="#000000"/>', "the path M0,0Q1,1,2,0"),
        ('<path d="m0,0l1,1" fill="#000000"/>', "the path m0,0l1,1"),
        ('<path transform="matrix(1,0,0,1,2,3)" d="M0,0L1,1" stroke="#000000"/>', "the transformation matrix"),
        ('<g transform="rotate(90)"><text>a</text></g>', "the transformation rotate"),
    ],
)
def test_what_another_release_of_vega_might_write_is_an_error_and_not_left_out(mark, says):
    with pytest.raises(ValueError, match=re.escape(f"Vega wrote {says}")):
        compact_svg.compact(FRAME.format(mark))


def test_a_font_of_the_system_is_not_used(tmp_path):
    """Pillow's font, installed: vl-convert alone writes with it, our figures do not."""
    font = ImageFont.load_default(20)
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts/installed.ttf").write_bytes(font.font_bytes)
    (tmp_path / "fonts.conf").write_text(f"<fontconfig><dir>{tmp_path / 'fonts'}</dir></fontconfig>")
    text = f'<text y="20" font-family="{font.getname()[0]}, Liberation Sans">Wig</text>'
    picture = f'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30">{text}</svg>'

    def drawn(modules, **environment):
        code = f"import sys, {modules}; sys.stdout.buffer.write(vl_convert.svg_to_png({picture!r}))"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True).stdout

    installed = {"FONTCONFIG_FILE": str(tmp_path / "fonts.conf")}
    assert drawn("vl_convert", **installed) != drawn("vl_convert")
    assert drawn("septet.report.vega, vl_convert", **installed) == drawn("septet.report.vega, vl_convert")
