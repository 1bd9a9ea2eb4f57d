"""The figure of both countings: each difference by hand, and which pairs it draws."""

import json
from types import SimpleNamespace

import polars as pl
import pytest

from septet.report.papers import metaexplore

AREAS = {"meta": 5.0, "frozen": 3.0, "ou": 1.0, "ou_double": 7.0, "parameter": 2.0}


def paper(areas):
    """Runs on deceptive navigation, each seed's return constant over the steps."""
    rows = [
        {"method": method, "task": "navigation", "seed": seed, "step": step, "metric": "return", "value": area + seed}
        for method, area in areas.items()
        for seed in range(5)
        for step in (100, 200)
    ]
    return SimpleNamespace(scores=pl.DataFrame(rows), cards=[])


def test_countings_are_differences_of_areas_seed_by_seed():
    found = {row["series"]: row["mean"] for row in dots(metaexplore.countings.draw(paper(AREAS)))}
    assert found == {
        "meta − OU, student": pytest.approx(4.0),
        "frozen − OU, student": pytest.approx(2.0),
        "meta − parameter, student": pytest.approx(3.0),
        "frozen − parameter, student": pytest.approx(1.0),
        "meta − OU, total": pytest.approx(-2.0),
        "frozen − OU, total": pytest.approx(-4.0),
    }


def test_without_noise_nothing_is_drawn():
    assert dots(metaexplore.countings.draw(paper({"meta": 5.0, "frozen": 3.0}))) == []


def dots(panels):
    """The rows of a figure that have a mean."""
    tables = [table for chart in panels for table in chart.to_dict().get("datasets", {}).values()]
    return [row for table in tables for row in json.loads(table) if "mean" in row]
