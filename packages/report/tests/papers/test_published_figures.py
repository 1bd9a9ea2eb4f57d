"""Every figure of the published runs shows something: one of them was blank at scale overnight."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from septet.report.draw import figures_in, panels_of
from septet.report.tables import paper_of

PUBLISHED = Path(__file__).parents[4] / "published"
RUNS = sorted(path.parent for path in PUBLISHED.glob("*/*/runs.json"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_each_panel_of_each_figure_has_rows(folder):
    paper = paper_of(folder.parent, folder.name)
    for figure in figures_in(folder.name):
        panels = figure.draw(paper)
        assert panels, figure.name
        for chart in panels:
            rows = [row for table in chart.to_dict(validate=False)["datasets"].values() for row in json.loads(table)]
            assert rows, f"{figure.name}: {chart.title}"


@pytest.mark.parametrize("folder", sorted(PUBLISHED.glob("laptop/*/")), ids=lambda folder: folder.name)
def test_a_paper_that_was_run_in_part_has_figures(folder):
    """They failed with the job that draws them, hours after the training that they were to show."""
    paper = paper_of(folder.parent, folder.name)
    some = False
    for task in {card.task for card in paper.cards}:
        scores, timing = (table.filter(pl.col("task") == task) for table in (paper.scores, paper.timing))
        cards = [card for card in paper.cards if card.task == task]
        part = replace(paper, scores=scores, timing=timing, cards=cards)
        drawn = [panels_of(figure, part) for figure in figures_in(folder.name)]
        some |= any(drawn)
    assert some
