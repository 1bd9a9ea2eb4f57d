"""The exact vote of every predictor met in training, on binary rows and on n-best lists.

The predictors are nonlinear in `s` with l1, so nothing can be summed beforehand. But between two
mistakes few coordinates change in kind: with the active set `{j: |s_j| > t(k)}`,

    <w_k, x> = -q(k) (A_k - t(k) B_k),   A_k = sum_active s_j x_j,   B_k = sum_active sign(s_j) x_j,

and A and B change only where a mistake touches a feature or a weight dies. So replaying M mistakes
costs the test columns of the touched features, plus one sweep over the rows per predictor.

A vote is a sign, on lists the sign of a difference, so rounding must not decide it. The number of active features of
each row is kept as a whole number (none: A and B are exactly zero), with a bound on the rounding errors of A and B.
Where a score, or the difference of two, is within it, the sign comes from `_exact_sign`, which sums without rounding
(Shewchuk 1997, as in `math.fsum`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from septet.arrays import fit_all
from septet.vrda.kernels import GAMMA, L1, RHO, Rows, first_best, jit, last_alive, threshold
from septet.vrda.needs import ROWS, lists_fit

Array = NDArray[Any]


@dataclass(frozen=True)
class Updates:
    """The subgradients of a training run in order, with the votes of the predictor that each made.

    Attributes:
        g: shape ``(M, n)``, sparse. A row may hold a column twice: entries are added in their order.
        g0: the same for the unpenalised feature, shape ``(M,)``.
        votes: examples that the predictor after each survived, shape ``(M,)``.
    """

    g: csr_matrix
    g0: Array
    votes: Array


def voted_scores(rows: csr_matrix, base: Array, updates: Updates, form: Array) -> Array:
    """`sum_k c_k sign(<w_k, x>) / sum_k c_k` of each row, shape ``(m,)``; the zero predictor abstains."""
    tally = candidate_votes(rows, base, updates, form, np.zeros(0, dtype=np.int64))
    return tally / max(float(updates.votes.sum()), 1.0)


def voted_choices(rows: csr_matrix, base: Array, updates: Updates, form: Array, starts: Array) -> Array:
    """The candidate with most votes in each list, shape ``(lists,)``; the first in order on ties."""
    return first_best(starts, candidate_votes(rows, base, updates, form, starts))


def candidate_votes(rows: csr_matrix, base: Array, updates: Updates, form: Array, starts: Array) -> Array:
    """Votes of each candidate of lists that begin at `starts`, shape ``(m,)``: of the predictors that choose it.

    Without `starts`, the signs of the scores of each row, times the votes.
    """
    g, sizes = updates.g, {"n": rows.shape[1], "m": rows.shape[0]}
    fit_all("rows", ROWS, vars(rows), dict(sizes))
    fit_all("updates", ROWS, vars(g), {"n": sizes["n"]})
    given = {"base": base, "form": np.asarray(form), "g0": updates.g0, "votes": updates.votes, "starts": starts}
    specs = {"base": "real m", "form": "real 5", "g0": "real K", "votes": "real K"}
    fit_all("votes", specs, given, sizes | {"K": g.shape[0]})
    if len(starts):
        fit_all("votes", {"starts": "whole l+1 parts m"}, given, sizes, lists_fit)
    columns = rows.tocsc()
    tally = np.zeros(rows.shape[0])
    made, by_column, by_row = ((matrix.data, matrix.indices, matrix.indptr) for matrix in (g, columns, rows))
    s = np.zeros(rows.shape[1])
    _replay(made, updates.g0, updates.votes, by_column, by_row, base, starts, np.asarray(form), s, tally)
    return tally


EPS = 2.0**-52


@jit
def _shift_column(
    j: int, by_a: float, by_b: float, more: int, indptr: Array, rows: Array, data: Array, ab: Array, count: Array
) -> None:
    """Add to A and B of each row that holds feature j, to their error bounds, and to the count of active features."""
    for p in range(np.uint64(indptr[j]), np.uint64(indptr[j + 1])):
        row, x = np.uint64(rows[p]), data[p]
        if x == 0.0:
            continue
        count[row] += more
        if count[row] == 0:
            ab[row, :] = 0.0
            continue
        ab[row, 0] += by_a * x
        ab[row, 1] += by_b * x
        # by_a is rounded, then the product, then the sum
        ab[row, 2] += EPS * (2.0 * abs(by_a * x) + abs(ab[row, 0]))
        ab[row, 3] += EPS * (abs(by_b * x) + abs(ab[row, 1]))


@jit
def _add(partials: Array, size: int, x: float) -> int:
    """Add x to a sum that is kept as `size` numbers without common digits, smallest first; returns the new size."""
    kept = 0
    for i in range(size):
        y = partials[i]
        if abs(x) < abs(y):
            x, y = y, x
        high = x + y
        low = y - (high - x)
        if low != 0.0:
            partials[kept] = low
            kept += 1
        x = high
    if x != 0.0:
        partials[kept] = x
        kept += 1
    return kept


@jit
def _add_product(partials: Array, size: int, x: float, y: float) -> int:
    """Add x y, which is the sum of two floats (Dekker 1971)."""
    high = x * y
    big = 134217729.0 * x
    x1 = big - (big - x)
    x2 = x - x1
    big = 134217729.0 * y
    y1 = big - (big - y)
    y2 = y - y1
    low = x2 * y2 - (((high - x1 * y1) - x2 * y1) - x1 * y2)
    return _add(partials, _add(partials, size, low), high)


@jit
def _exact_sign(
    row: int, other: int, shift: float, s: Array, active: Array, s0: float, base: Array, rows: Rows
) -> float:
    """Sign of `sum_active (s_j - sign(s_j) t) x_j + s_0 x_0` of a row, less that of another (-1: none), unrounded."""
    data, indices, indptr = rows
    room = 4 * (indptr[row + 1] - indptr[row]) + 2
    if other >= 0:
        room += 4 * (indptr[other + 1] - indptr[other]) + 2
    partials, size = np.empty(room + 1), 0
    for one, sign in ((row, 1.0), (other, -1.0)):
        if one < 0:
            continue
        size = _add_product(partials, size, sign * s0, base[one])
        for p in range(indptr[one], indptr[one + 1]):
            j = indices[p]
            if active[j] and abs(s[j]) > shift:
                size = _add_product(partials, size, sign * s[j], float(data[p]))
                size = _add_product(partials, size, -sign * np.sign(s[j]) * shift, float(data[p]))
    return np.sign(partials[size - 1]) if size > 0 else 0.0


@jit
def _score(ab: Array, r: int, shift: float, s0: float, x0: float) -> tuple[float, float]:
    """`-<w, x> / q` of row r, and a bound on its rounding error."""
    a, b, free = ab[r, 0], shift * ab[r, 1], s0 * x0
    doubt = 2.0 * (ab[r, 2] + shift * ab[r, 3]) + 4.0 * EPS * (abs(a) + abs(b) + abs(free))
    return a - b + free, doubt


@jit
def _replay(
    g: Rows,
    g0: Array,
    votes: Array,
    columns: Rows,
    rows: Rows,
    base: Array,
    starts: Array,
    form: Array,
    s: Array,
    tally: Array,
) -> None:
    """Replay the updates over the test `columns`, adding each predictor's vote to `tally`.

    The same test data by row are read where a score is too close to zero.
    """
    g_data, g_indices, g_indptr = g
    data, held_by, indptr = columns
    ticks, l1, half = g0.shape[0], form[L1], 0.5 * form[GAMMA] * form[RHO]
    ab, count, s0 = np.zeros((base.shape[0], 4)), np.zeros(base.shape[0], dtype=np.int64), 0.0
    active = np.zeros(s.shape[0], dtype=np.bool_)
    # Weights due to die at each tick, as linked lists; a note is void if its feature was touched since.
    due = np.full(ticks + 2, -1, dtype=np.int64)
    following = np.empty(g_indices.shape[0], dtype=np.int64)
    latest = np.full(s.shape[0], -1, dtype=np.int64)
    for k in range(1, ticks + 1):
        shift = threshold(k, form)
        for p in range(g_indptr[k - 1], g_indptr[k]):
            j = g_indices[p]
            old_a, old_b = (s[j], np.sign(s[j])) if active[j] else (0.0, 0.0)
            more = -1 if active[j] else 0
            s[j] += g_data[p]
            active[j] = abs(s[j]) > shift
            new_a, new_b = (s[j], np.sign(s[j])) if active[j] else (0.0, 0.0)
            more += 1 if active[j] else 0
            if new_a != old_a:
                _shift_column(j, new_a - old_a, new_b - old_b, more, indptr, held_by, data, ab, count)
            end = last_alive(abs(s[j]), ticks, l1, half) + 1
            if active[j] and end <= ticks:
                end = max(end, k)
                following[p], due[end], latest[j] = due[end], p, p
        note = due[k]
        while note >= 0:
            j, after = g_indices[note], following[note]
            if active[j] and latest[j] == note:
                if abs(s[j]) <= shift:
                    active[j] = False
                    _shift_column(j, -s[j], -np.sign(s[j]), -1, indptr, held_by, data, ab, count)
                elif k < ticks:  # `last_alive` rounds: the weight dies a tick later than it says
                    following[note], due[k + 1] = due[k + 1], note
            note = after
        s0 += g0[k - 1]
        if starts.shape[0] == 0:
            for r in range(base.shape[0]):
                score, doubt = _score(ab, r, shift, s0, base[r])
                sign = np.sign(score)
                if count[r] > 0 and abs(score) <= doubt:
                    sign = _exact_sign(r, -1, shift, s, active, s0, base, rows)
                tally[r] -= votes[k - 1] * sign
        else:
            for i in range(starts.shape[0] - 1):
                choice = starts[i]
                least, doubt = _score(ab, choice, shift, s0, base[choice])
                for r in range(starts[i] + 1, starts[i + 1]):
                    score, slack = _score(ab, r, shift, s0, base[r])
                    if score - least > doubt + slack:
                        continue
                    lower = score - least < -(doubt + slack)
                    if not lower and not (count[r] == count[choice] == 0 and base[r] == base[choice]):
                        sign = _exact_sign(r, choice, shift, s, active, s0, base, rows)
                        lower = sign < 0
                    if lower:
                        choice, least, doubt = r, score, slack
                tally[choice] += votes[k - 1]
