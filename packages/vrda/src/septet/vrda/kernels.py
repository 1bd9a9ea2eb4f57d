"""Dual averaging over sparse rows; each example costs its non-zeros, never the dimension.

Nothing here stores or touches a dense predictor. A weight is a function of `(s_j, k)` and is
computed when an example asks for it. The running average is kept exactly by prefix sums: while
`s_j` is untouched, predictor i contributes

    c_i w_ij = -sign(s_j) (|s_j| c_i q(i) - c_i q(i) t(i))   as long as t(i) <= |s_j|, and 0 after,

so the sum over a stretch `a..b` of predictors is a difference of the prefix sums of `c q` and of
`c q t`, cut at the predictor where the weight dies (section 2.4 of our notes on the paper). The
terms of the stretch's start are taken off when the stretch begins, while their prefix row is at
hand: a touch then reads an old row only for a weight that has died.

A *state* is four arrays over the n features (or the touched ones, see `slots`):

======== ============== =======================================================================
`s`      ``(n,)``       sum of subgradients
`tally`  ``(n, 2)``     voted sum of weights, less the start of the open stretch | first predictor of that stretch
`prefix` ``(K, 2|7)``   row i: sums up to predictor i of c q, c q t | q, q t, q^2, q^2 t, q^2 t^2
`run`    ``(8,)``       scalars, by the names below
======== ============== =======================================================================
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled
from septet.vrda.needs import JUDGED, LISTS, ROWS, STATE, state_fits

Array = NDArray[Any]

# Places in `run`: mistakes (or examples) counted, votes of the present predictor, sum of
# subgradients and voted sum of weights of the unpenalised feature, mistakes, sum of |w_k|_1 and
# of |w_k|^2 over retired predictors (penalised features only), examples seen.
K, VOTES, S0, TOTAL0, MISTAKES, SUM_L1, SUM_L2, SEEN = range(8)
RUN = 8
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
def _retire(prefix: Array, k: int, votes: float, form: Array) -> None:
    """Write row k of the prefix sums: predictor k has `votes` votes."""
    if k == 0:
        prefix[0, :] = 0.0
        return
    q, t = scale(k, form), threshold(k, form)
    prefix[k, 0] = prefix[k - 1, 0] + votes * q
    prefix[k, 1] = prefix[k - 1, 1] + votes * q * t
    if prefix.shape[1] == 7:
        prefix[k, 2] = prefix[k - 1, 2] + q
        prefix[k, 3] = prefix[k - 1, 3] + q * t
        prefix[k, 4] = prefix[k - 1, 4] + q * q
        prefix[k, 5] = prefix[k - 1, 5] + q * q * t
        prefix[k, 6] = prefix[k - 1, 6] + q * q * t * t


@jit
def _norms(size: float, since: int, k: int, prefix: Array, l1: float, half: float) -> tuple[float, float]:
    """Sums of `|w_ij|` and of `w_ij^2` over the predictors `i = since..k`, for `size = |s_j|`."""
    end = last_alive(size, k, l1, half)
    if end < since:
        return 0.0, 0.0
    a = since - 1
    one = size * (prefix[end, 2] - prefix[a, 2]) - (prefix[end, 3] - prefix[a, 3])
    two = size * size * (prefix[end, 4] - prefix[a, 4])
    two += (prefix[end, 6] - prefix[a, 6]) - 2.0 * size * (prefix[end, 5] - prefix[a, 5])
    return one, two


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
    prefix: Array,
    run: Array,
    form: Array,
) -> None:
    """Add `step` times a sparse row to `s`, after predictor k: close the stretches it touches and open new ones.

    One call per row: a call per feature would spend more time on passing arrays than on the work.
    """
    with_norms = prefix.shape[1] == 7
    l1, half = form[L1], 0.5 * form[GAMMA] * form[RHO]
    p1, p2 = prefix[k, 0], prefix[k, 1]
    for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
        j = np.uint64(indices[p])
        old, start, total = s[j], tally[j, 1], tally[j, 0]
        new = old + step * data[p]
        if old != 0.0:
            size = abs(old)
            # Touched twice at one tick, start is k + 1: the stretch is empty and its two parts cancel.
            end = last_alive(size, max(k, int(start)), l1, half)
            if end >= start:
                e = np.uint64(min(end, k))
                total -= math.copysign(size * prefix[e, 0] - prefix[e, 1], old)
                if with_norms:
                    one, two = _norms(size, int(start), k, prefix, l1, half)
                    run[SUM_L1] += one
                    run[SUM_L2] += two
        size = abs(new)
        if last_alive(size, k + 1, l1, half) > k:
            total += math.copysign(size * p1 - p2, new)
        s[j], tally[j, 0], tally[j, 1] = new, total, k + 1


@jit
def slope(margin: float, log_loss: bool) -> Any:
    """The factor `a` of the subgradient `-a y x`: 1 for hinge, `sigma(-m) / ln 2` for log loss."""
    if not log_loss:
        return 1.0
    return 1.0 / (1.0 + math.exp(min(margin, 700.0))) / math.log(2.0)


@checked(None, state_fits, **STATE, **ROWS, y="real m", x0="float", order="whole o < m", log="out f8 t 3")
@jit
def classify_pass(
    indptr: Array,
    indices: Array,
    data: Array,
    y: Array,
    x0: float,
    order: Array,
    s: Array,
    tally: Array,
    prefix: Array,
    run: Array,
    form: Array,
    log_loss: bool,
    log: Array,
) -> int:
    """One pass of vRDA over binary examples (section 2); returns the mistakes of this pass.

    Args:
        indptr, indices, data: m sparse rows.
        y: labels -1 or 1, shape ``(m,)``.
        x0: value of the unpenalised feature (1 with an intercept, 0 without).
        order: rows in the order of this pass.
        s, tally, prefix, run: the state; `prefix` needs a row per mistake to come.
        form: regulariser and scale, shape ``(5,)``.
        log_loss: whether the loss is logistic rather than hinge.
        log: filled with (row, slope, votes of the predictor that erred) per mistake; length 0 keeps none.
    """
    k, votes, s0 = int(run[K]), run[VOTES], run[S0]
    shift, before = threshold(k, form), k
    for row in order:
        # Scored with s, not the scaled w, so that ties break as in the perceptron.
        score = -s0 * x0
        # Unsigned indices: no test for negative ones, which halves the time of this loop.
        for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
            score -= soft(s[np.uint64(indices[p])], shift) * data[p]
        if y[row] * score > 0.0:
            votes += 1.0
            continue
        _retire(prefix, k, votes, form)
        run[TOTAL0] -= votes * scale(k, form) * s0
        step = -y[row] * slope(y[row] * score * scale(k, form), log_loss)
        if log.shape[0] > 0:
            log[k - before, 0], log[k - before, 1], log[k - before, 2] = row, step, votes
        _move(row, step, k, indptr, indices, data, s, tally, prefix, run, form)
        s0 += step * x0
        k += 1
        votes = 1.0
        shift = threshold(k, form)
    # The open row: it is written again with more votes if this predictor lives on.
    _retire(prefix, k, votes, form)
    run[K], run[VOTES], run[S0] = k, votes, s0
    run[SEEN] += order.shape[0]
    run[MISTAKES] += k - before
    return k - before


@checked(None, state_fits, **STATE, **LISTS, **JUDGED, log="out f8 t 4")
@jit
def list_pass(
    starts: Array,
    indptr: Array,
    indices: Array,
    data: Array,
    base: Array,
    quality: Array,
    target: Array,
    order: Array,
    s: Array,
    tally: Array,
    prefix: Array,
    run: Array,
    form: Array,
    log_loss: bool,
    every: bool,
    log: Array,
) -> int:
    """One pass over n-best lists (section 4); returns the mistakes of this pass.

    A list is a mistake when the best-scored candidate is worse than the target; then
    `Phi(target) - Phi(best-scored)` plays the part of `y x`. With `every`, this is plain RDA: the
    clock ticks at each list, and the subgradient is that of the hinge with margin 1 (or of the log
    loss) against the best-scored candidate that is worse than the target.

    Args:
        starts: list i holds candidates ``starts[i]..starts[i + 1]``, shape ``(m + 1,)``.
        indptr, indices, data: one sparse row per candidate.
        base: the unpenalised real feature of each candidate (first-pass log probability).
        quality: F of each candidate.
        target: candidate of highest F in each list, shape ``(m,)``.
        order: lists in the order of this pass.
        s, tally, prefix, run, form, log_loss: as in `classify_pass`.
        every: tick at every example.
        log: filled with (target, rival, slope, votes of the predictor before) per tick of the clock, rival
            -1 where nothing was learned; length 0 keeps none.
    """
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
            _move(good, -step, k, indptr, indices, data, s, tally, prefix, run, form)
            _move(rival, step, k, indptr, indices, data, s, tally, prefix, run, form)
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


@checked(s="real n", run="real 8", form="real 5")
@jit
def last_weights(s: Array, run: Array, form: Array) -> tuple[Array, float]:
    """The present predictor `w` and its unpenalised weight, shapes ``(n,)`` and scalar."""
    k = int(run[K])
    q, shift = scale(k, form), threshold(k, form)
    w = np.zeros_like(s)
    for j in range(s.shape[0]):
        w[j] = -q * soft(s[j], shift)
    return w, -q * run[S0]


@checked(None, state_fits, **STATE)
@jit
def averaged_weights(s: Array, tally: Array, prefix: Array, run: Array, form: Array) -> tuple[Array, float]:
    """The voted sum of predictors, the present one included: shape ``(n,)``, and of the unpenalised weight."""
    k = int(run[K])
    l1, half = form[L1], 0.5 * form[GAMMA] * form[RHO]
    w = tally[:, 0].copy()
    for j in range(s.shape[0]):
        end = last_alive(abs(s[j]), k, l1, half)
        if s[j] != 0.0 and end >= tally[j, 1]:
            w[j] -= math.copysign(abs(s[j]) * prefix[end, 0] - prefix[end, 1], s[j])
    return w, run[TOTAL0] - run[VOTES] * scale(k, form) * run[S0]


@checked(None, state_fits, **STATE | {"prefix": "out f8 p 7"})
@jit
def summed_norms(s: Array, tally: Array, prefix: Array, run: Array, form: Array) -> tuple[float, float]:
    """Sums of `|w_k|_1` and `|w_k|_2^2` over the predictors that made the M mistakes (all but the present one)."""
    k = int(run[K]) - 1
    l1, half = form[L1], 0.5 * form[GAMMA] * form[RHO]
    one, two = run[SUM_L1], run[SUM_L2]
    for j in range(s.shape[0]):
        if s[j] != 0.0 and tally[j, 1] <= k:
            more = _norms(abs(s[j]), int(tally[j, 1]), k, prefix, l1, half)
            one += more[0]
            two += more[1]
    return one, two


@checked(w="real n", w0="float", **ROWS, base="real m")
@jit
def row_scores(indptr: Array, indices: Array, data: Array, base: Array, w: Array, w0: float) -> Array:
    """`<w, x_i> + w0 base_i` for each sparse row, shape ``(m,)``."""
    m = indptr.shape[0] - 1
    scores = np.empty(m)
    for row in range(m):
        score = w0 * base[row]
        for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
            score += w[np.uint64(indices[p])] * data[p]
        scores[row] = score
    return scores


def new_state(features: int, ticks: int, with_norms: bool) -> tuple[Array, Array, Array, Array]:
    """An all-zero state for `features` features, with room for `ticks` predictors."""
    # np.empty on purpose: pages of `prefix` that no mistake reaches are never made.
    prefix = np.empty((ticks + 1, 7 if with_norms else 2))
    prefix[0] = 0.0
    return np.zeros(features), np.zeros((features, 2)), prefix, np.zeros(RUN)
