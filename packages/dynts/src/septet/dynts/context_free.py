"""Baselines that see no context: discounted Beta-Bernoulli Thompson sampling and discounted UCB1."""

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled
from septet.dynts.choice import account

Array = NDArray[np.float64]


@checked(
    probabilities="real T K in 0 1",
    rewards="real T in 0 1",
    gammas="real T in 0 1",
    begin="int 0 T",
    end="int 0 T",
    rng=np.random.Generator,
    counts="out f8 K 2",
    totals="out f8 3",
)
@compiled()
def play_context_free(
    begin: int,
    end: int,
    probabilities: Array,
    rewards: Array,
    gammas: Array,
    confidence_width: float,
    rng: np.random.Generator,
    counts: Array,
    totals: Array,
) -> None:
    r"""Play rounds of a block for one schedule and one seed; `counts` and `totals` are updated in place.

    Every round all counts are multiplied by :math:`\gamma_t`. With `confidence_width` 0 each arm draws
    from Beta(1 + clicks, 1 + misses); otherwise the score is UCB1's :math:`\hat p_a + \text{width}
    \sqrt{2 \ln N / n_a}` with discounted counts (Garivier and Moulines 2011), arms without a count first.

    Args:
        begin, end: which rounds of the block of T rounds to play, from 0.
        probabilities: ``(T, K)``; rewards: uniforms ``(T,)``; gammas: ``(T,)``.
        counts: clicks and misses of each arm, ``(K, 2)``.
        totals: running regret, best-arm pulls and log loss, ``(3,)``.
    """
    arms = counts.shape[0]
    for t in range(begin, end):
        arm, best_score = 0, -np.inf
        for a in range(arms):
            counts[a, 0] *= gammas[t]
            counts[a, 1] *= gammas[t]
        total = max(counts.sum(), 1.0)
        for a in range(arms):
            shown = counts[a, 0] + counts[a, 1]
            if confidence_width == 0.0:
                score = rng.beta(1.0 + counts[a, 0], 1.0 + counts[a, 1])
            elif shown < 1e-9:
                score = 1e9 + rng.random()
            else:
                score = counts[a, 0] / shown + confidence_width * np.sqrt(2.0 * np.log(total) / shown)
            if score > best_score:
                arm, best_score = a, score
        clicked = rewards[t] < probabilities[t, arm]
        p = (1.0 + counts[arm, 0]) / (2.0 + counts[arm, 0] + counts[arm, 1])
        account(totals, probabilities[t], arms, arm, 1.0 if clicked else 0.0, p)
        counts[arm, 0 if clicked else 1] += 1.0
