"""Learners on n-best lists: a run over shuffled lists, read off at given steps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from septet.arrays import fit
from septet.errors import InputError
from septet.vrda import kernels
from septet.vrda.baselines import GradientState, Schedule, gradient_pass, gradient_weights
from septet.vrda.lists import NBest
from septet.vrda.votes import Updates, voted_choices
from septet.vrda.vrda import Regulariser, fitted_bound

Array = NDArray[Any]
Weights = tuple[Array, float]
"""Weights of the features, shape ``(n,)``, and that of the unpenalised one."""


class DualAveraging:
    """vRDA; with `every`, RDA on every example; with `plain`, the perceptron.

    Args:
        lists: the training lists.
        ticks: examples to come, over all passes.
        keep_log: keep every subgradient (for votes and bounds).
    """

    def __init__(
        self,
        lists: NBest,
        regulariser: Regulariser,
        ticks: int,
        *,
        log_loss: bool = False,
        every: bool = False,
        plain: bool = False,
        keep_log: bool = False,
    ) -> None:
        self.lists, self.regulariser = lists, regulariser
        self.form = np.append(regulariser.weights(), float(plain))
        self._log_loss, self._every = log_loss, every
        self._state = kernels.new_state(lists.features, ticks, keep_log)
        self._log = np.empty((ticks if keep_log else 0, 4))
        self._told = lists.told()

    def learn(self, order: Array) -> None:
        """One pass over the lists `order`. Raises InputError if one is not there, or there are more than announced."""
        _check_order(order, self.lists, len(self._state[-2]) - 1 - self.ticks)
        log = self._log[self.ticks :]
        kernels.list_pass.unchecked(self._told, order, self._state, self.form, self._log_loss, self._every, log)

    def resume(self, other: "DualAveraging") -> None:
        """Go on from what another learner on lists of the same features has learned."""
        before, state = other._state, self._state
        fits = len(before[0]) == len(state[0]) and before[-2].shape[1] == state[-2].shape[1]
        if not fits or len(state[-2]) <= other.ticks:
            raise InputError("resume", expected=f"a learner on {len(state[0])} features, with ticks left", found=other)
        for mine, theirs in zip(state, before, strict=True):
            mine[: len(theirs)] = theirs

    @property
    def ticks(self) -> int:
        """Ticks of the clock: mistakes, or examples with `every`."""
        return int(self._state[-1][kernels.K])

    @property
    def mistakes(self) -> int:
        """Lists whose best-scored candidate was worse than the target."""
        return int(self._state[-1][kernels.MISTAKES])

    def last(self) -> Weights:
        """The present predictor."""
        w, w0 = kernels.last_weights(self._state, self.form)
        return w, float(w0)

    def averaged(self) -> Weights:
        """The voted sum of predictors."""
        w, w0 = kernels.averaged_weights(self._state, self.form)
        return w, float(w0)

    def updates(self) -> Updates:
        """The subgradients so far, for votes and bounds."""
        log = self._log[: self.ticks]
        rows, base = self.lists.rows(), self.lists.base
        good = log[:, 0].astype(np.int64)
        rival = np.where(log[:, 1] >= 0, log[:, 1], log[:, 0]).astype(np.int64)
        # Both rows one after the other, as `list_pass` adds them: their difference would round otherwise.
        pairs = rows[np.ravel([good, rival], "F")].astype(np.float64)
        pairs.data *= np.repeat(np.ravel([-log[:, 2], log[:, 2]], "F"), np.diff(pairs.indptr))
        g = csr_matrix((pairs.data, pairs.indices, pairs.indptr[::2]), shape=(len(log), self.lists.features))
        votes = np.append(log[1:, 3], self._state[-1][kernels.VOTES])
        return Updates(g, log[:, 2] * (base[rival] - base[good]), votes)

    def bound(self) -> tuple[float, float]:
        """Bound on the mistakes so far, the lesser of two comparators (last and averaged predictor), with `Lambda_M`.

        For hinge and l1 only (`septet.vrda.vrda.fitted_bound`); at lambda 0 the strength is 0.
        """
        if self.ticks == 0:
            return 0.0, 0.0
        updates = self.updates()
        g = updates.g.copy()
        g.sum_duplicates()
        g_max = float(np.sqrt((g.multiply(g).sum(axis=1).A1 + updates.g0**2).max()))
        mean_l1 = kernels.summed_l1(self._state, self.form) / self.ticks * self.regulariser.gamma
        found = []
        for w, w0 in (self.last(), self.averaged()):
            margins = -(g @ w + updates.g0 * w0)
            norm = float(np.sqrt(w @ w + w0 * w0))
            found.append(fitted_bound(margins, norm, float(np.abs(w).sum()), g_max, mean_l1, self.regulariser.l1))
        return min(found)


class Gradient:
    """Truncated gradient or FOBOS on lists."""

    def __init__(self, lists: NBest, schedule: Schedule, ticks: int, *, log_loss: bool = False) -> None:
        self.lists, self._log_loss, self._theta = lists, log_loss, schedule.theta
        self._steps = schedule.steps(ticks)
        self._shrunk, self._sums = schedule.shrinkage(ticks)
        self._state = GradientState.new(lists.features)
        self._told = lists.told()

    def learn(self, order: Array) -> None:
        """One pass over the lists `order`. Raises InputError if one is not there, or there are more than announced."""
        _check_order(order, self.lists, len(self._steps) - int(self._state.run[0]))
        steps = self._steps, self._shrunk, self._sums, self._theta
        gradient_pass.unchecked(self._told, order, self._state, *steps, self._log_loss)

    @property
    def mistakes(self) -> int:
        """Lists whose best-scored candidate was worse than the target."""
        return int(self._state.run[3])

    def last(self) -> Weights:
        """The present predictor."""
        return self._weights()[0], float(self._state.run[1])

    def averaged(self) -> Weights:
        """The sum of the predictors after each example."""
        return self._weights()[1], float(self._state.run[2] + self._state.run[1])

    def _weights(self) -> tuple[Array, Array]:
        return gradient_weights(self._state, self._shrunk, self._sums, self._theta)


def choose(lists: NBest, weights: Weights) -> Array:
    """The best-scored candidate of each list, the first in order on ties; shape ``(m,)``."""
    fit("choose: weights", "real n", weights[0], {"n": lists.features})
    fit("choose: weight of base", "float", weights[1])
    scores = kernels.row_scores.unchecked((lists.data, lists.indices, lists.indptr), lists.base, *weights)
    return kernels.first_best(lists.starts, scores)


def vote(lists: NBest, learner: DualAveraging, updates: Updates) -> Array:
    """The candidate that most predictors of the run choose, shape ``(m,)``."""
    return voted_choices(lists.rows(), lists.base, updates, learner.form, lists.starts)


def _check_order(order: Array, lists: NBest, room: int) -> None:
    """The lists are there, and there is room in the state: the other arrays were looked at when they were made."""
    fit("learn: order", "whole o < l", order, {"l": len(lists.gold)})
    if len(order) > room:
        expected = f"{room} lists at most, of the announced ticks"
        raise InputError("learn: order", expected=expected, found=f"{len(order)}")
