"""Each estimator against numbers worked out by hand, a naive loop, and its peers rliable and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from septet.report import statistics
from septet.seeding import stream

FINITE = st.floats(-1e3, 1e3)
TABLES = st.tuples(st.integers(1, 4), st.integers(1, 7)).flatmap(lambda shape: arrays(float, shape, elements=FINITE))


def test_by_hand():
    # 8 scores: the two smallest (0, 1) and the two largest (9, 90) are dropped, (2 + 3 + 4 + 5) / 4 is left
    assert statistics.iqm(np.array([[90.0, 0.0, 3.0, 2.0], [5.0, 4.0, 9.0, 1.0]])) == 3.5
    # task 1: 2 beats 1, loses to 3 -> 1/2; task 2: a tie -> 1/2 and a win -> 1, mean 3/4; over tasks 5/8
    x, y = np.array([[2.0], [5.0]]), np.array([[1.0, 3.0], [5.0, 4.0]])
    assert statistics.probability_of_improvement(x, y) == 0.625
    # trapezoids 1 * 1 and 3 * 3 over a range of 4
    assert statistics.area_under_curve(np.array([0.0, 2.0, 4.0]), np.array([0, 1, 4])) == 2.5
    assert statistics.area_under_curve(np.array([[7.0], [8.0]]), np.array([10])).tolist() == [7.0, 8.0]


@given(TABLES)
def test_iqm_equals_rliable_and_scipy(scores):
    from rliable import metrics

    assert statistics.iqm(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25, axis=None), abs=1e-9)
    assert statistics.iqm(scores) == pytest.approx(metrics.aggregate_iqm(scores.T), abs=1e-9)


@given(TABLES, st.randoms(use_true_random=False))
def test_improvement_equals_a_naive_loop(x, random):
    y = np.array([[random.choice([0.0, 1.0, x[0, 0]]) for _ in range(3)] for _ in x])
    total = 0.0
    for x_t, y_t in zip(x, y, strict=True):
        wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in x_t for b in y_t)
        total += wins / (len(x_t) * len(y_t))
    found = statistics.probability_of_improvement(x, y)
    assert found == pytest.approx(total / len(x))
    assert found + statistics.probability_of_improvement(y, x) == pytest.approx(1.0)


@given(TABLES)
def test_iqm_lies_within_the_scores_and_moves_with_them(scores):
    value = float(statistics.iqm(scores))
    assert scores.min() - 1e-9 <= value <= scores.max() + 1e-9
    assert float(statistics.iqm(-2.0 * scores + 3.0)) == pytest.approx(-2.0 * value + 3.0, abs=1e-8)


def test_leading_axes_are_a_batch():
    scores = stream(0, "batch").standard_normal((3, 2, 4, 5))
    found = statistics.iqm(scores)
    assert found.shape == (3, 2)
    assert found[1, 1] == statistics.iqm(scores[1, 1])


def test_the_expanded_interval_by_hand():
    """Of resamples that fill 0 to 1 evenly, the quantile at q is q itself."""
    even = np.linspace(0.0, 1.0, 10_001)
    # five seeds: t_4(0.025) = -2.776445, times sqrt(5/4) = 1.118034 is -3.104160, and Phi(-3.104160) = 0.000954
    q = 0.5 * math.erfc(2.776445 * math.sqrt(5 / 4) / math.sqrt(2))
    assert q == pytest.approx(0.000954, abs=5e-7)
    assert statistics.percentile_interval(even, 5) == pytest.approx((q, 1 - q), abs=1e-8)
    # two seeds: t_1(0.25) = -1, times sqrt(2) is -1.414214, and Phi(-1.414214) = erfc(1) / 2
    assert statistics.percentile_interval(even, 2, level=0.5) == pytest.approx((0.0786496, 0.9213504), abs=1e-7)
    # one seed tells nothing of its spread: the whole range; without seeds nothing is expanded
    assert statistics.percentile_interval(even, 1) == pytest.approx((0.0, 1.0))
    assert statistics.percentile_interval(even) == pytest.approx((0.025, 0.975))
    assert statistics.percentile_interval(even, level=0.5) == pytest.approx((0.25, 0.75))


def test_the_expanded_interval_narrows_to_the_plain_one():
    even = np.linspace(0.0, 1.0, 10_001)
    lows = [float(statistics.percentile_interval(even, seeds)[0]) for seeds in (2, 3, 5, 10, 100, 10_000)]
    assert lows == sorted(lows)
    assert lows[-1] == pytest.approx(0.025, rel=1e-3)
    assert lows[-1] < 0.025


@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_the_expanded_interval_of_normal_resamples_is_students(seeds):
    """The bootstrap's mean is about normal with the variance `s^2 (n - 1) / n^2`; Student's takes `s^2 / n`."""
    x = stream(0, "student", seeds).standard_normal(seeds)
    ranks = (np.arange(200_000) + 0.5) / 200_000
    resamples = scipy.stats.norm.ppf(ranks, x.mean(), x.std() / np.sqrt(seeds))
    both = np.stack([resamples, -resamples], axis=-1)
    low, high = statistics.percentile_interval(both, seeds)
    peer = scipy.stats.ttest_1samp(x, 0.0).confidence_interval(0.95)
    reach = (peer.high - peer.low) / 2
    np.testing.assert_allclose(low, [peer.low, -peer.high], atol=1e-3 * reach)
    np.testing.assert_allclose(high, [peer.high, -peer.low], atol=1e-3 * reach)


def test_curve_resamples_equal_a_naive_loop():
    values = stream(0, "curve").standard_normal((4, 3))
    found = statistics.bootstrap_means(values, stream(0, "draws"), resamples=20)
    drawn = stream(0, "draws").integers(4, size=(20, 4))
    np.testing.assert_allclose(found, [values[row].mean(axis=0) for row in drawn])


@pytest.mark.parametrize(
    "call",
    [
        lambda: statistics.iqm(np.zeros(3)),
        lambda: statistics.iqm(np.zeros((2, 0))),
        lambda: statistics.area_under_curve(np.zeros(2), np.array([3, 3])),
    ],
)
def test_wrong_shapes_are_refused_by_name(call):
    with pytest.raises(ValueError, match="shape"):
        call()
