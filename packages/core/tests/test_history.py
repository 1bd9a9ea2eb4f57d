"""The history of a job: values that are not there, values that stand, resume."""

import numpy as np
import polars as pl
import pytest

from septet.history import History
from septet.state import load_state_dict, state_dict

KEY = ("paper", "method", "task")


def recorded():
    """Three records of two seeds; a loss and a phase that are in the second only."""
    history = History(2)
    for k, given in enumerate(([np.nan, 1.0], [np.nan, np.nan], [5.0, 2.0])):
        late = {"loss": np.array([0.5, 0.25])} if k == 1 else {}
        history.add(
            10 * (k + 1), {"return": np.array(given), **late}, {"collect": 0.5, **({"learn": 2.0} if late else {})}
        )
    return history


def rows(history, metric, **options):
    table = pl.concat(history.score_rows(*KEY, [0, 1], **options)).filter(metric=metric).sort("seed", "step")
    return table.select("seed", "step", "value").rows()


def test_a_value_stands_at_its_own_step_and_until_the_next_if_held():
    history = recorded()
    assert rows(history, "return") == [(0, 30, 5.0), (1, 10, 1.0), (1, 30, 2.0)]
    assert rows(history, "return", hold=["return"]) == [(0, 30, 5.0), (1, 10, 1.0), (1, 20, 1.0), (1, 30, 2.0)]
    for hold in ([], ["return"]):
        assert rows(history, "loss", hold=hold) == [(0, 20, 0.5), (1, 20, 0.25)]
    assert rows(history, "loss", steps=[7, 8, 9]) == [(0, 8, 0.5), (1, 8, 0.25)]


def test_a_phase_that_starts_late_stands_at_its_own_step():
    timing = recorded().timing_rows(*KEY, [7, 8]).sort("phase", "step")
    found = timing.select("seed", "step", "phase", "seconds").rows()
    assert found == [(7, 10, "collect", 0.5), (7, 20, "collect", 0.5), (7, 30, "collect", 0.5), (7, 20, "learn", 2.0)]


def test_whole_columns_have_nan_where_a_record_has_no_value():
    history = recorded()
    np.testing.assert_array_equal(history.steps, [[10, 10], [20, 20], [30, 30]])
    np.testing.assert_array_equal(history.metrics["loss"], [[np.nan, np.nan], [0.5, 0.25], [np.nan, np.nan]])
    np.testing.assert_array_equal(history.seconds["learn"], [np.nan, 2.0, np.nan])
    assert history.last().keys() == {"return"} and history.last_steps.tolist() == [30, 30]
    history.add(40, {"curve": np.zeros((3, 2))})
    assert history.metrics["curve"].shape == (4, 3, 2)


def test_a_history_keeps_copies_of_what_it_is_given():
    history, values = History(2), np.array([1.0, 2.0])
    history.add(values, {"x": values})
    values += 1.0
    assert history.metrics["x"].tolist() == [[1.0, 2.0]] and history.last_steps.tolist() == [1, 2]


def test_a_record_does_not_copy_those_before_it():
    history = History(1)
    history.add(1, {"x": np.zeros((1000, 1))})
    first = history.last()["x"]
    for k in range(50):
        history.add(k + 2, {"x": np.zeros((1000, 1))})
    assert np.shares_memory(next(iter(history._columns["metric"]["x"].values())), first)


def test_values_that_do_not_fit_are_refused():
    history = History(2)
    with pytest.raises(ValueError, match=r"expected return of shape \(\.\.\., 2\), found \(3,\)"):
        history.add(1, {"return": np.zeros(3)})
    history = recorded()
    with pytest.raises(ValueError, match=r"expected return of shape \(2,\), found \(5, 2\)"):
        history.add(40, {"return": np.zeros((5, 2))})
    with pytest.raises(ValueError, match="broadcast"):
        history.add([1, 2, 3], {})


def test_a_history_goes_on_from_its_state():
    again, whole = History(2), recorded()
    load_state_dict(again, state_dict(recorded()))
    for history in (again, whole):
        history.add(history.last_steps + 10, {"return": np.array([1.0, 1.0])}, {"collect": 1.0})
    assert again.steps.dtype == np.int64 and len(again) == 4
    for mine, theirs in ((again.metrics, whole.metrics), (again.seconds, whole.seconds)):
        assert mine.keys() == theirs.keys()
        for name, array in theirs.items():
            np.testing.assert_array_equal(mine[name], array)
    empty = History(3)
    load_state_dict(empty, state_dict(History(3)))
    assert empty.steps.shape == (0, 3) and empty.last_steps.tolist() == [0, 0, 0]
