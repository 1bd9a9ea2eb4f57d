"""Generated n-best lists, for machines with neither data nor network.

A sentence is a row of decisions (where does this phrase attach?), a candidate one choice for each.
Every choice shows features drawn from a Zipf law; a hidden sparse weight vector makes the features
of right choices good ones. The first-pass score is a noisy sum over choices. Sizes and noise are
set so that candidates per list, F of the first best and of the oracle, and F after reranking lie
near those of the real lists.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from septet.vrda.features import Described, differences

Array = NDArray[Any]

SPACE = 60_000
"""Features of the hidden world."""
DECISIONS = (2, 9)
"""Least and most decisions of a sentence."""
SHOWN = 60
"""Features that one choice shows."""
SIGNAL = 0.1
"""Share of a choice's features that tell right from wrong."""
FIRST_PASS = 1.5
"""How much better, in log probability, the first pass thinks of the right choice."""
FIRST_PASS_NOISE = 1.4
"""Standard deviation of that opinion."""


def generated_lists(random: np.random.Generator, count: int) -> list[tuple[Described, Array]]:
    """`count` described lists with the log probabilities of their candidates, best first."""
    return [_one(random) for _ in range(count)]


def _one(random: np.random.Generator) -> tuple[Described, Array]:
    decisions = int(random.integers(DECISIONS[0], DECISIONS[1] + 1))
    options = random.integers(2, 4, decisions)
    # Option 0 of each decision is right. The gold tree itself is often out of reach.
    opinion = [random.normal(-FIRST_PASS * (np.arange(n) > 0), FIRST_PASS_NOISE) for n in options]
    combinations = np.indices(tuple(options.tolist())).reshape(decisions, -1).T
    log_p = np.sum([opinion[d][combinations[:, d]] for d in range(decisions)], axis=0)
    best = np.argsort(-log_p, kind="stable")[:50]
    combinations, log_p = combinations[best], log_p[best]
    gold = 2 * decisions + int(random.integers(3, 8))
    missed = int(random.binomial(gold, 0.03))
    cost = random.integers(1, 3, decisions)
    match = np.maximum(gold - missed - (combinations > 0) @ cost, 0)

    shown = [[_features(random, option == 0) for option in range(n)] for n in options]
    column = [np.concatenate([shown[d][option] for d, option in enumerate(row)]) for row in combinations]
    drawn, ends = np.concatenate(column), np.arange(len(column) + 1) * decisions * SHOWN
    rows = csr_matrix((np.ones(len(drawn), dtype=np.float32), drawn, ends), shape=(len(column), SPACE))
    rows.sum_duplicates()
    guess = gold + random.integers(-1, 2, len(match))
    local, place = np.unique(rows.indices, return_inverse=True)
    dense = csr_matrix((rows.data, place, rows.indptr), (len(column), len(local))).toarray()
    return Described(differences(dense, local, SPACE), np.minimum(match, guess), guess, gold), log_p - 20.0


def _features(random: np.random.Generator, right: bool) -> Array:
    """Features of one choice: even numbers in the head of the law speak for it, odd ones against it."""
    rank = random.zipf(1.15, SHOWN) % (SPACE // 2)
    told = random.random(SHOWN) < SIGNAL
    sign = np.where(told, not right, random.integers(0, 2, SHOWN))
    return (2 * rank + sign).astype(np.int64)
