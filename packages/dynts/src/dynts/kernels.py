"""The lockstep engine: every decay of a method and every seed, round by round, in compiled code.

Both kernels make the same choice. With m and v the mean and variance of an arm's logit,

    score = m + confidence_width * sqrt(v) + sqrt(posterior_scale) * (draw from N(0, v)),

so Thompson sampling, UCB and the greedy policy differ in two numbers, and epsilon in a third. Ties go
to a random arm. `play_disjoint` has one posterior per arm and packs the covariances with the arms
last, so that one pass over contiguous memory gives all arms' variances. `play_shared` has one
posterior for all arms and keeps a square root S of it (Potter's form): every step is O(D²), the draw
needs no Cholesky factor, and the covariance S Sᵀ cannot lose its positive sign by rounding.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dynts.filter import click_probability, laplace_logit, sigmoid
from septet.compiled import compiled

Array = NDArray[np.float64]

# The discount of a covariance is kept as a factor beside it, and multiplied in when it passes this:
# were it left outside, the matrix would shrink below the rounding errors of its running trace.
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
    prior_trace: float
    """Cap on the trace of each covariance; infinite for none."""
    memory: float
    """Factor phi on the mean (and phi² on the covariance): 1 unless the filter is the exact Kalman one."""
    walk_variance: float
    """Q = walk_variance * I, added each round; 0 unless the filter is the exact Kalman one."""


@compiled()
def _choose(scores: Array, arms: int, choice: Choice, probability: Array, explore: float, pick: float) -> int:
    if choice.oracle:
        return int(np.argmax(probability[:arms]))
    if explore < choice.epsilon:
        return min(int(pick * arms), arms - 1)
    best = scores[0]
    ties = 1
    for a in range(1, arms):
        if scores[a] > best:
            best = scores[a]
            ties = 1
        elif scores[a] == best:
            ties += 1
    skip = min(int(pick * ties), ties - 1)
    for a in range(arms):
        if scores[a] == best:
            if skip == 0:
                return a
            skip -= 1
    return 0


@compiled()
def _account(totals: Array, probability: Array, arms: int, arm: int, clicked: float, m: float, v: float) -> None:
    best = probability[0]
    for a in range(1, arms):
        best = max(best, probability[a])
    totals[REGRET] += best - probability[arm]
    totals[BEST] += 1.0 if probability[arm] == best else 0.0
    p = click_probability(m, v)
    totals[LOG_LOSS] -= np.log(p) if clicked > 0.5 else np.log1p(-p)


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
def _rank_one(packed: Array, arm: int, gain: Array, weight: float) -> float:
    """P_arm += weight * gain gainᵀ; returns the change of the trace."""
    d = gain.shape[0]
    change = 0.0
    p = 0
    for i in range(d):
        scaled = weight * gain[i]
        for j in range(i + 1):
            packed[p, arm] += scaled * gain[j]
            p += 1
        change += scaled * gain[i]
    return change


@compiled()
def play_disjoint(
    before: int,
    begin: int,
    end: int,
    contexts: Array,
    probabilities: Array,
    rewards: Array,
    normals: Array,
    uniforms: Array,
    gammas: Array,
    windows: NDArray[np.int64],
    choice: Choice,
    motion: Motion,
    mu: Array,
    packed: Array,
    scale: Array,
    trace: Array,
    ring_arm: NDArray[np.int64],
    ring_site: Array,
    totals: Array,
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
        mu: posterior means, ``(V, S, D, K)``.
        packed: lower triangles P of the covariances, ``(V, S, D (D + 1) / 2, K)``; Σ = scale * P.
        scale, trace: ``(V, S, K)``, the factor above and the trace of P.
        ring_arm, ring_site: observations inside the window, ``(V, S, L)`` and ``(V, S, L, D + 2)``
            (features, curvature, linear term).
        totals: running regret, best-arm pulls and log loss, ``(V, S, 3)``.
    """
    schedules, seeds, d, arms = mu.shape
    m, v, scores = np.empty(arms), np.empty(arms), np.empty(arms)
    gain, xx = np.empty(d), np.empty(d * (d + 1) // 2)
    spread = np.sqrt(choice.posterior_scale)
    for variant in range(schedules):
        for seed in range(seeds):
            P, c, tr, mean = packed[variant, seed], scale[variant, seed], trace[variant, seed], mu[variant, seed]
            for t in range(begin, end):
                x = contexts[seed, t]
                gamma = gammas[variant, t]
                if windows[variant] > 0 and before + t >= windows[variant]:
                    slot = (before + t) % windows[variant]
                    _forget(P, c, tr, mean, ring_arm[variant, seed, slot], ring_site[variant, seed, slot], gain)
                if motion.walk_variance > 0.0 or motion.memory < 1.0:
                    _move(P, c, tr, mean, motion)
                if not motion.pull_clock:
                    for a in range(arms):
                        c[a] = min(c[a] / gamma, motion.prior_trace / tr[a])
                        if c[a] > FOLD:
                            _fold(P, c, tr, a, d)
                _products(x, xx)
                _all_arms(x, mean, m)
                _all_arms(xx, P, v)
                for a in range(arms):
                    v[a] *= c[a]
                    scores[a] = m[a] + np.sqrt(v[a]) * (choice.confidence_width + spread * normals[seed, t, a])
                p_t = probabilities[seed, t]
                arm = _choose(scores, arms, choice, p_t, uniforms[seed, t, 0], uniforms[seed, t, 1])
                clicked = 1.0 if rewards[seed, t] < p_t[arm] else 0.0
                if motion.pull_clock:
                    grown = min(c[arm] / gamma, motion.prior_trace / tr[arm])
                    v[arm] *= grown / c[arm]
                    c[arm] = grown
                    if grown > FOLD:
                        _fold(P, c, tr, arm, d)
                _account(totals[variant, seed], p_t, arms, arm, clicked, m[arm], v[arm])
                s = laplace_logit(m[arm], v[arm], clicked, 1.0)
                sigma = sigmoid(s)
                kappa = sigma * (1.0 - sigma)
                _gain(x, P, arm, gain)
                for i in range(d):
                    mean[i, arm] += c[arm] * gain[i] * (clicked - sigma)
                tr[arm] += _rank_one(P, arm, gain, -kappa * c[arm] / (1.0 + kappa * v[arm]))
                if windows[variant] > 0:
                    slot = (before + t) % windows[variant]
                    ring_arm[variant, seed, slot] = arm
                    ring_site[variant, seed, slot, :d] = x
                    ring_site[variant, seed, slot, d] = kappa
                    ring_site[variant, seed, slot, d + 1] = clicked - sigma + kappa * s


@compiled()
def _fold(P: Array, c: Array, tr: Array, arm: int, d: int) -> None:
    """Multiply an arm's factor into its covariance, and its trace anew."""
    for p in range(P.shape[0]):
        P[p, arm] *= c[arm]
    c[arm] = 1.0
    tr[arm] = 0.0
    for i in range(d):
        tr[arm] += P[i * (i + 3) // 2, arm]


@compiled()
def _forget(P: Array, c: Array, tr: Array, mean: Array, arm: int, site: Array, gain: Array) -> None:
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
    tr[arm] += _rank_one(P, arm, gain, kappa * grow * c[arm])


@compiled()
def _move(P: Array, c: Array, tr: Array, mean: Array, motion: Motion) -> None:
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
        tr[a] = motion.memory * motion.memory * tr[a] + d * motion.walk_variance / c[a]


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


@compiled(reassociate=True)
def dot(left: Array, right: Array) -> float:
    """Inner product, also of rows that are not contiguous."""
    total = 0.0
    for i in range(left.shape[0]):
        total += left[i] * right[i]
    return total


@compiled()
def play_shared(
    begin: int,
    end: int,
    features: Array,
    first: NDArray[np.int64],
    count: NDArray[np.int64],
    probabilities: Array,
    rewards: Array,
    normals: Array,
    uniforms: Array,
    gammas: Array,
    choice: Choice,
    motion: Motion,
    diagonal: bool,
    mu: Array,
    root: Array,
    scale: Array,
    trace: Array,
    totals: Array,
) -> None:
    """Play rounds of a block with one posterior for all arms, for V schedules and S seeds; state is updated in place.

    Args:
        begin, end: which rounds of the block of T rounds to play, from 0.
        features: phi of every (round, arm), ``(S or 1, N, D)``; round t has rows
            ``first[t] : first[t] + count[t]``.
        probabilities: click probability of each row, ``(S or 1, N)``.
        rewards: ``(S, T)``; normals: ``(S, T, D)``; uniforms: ``(S, T, 2)``; gammas: ``(V, T)``.
        diagonal: keep only the diagonal of the precision (for large D).
        mu: posterior means ``(V, S, D)``.
        root: S with Σ = scale * S Sᵀ, ``(V, S, D, D)``; if `diagonal`, the precision ``(V, S, 1, D)``.
        scale, trace: ``(V, S)``, the factor above and the trace of S Sᵀ; unused if `diagonal`.
        totals: as in `play_disjoint`.
    """
    schedules, seeds, d = mu.shape
    spread = np.sqrt(choice.posterior_scale)
    drawn, f, gain = np.empty(d), np.empty(d), np.empty(d)
    scores = np.empty(count.max())
    for variant in range(schedules):
        for seed in range(seeds):
            world = seed if features.shape[0] > 1 else 0
            mean, S = mu[variant, seed], root[variant, seed]
            c, tr = scale[variant, seed], trace[variant, seed]
            for t in range(begin, end):
                gamma, arms = gammas[variant, t], count[t]
                rows = features[world, first[t] : first[t] + arms]
                p_t = probabilities[world, first[t] : first[t] + arms]
                if diagonal:
                    # the floor of the precision does the work of the trace's cap
                    for i in range(d):
                        S[0, i] = max(gamma * S[0, i], d / motion.prior_trace)
                        drawn[i] = mean[i] + spread * normals[seed, t, i] / np.sqrt(S[0, i])
                else:
                    c = min(c / gamma, motion.prior_trace / tr)
                    if c > FOLD:
                        S *= np.sqrt(c)
                        c = 1.0
                        tr = np.sum(S * S)
                    step = spread * np.sqrt(c)
                    for i in range(d):
                        drawn[i] = mean[i] + (step * dot(S[i], normals[seed, t]) if step > 0.0 else 0.0)
                for a in range(arms):
                    scores[a] = dot(rows[a], drawn)
                    if choice.confidence_width > 0.0:
                        v = _variance(rows[a], S, c, diagonal, f)
                        scores[a] += choice.confidence_width * np.sqrt(v)
                arm = _choose(scores, arms, choice, p_t, uniforms[seed, t, 0], uniforms[seed, t, 1])
                clicked = 1.0 if rewards[seed, t] < p_t[arm] else 0.0
                phi = rows[arm]
                m = dot(phi, mean)
                v = _variance(phi, S, c, diagonal, f)
                _account(totals[variant, seed], p_t, arms, arm, clicked, m, v)
                s = laplace_logit(m, v, clicked, 1.0)
                sigma = sigmoid(s)
                kappa = sigma * (1.0 - sigma)
                if diagonal:
                    for i in range(d):
                        mean[i] += phi[i] / S[0, i] * (clicked - sigma)
                        S[0, i] += kappa * phi[i] * phi[i]
                else:
                    tr += potter_update(S, c, f, v, kappa, gain)
                    for i in range(d):
                        mean[i] += c * gain[i] * (clicked - sigma)
            scale[variant, seed], trace[variant, seed] = c, tr


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


@compiled(reassociate=True)
def potter_update(S: Array, c: float, f: Array, v: float, kappa: float, gain: Array) -> float:
    r"""Rank-one Laplace update of the square root, in place.

    :math:`S \leftarrow S(I - a f f^\top)` with :math:`f = S^\top\phi`, :math:`v = c\,f^\top f` and
    :math:`a = (1 - 1/\sqrt{1 + \kappa v})\,c/v`, which gives
    :math:`c\,SS^\top - \frac{\kappa}{1 + \kappa v} R\phi\phi^\top R` (Potter 1963).

    Returns:
        The change of the trace of S Sᵀ; `gain` holds S f = Rφ / c of before the update.
    """
    d = f.shape[0]
    ff = v / c
    a = (1.0 - 1.0 / np.sqrt(1.0 + kappa * v)) / ff if ff > 0.0 else 0.0
    squares = 0.0
    for i in range(d):
        row = S[i]
        g = 0.0
        for j in range(d):
            g += row[j] * f[j]
        gain[i] = g
        squares += g * g
        weight = a * g
        for j in range(d):
            row[j] -= weight * f[j]
    return -(2.0 * a - a * a * ff) * squares
