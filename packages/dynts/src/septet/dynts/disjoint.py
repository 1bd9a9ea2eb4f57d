"""The lockstep engine for one posterior per arm: every schedule and every seed, round by round.

Covariances are packed lower triangles with the arms last, so that one pass over contiguous memory
gives all arms' variances.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import Fault, checked
from septet.compiled import compiled
from septet.dynts.choice import FOLD, Choice, Motion, account, choose
from septet.dynts.filter import click_probability, laplace_logit, restoration_due, sigmoid
from septet.dynts.schedules import GUARDS

WIDEST = 1e10
"""Largest trace of an uncapped covariance, in units of the prior's: beyond, an update loses the sign of a variance."""

Array = NDArray[np.float64]
Block = tuple[Array, Array, Array, Array, Array, Array]
"""`contexts`, `probabilities`, `rewards`, `normals`, `uniforms` and `gammas` of `play_disjoint`."""
State = tuple[Array, Array, Array, Array, NDArray[np.int64], Array, Array]
"""`mu`, `packed`, `scale`, `kept`, `ring_arm`, `ring_site` and `totals` of `play_disjoint`."""
PRIOR, TRACE = GUARDS.index("prior"), GUARDS.index("trace")


@compiled(reassociate=True)
def _products(x: Array, xx: Array) -> None:
    """Write the products behind xᵀ P x for a packed lower triangle P to `xx`."""
    p = 0
    for i in range(x.shape[0]):
        twice = 2.0 * x[i]
        for j in range(i):
            xx[p] = twice * x[j]
            p += 1
        xx[p] = x[i] * x[i]
        p += 1


@compiled(reassociate=True)
def _all_arms(weights: Array, columns: Array, out: Array) -> None:
    """Write weights · columns[:, a] to `out[a]` for every arm a: five rows a pass save loads and stores of `out`."""
    rows, arms = columns.shape
    out[:] = 0.0
    p = 0
    while p + 5 <= rows:
        w0, w1, w2, w3, w4 = weights[p], weights[p + 1], weights[p + 2], weights[p + 3], weights[p + 4]
        for a in range(arms):
            out[a] += (
                w0 * columns[p, a]
                + w1 * columns[p + 1, a]
                + w2 * columns[p + 2, a]
                + w3 * columns[p + 3, a]
                + w4 * columns[p + 4, a]
            )
        p += 5
    while p < rows:
        for a in range(arms):
            out[a] += weights[p] * columns[p, a]
        p += 1


@compiled()
def _gain(x: Array, packed: Array, arm: int, gain: Array) -> None:
    """Write P_arm x to `gain`."""
    d = x.shape[0]
    gain[:] = 0.0
    p = 0
    for i in range(d):
        for j in range(i):
            value = packed[p, arm]
            gain[i] += value * x[j]
            gain[j] += value * x[i]
            p += 1
        gain[i] += packed[p, arm] * x[i]
        p += 1


@compiled()
def _rank_one(packed: Array, arm: int, gain: Array, weight: float) -> None:
    """P_arm += weight * gain gainᵀ."""
    d = gain.shape[0]
    p = 0
    for i in range(d):
        scaled = weight * gain[i]
        for j in range(i + 1):
            packed[p, arm] += scaled * gain[j]
            p += 1


def _triangles(_: Mapping[str, Any], sizes: dict[str, int]) -> Fault | None:
    """The covariances are triangles of as many rows as there are features."""
    d = sizes["D"]
    return None if sizes["P"] == d * (d + 1) // 2 else ("packed", f"triangles of {d} x {d}", f"{sizes['P']} numbers")


