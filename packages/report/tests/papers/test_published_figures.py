"""Every figure of the published runs shows something: one of them was blank at scale overnight."""

import json
from pathlib import Path

import pytest

from septet.report.draw import figures_in
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
