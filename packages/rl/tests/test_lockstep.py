"""What each seed computes by itself."""

from fractions import Fraction

import numpy as np
import torch

from septet.rl.lockstep import square_root


def test_a_square_root_is_the_nearest_number():
    x = torch.from_numpy(np.random.default_rng(0).standard_exponential(2000) ** 4)
    for number, root in zip(x.tolist(), square_root(x).tolist(), strict=True):
        below, above = (Fraction(float(np.nextafter(root, end))) for end in (0.0, np.inf))
        # The root lies between the midpoints to the neighbours.
        assert ((below + Fraction(root)) / 2) ** 2 <= Fraction(number) <= ((above + Fraction(root)) / 2) ** 2
