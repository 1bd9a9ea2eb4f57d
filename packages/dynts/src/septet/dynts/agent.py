"""The method for use elsewhere: one decision at a time."""

import numbers
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet.compiled import compiled
from septet.dynts.arguments import LIMIT, array_of, is_real, real, whole
from septet.dynts.filter import click_probability, laplace_update, laplace_update_batch, restoration_due, restore
from septet.errors import InputError

Array = NDArray[np.floating[Any]]

WIDEST = 1e12
"""Largest variance of a logit that is learned from: beyond it the clipped sigmoid moves the mean by any amount."""
COUNTS = 2.0**53
"""Largest count: floats hold all whole numbers up to here."""


class LogisticThompson:
    """Discounted Thompson sampling for click / no click rewards (section 2.4 of the method page).

    With `n_arms` each arm has weights of its own and `choose` takes the user's features ``(D,)``;
    without, one weight vector is shared and `choose` takes joint features ``(K, D)``, where K may
    change from round to round. A call that raises leaves the posterior and the generator as they were.

    Args:
        n_features: D.
        n_arms: K for weights per arm, None for shared weights.
        decay: gamma in (0, 1]; each round the samples of the past lose this factor of their weight.
        prior_variance: the weights' prior is N(prior_mean, prior_variance I).
        prior_mean: one number, or ``(D,)``; at the intercept the logit of the base rate, if clicks are rare.
        posterior_scale: alpha; 1 is plain Thompson sampling, 0 is greedy.
        keep_prior: the prior keeps its weight, so a direction that is not observed returns to the prior. False
            discounts it too, as the paper's filter does: the variance of such a direction grows without a bound.
        seed: seed of the draws, or a generator.

    Raises:
        InputError: a parameter is out of range.
    """

    def __init__(
        self,
        n_features: int,
        n_arms: int | None = None,
        *,
        decay: float = 1.0,
        prior_variance: float = 1.0,
        prior_mean: ArrayLike = 0.0,
        posterior_scale: float = 1.0,
        keep_prior: bool = True,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self._n_features = whole("n_features", n_features, 1)
        self._n_arms = None if n_arms is None else whole("n_arms", n_arms, 1)
        self.decay, self.posterior_scale = decay, posterior_scale
        self._prior_variance = variance = real("prior_variance", prior_variance, 1.0 / LIMIT)
        if not isinstance(keep_prior, (bool, np.bool_)):
            raise InputError("keep_prior", expected="True or False", found=keep_prior)
        self._keep_prior, self._kept = bool(keep_prior), 1.0
        try:
            self._rng = np.random.default_rng(seed)
        except (TypeError, ValueError):
            raise InputError("seed", expected="a whole number from 0, a generator or None", found=seed) from None
        groups = self._n_arms or 1
        each = np.full(self._n_features, prior_mean) if is_real(prior_mean) else prior_mean
        self._prior_mean = np.array(array_of(each, "prior_mean", (self._n_features,)))
        self.mu: Array = np.tile(self._prior_mean, (groups, 1))
        """Posterior means, ``(K, D)``, or ``(1, D)`` with shared weights."""
        self.sigma: Array = np.tile(np.eye(self._n_features) * variance, (groups, 1, 1))
        """Posterior covariances, ``(K, D, D)`` or ``(1, D, D)``."""

    def restored(self, mu: Array, sigma: Array, kept: float) -> Self:
        """Continue from a posterior, of whose precision the prior's share is `kept`; returns the agent.

        Raises:
            InputError: arrays of other shapes than `mu` and `sigma` have, or values out of range.
        """
        means, covariances = array_of(mu, "mu", self.mu.shape), array_of(sigma, "sigma", self.sigma.shape)
        if not is_real(kept) or not 0.0 < kept <= 1.0:
            raise InputError("kept", expected="a number in (0, 1]", found=kept)
        self.mu, self.sigma, self._kept = means.copy(), covariances.copy(), float(kept)
        return self

    @property
    def n_features(self) -> int:
        """D."""
        return self._n_features

    @property
    def n_arms(self) -> int | None:
        """K, or None with shared weights."""
        return self._n_arms

    @property
    def decay(self) -> float:
        """Factor of the past's weight each round, in (0, 1]; may be set between rounds."""
        return self._decay

    @decay.setter
    def decay(self, value: float) -> None:
        if not is_real(value) or not 0.0 < value <= 1.0:
            raise InputError("decay", expected="a number in (0, 1]", found=value)
        self._decay = max(float(value), 1.0 / LIMIT)

    @property
    def posterior_scale(self) -> float:
        """Scale of the covariance that weights are drawn from; may be set between rounds."""
        return self._posterior_scale

    @posterior_scale.setter
    def posterior_scale(self, value: float) -> None:
        self._posterior_scale = real("posterior_scale", value, 0.0)

    def choose(self, features: ArrayLike) -> int:
        """Discount the past by one round, draw weights, and return the arm with the highest logit.

        Ties go to one of the best arms at random, drawn from the agent's generator.

        Args:
            features: ``(D,)`` with `n_arms`, otherwise ``(K, D)``, one row or more.

        Raises:
            InputError: another shape, or a value that is not finite.
        """
        scores = self._scores(features)
        best, ties = _best(scores)
        return int(best if ties == 1 else self._rng.choice(np.flatnonzero(scores == scores[best])))

    def rank(self, features: ArrayLike, length: int) -> list[int]:
        """Return the `length` arms with the highest logits of one draw, best first, as for a list of ads.

        One round passes, as in `choose`; `update` learns from each arm of the list that was seen.

        Raises:
            InputError: as `choose`; also when there are fewer than `length` arms.
        """
        length = whole("length", length, 1)
        arms = len(self._rows(features)) if self._n_arms is None else self._n_arms
        if length > arms:
            raise InputError("length", expected=f"a whole number from 1 to {arms}, the number of arms", found=length)
        scores = self._scores(features)
        tied = len(np.unique(scores)) < arms
        order = np.lexsort((self._rng.permutation(arms), -scores)) if tied else np.argsort(-scores)
        return [int(arm) for arm in order[:length]]

    def forget(self) -> None:
        """Discount the past by one round in which another policy chose, such as a row of a log."""
        self._discount(np.zeros((1, self._n_features)))

    def click_probabilities(self, features: ArrayLike) -> Array:
        r"""Return the predictive click probability of each arm, ``(K,)``; no round passes and nothing is drawn.

        The posterior of the logit, N(m, v), is averaged over: :math:`\sigma(m/\sqrt{1 + \pi v/8})`.

        Args:
            features: as for `choose`.

        Raises:
            InputError: as `choose`.
        """
        phi, (mu, sigma) = self._rows(features), self._posterior()
        if self._n_arms is None:
            m, v = phi @ mu[0], np.einsum("kd,de,ke->k", phi, sigma[0], phi)
        else:
            m, v = mu @ phi[0], sigma @ phi[0] @ phi[0]
        return np.array([click_probability(*logit) for logit in zip(m, np.maximum(v, 0.0), strict=True)])

    def _rows(self, features: ArrayLike) -> Array:
        """The features of a round as rows: one with weights per arm, otherwise one for each arm."""
        phi = array_of(features, "features", (None, self._n_features) if self._n_arms is None else (self._n_features,))
        if len(phi) == 0:
            raise InputError("features", expected="at least one arm", found=f"shape {phi.shape}")
        return phi.reshape(-1, self._n_features)

    def _scores(self, features: ArrayLike) -> Array:
        """Discount the past by one round and return the logit of each arm at drawn weights."""
        phi = self._rows(features)
        m, sd = self._discount(phi)
        spread = np.sqrt(self._posterior_scale)
        if self._n_arms is not None:
            return m + sd * (spread * self._rng.standard_normal(self._n_arms))
        return phi @ (self.mu[0] + spread * (_root(self.sigma[0]) @ self._rng.standard_normal(self._n_features)))

    def _discount(self, phi: Array) -> tuple[Array, Array]:
        """Let one round pass; mean and sd of the logits of `phi` after it."""
        mu, sigma = self._posterior()
        discounted = np.empty_like(sigma)
        prior = self._kept, self._keep_prior, self._prior_mean, self._prior_variance
        means, m, sd, kept, finite = _predicted(mu, sigma, self._decay, *prior, phi, discounted)
        if not finite:
            raise InputError("mu, sigma", expected="finite numbers", found="NaN, infinity or an overflow")
        self.mu, self.sigma, self._kept = means, discounted, kept
        return m, sd

    def update(self, features: ArrayLike, clicked: float, arm: int | None = None) -> None:
        """Learn from one click or no click.

        Args:
            features: ``(D,)``: the user's, or the chosen row of the joint features.
            clicked: 0 or 1.
            arm: the arm that was shown; required if there are several, left out with shared weights.

        Raises:
            InputError: a wrong shape or arm, a reward other than 0 and 1, or features so large that the logit's
                variance passes 1e12.
        """
        phi = array_of(features, "features", (self._n_features,))
        if not (is_real(clicked) or isinstance(clicked, (bool, np.bool_))) or clicked not in (0, 1):
            raise InputError("clicked", expected="0 or 1", found=clicked)
        mu, sigma = self._posterior()
        self._accept(_learn(mu, sigma, self._group(arm), phi, float(clicked)))

    def update_batch(self, features: ArrayLike, clicks: ArrayLike, trials: ArrayLike, arm: int | None = None) -> None:
        """Learn from counts that came in together, such as an hour's log, in one Newton solve.

        Args:
            features: ``(B, D)``; without rows nothing changes.
            clicks, trials: ``(B,)`` with 0 <= clicks <= trials; fractions are weighted counts.
            arm: as for `update`.

        Raises:
            InputError: wrong shapes or arm, counts that make no sense, or features too large, as for `update`.
        """
        phis = array_of(features, "features", (None, self._n_features))
        c = array_of(clicks, "clicks", (len(phis),))
        n = array_of(trials, "trials", (len(phis),))
        wrong = (c < 0) | (c > n) | (n > COUNTS)
        if wrong.any():
            at = np.argmax(wrong)
            found = f"{c[at]:g} clicks in {n[at]:g} trials in row {at}"
            raise InputError("clicks", expected="0 <= clicks <= trials <= 2**53", found=found)
        mu, sigma = self._posterior()
        group = self._group(arm)
        if len(phis):
            try:
                learned = _learn_batch(mu, sigma, group, phis, c, n)
            except np.linalg.LinAlgError:
                learned = False
            self._accept(learned)

    def _group(self, arm: int | None) -> int:
        """Row of the posterior that belongs to `arm`."""
        if self._n_arms is None:
            if arm is not None:
                raise InputError("arm", expected="no arm, because weights are shared", found=arm)
            return 0
        if arm is None and self._n_arms == 1:
            return 0
        if isinstance(arm, bool) or not isinstance(arm, numbers.Integral) or not 0 <= arm < self._n_arms:
            raise InputError("arm", expected=f"a whole number from 0 to {self._n_arms - 1}", found=arm)
        return int(arm)

    def _posterior(self) -> tuple[Array, Array]:
        """The posterior as arrays that compiled code may write to: they are public, or come from a read-only file."""
        groups, d = self._n_arms or 1, self._n_features
        for name, shape in (("mu", (groups, d)), ("sigma", (groups, d, d))):
            array = getattr(self, name)
            if type(array) is not np.ndarray or not array.flags.carray or array.dtype != np.float64:
                array = np.array(array_of(array, name, shape))
                setattr(self, name, array)
            if array.shape != shape:
                raise InputError(name, expected=f"an array of shape {shape}", found=f"shape {array.shape}")
        return self.mu, self.sigma

    @staticmethod
    def _accept(learned: bool) -> None:
        if not learned:
            expected = f"features times counts with a logit variance of at most {WIDEST:g}"
            raise InputError("features", expected=expected, found="larger ones (scale them)")


def _root(sigma: Array) -> Array:
    """S with S Sᵀ = sigma, also where rounding has made a direction flat or its variance negative."""
    try:
        return np.linalg.cholesky(sigma)
    except np.linalg.LinAlgError:
        variance, directions = np.linalg.eigh(sigma)
        return np.asarray(directions * np.sqrt(np.maximum(variance, 0.0)))


@compiled()
def _predicted(
    mu: Array,
    sigma: Array,
    decay: float,
    kept: float,
    keep_prior: bool,
    prior_mean: Array,
    prior_variance: float,
    phi: Array,
    discounted: Array,
) -> tuple[Array, Array, Array, float, bool]:
    """Discount the covariances, and give the prior its weight back when that is due.

    Returns:
        Posterior means; mean and sd of the logit of each group (one row) or row (one group); the share of the prior's
        precision left; whether all is finite.
    """
    groups, rows, size = mu.shape[0], phi.shape[0], mu.shape[1]
    m, sd = np.empty(max(groups, rows)), np.empty(max(groups, rows))
    kept *= decay
    due = keep_prior and restoration_due(kept, decay, size)
    means = mu.copy() if due else mu
    grown = 1.0 / decay
    total: Any = 0.0
    for group in range(groups):
        R = sigma[group] * grown
        if due:
            means[group], R = restore(mu[group], R, prior_mean, np.full(size, prior_variance), kept)
        discounted[group] = R
        total += np.sum(R)
        for row in range(rows):
            x = phi[row]
            at = group + row
            v = x @ (R @ x)
            m[at], sd[at] = means[group] @ x, np.sqrt(max(v, 0.0))
            total += m[at] + v
    return means, m, sd, 1.0 if due else kept, np.isfinite(total)


@compiled()
def _best(scores: Array) -> tuple[int, int]:
    """The first best arm, and how many are as good."""
    best, ties = 0, 1
    for a in range(1, scores.shape[0]):
        if scores[a] > scores[best]:
            best, ties = a, 1
        elif scores[a] == scores[best]:
            ties += 1
    return best, ties


@compiled()
def _stored(mean: Array, covariance: Array, mu: Array, sigma: Array, group: int) -> bool:
    """Write a group's posterior if all of it is in range."""
    if not (np.abs(mean).max() <= LIMIT and np.isfinite(covariance).all()):
        return False
    mu[group], sigma[group] = mean, covariance
    return True


@compiled()
def _learn(mu: Array, sigma: Array, group: int, phi: Array, clicked: float) -> bool:
    if not phi @ (sigma[group] @ phi) <= WIDEST:
        return False
    mean, covariance = laplace_update(mu[group], sigma[group], phi, clicked, 1.0)
    return _stored(mean, covariance, mu, sigma, group)


@compiled()
def _learn_batch(mu: Array, sigma: Array, group: int, phis: Array, clicks: Array, trials: Array) -> bool:
    for row in range(phis.shape[0]):
        if not phis[row] @ (sigma[group] @ phis[row]) <= WIDEST:
            return False
    mean, covariance = laplace_update_batch(mu[group], sigma[group], phis, clicks, trials)
    return _stored(mean, covariance, mu, sigma, group)
