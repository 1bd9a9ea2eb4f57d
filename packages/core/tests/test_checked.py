"""Entry points of compiled functions."""

import numpy as np
import pytest
from numba import njit

from septet.checked import checked, index, numbers, offsets, require, state, unchecked, within
from septet.errors import InputError


@checked(out=state("n"), at=index("m", below="n"), x=numbers("m"), share=within("", 0.0, 1.0))
@njit
def scatter(out, at, x, share):
    """Add `share` of x to the places `at`."""
    for i in range(at.shape[0]):
        out[at[i]] += share * x[i]


@njit
def twice(out, at, x):
    scatter(out, at, x, 0.5)
    scatter(out, at, x, 0.5)


def test_a_call_that_fits_and_one_from_compiled_code_run_the_function():
    out = np.zeros(3)
    scatter(out, np.array([0, 2]), np.array([1.0, 2.0]), share=0.5)
    twice(out, np.array([2, 2]), np.array([1, 2]))
    unchecked(scatter)(out, np.array([1]), np.ones(1), 1)
    assert out.tolist() == [0.5, 1.0, 4.0]
    assert scatter.__doc__ == "Add `share` of x to the places `at`."


AT, X = np.array([0, 2]), np.ones(2)
READ_ONLY = np.zeros(3)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(2), AT, X, 1.0), "scatter: at: expected whole numbers from 0, below n = 2, found 2"),
        ((np.zeros(3), AT - 1, X, 1.0), "scatter: at: expected whole numbers from 0, below n = 3, found -1"),
        (
            (np.zeros(3), AT, np.ones(3), 1.0),
            "scatter: x: expected numbers of shape (m,) with n = 3, m = 2, found shape (3,)",
        ),
        ((np.zeros((3, 1)), AT, X, 1.0), "scatter: out: expected writable float64 of shape (n,), found shape (3, 1)"),
        ((np.zeros(3, dtype=int), AT, X, 1.0), "scatter: out: expected writable float64 of shape (n,), found int64"),
        ((READ_ONLY, AT, X, 1.0), "scatter: out: expected writable float64 of shape (n,), found float64, read-only"),
        ((np.zeros(3), AT * 1.0, X, 1.0), "found values of type float64"),
        ((np.zeros(3), AT.tolist(), X, 1.0), "found a value of type list"),
        ((np.zeros(3), AT, X.astype(">f8"), 1.0), "found values of type >f8"),
        ((np.zeros(3), AT, X.astype(np.float16), 1.0), "found values of type float16"),
        ((np.zeros(3), AT, X * 1j, 1.0), "found values of type complex128"),
        ((np.zeros(3), AT, np.ma.array(X), 1.0), "found a value of type MaskedArray"),
        ((np.zeros(3), AT, X, 1.5), "scatter: share: expected numbers from 0 to 1, found 1.5"),
        ((np.zeros(3), AT, X, np.nan), "scatter: share: expected numbers from 0 to 1, found nan"),
        ((np.zeros(3), AT, X, "1"), "scatter: share: expected numbers from 0 to 1, found a value of type str"),
    ],
)
def test_a_call_that_does_not_fit_is_one_line(arguments, message):
    before = arguments[0].copy()
    with pytest.raises(InputError) as error:
        scatter(*arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
    np.testing.assert_array_equal(arguments[0], before)


@pytest.mark.parametrize("edges", [[0, 2, 1, 3], [1, 2, 3, 3], [0, 1, 2, 9], [0, 3], [0.0, 1.0, 2.0, 3.0], []])
def test_offsets_part_their_axis(edges):
    needs = {"edges": offsets("k+1", into="z"), "data": numbers("z")}
    require("rows", {"edges": np.array([0, 1, 1, 3]), "data": np.ones(3)}, None, {"k": 3}, **needs)
    with pytest.raises(InputError, match=r"^rows: edges: expected rising offsets from 0 to z"):
        require("rows", {"edges": np.array(edges), "data": np.ones(3)}, None, {"k": 3}, **needs)


def test_a_rule_looks_at_arguments_together():
    def longer(a, sizes):
        return None if sizes["n"] > sizes["m"] else ("x", f"more than {sizes['m']}", sizes["n"])

    needs = {"x": numbers("n"), "y": numbers("m")}
    require("pair", {"x": np.ones(3), "y": np.ones(2)}, longer, **needs)
    with pytest.raises(InputError, match="pair: x: expected more than 2, found 2"):
        require("pair", {"x": np.ones(2), "y": np.ones(2)}, longer, **needs)
