"""Labels that do not touch, colours that can be read, figures whose files agree and fetch nothing."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import altair as alt
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.errors import InputError
from septet.report import charts, draw, tables, theme
from septet.report.figure_files import read_figure


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.floats(0.1, 20))
def test_spread_keeps_gap_range_and_order(given_positions, gap):
    positions = np.array(given_positions)
    found = charts.spread(positions, gap, 0.0, 100.0)
    room = min(gap, 100.0 / max(len(positions) - 1, 1))
    assert (np.diff(np.sort(found)) >= room - 1e-9).all()
    assert found.min() >= -1e-9
    assert found.max() <= 100 + 1e-9
    order = np.argsort(positions, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    if (np.diff(np.sort(positions)) >= room).all():
        np.testing.assert_allclose(found, positions, atol=1e-9)


def test_spread_by_hand():
    # three names on one spot part evenly around it; the fourth is far and stays
    np.testing.assert_allclose(charts.spread(np.array([50.0, 50.0, 90.0, 50.0]), 10, 0, 100), [40, 50, 90, 60])
    # at the edge they move inwards
    np.testing.assert_allclose(charts.spread(np.array([0.0, 0.0]), 10, 0, 100), [0, 10])


def test_series_that_a_panel_lacks_are_left_out_and_tasks_without_any_have_no_panel():
    frame = pl.DataFrame(
        {
            "task": ["one", "one", "two", "three"], "method": ["a", "b", "b", "other"], "step": [1, 1, 1, 1],
            "mean": [1.0, 2.0, 3.0, 4.0], "low": [0.0, 1.0, 2.0, 3.0], "high": [2.0, 3.0, 4.0, 5.0], "run": ["r"] * 4,
        }
    )  # fmt: skip
    series = [charts.Series(name, name.upper(), theme.BLUE) for name in ("a", "b", "missing")]
    assert frame.filter(charts.labelled(series))["method"].to_list() == ["a", "b", "b"]
    assert [one.label for one in charts.present(frame, series)] == ["a", "b"]
    tasks = {"two": "Two", "one": "One", "three": "Three"}
    for make, more in ((charts.curves, {"y_title": "y"}), (charts.dots, {"x_title": "x"})):
        specs = [chart.to_dict() for chart in charts.by_task(frame, tasks, series, make, **more)]
        assert [spec["title"] for spec in specs] == ["Two", "One"]
        domains = [spec["layer"][0]["encoding"]["color"]["scale"]["domain"] for spec in specs]
        assert domains == [["B"], ["A", "B"]]


def test_text_is_dark_enough_to_be_read():
    assert theme.ink("#000000") == "#000000"
    # white on white has no contrast; #767676 is the lightest grey that passes
    assert int(theme.ink("#FFFFFF")[1:3], 16) <= 0x76


@pytest.mark.parametrize("ground", [theme.LIGHT, theme.DARK])
def test_colours_of_the_page_can_be_told_apart_on_either_ground(ground):
    """Distance in Oklab (Ottosson 2020); two greys that were mistaken for each other had 0.086, as text 0.003."""
    shown = [np.array(oklab(theme.page_colour(one, ground, theme.MARK_CONTRAST))) for one in theme.PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(shown, 2)) > 0.09
    assert theme.page_colour(theme.BLACK, theme.DARK, theme.TEXT_CONTRAST) == theme.WHITE
    assert theme.page_colour(theme.BLACK, theme.LIGHT, theme.TEXT_CONTRAST) == theme.BLACK


def oklab(colour):
    """An sRGB colour as `#RRGGBB` in Oklab."""
    parts = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    cones.append([0.0883024619, 0.2817188376, 0.6299787005])
    to_lab = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099]]
    to_lab.append([0.0259040371, 0.7827717662, -0.808675766])
    return np.array(to_lab) @ np.cbrt(np.array(cones) @ linear)


@pytest.mark.usefixtures("demo_papers")
def test_every_figure_has_its_files(drawn):
    names = [figure.name for figure in draw.figures_of("dynts")]
    suffixes = ("svg", "pdf", "png", "csv", "md", "tex", "json")
    assert sorted(path.name for path in drawn.iterdir()) == sorted(
        f"{n}.{suffix}" for n in names for suffix in suffixes
    )
    for place, name in enumerate(names):
        figure = read_figure(drawn / f"{name}.json")
        assert (figure.name, figure.place) == (name, place)
        assert figure.title
        assert figure.caption
        ET.fromstring((drawn / f"{name}.svg").read_text())
        assert (drawn / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (drawn / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_every_point_carries_its_run_card(drawn, demo):
    runs = {card.id for card in tables.read_paper(demo / "dynts").cards}
    points = [point for panel in read_figure(drawn / "regret_curves.json").panels for point in panel.points]
    assert len(points) == 3 * 5 * 41
    assert {point.row["run"] for point in points} == runs


def test_the_static_file_names_each_line_and_uses_the_house_font(drawn):
    svg = (drawn / "regret_curves.svg").read_text()
    for name in ("discount 0.99", "discount 0.999", "no discount", "UCB", "random"):
        assert svg.count(f">{name}</text>") == 3
    assert set(re.findall(r'font-family="([^"]+)"', svg)) == {theme.FONT}


def test_names_at_line_ends_do_not_touch(drawn):
    names = r'x="[\d.]+" y="([\d.]+)"[^>]*>(?:discount 0\.99|discount 0\.999|no discount|UCB|random)<'
    for panel in read_figure(drawn / "regret_curves.json").panels:
        heights = np.sort([float(y) for y in re.findall(names, panel.picture.body)])
        assert len(heights) == 5
        assert np.diff(heights).min() >= theme.SIZE


def test_a_setting_may_be_the_horizontal_axis(tmp_path):
    frame = pl.DataFrame(
        {
            "rate": [0.001, 0.01, 0.1, 0.001, 0.01, 0.1],
            "world": ["slow"] * 3 + ["fast"] * 3,
            "mean": [1.0, 2.0, 9.0, 8.0, 3.0, 4.0],
            "low": [0.9, 1.8, 8.0, 7.0, 2.0, 3.0],
            "high": [1.1, 2.2, 10.0, 9.0, 4.0, 5.0],
            "run": "r1 r2",
        }
    )
    series = [charts.Series("fast", "fast drift", theme.BLUE), charts.Series("slow", "slow drift", theme.GREY)]
    chart = charts.curves(
        frame, series, x="rate", column="world", x_title="rate", y_title="regret", log_x=True, log_y=True, points=True
    )
    (panel,) = draw.export([chart], tmp_path, "u_shape", title="t", caption="c")
    svg = (tmp_path / "u_shape.svg").read_text()
    assert svg.count(">fast drift</text>") == svg.count(">slow drift</text>") == 1
    lines = re.findall(r'stroke="(#[0-9A-Fa-f]+)" stroke-width="1.8"', svg)
    assert lines[-1] == theme.BLUE  # the first series lies on top
    assert len(panel.points) == svg.count("<circle") == 6


@pytest.mark.usefixtures("demo_papers")
def test_the_same_results_give_the_same_bytes(drawn, demo, tmp_path):
    draw.draw(demo, tmp_path, "dynts")
    for path in drawn.iterdir():
        if path.suffix != ".pdf":
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_a_figure_that_points_elsewhere_is_not_fetched(tmp_path):
    chart = alt.Chart(alt.UrlData(url="https://example.org/data.json")).mark_point().encode(x="a:Q")
    with pytest.raises(ValueError, match="url not allowed"):
        draw.export([chart], tmp_path, "remote", title="t", caption="c")
    assert not list(tmp_path.iterdir())


def test_a_paper_without_figures_is_bad_input(demo, tmp_path):
    with pytest.raises(InputError, match="a paper with figures"):
        draw.draw(demo, tmp_path, "unknown")


def test_a_log_axis_has_its_powers_of_ten():
    assert charts.log_ticks(0.75, 2.1) == [1.0, 2.0]
    assert charts.log_ticks(0.4, 12.0) == [0.5, 1.0, 2.0, 5.0, 10.0]
    assert charts.log_ticks(1e-5, 0.02) == [1e-5, 1e-4, 1e-3, 1e-2]


def test_a_long_title_is_broken_into_lines_and_widens_no_panel(tmp_path):
    title = "Pendulum swing-up, N = 5,000: norm of the snapshot's gradient in each iteration"
    pictures = {}
    for shown in (title, "short"):
        chart = alt.Chart(alt.Data(values=[{"x": 0, "y": 1}, {"x": 1, "y": 2}])).mark_line().encode(x="x:Q", y="y:Q")
        chart = chart.properties(title=shown, width=220)
        (panel,) = draw.export([chart], tmp_path, "name", title="title", caption="caption")
        assert panel.title == shown
        pictures[shown] = panel.picture
    lines = re.findall(r"<text[^>]*>([^<]*)</text>", pictures[title].body)
    assert title not in lines and title in " ".join(lines)
    assert pictures[title].width < pictures["short"].width + 40 and pictures[title].height > pictures["short"].height
