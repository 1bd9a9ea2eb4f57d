"""Figures of differences, shares and ratios: each number by hand, and no band where a value is 1 by definition."""

import json
from pathlib import Path

import polars as pl
import pytest

from septet.card import RunCard
from septet.report.papers import empg, vipg, walle
from septet.report.tables import Paper, read_paper

PUBLISHED = Path(__file__).parents[4] / "published/laptop"
EXACT = dict.fromkeys(("mean", "low", "high"), pytest.approx(1.0, abs=1e-12))


def rows_of(panels):
    """The rows of a figure that have a mean."""
    return [
        row
        for chart in panels
        for data in chart.to_dict().get("datasets", {}).values()
        for row in json.loads(data)
        if {"mean", "low"} <= set(row)
    ]


def paper_of(make_card, name, values):
    """Two seeds on one task; `values`: (method, metric) -> a function of seed and step, at steps 0 and 10."""
    rows = [
        (name, method, "cart_pole" if name == "vipg" else "warm", seed, step, metric, float(value(seed, step)))
        for (method, metric), value in values.items()
        for seed in (0, 1)
        for step in (0, 10)
    ]
    columns = ["paper", "method", "task", "seed", "step", "metric", "value"]
    methods = {method: {"alpha": float(method.partition("alpha-")[2] or 0)} for method, _ in values}
    card: RunCard = make_card("r1", paper=name, task=rows[0][2], methods=methods, seeds=[0, 1])
    return Paper(name, pl.DataFrame(rows, schema=columns, orient="row"), [card], "laptop")


def test_the_speed_up_of_one_sampler_is_one_without_a_band():
    found = rows_of(walle.speedup.draw(read_paper(PUBLISHED / "walle")))
    ones = [row for row in found if row["samplers"] == 1]
    assert {row["kind"] for row in ones} == {"collect", "iteration", "linear", "amdahl"}
    assert all({name: row[name] for name in EXACT} == EXACT for row in ones)
    measured = [row for row in found if row["samplers"] > 1 and row["kind"] in ("collect", "iteration")]
    assert measured and all(row["low"] < row["mean"] < row["high"] for row in measured)


def test_return_and_time_has_both_of_each_sampler():
    paper = read_paper(PUBLISHED / "walle")
    found = {row["series"]: [] for row in rows_of(walle.return_and_time.draw(paper))}
    for row in rows_of(walle.return_and_time.draw(paper)):
        found[row["series"]].append(row["mean"])
    assert set(found) == {"N = 1", "N = 2", "N = 1 as in the authors' script"}
    times = paper.timing.filter(pl.col("task") == "half_cheetah", pl.col("method") == "n2")
    seconds = times.group_by("step").agg(pl.col("seconds").sum()).sort("step")["seconds"][1:].median()
    returns = paper.scores.filter(pl.col("metric") == "return", pl.col("method") == "n2")
    returns = returns.filter(pl.col("task") == "half_cheetah")["value"].mean()
    assert sorted(found["N = 2"]) == pytest.approx([returns, seconds], rel=1e-4)


def test_test_accuracy_is_the_area_minus_empg_on_the_same_seeds(make_card):
    paper = paper_of(
        make_card,
        "empg",
        {
            ("empg", "accuracy"): lambda seed, step: 0.2 + 0.1 * seed,
            ("grpo", "accuracy"): lambda seed, step: 0.4 + 0.1 * seed + 0.02 * step,  # area: mean of its two ends
            ("ppo", "length"): lambda seed, step: 5.0,
        },
    )
    (row,) = rows_of(empg.test_score.draw(paper))
    assert (row["series"], row["mean"]) == ("GRPO", pytest.approx(0.3))
    assert row["low"] == row["high"] == pytest.approx(0.3)  # the seeds' own level cancels
    assert row["run"] == "r1"


def test_gains_are_of_the_twin_over_its_algorithm(make_card):
    twin = f"v_trpo/alpha-{vipg.MAIN}"
    paper = paper_of(
        make_card,
        "vipg",
        {
            (twin, "score"): lambda seed, step: 0.5 + seed + 0.04 * step,
            ("trpo", "score"): lambda seed, step: 0.1 + seed,
            (twin, "mean_policy_score"): lambda seed, step: 0.9 if step else 0.0,
            ("trpo", "mean_policy_score"): lambda seed, step: 1.0 if step else 0.0,
        },
    )
    found = {row["series"]: row["mean"] for row in rows_of(vipg.gains.draw(paper))}
    assert found == {"TRPO: training": pytest.approx(0.6), "TRPO: mean policy": pytest.approx(-0.1)}


def test_shares_of_sampled_policies_fall_from_one(make_card):
    label = "v_trpo/alpha-0.01"
    paper = paper_of(make_card, "vipg", {(label, "sampled_policy"): lambda seed, step: 0.32 if step else 0.78})
    found = {round(row["score"], 2): row["mean"] for row in rows_of(vipg.sampled_policies.draw(paper))}
    assert found[0.0] == found[0.3] == 1.0
    assert found[0.35] == found[0.75] == 0.5
    assert found[0.8] == found[1.1] == 0.0
