"""Checked arguments of compiled functions: what fits is passed on, what does not is one line."""

from typing import NamedTuple

import numba
import numpy as np
import pytest

from septet.arrays import checked, fit, fit_all, layers
from septet.errors import InputError


class Pair(NamedTuple):
    left: np.ndarray
    right: np.ndarray


@checked(x="f4 N A", row="i8 K < N", factor="float", out="out f4 K A")
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
        ({"factor": 10**400}, "factor: expected a number"),
        ({"x": np.ma.array([[1.0, 2], [3, 4]])}, r"x: expected float32 .* found masked float64 \(2, 2\)"),
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
    @checked(lambda n, *_: {"H": 3}, n="int 1", flat="f8 n*H", two="f8 2 N>0", pair={"left": "f8 N", "right": "f8 N"})
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


def at_most_three(a, sizes):
    return ("x", "3 numbers at most", sizes["m"]) if sizes["m"] > 3 and a["share"] else None


@checked(None, at_most_three, out="out f8 n", at="whole m < n", x="real m", share="float 0 1", kind=Pair)
@numba.njit
def scatter(out, at, x, share, kind, more):
    """Add shares of x to the places `at`."""
    for i in range(at.shape[0]):
        out[at[i]] += share * x[i] * more


AT, X, PAIR = np.array([0, 2]), np.ones(2), Pair(np.ones(1), np.ones(1))


def test_native_arrays_are_passed_on_as_they_are():
    out, frozen = np.zeros(3), np.ones(4, np.float32)[::2]
    frozen.flags.writeable = False
    scatter(out, AT.astype(np.uint8), frozen, share=0.5, kind=PAIR, more=1)
    scatter.unchecked(out, np.array([1]), np.ones(1), 1.0, PAIR, 1)
    assert out.tolist() == [0.5, 1.0, 0.5] and scatter.__doc__ == "Add shares of x to the places `at`."
    assert fit("x", "real N", frozen) is frozen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(2), AT, X, 1.0, PAIR, 1), "scatter: at: expected indices from 0 to 1, found 0 to 2"),
        ((np.zeros(3), AT - 1, X, 1.0, PAIR, 1), "scatter: at: expected indices from 0 to 2, found -1 to 1"),
        ((np.zeros(3), AT, np.ones(3), 1.0, PAIR, 1), "x: expected numbers of shape (2,), found float64 (3,)"),
        ((np.zeros(3), AT * 1.0, X, 1.0, PAIR, 1), "at: expected integers of shape (m,), found float64 (2,)"),
        ((np.zeros(3), AT, X.tolist(), 1.0, PAIR, 1), "x: expected numbers of shape (2,), found a value of type list"),
        ((np.zeros(3), AT, X.astype(">f8"), 1.0, PAIR, 1), "found byte-swapped float64 (2,)"),
        ((np.zeros(3), AT, np.zeros(17, "i1")[1:].view(float), 1.0, PAIR, 1), "found unaligned float64 (2,)"),
        ((np.zeros(3), AT, X.astype(np.float16), 1.0, PAIR, 1), "found float16 (2,)"),
        ((np.zeros(3), AT, X.astype(object), 1.0, PAIR, 1), "found object (2,)"),
        ((np.zeros(3), AT, X * 1j, 1.0, PAIR, 1), "found complex128 (2,)"),
        ((np.zeros(3), AT, np.ma.array(X), 1.0, PAIR, 1), "found masked float64 (2,)"),
        ((np.zeros(3), AT, X, 1.5, PAIR, 1), "scatter: share: expected a number from 0 to 1, found 1.5"),
        ((np.zeros(3), AT, X, np.nan, PAIR, 1), "scatter: share: expected a number from 0 to 1, found nan"),
        ((np.zeros(3), AT, X, 1.0, None, 1), "kind: expected an instance of Pair, found a value of type NoneType"),
        ((np.zeros(3), np.arange(4) % 3, np.ones(4), 1.0, PAIR, 1), "scatter: x: expected 3 numbers at most, found 4"),
        ((np.zeros(3), AT, X, 1.0, PAIR, "1"), "scatter: expected arrays and numbers, found out ndarray, at ndarray"),
    ],
)
def test_what_native_code_cannot_take_is_one_line(arguments, message):
    before = arguments[0].copy()
    with pytest.raises(InputError) as error:
        scatter(*arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
    np.testing.assert_array_equal(arguments[0], before)


@pytest.mark.parametrize("edges", [[0, 2, 1, 3], [1, 2, 3, 3], [0, 1, 2, 9], [0, 3], [0.0, 1.0, 2.0, 3.0], []])
def test_offsets_part_their_side(edges):
    specs = {"data": "real z", "edges": "whole k+1 parts z"}
    fit_all("rows", specs, {"edges": np.array([0, 1, 1, 3]), "data": np.ones(3)}, {"k": 3})
    with pytest.raises(InputError, match=r"^rows: edges: expected (offsets that rise from 0 to 3|integers of shape)"):
        fit_all("rows", specs, {"edges": np.array(edges), "data": np.ones(3)}, {"k": 3})


def test_bounds_are_numbers_or_sides_and_names_keep_one_size():
    for spec, good, bad in (
        ("real N in 0 1", [0.0, 1.0], [0.0, np.nan]),
        ("whole N in 1 N", [1, 2], [0, 1]),
        ("i8 N in 1 N", [1, 2], [1, 3]),
        ("f8 N>1", [0.0, 0.0], [0.0]),
        ("f8 N+1", [0.0], []),
        ("int < N", 2, 3),
        ("int 1 N", 3, 4),
    ):
        value, wrong = (np.array(each) if spec.startswith(("real", "whole")) else each for each in (good, bad))
        bound = {"N": 3} if spec.startswith("int") else {}
        np.testing.assert_array_equal(fit("x", spec, value, dict(bound)), good)
        with pytest.raises(InputError, match=r"^x: expected "):
            fit("x", spec, wrong, bound)
    bound = {}
    assert fit_all("f", {"a": "f8 N+1"}, {"a": [1, 2], "b": 0}, bound)["a"].dtype == float
    assert bound == {"N": 1}


def test_one_argument_and_layer_widths():
    assert fit("x", "int 1", np.int32(3)) == 3
    assert layers("net", [3, np.int64(2)]) == (3, 2)
    for sizes in ([3], [3, 0], [3.5, 2], "ab", None, 3, [[1, 2]]):
        with pytest.raises(InputError, match="net: expected two or more layer widths"):
            layers("net", sizes)
