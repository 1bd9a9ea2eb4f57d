r"""Off-policy estimates of a policy's click rate, as pure functions of arrays.

A log holds rounds of context x_t, action a_t, click r_t and the propensity p_t with which the logging policy chose a_t.
The policy under evaluation chooses a_t with probability :math:`\pi_t = \pi(a_t \mid x_t)`, so
:math:`w_t = \pi_t / p_t`. Each estimator is a mean of one term per round (Dudik, Langford and Li 2011). `interval`
resamples the terms.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from septet.dynts.agent import LogisticThompson
from septet.dynts.arguments import array_of, whole
from septet.dynts.logged import Log
from septet.errors import InputError

Array = NDArray[Any]


class Estimate(NamedTuple):
    """A click rate with its interval."""

    value: float
    low: float
    high: float


def ips_terms(clicks: Array, propensities: Array, chosen: Array) -> Array:
    r"""Inverse propensity scoring: :math:`w_t r_t`, unbiased if the propensities are right.

    Args:
        clicks: r, ``(T,)``; propensities: p, ``(T,)``.
        chosen: probability of the logged action under the policy, ``(T,)``.
    """
    return chosen / propensities * clicks


def dr_terms(clicks: Array, propensities: Array, chosen: Array, q_logged: Array, q_policy: Array) -> Array:
    r"""Doubly robust: :math:`\hat q(x_t, \pi) + w_t (r_t - \hat q(x_t, a_t))`.

    Unbiased if the propensities or the click model is right; the better the model, the less the variance.

    Args:
        clicks, propensities, chosen: as for `ips_terms`.
        q_logged: modelled click probability of the logged action, ``(T,)``.
        q_policy: the same of the policy's own choice, averaged over its probabilities, ``(T,)``.
    """
    return q_policy + chosen / propensities * (clicks - q_logged)


def interval(terms: Array, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Estimate:
    """The mean of `terms` with the percentile interval of a bootstrap over rounds.

    The rounds of an agent that learns depend on earlier ones, which the bootstrap ignores. Where no term is different
    from 0, the interval has no width: it knows nothing of clicks that were possible.

    Args:
        terms: one number per round, ``(T,)``.
        level: coverage, in (0, 1); resamples: bootstrap samples; seed: of the resampling.

    Raises:
        InputError: no terms, or another argument out of range.
    """
    terms = array_of(terms, "terms", (None,))
    resamples = whole("resamples", resamples, 1)
    if len(terms) == 0 or not 0.0 < level < 1.0:
        raise InputError(
            "terms, level", expected="at least one term, a level in (0, 1)", found=f"{len(terms)}, {level}"
        )
    values, counts = np.unique(terms, return_counts=True)  # most terms are the same: no click, or no match
    drawn = np.random.default_rng(seed).multinomial(len(terms), counts / len(terms), size=resamples)
    low, high = np.quantile(drawn @ values / len(terms), [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(float(terms.mean()), float(low), float(high))


def click_model(log: Log, folds: int = 3, prior_variance: float = 1.0) -> Array:
    """Click probability of each arm in each round, ``(T, K)``, by a logistic regression per arm on the other folds.

    Round t belongs to fold ``t mod folds``. The prior of the first weight is the logit of the click rate if the first
    column of the contexts is an intercept, so that an arm with few rounds has the average rate.

    Raises:
        InputError: fewer than two folds, or more folds than rounds.
    """
    rounds, arms = len(log.actions), log.n_arms
    if whole("folds", folds, 2) > rounds:
        raise InputError("folds", expected=f"2 to {rounds}, the number of rounds", found=folds)
    rate = (log.clicks.sum() + 0.5) / (rounds + 1.0)
    mean = np.zeros(log.contexts.shape[1])
    mean[0] = np.log(rate / (1.0 - rate)) if (log.contexts[:, 0] == 1.0).all() else 0.0
    fold, q = np.arange(rounds) % folds, np.empty((rounds, arms))
    for held_out in range(folds):
        model = LogisticThompson(len(mean), arms, prior_mean=mean, prior_variance=prior_variance)
        for arm in range(arms):
            of = (fold != held_out) & (log.actions == arm)
            model.update_batch(log.contexts[of], log.clicks[of], np.ones(of.sum()), None if arms == 1 else arm)
        q[fold == held_out] = expit(log.contexts[fold == held_out] @ model.mu.T)
    return q
