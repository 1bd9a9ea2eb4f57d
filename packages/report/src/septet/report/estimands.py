"""What a claim compares, as one number per seed, and the p-values of any line.

Scores come as arrays of shape ``(M, T, S)``: the claim's methods, its tasks, the seeds that all share. `sign` is +1
where a higher score is better and -1 where a lower one is, so that a positive advantage always means 'better'.

A quantity judged against a line has two p-values: of 'it is at most the line' and of 'it is at least the line'. Where
several rivals come in, the smallest theta_j counts, and the two sides differ (intersection-union test and Bonferroni's
inequality): the smallest is above the line if each is, each tested at the stated level; it is below if any is, and the
smallest of J p-values is multiplied by J.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from septet.report import inference
from septet.report.inference import TAIL, Tails
from septet.report.methods import POWER, Method, wealth_needed
from septet.report.statistics import Aggregate, Array, iqm

Range = tuple[float, float]
OPEN: Range = (-np.inf, np.inf)


@dataclass(frozen=True)
class Contrast:
    """``theta = min_j mean_s a_sj / mean_s b_sj``: above a line if every ``a_sj - line b_sj`` has a positive mean.

    The mean of each b is positive (`unclear` if the seeds leave that open), so a ratio is tested as Fieller does:
    without dividing.
    """

    a: Array
    """Shape ``(S, J)``."""
    b: Array
    """Shape ``(S, J)``; ones for a quantity that is not a ratio."""
    test: Method
    a_range: Range = OPEN
    """Where each value of `a` lies by definition."""
    b_range: Range = (1.0, 1.0)

    @property
    def estimate(self) -> float:
        """The smallest ratio of means."""
        return float((self.a.mean(axis=0) / self.b.mean(axis=0)).min())

    def at(self, line: float) -> Array:
        """One number per seed and rival, shape ``(S, J)``, whose mean is positive if ``theta_j`` is above the line."""
        return self.a - line * self.b

    def tails(self, line: float) -> tuple[float, float]:
        """The p-values of 'at most `line`' and of 'at least `line`'."""
        above, below = inference.combined(*self.test(self.at(line), *self._range(line)))
        return float(above), float(below)

    def needed(self, line: float, above: bool) -> float:
        """Seeds that would probably show it above (or below) the line, if more are as these; infinite if none would."""
        seeds = self.test.needed(self.at(line), *self._range(line), above)
        return float(seeds.max() if above else seeds.min())

    def influence(self) -> Array:
        """How far each seed pulls the estimate, shape ``(S,)``: its standard error is their deviation over sqrt(S)."""
        least = int((self.a.mean(axis=0) / self.b.mean(axis=0)).argmin())
        return np.asarray(self.at(self.estimate)[:, least] / self.b[:, least].mean())

    def _range(self, line: float) -> Range:
        ends = [line * end if line else 0.0 for end in self.b_range]
        return self.a_range[0] - max(ends), self.a_range[1] - min(ends)

    @property
    def scale(self) -> float:
        """A step along the line to begin a search with: the largest standard error of the rivals."""
        errors = self.at(self.estimate).std(axis=0) / np.abs(self.b.mean(axis=0))
        return float(errors.max() / np.sqrt(len(self.a))) or 1e-9

    @property
    def flat(self) -> bool:
        """Whether the scores leave no spread to judge by: a rival's values are equal, and no range bounds more."""
        if self.a_range != OPEN:
            return False
        spread = np.ptp(self.a - self.estimate * self.b, axis=0)
        return bool((spread <= 1e-12 * np.abs(self.a).max(axis=0)).any())

    @property
    def unclear(self) -> bool:
        """Whether a divisor is not clear of zero."""
        if (self.b == 1.0).all():
            return False
        above, _ = self.test(self.b, *self.b_range)
        return bool((above > TAIL).any())


@dataclass(frozen=True)
class Wins:
    """``theta = min_j P(a run of X beats a run of rival j)``, a tie counting half, on a task drawn at random.

    Seed s of X against seed s + k of the rival gives S independent values between 0 and 1 for each shift k; the wealths
    of the bets (`inference.wealth`) on all shifts but 0, where the two runs share their world, are averaged.
    """

    wins: Array
    """Shape ``(S, S - 1, J)``: share of tasks on which seed s of X beats seed s + k."""
    estimate: float
    """Mann and Whitney's: over all pairs of runs, averaged over tasks; the smallest of the rivals."""
    scale = 0.05
    """A step along the line to begin a search with."""

    def tails(self, line: float) -> tuple[float, float]:
        """See `Contrast`."""
        above, below = inference.combined(*wins_tails(self.wins, line))
        return float(above), float(below)

    def needed(self, line: float, above: bool) -> float:
        """See `Contrast`."""
        pooled = self.wins.reshape(-1, self.wins.shape[-1])
        seeds = wealth_needed(pooled - line if above else line - pooled, line if above else 1.0 - line)
        return float(seeds.max() if above else seeds.min())

    def influence(self) -> Array:
        """See `Contrast`."""
        pairs = self.wins[..., self.wins.mean(axis=(0, 1)).argmin()]
        seeds = np.arange(len(pairs))
        partner = pairs[(seeds[:, None] - seeds[1:]) % len(pairs), seeds[1:] - 1]  # seed r of the rival, against r - k
        return np.asarray(pairs.mean(axis=1) + partner.mean(axis=1) - 2 * pairs.mean())


