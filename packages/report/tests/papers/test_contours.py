"""The contours of a known posterior."""

from collections import Counter

import numpy as np
import pytest

from septet.report.papers.vipg_posterior import LEVELS, contours


def test_those_of_a_normal_density_are_closed_circles_at_their_levels():
    pieces = contours(lambda x: -0.5 * np.square(x).sum(axis=1), 4.0, points=80 + 1)  # its peak is on the grid
    for level in LEVELS:
        own = [piece for piece in pieces if piece["level"] == level]
        ends = [end for piece in own for end in ((piece["x"], piece["y"]), (piece["x2"], piece["y2"]))]
        assert len(own) > 20 and all(count % 2 == 0 for count in Counter(ends).values())
        assert np.hypot(*np.transpose(ends)) == pytest.approx(np.sqrt(-2 * np.log(level)), abs=0.01)
        length = sum(np.hypot(piece["x2"] - piece["x"], piece["y2"] - piece["y"]) for piece in own)
        assert length == pytest.approx(2 * np.pi * np.sqrt(-2 * np.log(level)), rel=0.02)
