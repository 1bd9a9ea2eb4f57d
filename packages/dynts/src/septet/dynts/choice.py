"""How an arm is chosen from a posterior, and what is counted: the parts that all engines share.

With m and v the mean and variance of an arm's logit,

    score = m + confidence_width * sqrt(v) + sqrt(posterior_scale) * (draw from N(0, v)),

so Thompson sampling, UCB and the greedy policy differ in two numbers, and epsilon in a third. Ties go
to a random arm.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled

Array = NDArray[np.float64]

# The discount of a covariance is kept as a factor beside it, and multiplied in when it passes this.
FOLD = 4.0

# Columns of the running totals that both kernels keep.
REGRET, BEST, LOG_LOSS, TOTALS = 0, 1, 2, 3


class Choice(NamedTuple):
    """How an arm is chosen from the posterior of its logit."""

    posterior_scale: float
    confidence_width: float
    epsilon: float
    oracle: bool


class Motion(NamedTuple):
    """How the filter moves between rounds, besides the discount."""

    pull_clock: bool
    """Discount the pulled arm only, when it is pulled."""
    prior_variance: float
    """Every weight's prior is N(0, prior_variance)."""
    memory: float
    """Factor phi on the mean (and phi² on the covariance): 1 unless the filter is the exact Kalman one."""
    walk_variance: float
    """Q = walk_variance * I, added each round; 0 unless the filter is the exact Kalman one."""


@checked(scores="real K", arms="int 1 K", choice=Choice, probability="real K", explore="float 0 1", pick="float 0 1")
@compiled()
def choose(scores: Array, arms: int, choice: Choice, probability: Array, explore: float, pick: float) -> int:
    """Index of the chosen arm.

    Args:
        scores, probability: the first `arms` entries count.
        explore, pick: uniforms: whether to explore, and which arm then or among ties.
    """
    if choice.oracle:
        return int(np.argmax(probability[:arms]))
    if explore < choice.epsilon:
        return min(int(pick * arms), arms - 1)
    best, ties = scores[0], 1
    for a in range(1, arms):
        if scores[a] > best:
            best, ties = scores[a], 1
        elif scores[a] == best:
            ties += 1
    skip = min(int(pick * ties), ties - 1)
    for a in range(arms):
        if scores[a] == best:
            if skip == 0:
                return a
            skip -= 1
    return 0


@checked(totals="out f8 3", probability="real K", arms="int 1 K", arm="int < K")
@compiled()
def account(totals: Array, probability: Array, arms: int, arm: int, clicked: float, p: float) -> None:
    """Add one round to the totals: pseudo-regret, whether the best arm was shown, log loss of the prediction p."""
    best = np.max(probability[:arms])
    totals[REGRET] += best - probability[arm]
    totals[BEST] += 1.0 if probability[arm] == best else 0.0
    totals[LOG_LOSS] -= np.log(p) if clicked > 0.5 else np.log1p(-p)
