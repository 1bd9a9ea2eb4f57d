"""The exact vote of every predictor met in training, on binary rows and on n-best lists.

The predictors are nonlinear in `s` with l1, so nothing can be summed beforehand. But between two
mistakes few coordinates change in kind: with the active set `{j: |s_j| > t(k)}`,

    <w_k, x> = -q(k) (A_k - t(k) B_k),   A_k = sum_active s_j x_j,   B_k = sum_active sign(s_j) x_j,

and A and B change only where a mistake touches a feature or a weight dies. So replaying M mistakes
costs the test columns of the touched features, plus one sweep over the rows per predictor.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from septet.checked import numbers, offsets, require
from vrda.kernels import GAMMA, L1, RHO, jit, last_alive, threshold
from vrda.needs import ROWS, lists_fit

Array = NDArray[Any]


@dataclass(frozen=True)
class Updates:
    """The subgradients of a training run in order, with the votes of the predictor that each made.

    Attributes:
        g: shape ``(M, n)``, sparse.
        g0: the same for the unpenalised feature, shape ``(M,)``.
        votes: examples that the predictor after each survived, shape ``(M,)``.
    """

    g: csr_matrix
    g0: Array
    votes: Array


def voted_scores(rows: csr_matrix, base: Array, updates: Updates, form: Array) -> Array:
    """`sum_k c_k sign(<w_k, x>) / sum_k c_k` of each row, shape ``(m,)``; the zero predictor abstains."""
    tally = _tally(rows, base, updates, form, np.zeros(0, dtype=np.int64))
    return tally / max(float(updates.votes.sum()), 1.0)


def voted_choices(rows: csr_matrix, base: Array, updates: Updates, form: Array, starts: Array) -> Array:
    """The candidate with most votes in each list, shape ``(lists,)``; the first in order on ties."""
    tally = _tally(rows, base, updates, form, starts)
    return np.array([a + np.argmax(tally[a:b]) for a, b in pairwise(starts)], dtype=np.int64)


def _tally(rows: csr_matrix, base: Array, updates: Updates, form: Array, starts: Array) -> Array:
    g, sizes = updates.g, {"n": rows.shape[1], "m": rows.shape[0]}
    for name, matrix in (("rows", rows), ("updates", g)):
        parts = {"indptr": matrix.indptr, "indices": matrix.indices, "data": matrix.data}
        require(name, parts, None, sizes if matrix is rows else {"n": sizes["n"]}, **ROWS)
    given = {"base": base, "form": np.asarray(form), "g0": updates.g0, "votes": updates.votes, "starts": starts}
    sizes |= {"K": g.shape[0]}
    require("votes", given, None, sizes, base=numbers("m"), form=numbers("5"), g0=numbers("K"), votes=numbers("K"))
    if len(starts):
        require("votes", given, lists_fit, {"N": sizes["m"]}, starts=offsets("l+1", into="N"))
    columns = rows.tocsc()
    tally = np.zeros(rows.shape[0])
    _replay(
        g.indptr,
        g.indices,
        g.data,
        updates.g0,
        updates.votes,
        columns.indptr,
        columns.indices,
        columns.data,
        base,
        starts,
        np.asarray(form),
        np.zeros(rows.shape[1]),
        tally,
    )
    return tally


@jit
def _shift_column(j: int, by_a: float, by_b: float, indptr: Array, rows: Array, data: Array, ab: Array) -> None:
    for p in range(np.uint64(indptr[j]), np.uint64(indptr[j + 1])):
        row = np.uint64(rows[p])
        ab[row, 0] += by_a * data[p]
        ab[row, 1] += by_b * data[p]


@jit
def _replay(
    g_indptr: Array,
    g_indices: Array,
    g_data: Array,
    g0: Array,
    votes: Array,
    indptr: Array,
    rows: Array,
    data: Array,
    base: Array,
    starts: Array,
    form: Array,
    s: Array,
    tally: Array,
) -> None:
    """Replay the updates over the test columns `(indptr, rows, data)`, adding each predictor's vote to `tally`."""
    ticks, l1, half = g0.shape[0], form[L1], 0.5 * form[GAMMA] * form[RHO]
    ab, s0 = np.zeros((base.shape[0], 2)), 0.0
    active = np.zeros(s.shape[0], dtype=np.bool_)
    # Weights due to die at each tick, as linked lists; a note is void if its feature was touched since.
    due = np.full(ticks + 2, -1, dtype=np.int64)
    following = np.empty(g_indices.shape[0], dtype=np.int64)
    for k in range(1, ticks + 1):
        shift = threshold(k, form)
        for p in range(g_indptr[k - 1], g_indptr[k]):
            j = g_indices[p]
            old_a, old_b = (s[j], _sign(s[j])) if active[j] else (0.0, 0.0)
            s[j] += g_data[p]
            active[j] = abs(s[j]) > shift
            new_a, new_b = (s[j], _sign(s[j])) if active[j] else (0.0, 0.0)
            if new_a != old_a:
                _shift_column(j, new_a - old_a, new_b - old_b, indptr, rows, data, ab)
            end = last_alive(abs(s[j]), ticks, l1, half) + 1
            if active[j] and end <= ticks:
                end = max(end, k)
                following[p] = due[end]
                due[end] = p
        note = due[k]
        while note >= 0:
            j = g_indices[note]
            if active[j] and abs(s[j]) <= shift:
                active[j] = False
                _shift_column(j, -s[j], -_sign(s[j]), indptr, rows, data, ab)
            note = following[note]
        s0 += g0[k - 1]
        if starts.shape[0] == 0:
            for r in range(base.shape[0]):
                tally[r] -= votes[k - 1] * _sign(ab[r, 0] - shift * ab[r, 1] + s0 * base[r])
        else:
            for i in range(starts.shape[0] - 1):
                top, choice = np.inf, -1
                for r in range(starts[i], starts[i + 1]):
                    score = ab[r, 0] - shift * ab[r, 1] + s0 * base[r]
                    if score < top:
                        top, choice = score, r
                tally[choice] += votes[k - 1]


@jit
def _sign(v: float) -> float:
    """-1, 0 or 1."""
    return 1.0 if v > 0.0 else (-1.0 if v < 0.0 else 0.0)
