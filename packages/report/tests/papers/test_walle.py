"""WALL-E's figures: what a busy machine leaves of them."""

import numpy as np
import polars as pl

from septet.report import charts
from septet.report.papers import walle
from septet.report.tables import Paper
from septet.scores import score_rows


def titles(panels: charts.Panels) -> list[str]:
    """The x title of each panel."""
    return [title for one in panels for title in set(texts(one.to_dict()))]


def texts(part):
    """Titles of quantitative x axes below a part of a chart."""
    if isinstance(part, dict):
        axis = part.get("x")
        if isinstance(axis, dict) and axis.get("type") == "quantitative" and axis.get("title"):
            yield axis["title"]
        for value in part.values():
            yield from texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts(value)


def test_seconds_of_jobs_that_shared_the_processors_are_not_shown(make_card, make_times):
    """The first paper has one quiet job of two, the second none: the panel of seconds is there, and is gone."""
    cards, frames = [], []
    for name, contention in (("n1", 0.1), ("n2", 0.6)):
        cards.append(
            make_card(
                name, paper="walle", task="half_cheetah", methods={name: {}}, seeds=[0, 1], contention=contention,
                config={"samplers": 2},
            )
        )  # fmt: skip
        returns = {"return": np.arange(6.0).reshape(2, 3)}
        frames.append(score_rows("walle", name, "half_cheetah", seeds=[0, 1], steps=[1, 2, 3], metrics=returns))
    timing = pl.concat([make_times(card, {"collect": [2.0, 1.0, 1.5]}) for card in cards])
    scores = pl.concat(frames)
    returns, seconds = "return, mean over training", "seconds of an iteration"
    drawn = walle.return_and_time.draw(Paper("walle", scores, cards, "laptop", timing))
    assert titles(drawn) == [returns, seconds]
    data = (table for one in drawn for table in map(str, one.to_dict()["datasets"].values()))
    (shown,) = (table for table in data if "1.25" in table)
    assert "N = 1" in shown and "N = 2" not in shown
    busy = [card.model_copy(update={"contention": 0.6}) for card in cards]
    assert titles(walle.return_and_time.draw(Paper("walle", scores, busy, "laptop", timing))) == [returns]
