"""Dual averaging over sparse rows; each example costs its non-zeros, never the dimension.

Nothing here stores or touches a dense predictor. A weight is a function of `(s_j, k)` and is
computed when an example asks for it. The running average is kept exactly by prefix sums: while
`s_j` is untouched, predictor i contributes

    c_i w_ij = -sign(s_j) (|s_j| c_i q(i) - c_i q(i) t(i))   as long as t(i) <= |s_j|, and 0 after,

so the sum up to predictor k is `tally_j - sign(s_j) (|s_j| P[k] - R[k])` for a weight that lives, with the prefix sums
P of `c q` and R of `c q t`. When `s_j` moves, `tally_j` takes up the difference of the bracket before and after, which
needs no memory of when `s_j` moved last. The threshold never falls, so a weight that died since is one whose flag says
alive while `|s_j| <= t(k)`: only then an old row of the prefix sums is read.

A *state* is five arrays over the n features (or the touched ones, see `slots`):

======== ============== =======================================================================
`s`      ``(n,)``       sum of subgradients
`tally`  ``(n,)``       voted sum of weights, less the bracket of a weight that lives
`alive`  ``(n,)``       whether the weight was not zero when `s` moved last
`prefix` ``(K, 2|4)``   row i: sums up to predictor i of c q, c q t | q, q t
`run`    ``(7,)``       scalars, by the names below
======== ============== =======================================================================
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled
from septet.vrda.needs import JUDGED, ROWS, STATE, state_fits
from septet.vrda.prefetch import prefetch_row

Array = NDArray[Any]
State = tuple[Array, Array, Array, Array, Array]
"""`s`, `tally`, `alive`, `prefix`, `run`."""
Rows = tuple[Array, Array, Array]
"""`data`, `indices` and `indptr` of sparse rows, in the order of scipy."""


class Lists(NamedTuple):
    """N-best lists, N candidates in all, and what a learner is told of them.

    Attributes:
        base: the unpenalised real feature of each candidate (first-pass log probability), shape ``(N,)``.
        starts: list i holds candidates ``starts[i]..starts[i + 1]``, shape ``(m + 1,)``.
        data, indices, indptr: one sparse row per candidate.
        quality: F of each candidate, shape ``(N,)``.
        target: candidate of highest F in each list, shape ``(m,)``.
    """

    base: Array
    starts: Array
    data: Array
    indices: Array
    indptr: Array
    quality: Array
    target: Array


# Places in `run`: mistakes (or examples) counted, votes of the present predictor, sum of
# subgradients and voted sum of weights of the unpenalised feature, mistakes, sum of |w_k|_1 over
# retired predictors (penalised features only, less the brackets of weights that live), weight of the examples seen.
K, VOTES, S0, TOTAL0, MISTAKES, SUM_L1, SEEN = range(7)
RUN = 7
# Places in `form`: the regulariser, then 1.0 for the perceptron's scale q(k) = 1.
L1, L2, RHO, GAMMA, PLAIN = range(5)

jit = compiled()


@checked(form="real 5")
@jit
def threshold(k: float, form: Array) -> Any:
    """`t(k) = l1 k + gamma rho sqrt(k)`."""
    return form[L1] * k + form[GAMMA] * form[RHO] * math.sqrt(k)


@checked(form="real 5")
@jit
def scale(k: float, form: Array) -> Any:
    """`q(k) = 1 / (l2 k + gamma sqrt(k))`; 1 for the perceptron."""
    if form[PLAIN] != 0.0:
        return 1.0
    return 1.0 / (form[L2] * k + form[GAMMA] * math.sqrt(k)) if k > 0 else 0.0


@jit
def soft(v: float, shift: float) -> Any:
    """`sign(v) max(|v| - shift, 0)`, without a branch."""
    return v - min(max(v, -shift), shift)


@jit
def last_alive(size: float, k: int, l1: float, half: float) -> int:
    """The last predictor `i <= k` with `t(i) <= size`, for `size = |s_j|` and `half = gamma rho / 2`."""
    if size <= 0.0:
        return 0
    if l1 == 0.0 and half == 0.0:
        return k
    # One formula for every k: a stretch that opens as alive must be found alive when it closes.
    if half == 0.0:
        death = size / l1
    else:
        root = size / (2.0 * half) if l1 == 0.0 else (math.sqrt(half * half + l1 * size) - half) / l1
        death = root * root
    return k if death >= k else int(death)


@jit
def _end(size: float, k: int, form: Array) -> Any:
    """The last predictor up to k in which a weight that was alive is not zero; moves and sums have to agree on it."""
    if size > threshold(k, form):
        return k
    return last_alive(size, k, form[L1], 0.5 * form[GAMMA] * form[RHO])


@jit
def _retire(prefix: Array, k: int, votes: float, form: Array) -> None:
    """Write row k of the prefix sums: predictor k has `votes` votes."""
    if k == 0:
        prefix[0, :] = 0.0
        return
    q, t = scale(k, form), threshold(k, form)
    prefix[k, 0] = prefix[k - 1, 0] + votes * q
    prefix[k, 1] = prefix[k - 1, 1] + votes * q * t
    if prefix.shape[1] == 4:
        prefix[k, 2] = prefix[k - 1, 2] + q
        prefix[k, 3] = prefix[k - 1, 3] + q * t


@jit
def _move(
    row: int,
    step: float,
    k: int,
    indptr: Array,
    indices: Array,
    data: Array,
    s: Array,
    tally: Array,
    alive: Array,
    prefix: Array,
    run: Array,
    form: Array,
) -> None:
    """Add `step` times a sparse row to `s`, after predictor k.

    One call per row: a call per feature would spend more time on passing arrays than on the work. Array by array: a
    tuple costs compiled code a count of references for each of its arrays.
    """
    with_norms = prefix.shape[1] == 4
    before, after = threshold(k, form), threshold(k + 1, form)
    p, r = prefix[k, 0], prefix[k, 1]
    for at in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
        j = np.uint64(indices[at])
        old = s[j]
        new = old + step * data[at]
        was, now = alive[j] != 0, abs(new) > after
        if was and abs(old) <= before:
            end = np.uint64(_end(abs(old), k, form))
            tally[j] -= math.copysign(abs(old) * prefix[end, 0] - prefix[end, 1], old)
            if with_norms:
                run[SUM_L1] += abs(old) * prefix[end, 2] - prefix[end, 3]
            was = False
        # Selected, not branched on: which weights live is random to the processor.
        live_old, sign_old = (old, math.copysign(1.0, old)) if was else (0.0, 0.0)
        live_new, sign_new = (new, math.copysign(1.0, new)) if now else (0.0, 0.0)
        tally[j] += (live_new - live_old) * p - (sign_new - sign_old) * r
        if with_norms:
            count = (1.0 if now else 0.0) - (1.0 if was else 0.0)
            run[SUM_L1] -= (abs(live_new) - abs(live_old)) * prefix[k, 2] - count * prefix[k, 3]
        s[j], alive[j] = new, now


@jit
def slope(margin: float, log_loss: bool) -> Any:
    """The factor `a` of the subgradient `-a y x`: 1 for hinge, `sigma(-m)` for log loss."""
    if not log_loss:
        return 1.0
    return 1.0 / (1.0 + math.exp(min(margin, 700.0)))


@checked(
    None, state_fits, state=STATE, form="real 5", rows=ROWS,
    y="real m", weight="real W", x0="float", order="whole o < m", log="out f8 t 3",
)  # fmt: skip
@jit
def classify_pass(
    rows: Rows, y: Array, weight: Array, x0: float, order: Array, state: State, form: Array, log_loss: bool, log: Array
) -> int:
    """One pass of vRDA over binary examples (section 2); returns the mistakes of this pass.

    Args:
        rows: m sparse rows.
        y: labels -1 or 1, shape ``(m,)``.
        weight: how often each row is presented in a row, shape ``(m,)``; length 0 presents each once. What is left
            below one presentation counts for that share of a step and of a vote.
        x0: value of the unpenalised feature (1 with an intercept, 0 without).
        order: rows in the order of this pass.
        state: see above; `prefix` needs a row per mistake to come.
        form: regulariser and scale, shape ``(5,)``.
        log_loss: whether the loss is logistic rather than hinge.
        log: filled with (row, slope, votes of the predictor that erred) per mistake; length 0 keeps none.
    """
    data, indices, indptr = rows
    s, tally, alive, prefix, run = state
    k, votes, s0 = int(run[K]), run[VOTES], run[S0]
    shift, before, count = threshold(k, form), k, order.shape[0]
    for at in range(count):
        if at + 1 < count:
            prefetch_row(order[at + 1], indptr, indices, data)
        row = order[at]
        left = weight[row] if weight.shape[0] > 0 else 1.0
        run[SEEN] += left
        while left > 0.0:
            # Scored with s, not the scaled w, so that ties break as in the perceptron.
            score = -s0 * x0
            # Unsigned indices: no test for negative ones, which halves the time of this loop.
            for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                score -= soft(s[np.uint64(indices[p])], shift) * data[p]
            if y[row] * score > 0.0:
                votes += left
                break
            part = min(left, 1.0)
            left -= part
            _retire(prefix, k, votes, form)
            run[TOTAL0] -= votes * scale(k, form) * s0
            step = -part * y[row] * slope(y[row] * score * scale(k, form), log_loss)
            if log.shape[0] > 0:
                log[k - before, 0], log[k - before, 1], log[k - before, 2] = row, step, votes
            _move(row, step, k, indptr, indices, data, s, tally, alive, prefix, run, form)
            s0 += step * x0
            k += 1
            votes = part
            shift = threshold(k, form)
    # The open row: it is written again with more votes if this predictor lives on.
    _retire(prefix, k, votes, form)
    run[K], run[VOTES], run[S0] = k, votes, s0
    run[MISTAKES] += k - before
    return k - before


@checked(None, state_fits, state=STATE, form="real 5", lists=JUDGED, order="whole o < l", log="out f8 t 4")
@jit
def list_pass(lists: Lists, order: Array, state: State, form: Array, log_loss: bool, every: bool, log: Array) -> int:
    """One pass over n-best lists (section 4); returns the mistakes of this pass.

    A list is a mistake when the best-scored candidate is worse than the target; then
    `Phi(target) - Phi(best-scored)` plays the part of `y x`. With `every`, this is plain RDA: the
    clock ticks at each list, and the subgradient is that of the hinge with margin 1 (or of the log
    loss) against the best-scored candidate that is worse than the target.

    Args:
        order: lists in the order of this pass.
        state, form, log_loss: as in `classify_pass`.
        every: tick at every example.
        log: filled with (target, rival, slope, votes of the predictor before) per tick of the clock, rival
            -1 where nothing was learned; length 0 keeps none.
    """
    base, starts, data, indices, indptr, quality, target = lists
    s, tally, alive, prefix, run = state
    k, votes, s0 = int(run[K]), run[VOTES], run[S0]
    shift, before, mistakes = threshold(k, form), k, 0
    for i in order:
        good = target[i]
        top, rival = -np.inf, -1
        top_worse, worse, good_score = -np.inf, -1, 0.0
        for row in range(starts[i], starts[i + 1]):
            score = -s0 * base[row]
            for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                score -= soft(s[np.uint64(indices[p])], shift) * data[p]
            if score > top:
                top, rival = score, row
            if quality[row] < quality[good] and score > top_worse:
                top_worse, worse = score, row
            if row == good:
                good_score = score
        mistake = quality[rival] < quality[good]
        mistakes += mistake
        if not mistake and not every:
            votes += 1.0
            continue
        if every:
            rival = worse  # -1 where all candidates are equally good
        q = scale(k, form)
        _retire(prefix, k, votes, form)
        run[TOTAL0] -= votes * q * s0
        margin = (good_score - top_worse) * q  # minus infinity never meets rival >= 0
        learns = rival >= 0 and (not every or log_loss or margin < 1.0)
        step = slope(margin, log_loss) if learns else 0.0
        if log.shape[0] > 0:
            log[k - before, 0], log[k - before, 1] = good, rival
            log[k - before, 2], log[k - before, 3] = step, votes
        if learns:
            _move(good, -step, k, indptr, indices, data, s, tally, alive, prefix, run, form)
            _move(rival, step, k, indptr, indices, data, s, tally, alive, prefix, run, form)
            s0 -= step * (base[good] - base[rival])
        k += 1
        votes = 1.0
        shift = threshold(k, form)
    # The open row: it is written again with more votes if this predictor lives on.
    _retire(prefix, k, votes, form)
    run[K], run[VOTES], run[S0] = k, votes, s0
    run[SEEN] += order.shape[0]
    run[MISTAKES] += mistakes
    return mistakes


@checked(None, state_fits, state=STATE, form="real 5")
@jit
def last_weights(state: State, form: Array) -> tuple[Array, float]:
    """The present predictor `w` and its unpenalised weight, shapes ``(n,)`` and scalar."""
    s, _, _, _, run = state
    k = int(run[K])
    q, shift = scale(k, form), threshold(k, form)
    w = np.zeros_like(s)
    for j in range(s.shape[0]):
        w[j] = -q * soft(s[j], shift)
    return w, -q * run[S0]


@checked(None, state_fits, state=STATE, form="real 5")
@jit
def averaged_weights(state: State, form: Array) -> tuple[Array, float]:
    """The voted sum of predictors, the present one included: shape ``(n,)``, and of the unpenalised weight."""
    s, tally, alive, prefix, run = state
    k = int(run[K])
    w = tally.copy()
    for j in range(s.shape[0]):
        if alive[j]:
            end = _end(abs(s[j]), k, form)
            w[j] -= math.copysign(abs(s[j]) * prefix[end, 0] - prefix[end, 1], s[j])
    return w, run[TOTAL0] - run[VOTES] * scale(k, form) * run[S0]


@checked(None, state_fits, state=STATE | {"prefix": "out f8 p 4"}, form="real 5")
@jit
def summed_l1(state: State, form: Array) -> float:
    """Sum of `|w_k|_1` over the predictors that made the M mistakes (all but the present one)."""
    s, _, alive, prefix, run = state
    k = int(run[K]) - 1
    total = run[SUM_L1]
    if k > 0:
        for j in range(s.shape[0]):
            # A weight that lives since the last mistake was opened at row k: its part is zero.
            if alive[j]:
                end = _end(abs(s[j]), k, form)
                total += abs(s[j]) * prefix[end, 2] - prefix[end, 3]
    return total


@checked(w="real n", w0="float", rows=ROWS, base="real m")
@jit
def row_scores(rows: Rows, base: Array, w: Array, w0: float) -> Array:
    """`<w, x_i> + w0 base_i` for each sparse row, shape ``(m,)``."""
    data, indices, indptr = rows
    m = indptr.shape[0] - 1
    scores = np.empty(m)
    for row in range(m):
        score = w0 * base[row]
        for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
            score += w[np.uint64(indices[p])] * data[p]
        scores[row] = score
    return scores


@jit
def first_best(starts: Array, values: Array) -> Array:
    """The candidate of each list with the largest value, the first in order on ties; shape ``(m,)``."""
    chosen = np.empty(starts.shape[0] - 1, dtype=np.int64)
    for i in range(chosen.shape[0]):
        chosen[i] = starts[i] + np.argmax(values[starts[i] : starts[i + 1]])
    return chosen


def new_state(features: int, ticks: int, with_norms: bool) -> State:
    """An all-zero state for `features` features, with room for `ticks` predictors."""
    # np.empty on purpose: pages of `prefix` that no mistake reaches are never made.
    prefix = np.empty((ticks + 1, 4 if with_norms else 2))
    prefix[0] = 0.0
    return np.zeros(features), np.zeros(features), np.zeros(features, dtype=np.uint8), prefix, np.zeros(RUN)
