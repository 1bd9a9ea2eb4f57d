"""The exact posterior that the filter is compared with, and the distance that the page states."""

import numpy as np
import pytest
from scipy.integrate import quad

from septet.dynts.accuracy import distance, exact_posterior, sequential_posterior


def test_the_grid_is_the_integral():
    # one click on the first weight, of weight 0.5: the second weight keeps its prior N(0, 1 / 0.25)
    def moment(power):
        return quad(lambda w: w**power * np.exp(-0.125 * w * w) / np.sqrt(1.0 + np.exp(-w)), -20, 20)[0]

    mean, sd = exact_posterior(np.array([[1.0, 0.0]]), np.ones(1), np.array([0.5]), 0.25)
    assert mean == pytest.approx([moment(1) / moment(0), 0.0], abs=1e-6)
    first = np.sqrt(moment(2) / moment(0) - (moment(1) / moment(0)) ** 2)
    assert sd == pytest.approx([first, 2.0], rel=1e-4)


def test_without_clicks_the_filter_is_the_prior_and_with_them_it_is_off_by_parts_of_an_sd():
    none = np.zeros((0, 2)), np.zeros(0)
    assert np.array_equal(sequential_posterior(*none, 0.9, True), ([0.0, 0.0], [1.0, 1.0]))
    off = np.mean([distance(1.0, 60, seed)[0] for seed in range(1000, 1004)])
    assert 0.05 < off < 0.6