@dataclass(frozen=True)
class ShiftOfBest:
    """How far the best setting moves between two tasks: ``c_k(0) - c_k(1)``, k(t) the setting with the best mean.

    A setting stays a candidate for the best one until another is ahead of it, at a level that all other settings and
    both tasks share (Hsu's comparisons with the best). A shift is refuted once all pairs of candidates that would show
    it are. No shift is not evidence against a shift smaller than a step of the grid: a line is refuted from above only
    by shifts strictly below it.
    """

    settings: Array
    """Shape ``(K,)``."""
    refuted: Array
    """Shape ``(2, K)``: p-value of 'this setting is the best on this task'."""
    estimate: float
    seeds: int

    def tails(self, line: float) -> tuple[float, float]:
        """See `Contrast`."""
        above, below = shift_tails(self.settings, self.refuted, line)
        return float(above), float(below)

    def influence(self) -> Array:
        """The interval of a jump has no spread of its own: take one as wide as the interval."""
        low, high = self.ends()
        return (high - low) / 4 * np.sqrt(self.seeds) * np.resize([1.0, -1.0], self.seeds)

    def ends(self) -> tuple[float, float]:
        """The smallest and the largest shift that is not refuted."""
        shifts = self.settings[:, None] - self.settings
        open_ones = shifts[np.minimum(self.refuted[0][:, None], self.refuted[1]) > TAIL]
        return float(open_ones.min()), float(open_ones.max())

    def needed(self, line: float, above: bool) -> float:
        """See `Contrast`."""
        shared = 2 * (len(self.settings) - 1)
        found = self.tails(line)[0 if above else 1] / shared
        reached, asked = ndtri(1 - found), ndtri(1 - TAIL / shared) + ndtri(POWER)
        return float(self.seeds * max(1.0, asked / reached) ** 2) if reached > 0 else np.inf


Quantity = Contrast | Wins | ShiftOfBest
"""What a claim makes a statement about: an estimate on all seeds, with the methods of `Contrast`."""


def per_seed(x: Array, aggregate: Aggregate) -> Array:
    """One number per seed whose mean is the aggregate over tasks and seeds.

    For the interquartile mean, with a share g of the pooled scores cut at each end, the pseudo-values
    ``iqm + (w_ts - mean w) / (1 - 2 g)`` of the winsorised scores w (Tukey and McLaughlin 1963).

    Args:
        x: shape ``(..., T, S)``.

    Returns:
        Shape ``(..., S)``.
    """
    if aggregate == "mean":
        return np.asarray(x.mean(axis=-2))
    pooled = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    size = pooled.shape[-1]
    cut = size // 4
    low, high = pooled[..., cut, None, None], pooled[..., size - cut - 1, None, None]
    w = np.clip(x, low, high)
    scaled = (w - w.mean(axis=(-2, -1), keepdims=True)) * size / (size - 2 * cut)
    return np.asarray(iqm(x)[..., None] + scaled.mean(axis=-2))


def level(x: Array, aggregate: Aggregate, test: Method, bounds: Range = OPEN) -> Contrast:
    """The aggregate itself.

    Args:
        x: shape ``(T, S)``.
        bounds: where a score lies by definition.
    """
    a = per_seed(x, aggregate)[:, None]
    return Contrast(a, np.ones_like(a), test, bounds)


def advantage(x: Array, y: Array, sign: int, aggregate: Aggregate, test: Method, bounds: Range = OPEN) -> Contrast:
    """By how much X beats the best of its rivals: ``min_j A(sign (x - y_j))``, differences per seed.

    Args:
        x: shape ``(T, S)``.
        y: shape ``(J, T, S)``; J rivals, on the seeds of `x`.
    """
    a = per_seed(sign * (x - y), aggregate).T
    return Contrast(a, np.ones_like(a), test, _difference(bounds))


