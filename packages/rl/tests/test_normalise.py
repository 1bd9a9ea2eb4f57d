"""Running moments: merged in any cut, they are those of the whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from septet.rl.normalise import Moments, standard


def moments(x):
    """Of x (S, n, d)."""
    count = np.full(len(x), float(x.shape[1]))
    mean = x.mean(1) if x.shape[1] else np.zeros((len(x), x.shape[2]))
    return Moments(count, mean, ((x - mean[:, None]) ** 2).sum(1))


@given(st.integers(0, 10**6), st.integers(0, 30))
def test_two_parts_make_the_whole(seed, cut):
    x = 100.0 + np.random.default_rng(seed).standard_normal((2, 30, 3))
    both = moments(x[:, :cut]).merge(moments(x[:, cut:]))
    assert np.allclose(both.mean, x.mean(1)) and np.allclose(both.variance, x.var(1))


def test_nothing_seen_leaves_observations_as_they_are():
    mean, scale = standard(Moments.none(1, 2))
    assert not mean.any() and np.allclose(scale, 1.0)
