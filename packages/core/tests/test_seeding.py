"""Named streams: independent, told apart by their whole name, and the same for ever."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from septet.seeding import restart, stream


def first(*name):
    return int(stream(*name).integers(2**63))


GOLDEN = {
    (0,): 8757333920561649771,
    (0, "a"): 9130557529286606747,
    (0, "a", 1): 6294981441205100880,
    (0, "a1"): 8448713014589230333,
    (2013, "reward", "tau200", 3, 0): 7510587118375985161,
}


@pytest.mark.parametrize(("name", "value"), GOLDEN.items())
def test_the_derivation_of_streams_never_changes(name, value):
    """A change here changes every published number: it needs a new run, not new golden values alone."""
    assert first(*name) == value


def test_another_process_draws_the_same_numbers():
    code = f"from septet.seeding import stream\nfor n in {list(GOLDEN)}: print(int(stream(*n).integers(2**63)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [int(line) for line in done.stdout.split()] == list(GOLDEN.values())


def test_a_stream_does_not_depend_on_others_being_asked():
    alone = stream(1, "reward", 7).random(10)
    mine, draws = stream(1, "reward", 7), []
    for step in range(10):
        stream(1, "reward", step).random(step)
        draws.append(mine.random())
        np.random.default_rng(0).random()
    assert draws == alone.tolist()


PARTS = st.lists(st.text(max_size=3) | st.integers(-3, 12), max_size=4)


@given(one=PARTS, other=PARTS)
def test_different_names_have_different_first_draws(one, other):
    assume(one != other)
    assert first(0, *one) != first(0, *other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "a", 1), (0, "a1")),
        ((0, "a", 1), (0, "a", "1")),
        ((0, "ab", "c"), (0, "a", "bc")),
        ((0, 1, 2), (0, 12)),
        ((0, "a"), (0, "a", "")),
        ((0, 'a", "b'), (0, "a", "b")),
        ((0, "a, b"), (0, "a", "b")),
        ((0, "é"), (0, "\\u00e9")),
        ((1, 0), (0, 1)),
        ((0,), (1,)),
    ],
)
def test_names_do_not_run_together(one, other):
    assert first(*one) != first(*other)


def test_streams_of_neighbouring_seeds_are_uncorrelated():
    draws = np.array([stream(0, "x", seed).standard_normal(1000) for seed in range(100)])
    correlation = np.corrcoef(draws)[np.triu_indices(100, 1)]
    assert np.abs(correlation).max() < 5.5 / np.sqrt(1000)
    assert correlation.std() * np.sqrt(1000) == pytest.approx(1, abs=0.05)


def test_a_name_that_is_neither_text_nor_integer_is_an_error():
    with pytest.raises(TypeError):
        stream(0, np.int64(3))


def test_a_restarted_stream_is_the_one_it_names():
    used = stream(1, "other")
    used.integers(0, 5, size=3, dtype=np.uint32)  # leaves half a word behind
    for name in (("reset", "task", 0, 3), ("é", 10**12)):
        again, fresh = restart(used, 7, *name), stream(7, *name)
        np.testing.assert_array_equal(again.integers(0, 9, size=3, dtype=np.uint32), fresh.integers(0, 9, 3, np.uint32))
        np.testing.assert_array_equal(again.standard_normal(9), fresh.standard_normal(9))
        np.testing.assert_array_equal(again.random(5), fresh.random(5))
