"""Checked arguments of compiled functions: what fits is passed on, what does not is one line."""

from typing import NamedTuple

import numba
import numpy as np
import pytest

from septet.arrays import checked, fit, layers
from septet.errors import InputError


class Pair(NamedTuple):
    left: np.ndarray
    right: np.ndarray


@checked("scaled", x="f4 N A", row="i8 K < N", factor="float", out="out f4 K A")
@numba.njit
def scaled(x, row, factor, out):
    for k in range(row.size):
        for j in range(out.shape[1]):
            out[k, j] = factor * x[row[k], j]


@numba.njit
def twice(x, row, out):
    scaled(x, row, 2.0, out)


def call(x=((1, 2), (3, 4)), row=(1,), factor=3, out=None):
    out = np.zeros((1, 2), np.float32) if out is None else out
    scaled(x, row, factor, out)
    return out


def test_what_fits_is_converted_and_passed_on():
    x = np.array([[1, 2], [3, 4]], np.float32)
    frozen = x.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 2)
    for given in (x, x.tolist(), x.astype(int), x.astype(">f8"), x.T.copy().T, x[::-1][::-1], frozen, unaligned, x > 2):
        expected = [[3, 3]] if np.asarray(given).dtype == bool else [[9, 12]]
        np.testing.assert_array_equal(call(given), expected)
    np.testing.assert_array_equal(call(row=np.array([1], np.uint8)), [[9, 12]])
    np.testing.assert_array_equal(call(x=[[np.nan, 1], [np.inf, 2]]), [[np.inf, 6]])
    np.testing.assert_array_equal(call(row=[], out=np.zeros((0, 2), np.float32)), np.zeros((0, 2)))


def test_compiled_code_calls_the_function_itself():
    out = np.zeros((1, 2), np.float32)
    twice(np.ones((2, 2), np.float32), np.array([0]), out)
    np.testing.assert_array_equal(out, [[2, 2]])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"row": [2]}, "scaled: row: expected indices from 0 to 1, found 2 to 2"),
        ({"row": [-1]}, "scaled: row: expected indices from 0 to 1, found -1 to -1"),
        (
            {"row": [0, 1]},
            r"scaled: out: expected writable contiguous float32 of shape \(2, 2\), found float32",
        ),
        ({"row": [0.0]}, r"row: expected int64 of shape \(K,\), found float64 \(1,\)"),
        ({"row": np.array([2**63], np.uint64)}, "row: expected numbers that fit int64, found 9223372036854775808"),
        ({"x": [1, 2]}, r"x: expected float32 of shape \(N, A\), found float32 \(2,\)"),
        ({"x": [[1, 2], [3]]}, r"x: expected float32 of shape \(N, A\), found \[\[1, 2\], \[3\]\]"),
        ({"x": [["1", "2"]]}, "x: expected float32"),
        ({"x": [[1j, 2]]}, r"x: expected float32 of shape \(N, A\), found complex128"),
        ({"x": [[1e300, 2]]}, "x: expected numbers that fit float32, found 1e"),
        ({"x": None}, "x: expected float32 .* found object"),
        ({"x": [[1], [2]]}, r"out: expected writable contiguous float32 of shape \(1, 1\), found float32 \(1, 2\)"),
        ({"factor": "3"}, "factor: expected a number, found 3"),
        ({"factor": True}, "factor: expected a number"),
        ({"out": np.zeros((1, 2))}, "out: expected writable contiguous float32 .* found float64"),
        ({"out": np.zeros((1, 4), np.float32)[:, ::2]}, r"found strided float32 \(1, 2\)"),
        ({"out": [[0.0, 0.0]]}, r"out: expected .* found \[\[0.0, 0.0\]\]"),
        ({"out": np.broadcast_to(np.float32(0), (1, 2))}, "found read-only strided float32"),
    ],
)
def test_what_does_not_fit_is_one_line(change, text):
    with pytest.raises(InputError, match=text) as caught:
        call(**change)
    assert "\n" not in str(caught.value)


def test_sides_are_products_numbers_and_counts_and_tuples_have_specs():
    @checked(
        "f", lambda n, *_: {"H": 3}, n="int 1", flat="f8 n*H", two="f8 2 N+", pair={"left": "f8 N", "right": "f8 N"}
    )
    def f(n, flat, two, pair):
        return n, pair

    good = (2, np.zeros(6), np.zeros((2, 4)), Pair(np.zeros(4), [1, 2, 3, 4]))
    n, pair = f(*good)
    assert n == 2 and isinstance(pair, Pair) and pair.right.dtype == np.float64
    for place, value, text in (
        (0, 0, "f: n: expected an integer of at least 1, found 0"),
        (0, 2.0, "f: n: expected an integer"),
        (1, np.zeros(5), r"f: flat: expected float64 of shape \(6,\), found float64 \(5,\)"),
        (2, np.zeros((3, 4)), r"f: two: expected float64 of shape \(2, N\), found float64 \(3, 4\)"),
        (2, np.zeros((2, 0)), r"f: two: .* found float64 \(2, 0\)"),
        (3, Pair(np.zeros(4), np.zeros(3)), r"f: pair.right: expected float64 of shape \(4,\)"),
        (3, (np.zeros(4),), "f: pair: expected a tuple of 2"),
    ):
        with pytest.raises(InputError, match=text):
            f(*good[:place], value, *good[place + 1 :])
    with pytest.raises(TypeError, match="takes the arguments n, flat, two, pair"):
        f(2)
    assert f(2, np.zeros(6), pair=good[3], two=good[2])[0] == 2


def test_one_argument_and_layer_widths():
    assert fit("x", "int 1", np.int32(3)) == 3
    assert layers("net", [3, np.int64(2)]) == (3, 2)
    for sizes in ([3], [3, 0], [3.5, 2], "ab", None, 3, [[1, 2]]):
        with pytest.raises(InputError, match="net: expected two or more layer widths"):
            layers("net", sizes)