def relative_advantage(
    x: Array, y: Array, sign: int, aggregate: Aggregate, test: Method, bounds: Range = OPEN
) -> Contrast:
    """The advantage as a share of the rival's level: ``min_j A(sign (x - y_j)) / |A(y_j)|``.

    Args:
        x: shape ``(T, S)``.
        y: shape ``(J, T, S)``.
    """
    a, b = per_seed(sign * (x - y), aggregate).T, per_seed(y, aggregate).T
    return Contrast(a, b * np.sign(b.mean(axis=0)), test, _difference(bounds), bounds)


def ratio(x: Array, y: Array, aggregate: Aggregate, test: Method, bounds: Range = OPEN) -> Contrast:
    """The ratio of two levels: ``A(x) / A(y)``.

    Args:
        x: shape ``(T, S)``.
        y: shape ``(T, S)``.
    """
    a, b = per_seed(x, aggregate)[:, None], per_seed(y, aggregate)[:, None]
    turn = np.sign(b.mean())
    return Contrast(a * turn, b * turn, test, bounds, bounds)


def improvement(x: Array, y: Array, sign: int) -> Wins:
    """Probability that a run of X beats a run of its hardest rival: ``min_j P(sign x > sign y_j)``.

    Args:
        x: shape ``(T, S)``.
        y: shape ``(J, T, S)``.
    """
    won = wins(sign * x, sign * y)
    return Wins(shifted(won), float(won.mean(axis=(-2, -1)).min()))


def wins(x: Array, y: Array) -> Array:
    """Share of tasks on which seed i of X beats seed j of a rival, a tie counting half.

    Args:
        x: shape ``(..., T, S)``.
        y: shape ``(..., J, T, S)``.

    Returns:
        Shape ``(..., J, S, S)``.
    """
    return np.asarray(0.5 + 0.5 * np.sign(x[..., None, :, :, None] - y[..., None, :]).mean(axis=-3))


def shifted(won: Array) -> Array:
    """Seed s against seed s + k, k = 1 .. S - 1: shape ``(S, S - 1, ..., J)`` from ``(..., J, S, S)``."""
    seeds = np.arange(won.shape[-1])
    pairs = won[..., seeds[:, None], (seeds[:, None] + seeds[1:]) % len(seeds)]
    return np.moveaxis(pairs, (-2, -1), (0, 1))


def wins_tails(pairs: Array, line: float) -> Tails:
    """The p-values of each rival from `shifted` wins; shape ``(..., J)``."""
    above, below = (
        1.0 / np.maximum(inference.wealth(sign * (pairs - line), reach).mean(axis=0), 1.0)
        for sign, reach in ((1, line), (-1, 1.0 - line))
    )
    return above, below


def shift_of_best(x: Array, settings: Array, sign: int, aggregate: Aggregate, test: Method) -> ShiftOfBest:
    """How far the best setting moves between two tasks.

    Args:
        x: shape ``(K, 2, S)``; K settings of one family, two tasks.
        settings: shape ``(K,)``, the value `c_k` of each (its logarithm where decades count).
    """
    values = np.stack([per_seed(sign * x[:, task : task + 1], aggregate) for task in range(2)])  # (2, K, S)
    best = settings[values.mean(axis=-1).argmax(axis=-1)]
    return ShiftOfBest(settings, refuted(values, test), float(best[0] - best[1]), x.shape[-1])


def refuted(values: Array, test: Method) -> Array:
    """p-value of 'this setting has the best mean of its task', for two tasks together.

    Args:
        values: shape ``(..., 2, K, S)``, higher is better.

    Returns:
        Shape ``(..., 2, K)``: the smallest p-value of 'no better than this one' over the other settings, times their
        number and the two tasks.
    """
    settings = np.arange(values.shape[-2])
    ahead = np.moveaxis(values[..., None, :, :] - values[..., :, None, :], -1, 0)  # (S, ..., task, this, other)
    above, _ = test(ahead, *OPEN)
    above[..., settings, settings] = 1.0
    return np.minimum(1.0, 2 * (len(settings) - 1) * above.min(axis=-1))


def shift_tails(settings: Array, refuted: Array, line: float) -> Tails:
    """The p-values of a shift at most, and at least, `line`; `refuted` has shape ``(..., 2, K)``."""
    shifts = settings[:, None] - settings
    pairs = np.minimum(refuted[..., 0, :, None], refuted[..., 1, None, :])
    above, below = (pairs[..., part].max(axis=-1, initial=0.0) for part in (shifts <= line, shifts >= line))
    return above, below


def _difference(bounds: Range) -> Range:
    return bounds[0] - bounds[1], bounds[1] - bounds[0]