@checked(
    None,
    _triangles,
    state={
        "mu": "out f8 V S D K",
        "packed": "out f8 V S P K",
        "scale": "out f8 V S K",
        "kept": "out f8 V S K",
        "ring_arm": "out i8 V S L < K",
        "ring_site": "out f8 V S L D+2",
        "totals": "out f8 V S 3",
    },
    block={
        "contexts": "real S T D",
        "probabilities": "real S T K",
        "rewards": "real S T",
        "normals": "real S T K",
        "uniforms": "real S T 2 in 0 1",
        "gammas": "real V T",
    },
    before="int 0",
    begin="int 0 T",
    end="int 0 T",
    windows="whole V in 0 L",
    guards="whole V in 0 2",
    choice=Choice,
    motion=Motion,
)
@compiled()
def play_disjoint(
    before: int,
    begin: int,
    end: int,
    block: Block,
    windows: NDArray[np.int64],
    guards: NDArray[np.int64],
    choice: Choice,
    motion: Motion,
    state: State,
) -> None:
    """Play rounds of a block with one posterior per arm, for V schedules and S seeds; state is updated in place.

    Args:
        before: rounds before the block of T rounds that the arrays hold.
        begin, end: which rounds of the block to play, from 0.
        contexts: x_t, ``(S, T, D)``; probabilities: p_t(a), ``(S, T, K)``.
        rewards: uniforms, ``(S, T)``: a click where rewards < p_t(arm).
        normals: standard normals of the posterior draws, ``(S, T, K)``.
        uniforms: whether to explore, and which arm then or among ties, ``(S, T, 2)``.
        gammas: decay of each round, ``(V, T)``; windows: sliding-window lengths, 0 for none, ``(V,)``.
        guards: place of each schedule's guard in `schedules.GUARDS`, ``(V,)``.
        mu: posterior means, ``(V, S, D, K)``.
        packed: lower triangles P of the covariances, ``(V, S, D (D + 1) / 2, K)``; Σ = scale * P.
        scale: the factor above, ``(V, S, K)``; kept: share of the prior's precision left in Σ, ``(V, S, K)``.
        ring_arm, ring_site: observations inside the window, ``(V, S, L)`` and ``(V, S, L, D + 2)``
            (features, curvature, linear term).
        totals: running regret, best-arm pulls and log loss, ``(V, S, 3)``.
    """
    contexts, probabilities, rewards, normals, uniforms, gammas = block
    mu, packed, scale, kept, ring_arm, ring_site, totals = state
    schedules, seeds, d, arms = mu.shape
    m, v, scores = np.empty(arms), np.empty(arms), np.empty(arms)
    gain, xx = np.empty(d), np.empty(d * (d + 1) // 2)
    gains, weights = np.empty((d, arms)), np.empty(arms)
    spread = np.sqrt(choice.posterior_scale)
    for variant in range(schedules):
        for seed in range(seeds):
            P, c, left, mean = packed[variant, seed], scale[variant, seed], kept[variant, seed], mu[variant, seed]
            guard = guards[variant]
            for t in range(begin, end):
                x = contexts[seed, t]
                gamma = gammas[variant, t]
                if windows[variant] > 0 and before + t >= windows[variant]:
                    slot = (before + t) % windows[variant]
                    _forget(P, c, mean, ring_arm[variant, seed, slot], ring_site[variant, seed, slot], gain)
                if motion.walk_variance > 0.0 or motion.memory < 1.0:
                    _move(P, c, mean, motion)
                if gamma < 1.0 and not motion.pull_clock:
                    _discount(P, c, left, mean, 0, arms, gamma, guard, motion.prior_variance, gains, weights)
                _products(x, xx)
                _all_arms(x, mean, m)
                _all_arms(xx, P, v)
                for a in range(arms):
                    v[a] *= c[a]
                    scores[a] = m[a] + np.sqrt(v[a]) * (choice.confidence_width + spread * normals[seed, t, a])
                p_t = probabilities[seed, t]
                arm = choose(scores, arms, choice, p_t, uniforms[seed, t, 0], uniforms[seed, t, 1])
                clicked = 1.0 if rewards[seed, t] < p_t[arm] else 0.0
                if gamma < 1.0 and motion.pull_clock:
                    _discount(P, c, left, mean, arm, arm + 1, gamma, guard, motion.prior_variance, gains, weights)
                    m[arm], v[arm] = _logit(x, xx, mean, P, c, arm)
                account(totals[variant, seed], p_t, arms, arm, clicked, click_probability(m[arm], v[arm]))
                s = laplace_logit(m[arm], v[arm], clicked, 1.0)
                sigma = sigmoid(s)
                kappa = sigma * (1.0 - sigma)
                _gain(x, P, arm, gain)
                for i in range(d):
                    mean[i, arm] += c[arm] * gain[i] * (clicked - sigma)
                _rank_one(P, arm, gain, -kappa * c[arm] / (1.0 + kappa * v[arm]))
                if windows[variant] > 0:
                    slot = (before + t) % windows[variant]
                    ring_arm[variant, seed, slot] = arm
                    ring_site[variant, seed, slot, :d] = x
                    ring_site[variant, seed, slot, d] = kappa
                    ring_site[variant, seed, slot, d + 1] = clicked - sigma + kappa * s


@compiled()
def _discount(
    P: Array,
    c: Array,
    kept: Array,
    mean: Array,
    first: int,
    last: int,
    gamma: float,
    guard: int,
    prior_variance: float,
    gains: Array,
    weights: Array,
) -> None:
    """Discount arms `first` to `last` by gamma; their shares `kept` are alike. `gains` and `weights` are scratch."""
    d = mean.shape[0]
    grown, most = 1.0 / gamma, 0.0
    for a in range(first, last):
        c[a] *= grown
        kept[a] *= gamma
        most = max(most, c[a])
    if guard == PRIOR and restoration_due(kept[first], gamma, d):
        _restore(P, c, mean, first, last, (1.0 - kept[first]) / prior_variance, gains, weights)
        kept[first:last] = 1.0
    if guard != PRIOR:
        largest = prior_variance * d * (1.0 if guard == TRACE else WIDEST)
        for a in range(first, last):
            trace = 0.0
            for i in range(d):
                trace += P[i * (i + 3) // 2, a]
            c[a] = min(c[a], largest / trace)
    if most > FOLD:
        for p in range(P.shape[0]):
            for a in range(first, last):
                P[p, a] *= c[a]
        c[first:last] = 1.0


@compiled(reassociate=True)
def _restore(
    P: Array, c: Array, mean: Array, first: int, last: int, precision: float, gains: Array, weights: Array
) -> None:
    """`filter.restore` for arms `first` to `last`, with prior mean 0: each weight is seen at 0 with this precision."""
    d = mean.shape[0]
    for k in range(d):
        own = k * (k + 3) // 2
        for i in range(d):
            p = i * (i + 1) // 2 + k if i > k else k * (k + 1) // 2 + i
            for a in range(first, last):
                gains[i, a] = P[p, a]
        for a in range(first, last):
            weights[a] = precision * c[a] / (1.0 + precision * c[a] * P[own, a])
        p = 0
        for i in range(d):
            for j in range(i + 1):
                for a in range(first, last):
                    P[p, a] -= weights[a] * gains[i, a] * gains[j, a]
                p += 1
        for a in range(first, last):
            weights[a] *= mean[k, a]
        for i in range(d):
            for a in range(first, last):
                mean[i, a] -= weights[a] * gains[i, a]


@compiled()
def _logit(x: Array, xx: Array, mean: Array, P: Array, c: Array, arm: int) -> tuple[float, float]:
    """Mean and variance of one arm's logit."""
    m = v = 0.0
    for i in range(x.shape[0]):
        m += x[i] * mean[i, arm]
    for p in range(xx.shape[0]):
        v += xx[p] * P[p, arm]
    return m, c[arm] * v


@compiled()
def _forget(P: Array, c: Array, mean: Array, arm: int, site: Array, gain: Array) -> None:
    """Take one observation's Laplace site (curvature, linear term) out of its arm's posterior."""
    d = gain.shape[0]
    x, kappa, linear = site[:d], site[d], site[d + 1]
    _gain(x, P, arm, gain)
    m = v = 0.0
    for i in range(d):
        m += x[i] * mean[i, arm]
        v += c[arm] * x[i] * gain[i]
    grow = 1.0 / (1.0 - kappa * v)
    correction = c[arm] * grow * (kappa * m - linear)
    for i in range(d):
        mean[i, arm] += correction * gain[i]
    _rank_one(P, arm, gain, kappa * grow * c[arm])


@compiled()
def _move(P: Array, c: Array, mean: Array, motion: Motion) -> None:
    """Exact prediction for a known state: mu <- phi mu, Σ <- phi² Σ + q I."""
    d, arms = mean.shape
    for a in range(arms):
        p = 0
        for i in range(d):
            mean[i, a] *= motion.memory
            for _ in range(i + 1):
                P[p, a] *= motion.memory * motion.memory
                p += 1
            P[p - 1, a] += motion.walk_variance / c[a]
