"""Curves and their run cards against naive loops."""

import numpy as np
import polars as pl
import pytest
import scipy.stats

from septet.errors import InputError
from septet.report import tables
from septet.report.statistics import bootstrap_means
from septet.scores import SCORES
from septet.sealed import write_json
from septet.seeding import stream


@pytest.fixture(scope="module")
def paper(demo):
    return tables.read_paper(demo / "dynts")


def test_each_row_finds_its_run_card(paper):
    rows = tables.with_runs(paper)
    assert len(rows) == len(paper.scores)
    cards = {card.id: card for card in paper.cards}
    for method, task, seed, run in rows.select("method", "task", "seed", "run").unique().iter_rows():
        assert task == cards[run].task
        assert method in cards[run].methods
        assert seed in cards[run].seeds


def test_a_row_without_a_run_card_is_refused(paper):
    with pytest.raises(InputError, match="a card that covers"):
        tables.with_runs(tables.Paper("dynts", paper.scores, paper.cards[1:], "laptop"))


def test_curves_equal_a_naive_summary(paper):
    found = tables.curves(paper, "regret", resamples=500)
    assert found.columns == ["method", "task", "step", "seeds", "mean", "low", "high", "run"]
    one = paper.scores.filter(pl.col("method") == "ucb", pl.col("task") == "drift").sort("seed", "step")
    values = one["value"].to_numpy().reshape(10, -1)
    row = found.filter(pl.col("method") == "ucb", pl.col("task") == "drift").sort("step")
    np.testing.assert_allclose(row["mean"], values.mean(axis=0))
    draws = bootstrap_means(values, stream(0, "curve", "dynts", "regret", "ucb", "drift"), 500)
    q = scipy.stats.norm.cdf(np.sqrt(10 / 9) * scipy.stats.t.ppf(0.025, 9))  # expanded for ten seeds
    assert q == pytest.approx(0.008551, abs=5e-7)
    np.testing.assert_allclose(row["low"], np.quantile(draws, q, axis=0))
    np.testing.assert_allclose(row["high"], np.quantile(draws, 1 - q, axis=0))
    assert row["seeds"].unique().to_list() == [10]
    assert (row["low"] <= row["mean"]).all()
    assert (row["mean"] <= row["high"]).all()
    assert row["run"].unique().to_list() == ["15c0ffee0001"]


def test_levels_are_the_last_points(paper):
    levels = tables.levels(paper, "regret", resamples=50)
    assert levels["step"].unique().to_list() == [5000]
    assert len(levels) == 5 * 3


def test_settings_come_from_the_run_cards(paper):
    assert tables.settings(paper, "rate")["ts/exp-0.99"] == pytest.approx(0.01)
    assert tables.settings(paper, "elsewhere") == {}
    card = paper.cards[0].model_copy(update={"methods": {"ucb": {"rate": 3.0}}})
    with pytest.raises(InputError, match=r"ucb\.rate"):
        tables.settings(tables.Paper("dynts", paper.scores, [*paper.cards, card], "laptop"), "rate")


def test_a_metric_or_a_point_that_is_missing_is_told(paper):
    with pytest.raises(InputError, match="expected the metric loss, found only regret"):
        tables.curves(paper, "loss")
    torn = tables.Paper("dynts", paper.scores[:-1], paper.cards, "laptop")
    with pytest.raises(InputError, match="expected every seed at every step"):
        tables.curves(torn, "regret", resamples=10)


def test_the_area_is_of_the_steps_that_all_seeds_of_a_method_have():
    """Seed 0: 9 at 0, then 1 at 10 and 3 at 20; seed 1 begins at 10 with 4, 8. Areas over 10..20: 2 and 6."""
    points = [(0, 0, 9.0), (0, 10, 1.0), (0, 20, 3.0), (1, 10, 4.0), (1, 20, 8.0)]
    columns = dict(zip(("seed", "step", "value"), zip(*points, strict=True), strict=True))
    rows = pl.DataFrame({"method": "m", "task": "t", **{name: list(values) for name, values in columns.items()}})
    found = tables.per_seed(rows, ["m"], area=True, step=None)
    assert found.sort("seed")["value"].to_list() == [2.0, 6.0]


