"""Baselines on n-best lists, and binary examples as lists of two.

The perceptron (plain, averaged, voted) and RDA on every example are settings of
`septet.vrda.kernels.list_pass`. Here are truncated gradient and FOBOS, which shrink weights at every
example, lazily; and the batch baselines, l1 logistic regression by LIBLINEAR on binary data and l1
MaxEnt on lists.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from septet.arrays import Fault, checked
from septet.errors import InputError
from septet.vrda.kernels import Lists, jit, row_scores, slope, soft
from septet.vrda.lists import NBest
from septet.vrda.needs import JUDGED, lists_fit

Array = NDArray[Any]


@dataclass(frozen=True)
class Schedule:
    """Step sizes and shrinkage per example of a gradient method.

    Truncated gradient (Langford, Li and Zhang 2009, section 3): constant step `eta`; every `period`
    examples a shrinkage of ``period * eta * l1`` for weights no larger than `theta`. FOBOS (Duchi
    and Singer 2009): step ``eta / sqrt(t)``, shrinkage ``step * l1`` at every example.
    """

    eta: float
    l1: float
    decaying: bool = False
    period: int = 1
    theta: float = math.inf

    def steps(self, examples: int) -> Array:
        """Step size at examples 1.., shape ``(examples,)``."""
        t = np.arange(1, examples + 1, dtype=np.float64)
        return self.eta / np.sqrt(t) if self.decaying else np.full(examples, self.eta)

    def shrinkage(self, examples: int) -> tuple[Array, Array]:
        """Sums up to example t of the shrinkage, and their own sums; shapes ``(examples + 1,)``, entry 0 is 0."""
        each = self.l1 * self.steps(examples)
        if self.period > 1:
            each = np.where(np.arange(1, examples + 1) % self.period == 0, self.period * each, 0.0)
        shrunk = np.concatenate([[0.0], np.cumsum(each)])
        return shrunk, np.cumsum(shrunk)


class GradientState(NamedTuple):
    """Weights as of their last touch: `w`, voted sum `total`, example of last touch `since`, scalars `run`.

    `run` holds examples seen, weight of the unpenalised feature, its sum over predictors, mistakes.
    """

    w: Array
    total: Array
    since: Array
    run: Array

    @classmethod
    def new(cls, features: int) -> "GradientState":
        """All zero."""
        return cls(np.zeros(features), np.zeros(features), np.zeros(features, dtype=np.int64), np.zeros(4))


@jit
def _shrunk(w: float, amount: float, theta: float) -> Any:
    return soft(w, amount) if abs(w) <= theta else w


@jit
def _stretch(w: float, a: int, b: int, shrunk: Array, sums: Array, theta: float) -> Any:
    """Sum over the predictors after examples a..b of a weight that was `w` after example a and was not touched."""
    if abs(w) > theta:
        return w * (b - a + 1)
    end = np.searchsorted(shrunk[a : b + 1], abs(w) + shrunk[a], side="right") + a - 1
    size = (end - a + 1) * (abs(w) + shrunk[a]) - (sums[end] - (sums[a - 1] if a > 0 else 0.0))
    return size if w > 0.0 else -size


def _steps_fit(a: Mapping[str, Any], sizes: dict[str, int]) -> Fault | None:
    """Examples seen and to come have a step, and no weight was touched after the last."""
    _, _, since, (t, *_) = a["state"]
    ticks = len(a.get("order", ()))
    if not (t == t and t >= 0 and t + ticks <= sizes["T"]):
        return "shrunk", f"room for {t + ticks:g} examples", f"{sizes['T']}"
    if since.size and not 0 <= since.min() <= since.max() <= t:
        return "since", f"examples from 0 to {t:g}", f"{since.min()} to {since.max()}"
    return lists_fit(dict(zip(JUDGED, a["lists"], strict=True)), sizes) if "lists" in a else None


_STATE = {"w": "out f8 n", "total": "out f8 n", "since": "out i8 n", "run": "out f8 4"}


@checked(
    None,
    _steps_fit,
    state=_STATE,
    shrunk="real T+1",
    sums="real T+1",
    lists=JUDGED,
    order="whole o < l",
    steps="real T",
)
@jit
def gradient_pass(
    lists: Lists,
    order: Array,
    state: GradientState,
    steps: Array,
    shrunk: Array,
    sums: Array,
    theta: float,
    log_loss: bool,
) -> int:
    """One pass of truncated gradient or FOBOS over lists; returns the mistakes of this pass.

    The loss is hinge (margin 1) or log loss between the target and the best-scored candidate that
    is worse than it.

    Args:
        lists, order: as in `septet.vrda.kernels.list_pass`.
        state: updated in place.
        steps, shrunk, sums: from `Schedule`, for all examples to come.
        theta: larger weights are not shrunk.
        log_loss: whether the loss is logistic rather than hinge.
    """
    base, starts, data, indices, indptr, quality, target = lists
    w, total, since, run = state
    t, w0, mistakes = int(run[0]), run[1], 0
    for i in order:
        good = target[i]
        top, choice, top_worse, worse, good_score = -np.inf, -1, -np.inf, -1, 0.0
        for row in range(starts[i], starts[i + 1]):
            score = w0 * base[row]
            for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                j = np.uint64(indices[p])
                score += _shrunk(w[j], shrunk[t] - shrunk[since[j]], theta) * data[p]
            if score > top:
                top, choice = score, row
            if quality[row] < quality[good] and score > top_worse:
                top_worse, worse = score, row
            if row == good:
                good_score = score
        mistakes += quality[choice] < quality[good]
        run[2] += w0
        margin = good_score - top_worse
        if worse >= 0 and (log_loss or margin < 1.0):
            step = steps[t] * slope(margin, log_loss)
            for sign, chosen in ((step, good), (-step, worse)):
                for p in range(indptr[chosen], indptr[chosen + 1]):
                    j = indices[p]
                    if since[j] <= t:
                        if w[j] != 0.0:
                            total[j] += _stretch(w[j], since[j], t, shrunk, sums, theta)
                            w[j] = _shrunk(w[j], shrunk[t] - shrunk[since[j]], theta)
                        since[j] = t + 1
                    w[j] += sign * data[p]
            for chosen in (good, worse):
                # Both touches are in: shrink once, and mark with a sign that it is done.
                for p in range(indptr[chosen], indptr[chosen + 1]):
                    j = indices[p]
                    if since[j] == t + 1:
                        w[j] = _shrunk(w[j], shrunk[t + 1] - shrunk[t], theta)
                        since[j] = -(t + 1)
            for chosen in (good, worse):
                for p in range(indptr[chosen], indptr[chosen + 1]):
                    since[indices[p]] = abs(since[indices[p]])
            w0 += step * (base[good] - base[worse])
        t += 1
    run[0], run[1] = t, w0
    run[3] += mistakes
    return mistakes


@checked(None, _steps_fit, state=_STATE, shrunk="real T+1", sums="real T+1")
@jit
def gradient_weights(state: GradientState, shrunk: Array, sums: Array, theta: float) -> tuple[Array, Array]:
    """The present predictor, and the sum of the predictors after each example; shapes ``(n,)``, ``(n,)``."""
    w, total, since, run = state
    t = int(run[0])
    last, summed = np.zeros_like(w), total.copy()
    for j in range(w.shape[0]):
        if w[j] != 0.0:
            last[j] = _shrunk(w[j], shrunk[t] - shrunk[since[j]], theta)
            summed[j] += _stretch(w[j], since[j], t, shrunk, sums, theta)
    return last, summed


def lists_from_binary(X: csr_matrix, y: Array) -> NBest:
    """Binary examples as lists of two candidates, the wrong one (no features) first and the right one `y x`.

    A learner on these lists is the learner on the examples: the difference of the two is `y x`, and
    a margin of zero is a mistake because the wrong candidate comes first.

    Args:
        X: shape ``(m, n)``.
        y: labels -1 or 1, shape ``(m,)``.
    """
    X, m = csr_matrix(X), X.shape[0]
    y = np.asarray(y)
    if y.shape != (m,) or not np.isin(y, (-1, 1)).all():
        raise InputError("y", expected=f"labels -1 or 1 of shape ({m},)", found=y)
    return NBest(
        starts=np.arange(0, 2 * m + 1, 2, dtype=np.int64),
        indptr=np.repeat(X.indptr, 2)[:-1].astype(np.int64),
        indices=X.indices,
        data=X.data * np.repeat(y, np.diff(X.indptr)),
        base=np.zeros(2 * m),
        match=np.tile([0, 1], m),
        guess=np.ones(2 * m, dtype=np.int64),
        gold=np.ones(m, dtype=np.int64),
        features=X.shape[1],
    )


def batch_l1(X: Any, y: Array, l1: float, seed: int = 0) -> Any:
    """Batch l1 logistic regression by LIBLINEAR: mean log loss + `l1` |w|_1."""
    from sklearn.linear_model import LogisticRegression  # a second that only this baseline should wait

    model = LogisticRegression(l1_ratio=1.0, solver="liblinear", C=1.0 / (l1 * X.shape[0]), random_state=seed)
    return model.fit(X, y)


@jit
def _expectations(starts: Array, scores: Array, target: Array, out: Array) -> float:
    """Fill `out` with p(candidate) - [candidate is the target]; returns the summed log loss."""
    loss = 0.0
    for i in range(starts.shape[0] - 1):
        a, b = starts[i], starts[i + 1]
        top = scores[a:b].max()
        total = np.exp(scores[a:b] - top).sum()
        loss += top + math.log(total) - scores[target[i]]
        for row in range(a, b):
            out[row] = math.exp(scores[row] - top) / total
        out[target[i]] -= 1.0
    return loss


@jit
def _transposed(indptr: Array, indices: Array, data: Array, values: Array, n: int) -> Array:
    out = np.zeros(n)
    for row in range(values.shape[0]):
        for p in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
            out[np.uint64(indices[p])] += values[row] * data[p]
    return out


def maxent(lists: NBest, l1: float, rounds: int = 200, tolerance: float = 1e-6) -> tuple[Array, float]:
    """Batch MaxEnt on lists, `min (1/m) sum_i -log p(target_i) + l1 |w|_1`, by FISTA with backtracking and restarts.

    Returns:
        Weights, shape ``(n,)``, and the weight of the unpenalised feature. The reference point of
        the reranking literature (Gao et al. 2007).
    """
    m, n = len(lists.gold), lists.features
    # The first-pass score is many times larger than any count: as its own unit it would set the step.
    unit = max(float(np.abs(lists.base).std()), 1e-12)
    base = lists.base / unit
    target, out = lists.target, np.empty(len(base))

    def loss_and_gradient(w: Array) -> tuple[float, Array]:
        scores = row_scores.unchecked((lists.data, lists.indices, lists.indptr), base, w[:n], w[n])
        loss = _expectations(lists.starts, scores, target, out) / m
        gradient = _transposed(lists.indptr, lists.indices, lists.data, out, n)
        return loss, np.append(gradient, out @ base) / m

    penalty = np.append(np.full(n, l1), 0.0)
    w = v = np.zeros(n + 1)
    momentum, bound, before = 1.0, 1.0, math.inf
    for _ in range(rounds):
        loss_v, gradient = loss_and_gradient(v)
        bound *= 0.7
        while True:
            step = v - gradient / bound
            new = np.sign(step) * np.maximum(np.abs(step) - penalty / bound, 0.0)
            loss_new, _ = loss_and_gradient(new)
            move = new - v
            if loss_new <= loss_v + gradient @ move + 0.5 * bound * (move @ move) + 1e-12:
                break
            bound *= 2.0
        value = loss_new + penalty @ np.abs(new)
        if value > before:  # momentum overshot
            v, momentum, before = w, 1.0, math.inf
            continue
        faster = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * momentum * momentum))
        v = new + (momentum - 1.0) / faster * (new - w)
        w, momentum = new, faster
        if before - value < tolerance * max(value, 1e-12):
            break
        before = value
    return w[:n], float(w[n]) / unit
