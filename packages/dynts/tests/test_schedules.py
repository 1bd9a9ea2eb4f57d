"""Decay schedules against their closed forms."""

import numpy as np
import pytest

from septet.config import validate
from septet.dynts.config import Job
from septet.dynts.decay import decay, effective_samples
from septet.dynts.schedules import parse
from septet.errors import InputError


@pytest.mark.parametrize(
    ("text", "at_10"),
    [("none", 1.0), ("exp-0.9", 0.9), ("poly-1-0.5", 1 - 10**-0.5), ("harm-2", 0.8), ("window-7", 1.0)],
)
def test_decay_by_hand(text, at_10):
    assert decay(parse(text), np.array([10]))[0] == pytest.approx(at_10)


@pytest.mark.parametrize("text", ["", "exp", "exp-", "exp-0", "exp-1.1", "poly-1", "poly-1-1", "poly-0-0.5", "harm-0"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="-"):
        parse(text)


def test_effective_samples_follow_section_2_3():
    horizon = 20_000
    assert effective_samples(parse("none"), 5).tolist() == [1, 2, 3, 4, 5]
    assert effective_samples(parse("window-3"), 5).tolist() == [1, 2, 3, 3, 3]
    assert effective_samples(parse("exp-0.99"), horizon)[-1] == pytest.approx(100.0)
    # exactly t / 2 + 1/2 for c = 1, but for the first round, whose decay would be 0
    assert effective_samples(parse("harm-1"), horizon)[-1] == pytest.approx(horizon / 2, rel=1e-3)
    # t^alpha / c is the leading term: it overshoots by 6 % here, and by less the later
    late = (
        effective_samples(parse("poly-1-0.75"), 10 * horizon)[[horizon, -1]] / np.array([horizon, 10 * horizon]) ** 0.75
    )
    assert 0.93 < late[0] < late[1] < 1.0


def test_effective_samples_are_the_sum_of_the_weights():
    schedule, horizon = parse("poly-2-0.5"), 50
    gamma = decay(schedule, np.arange(1, horizon + 1))
    weights = [np.prod(gamma[r:]) for r in range(1, horizon + 1)]
    assert effective_samples(schedule, horizon)[-1] == pytest.approx(sum(weights))


def test_the_first_rounds_forget_no_more_than_half():
    assert decay(parse("harm-3"), np.array([1, 2, 3, 6, 30])).tolist() == [0.5, 0.5, 0.5, 0.5, 0.9]


def test_a_suffix_names_the_guard_of_a_decay():
    assert parse("exp-0.99").guard == "prior"
    assert parse("exp-0.99-uncapped").guard == "none" and parse("exp-0.99-uncapped").forgetting == 0.01
    assert parse("poly-1-0.75-trace").guard == "trace" and parse("poly-1-0.75-trace").power == 0.75
    for text in ("none-uncapped", "window-10-trace"):
        with pytest.raises(ValueError, match="discounts nothing"):
            parse(text)


@pytest.mark.parametrize(
    ("method", "shared", "found"),
    [
        ({"filter": "kalman", "schedules": ["window-10"]}, False, "window-10"),
        ({"filter": "beta", "schedules": ["exp-0.9-uncapped"]}, False, "beta"),
        ({"clock": "pull"}, True, "clock: pull"),
    ],
)
def test_a_filter_that_cannot_do_what_is_asked_is_one_line(method, shared, found):
    """A Kalman filter with a window ended in NotFinite: what left the window had moved since."""
    given = {"method": {"name": "m", **method}, "task": {"kind": "simulation", "name": "w", "shared": shared}}
    with pytest.raises(InputError, match=found) as error:
        validate(Job, given, "job.yaml")
    assert "\n" not in str(error.value)