def test_the_mean_over_steps_is_one_row_for_each_seed(paper):
    """Regret of the demo at 41 steps, random in the static world."""
    flat = tables.mean_over_steps(paper, "regret").scores
    every = paper.scores.filter(task="static", method="random", seed=3)["value"].to_list()
    (row,) = flat.filter(task="static", method="random", seed=3).to_dicts()
    assert (row["step"], row["metric"]) == (0, "regret")
    assert row["value"] == pytest.approx(sum(every) / 41) and len(every) == 41
    assert len(flat) == len(paper.scores) / 41


def test_torn_files_are_told(tmp_path, demo):
    with pytest.raises(InputError, match=r"runs\.json"):
        tables.read_paper(tmp_path)
    for given, words in (
        ([{}], "a JSON mapping with scale and runs"),
        ({"runs": []}, r"runs\.json: scale: expected a value"),
        ({"scale": "laptop"}, r"runs\.json: runs: expected a value"),
        ({"scale": "laptop", "runs": {}}, r"runs\.json: runs: expected a valid list"),
        ({"scale": "laptop", "runs": [1]}, r"runs\.json: runs\.0: expected"),
        ({"scale": "laptop", "runs": [], "tables": {}, "more": 1}, "the unknown key more"),
    ):
        write_json(tmp_path / "runs.json", given)
        with pytest.raises(InputError, match=words):
            tables.read_runs(tmp_path / "runs.json")
    for text, words in (
        ('{"scale": "laptop", "ru', "a JSON file of run cards"),
        ('{"scale": "laptop", "runs": [], "tables": {}}', "no checksum"),
    ):
        (tmp_path / "runs.json").write_text(text)
        with pytest.raises(InputError, match=words):
            tables.read_runs(tmp_path / "runs.json")


def test_times_as_scores_by_hand(make_card, make_times):
    """Iterations stand for seeds, the first one is left out; the share is of all phases of the iteration."""
    cards = [make_card(f"run{n}", task="t", methods={f"n{n}": {}}, seeds=[0, 1]) for n in (1, 2)]
    timing = pl.concat(
        [
            make_times(cards[0], {"collect": [9.0, 3.0, 5.0], "learn": [9.0, 1.0, 3.0]}),
            make_times(cards[1], {"collect": [9.0, 1.5, 2.5], "learn": [9.0, 0.5, 2.5]}),
        ]
    )
    rows = tables.timed(tables.Paper("dynts", pl.DataFrame(schema=SCORES), cards, "laptop", timing))

    def values(method, metric):
        return rows.scores.filter(method=method, metric=metric).sort("seed")["value"].to_list()

    assert values("n1", "seconds(collect)") == [3.0, 5.0]
    assert values("n1", "seconds(iteration)") == [4.0, 8.0]
    assert values("n1", "share(learn)") == [0.25, 0.375]
    assert values("n2", "share(collect)") == [0.75, 0.5]
    assert rows.scores["seed"].unique().sort().to_list() == [1, 2] == rows.cards[0].seeds
    assert tables.levels(rows, "seconds(learn)", resamples=10).sort("method")["mean"].to_list() == [2.0, 1.5]
    assert set(tables.with_runs(rows)["run"]) == {"run1", "run2"}


def test_sums_of_times_have_the_same_bits_each_time(make_card, make_times):
    """Real-valued times, whose sum depends on their order."""
    draws = np.random.default_rng(0).gamma(2.0, size=(5, 4000))
    cards = [make_card("run1", task="t", methods={"a": {}}, seeds=[0])]
    timing = make_times(cards[0], {f"phase {k}": list(row) for k, row in enumerate(draws)})
    paper = tables.Paper("dynts", pl.DataFrame(schema=SCORES), cards, "laptop", timing)
    first = tables.timed(paper).scores
    assert all(tables.timed(paper).scores.equals(first) for _ in range(5))
