"""The lockstep engine for one posterior on joint features: every schedule and every seed, round by round.

It keeps a square root S of the covariance (Potter's form): every step is O(D²), the draw needs no
Cholesky factor, and S Sᵀ cannot lose its positive sign by rounding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import Fault, checked
from septet.compiled import compiled
from septet.dynts.choice import FOLD, Choice, account, choose
from septet.dynts.filter import click_probability, laplace_logit, restoration_due, sigmoid
from septet.dynts.schedules import GUARDS

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
Block = tuple[Array, Whole, Whole, Array, Array, Array, Array, Array]
"""`features`, `first`, `count`, `probabilities`, `rewards`, `normals`, `uniforms` and `gammas` of `play_shared`."""
State = tuple[Array, Array, Array, Array, Array]
"""`mu`, `root`, `scale`, `kept` and `totals` of `play_shared`."""
Prior = tuple[Array, Array]
PRIORS = {"mean": "real D", "variance": "real D"}
PRIOR, TRACE = GUARDS.index("prior"), GUARDS.index("trace")


@checked(S="real D D", phi="real D", f="out f8 D")
@compiled(reassociate=True)
def transposed_product(S: Array, phi: Array, f: Array) -> None:
    """Write Sᵀ phi to `f`, row by row."""
    d = phi.shape[0]
    f[:] = 0.0
    for i in range(d):
        weight = phi[i]
        row = S[i]
        for j in range(d):
            f[j] += weight * row[j]


@checked(left="real D", right="real D")
@compiled(reassociate=True)
def dot(left: Array, right: Array) -> float:
    """Inner product, also of rows that are not contiguous."""
    total = 0.0
    for i in range(left.shape[0]):
        total += left[i] * right[i]
    return total


def _rows_fit(a: Mapping[str, Any], sizes: dict[str, int]) -> Fault | None:
    """Each round has at least one row, all its rows are there, and there is a world for each seed."""
    (_, first, count, *_), end = a["block"], sizes["N"]
    if count.size == 0 or (first + count).max() > end:
        return "first, count", f"at least one row a round, of {end}", "no round, or rows after the last"
    if sizes["W"] not in (1, sizes["S"]):
        return "features", f"1 world or {sizes['S']}", f"{sizes['W']}"
    rows = 1 if a["diagonal"] else sizes["D"]
    return None if sizes["R"] == rows else ("root", f"{rows} rows", f"{sizes['R']}")


@checked(
    None,
    _rows_fit,
    state={
        "mu": "out f8 V S D",
        "root": "out f8 V S R D",
        "scale": "out f8 V S",
        "kept": "out f8 V S",
        "totals": "out f8 V S 3",
    },
    block={
        "features": "real W N D",
        "first": "whole T < N",
        "count": "whole T in 1 N",
        "probabilities": "real W N",
        "rewards": "real S T",
        "normals": "real S T D",
        "uniforms": "real S T 2 in 0 1",
        "gammas": "real V T",
    },
    begin="int 0 T",
    end="int 0 T",
    choice=Choice,
    guards="whole V in 0 2",
    prior=PRIORS,
)
@compiled()
def play_shared(
    begin: int, end: int, block: Block, choice: Choice, guards: Whole, prior: Prior, diagonal: bool, state: State
) -> None:
    """Play rounds of a block with one posterior for all arms, for V schedules and S seeds; state is updated in place.

    Args:
        begin, end: which rounds of the block of T rounds to play, from 0.
        features: phi of every (round, arm), ``(S or 1, N, D)``; round t has rows
            ``first[t] : first[t] + count[t]``.
        probabilities: click probability of each row, ``(S or 1, N)``.
        rewards: ``(S, T)``; normals: ``(S, T, D)``; uniforms: ``(S, T, 2)``; gammas: ``(V, T)``.
        guards: place of each schedule's guard in `schedules.GUARDS`, ``(V,)``.
        prior: mean and variance of each weight, ``(D,)``.
        diagonal: keep only the diagonal of the precision (for large D; Chapelle and Li 2011).
        mu: posterior means ``(V, S, D)``.
        root: S with Σ = scale * S Sᵀ, ``(V, S, D, D)``; if `diagonal`, the precision ``(V, S, 1, D)``.
        scale, kept: ``(V, S)``, the factor above, and the share of the prior's precision left in Σ; unused if
            `diagonal`.
        totals: as in `play_disjoint`.
    """
    features, first, count, probabilities, rewards, normals, uniforms, gammas = block
    prior_mean, prior_variance = prior
    mu, root, scale, kept, totals = state
    schedules, seeds, d = mu.shape
    spread = np.sqrt(choice.posterior_scale)
    drawn, f, gain = np.empty(d), np.empty(d), np.empty(d)
    scores = np.empty(count.max())
    for variant in range(schedules):
        for seed in range(seeds):
            world = seed if features.shape[0] > 1 else 0
            mean, S = mu[variant, seed], root[variant, seed]
            c, left, guard = scale[variant, seed], kept[variant, seed], guards[variant]
            for t in range(begin, end):
                gamma, arms = gammas[variant, t], count[t]
                rows = features[world, first[t] : first[t] + arms]
                p_t = probabilities[world, first[t] : first[t] + arms]
                if diagonal:
                    _discount_diagonal(S[0], mean, gamma, guard, prior_mean, prior_variance)
                    for i in range(d):
                        drawn[i] = mean[i] + spread * normals[seed, t, i] / np.sqrt(S[0, i])
                else:
                    c, left = discount_root(S, c, left, mean, gamma, guard, prior_mean, prior_variance, f, gain)
                    step = spread * np.sqrt(c)
                    for i in range(d):
                        drawn[i] = mean[i] + (step * dot(S[i], normals[seed, t]) if step > 0.0 else 0.0)
                for a in range(arms):
                    scores[a] = dot(rows[a], drawn)
                    if choice.confidence_width > 0.0:
                        v = _variance(rows[a], S, c, diagonal, f)
                        scores[a] += choice.confidence_width * np.sqrt(v)
                arm = choose(scores, arms, choice, p_t, uniforms[seed, t, 0], uniforms[seed, t, 1])
                clicked = 1.0 if rewards[seed, t] < p_t[arm] else 0.0
                phi = rows[arm]
                m = dot(phi, mean)
                v = _variance(phi, S, c, diagonal, f)
                account(totals[variant, seed], p_t, arms, arm, clicked, click_probability(m, v))
                s = laplace_logit(m, v, clicked, 1.0)
                sigma = sigmoid(s)
                kappa = sigma * (1.0 - sigma)
                if diagonal:
                    for i in range(d):
                        mean[i] += phi[i] / S[0, i] * (clicked - sigma)
                        S[0, i] += kappa * phi[i] * phi[i]
                else:
                    potter_update(S, c, f, v, kappa, gain)
                    for i in range(d):
                        mean[i] += c * gain[i] * (clicked - sigma)
            scale[variant, seed], kept[variant, seed] = c, left


@compiled()
def _variance(phi: Array, S: Array, c: float, diagonal: bool, f: Array) -> float:
    """Variance of the logit; leaves f = Sᵀ phi behind unless `diagonal`."""
    if diagonal:
        total = 0.0
        for i in range(phi.shape[0]):
            total += phi[i] * phi[i] / S[0, i]
        return total
    transposed_product(S, phi, f)
    return c * dot(f, f)


@checked(S="out f8 D D", f="real D", gain="out f8 D")
@compiled(reassociate=True)
def potter_update(S: Array, c: float, f: Array, v: float, kappa: float, gain: Array) -> None:
    r"""Rank-one Laplace update of the square root, in place.

    :math:`S \leftarrow S(I - a f f^\top)` with :math:`f = S^\top\phi`, :math:`v = c\,f^\top f` and
    :math:`a = (1 - 1/\sqrt{1 + \kappa v})\,c/v`, which gives
    :math:`c\,SS^\top - \frac{\kappa}{1 + \kappa v} R\phi\phi^\top R` (Potter 1963).

    `gain` is given S f = Rφ / c of before the update.
    """
    d = f.shape[0]
    ff = v / c
    a = (1.0 - 1.0 / np.sqrt(1.0 + kappa * v)) / ff if ff > 0.0 else 0.0
    for i in range(d):
        row = S[i]
        g = 0.0
        for j in range(d):
            g += row[j] * f[j]
        gain[i] = g
        weight = a * g
        for j in range(d):
            row[j] -= weight * f[j]


@checked(S="out f8 D D", mean="out f8 D", prior_mean="real D", prior_variance="real D", f="out f8 D", gain="out f8 D")
@compiled()
def discount_root(
    S: Array,
    c: float,
    kept: float,
    mean: Array,
    gamma: float,
    guard: int,
    prior_mean: Array,
    prior_variance: Array,
    f: Array,
    gain: Array,
) -> tuple[float, float]:
    """Discount a posterior N(mean, c S Sᵀ) by gamma, in place; `f` and `gain` are scratch of shape ``(D,)``.

    Args:
        kept: share of the prior's precision left; guard: place in `schedules.GUARDS`.

    Returns:
        c and `kept` of after it.
    """
    if gamma == 1.0:
        return c, kept
    d = mean.shape[0]
    c, kept = c / gamma, kept * gamma
    if guard == PRIOR and restoration_due(kept, gamma, d):
        for i in range(d):  # filter.restore in Potter's form: Sᵀ e_i is a row of S
            f[:] = S[i]
            v, precision = c * dot(f, f), (1.0 - kept) / prior_variance[i]
            potter_update(S, c, f, v, precision, gain)
            pull = c * precision / (1.0 + precision * v) * (prior_mean[i] - mean[i])
            for j in range(d):
                mean[j] += pull * gain[j]
        kept = 1.0
    if guard == TRACE:
        c = min(c, np.sum(prior_variance) / np.sum(S * S))
    if c > FOLD:
        S *= np.sqrt(c)
        c = 1.0
    return c, kept


@compiled()
def _discount_diagonal(
    q: Array, mean: Array, gamma: float, guard: int, prior_mean: Array, prior_variance: Array
) -> None:
    """Discount the precisions q ``(D,)``; the prior's weight is given back each round."""
    for i in range(q.shape[0]):
        q[i] *= gamma
        if guard == PRIOR:
            back = (1.0 - gamma) / prior_variance[i]
            mean[i] = (q[i] * mean[i] + back * prior_mean[i]) / (q[i] + back)
            q[i] += back
        elif guard == TRACE:
            q[i] = max(q[i], q.shape[0] / np.sum(prior_variance))
