"""Each test of a mean against its definition, its peers in scipy, and values worked out by hand."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from septet.report import estimands, inference, judging, methods
from septet.report.inference import TAIL
from septet.seeding import stream


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_student_equals_scipy():
    z = stream(0, "student").standard_normal((9, 4)) + 0.3
    above, below = inference.student(z)
    np.testing.assert_allclose(above, scipy.stats.ttest_1samp(z, 0.0, alternative="greater").pvalue)
    np.testing.assert_allclose(below, scipy.stats.ttest_1samp(z, 0.0, alternative="less").pvalue)


def test_the_studentised_bootstrap_equals_all_resamples_of_three_values():
    """27 resamples, each t* by hand; the function draws 200,000 of them with replacement."""
    z = np.array([1.0, 2.0, 6.0])
    t = np.sqrt(2) * z.mean() / z.std()
    stars = []
    for drawn in itertools.product(z, repeat=3):
        one = np.array(drawn)
        gap = one.mean() - z.mean()
        stars.append(np.sqrt(2) * gap / one.std() if one.std() > 0 else np.sign(gap) * np.inf)
    above, below = inference.bootstrap_t(z[:, None], 200_000)
    # t = 2.04; the mean of a resample is 3 or more with probability 10/27 or so: standard error 0.0011
    assert above[0] == pytest.approx(np.mean(np.array(stars) >= t), abs=0.005)
    assert below[0] == pytest.approx(np.mean(np.array(stars) <= t), abs=0.005)


def test_the_lines_of_one_claim_share_their_resamples():
    z = stream(0, "lines").lognormal(size=(12, 1))
    ps = [float(inference.bootstrap_t(z - line, 2_000)[0][0]) for line in np.linspace(0, 4, 30)]
    assert ps == sorted(ps)
    blocks = np.repeat(z, 4_500, axis=1)  # more columns than one block holds
    assert set(inference.bootstrap_t(blocks - 1.0, 2_000)[0]) == {inference.bootstrap_t(z - 1.0, 2_000)[0][0]}


def test_equal_values_decide_nothing_without_a_range():
    for value in (2.0, -0.1):  # the deviation of ten times -0.1 is 1e-17
        z = np.full((10, 1), value)
        for found in (inference.student(z), inference.bootstrap_t(z, 100), inference.series(z)):
            assert [float(side[0]) for side in found] == [1.0, 1.0]


def test_the_wealth_of_a_gambler_by_hand():
    """Two values of 1 where -1 is the least: stakes f bring (1 + f)^2, whose mean over f in (0, 1) is 7/3."""
    assert inference.wealth(column(1, 1), 1.0)[0] == pytest.approx(7 / 3, rel=1e-3)
    # one win and one loss: 1 - f^2, mean 2/3
    assert inference.wealth(column(1, -1), 1.0)[0] == pytest.approx(2 / 3, rel=1e-3)
    above, below = inference.betting(column(1, 1), -1.0, 1.0)
    assert (above[0], below[0]) == (pytest.approx(3 / 7, rel=1e-3), 1.0)
    # nothing can be lost: a positive value refutes a mean of 0
    assert inference.wealth(column(0, 0.5), 0.0)[0] == np.inf
    assert inference.wealth(column(0, 0), 0.0)[0] == 1.0


def test_the_wealth_is_a_fair_game():
    """Under the null its expectation is at most 1, over all outcomes of four 0/1 runs with p = 0.3."""
    total = 0.0
    for runs in itertools.product((0.0, 1.0), repeat=4):
        chance = 0.3 ** sum(runs) * 0.7 ** (4 - sum(runs))
        total += chance * float(inference.wealth(np.array(runs)[:, None] - 0.3, 0.3)[0])
    assert total == pytest.approx(1.0)


def test_zero_one_scores_are_judged_by_clopper_and_pearson():
    wins = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    peer = scipy.stats.binomtest(7, 8).proportion_ci(0.95, "exact")
    for line, side in ((peer.low, 0), (peer.high, 1)):
        found = methods.BOUNDED((wins - line)[:, None], -line, 1.0 - line)
        assert found[side][0] == pytest.approx(TAIL, rel=1e-6)


def test_bets_judge_scores_between_the_ends():
    z = np.array([0.0, 0.5, 1.0, 1.0])[:, None]
    found = methods.BOUNDED(z - 0.2, -0.2, 0.8)
    expected = inference.betting(z - 0.2, -0.2, 0.8)
    assert (found[0][0], found[1][0]) == (expected[0][0], expected[1][0])


def test_the_low_frequencies_by_hand():
    """n = 2: one cosine, cos(pi/4) and cos(3 pi/4); for values 1 and 3 it is -sqrt(2), so T = sqrt(2) 2 / sqrt(2)."""
    assert inference.low_frequency_t(column(1, 3))[0] == pytest.approx(2.0)


def test_a_series_needs_the_margin_of_its_autocorrelation():
    """White noise around 1 with a deviation of 0.1 is above 0 by far; with a deviation of 1 no series of 20 is."""
    noise = stream(0, "white").standard_normal((20, 1))
    assert inference.series(1.0 + 0.1 * noise)[0][0] < TAIL
    assert inference.series(1.0 + noise)[0][0] > TAIL
    assert inference.student(1.0 + noise)[0][0] < TAIL
    above, below = inference.series(noise)
    assert above[0] + below[0] == pytest.approx(1.0)


def test_rivals_are_combined_by_intersection_and_bonferroni():
    above, below = inference.combined(np.array([0.01, 0.2, 0.03]), np.array([0.99, 0.004, 0.5]))
    assert (float(above), float(below)) == (0.2, pytest.approx(0.012))


def test_the_nominal_size_stands_for_the_stated_rate():
    z = stream(0, "size").standard_normal((20, 1)) + 0.9
    plain = np.maximum(inference.student(z)[0], inference.bootstrap_t(z, 4_000)[0])
    assert inference.mean_tails(z, 0.005, 4_000)[0] == pytest.approx(np.minimum(1.0, 5 * plain))


def test_seeds_needed_by_hand():
    """Mean 1, deviation 2, nominal 0.5 %: ((2.5758 + 0.8416) * 2)^2 = 46.7 seeds; below zero never."""
    z = column(*np.resize([1 - 2 * np.sqrt(19 / 20), 1 + 2 * np.sqrt(19 / 20)], 20))
    assert methods.ANY.needed(z, -np.inf, np.inf, above=True)[0] == pytest.approx(46.71, abs=0.01)
    assert methods.ANY.needed(z, -np.inf, np.inf, above=False)[0] == np.inf
    assert methods.ANY.needed(z + 9, -np.inf, np.inf, above=True)[0] == 20
    # five wins of five against a line of 0.5: each doubles the wealth at most, so four would not do
    assert 5 < methods.BOUNDED.needed(column(*[0.5] * 5), -0.5, 0.5, above=True)[0] < 12


def test_seeds_needed_decide_when_they_come():
    """A run with so many seeds of the same kind is decided."""
    z = stream(0, "needed").standard_normal((20, 1)) + 0.35
    assert inference.mean_tails(z, 0.005, 2_000)[0][0] > TAIL
    seeds = int(np.ceil(methods.ANY.needed(z, -np.inf, np.inf, above=True)[0]))
    more = np.resize(z, (seeds, 1))
    assert inference.mean_tails(more, 0.005, 2_000)[0][0] <= TAIL
    wins = np.array([1.0, 1.0, 0.0, 1.0, 1.0])[:, None]
    few = methods.BOUNDED.needed(wins - 0.5, -0.5, 0.5, above=True)[0]
    assert inference.betting(np.resize(wins, (int(np.ceil(few)), 1)) - 0.5, -0.5, 0.5)[0][0] <= TAIL * 1.2


def test_a_ratio_is_tested_without_dividing():
    """Fieller: the line 2 is on the edge of x / y if x - 2 y has a t of its quantile."""
    x, y = np.array([[4.0, 6.5, 5.0, 7.0, 6.0]]), np.array([[2.0, 3.0, 2.5, 3.2, 3.1]])
    quantity = estimands.ratio(x, y, "mean", methods.REGULAR)
    assert quantity.estimate == pytest.approx(28.5 / 13.8)
    np.testing.assert_allclose(quantity.at(2.0)[:, 0], [0.0, 0.5, 0.0, 0.6, -0.2])
    mirrored = estimands.ratio(-x, -y, "mean", methods.REGULAR)
    assert mirrored.tails(2.0) == quantity.tails(2.0)
    assert not quantity.unclear
    assert estimands.ratio(x, y - 2.7, "mean", methods.REGULAR).unclear


def test_the_range_of_a_difference_from_the_line():
    """Scores between 0 and 1, relative advantage over y, line -0.5: a lies in [-1, 1], b in [0, 1]."""
    quantity = estimands.relative_advantage(
        np.array([[0.5, 0.6]]), np.array([[[0.4, 0.5]]]), 1, "mean", methods.BOUNDED, (0.0, 1.0)
    )
    assert quantity._range(-0.5) == (-1.0, 1.5)
    assert quantity._range(0.0) == (-1.0, 1.0)
    assert estimands.level(np.array([[0.5, 0.6]]), "mean", methods.BOUNDED, (0.0, 1.0))._range(0.9) == (
        -0.9,
        pytest.approx(0.1),
    )


def test_pseudo_values_of_the_interquartile_mean():
    """Tukey and McLaughlin: their mean is the trimmed mean, their deviation that of the winsorised scores, scaled."""
    x = stream(0, "iqm").standard_normal((1, 8))
    pseudo = estimands.per_seed(x, "iqm")
    ordered = np.sort(x[0])
    winsorised = np.clip(x[0], ordered[2], ordered[5])
    assert pseudo.mean() == pytest.approx(ordered[2:6].mean())
    assert pseudo.std() == pytest.approx(winsorised.std() * 2)
    np.testing.assert_allclose(estimands.per_seed(np.stack([x, 2 * x]), "iqm")[1], 2 * pseudo)


def test_wins_against_shifted_seeds_by_hand():
    x, y = np.array([[1.0, 2.0, 6.0]]), np.array([[[0.0, 2.0, 3.0]]])
    wins = estimands.improvement(x, y, 1)
    # all pairs: 1 beats 0; 2 beats 0 and ties with 2; 6 beats all: 1 + 1.5 + 3 of 9
    assert wins.estimate == pytest.approx(5.5 / 9)
    # seed s against s + 1 and s + 2: 1 against 2, 3; 2 against 3, 0; 6 against 0, 2
    assert wins.wins[..., 0].tolist() == [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    assert estimands.improvement(x, y, -1).estimate == pytest.approx(3.5 / 9)


def test_influence_gives_the_standard_error_of_a_ratio():
    """The delta method: the deviation of (x - theta y) / mean y."""
    x, y = stream(0, "i").random((1, 8)) + 1, stream(1, "i").random((1, 8)) + 1
    pulls = estimands.ratio(x, y, "mean", methods.REGULAR).influence()
    theta = x.mean() / y.mean()
    np.testing.assert_allclose(pulls, ((x - theta * y) / y.mean())[0])
    # a jackknife of the Mann-Whitney statistic has about the same spread as its influence
    a, b = stream(2, "i").standard_normal((1, 30)), stream(3, "i").standard_normal((1, 1, 30))
    pulls = estimands.improvement(a, b, 1).influence()
    left = [estimands.improvement(np.delete(a, s, -1), np.delete(b, s, -1), 1).estimate for s in range(30)]
    jackknife = 29 / np.sqrt(29) * np.std(left) * np.sqrt(29 / 30)
    assert pulls.std() / np.sqrt(30) == pytest.approx(jackknife, rel=0.1)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_setting_moves_only_if_all_others_are_refuted(sign):
    settings = np.array([0.0, 1.0, 2.0])
    noise = 0.1 * stream(0, "noise").standard_normal((3, 2, 20))
    heights = np.array([[0.0, 9.0], [1.0, 5.0], [4.0, 0.0]])[..., None]  # best: the third, then the first
    clear = estimands.shift_of_best(sign * (heights + noise), settings, sign, "mean", methods.ANY)
    assert (clear.estimate, clear.ends()) == (2.0, (2.0, 2.0))
    assert clear.tails(0.0)[0] <= TAIL < clear.tails(0.0)[1]
    assert clear.tails(3.0)[1] <= TAIL
    open_one = heights.copy()
    open_one[1, 0] = 3.99  # the second may be the best of the first task, too
    near = estimands.shift_of_best(sign * (open_one + noise), settings, sign, "mean", methods.ANY)
    assert (near.estimate, near.ends()) == (2.0, (1.0, 2.0))
    # the same world twice: no shift, which refutes no shift above 0
    same = estimands.shift_of_best(sign * (heights[:, [0, 0]] + noise), settings, sign, "mean", methods.ANY)
    assert (same.estimate, same.ends()) == (0.0, (0.0, 0.0))
    assert same.tails(0.0) == (1.0, 1.0)


@pytest.mark.parametrize("quantity", ["level", "ratio", "wins", "bounded"])
def test_an_interval_ends_where_a_line_is_just_refuted(quantity):
    x, y = stream(0, "ends").lognormal(0.5, 0.4, size=(2, 1, 30))
    found = {
        "level": lambda: estimands.level(x, "mean", methods.REGULAR),
        "ratio": lambda: estimands.ratio(x, y, "mean", methods.ANY),
        "wins": lambda: estimands.improvement(x, y[None], 1),
        "bounded": lambda: estimands.level(x / 10, "mean", methods.BOUNDED, (0.0, 1.0)),
    }[quantity]()
    low, high = judging.ends(found)
    step = 1e-3 * found.scale
    assert found.tails(low - step)[0] <= TAIL < found.tails(low + step)[0]
    assert found.tails(high + step)[1] <= TAIL < found.tails(high - step)[1]


@given(st.floats(-0.9, 0.9), st.floats(0.2, 5), st.sampled_from([1.0, 1e3, 1e-6]), st.booleans())
def test_a_crossing_is_found_in_few_evaluations(place, power, scale, steps):
    calls = []

    def falling(x):
        calls.append(x)
        value = np.sign(place - x) * abs(place - x) ** power
        return float(scale * (np.sign(value) if steps else value))

    ends = [(end, falling(end)) for end in (-1.0, 1.0)]
    assert judging._crossing(falling, *ends, 1e-6) == pytest.approx(place, abs=1e-6)
    assert len(calls) < 120
