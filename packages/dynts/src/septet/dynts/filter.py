r"""The filter: predict with a discount, update by Laplace's method.

Model (section 2.1 of the method page, the paper's dynamic logistic model): weights :math:`w_t = w_{t-1} +
\epsilon_t`, clicks :math:`P(y_t = 1) = \sigma(\phi_t^\top w_t)`, posterior :math:`N(\mu_t, \Sigma_t)`.
All functions are compiled by numba and can be called from Python and from other compiled code.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled

Array = NDArray[np.floating[Any]]

LOGIT_LIMIT = 30.0  # beyond it the sigmoid is 0 or 1 to float precision
NEWTON_STEPS = 100  # a click needs about 4
RESTORE = 0.8  # share of the prior's weight below which it is given back


@compiled()
def sigmoid(s: float) -> float:
    """Logistic function of a logit, clipped at ±30."""
    return 1.0 / (1.0 + np.exp(-min(max(s, -LOGIT_LIMIT), LOGIT_LIMIT)))


@compiled()
def laplace_logit(m: float, v: float, clicks: float, trials: float) -> float:
    r"""Logit at the posterior mode: the root of :math:`s = m + v\,(c - n\,\sigma(s))`.

    The D-dimensional mode of the Laplace step lies on the line :math:`\mu + R\phi\,z`, so one scalar
    Newton iteration finds it (section 2.2). The root is unique and lies in
    :math:`[m - v(n - c),\ m + v c]`; a step that leaves the bracket, or does not halve the one before,
    is replaced by a bisection (Newton alone can cycle when many trials meet a wide prior).

    Args:
        m: prior mean of the logit, :math:`\phi^\top\mu`.
        v: prior variance of the logit, :math:`\phi^\top R\phi`.
        clicks: c successes ...
        trials: ... of n trials with the same features (1 for a single click or no click).
    """
    low = m - v * (trials - clicks)
    high = m + v * clicks
    s = min(max(m, low), high)
    last = high - low
    for _ in range(NEWTON_STEPS):
        p = sigmoid(s)
        excess = s - m - v * (clicks - trials * p)
        if excess > 0.0:
            high = s
        else:
            low = s
        step = excess / (1.0 + v * trials * p * (1.0 - p))
        if not low <= s - step <= high or abs(step) > 0.5 * last:
            step = s - 0.5 * (low + high)
        s -= step
        last = abs(step)
        if last <= 1e-13 * (1.0 + abs(s)):
            break
    return s


@checked(mu="real D", R="real D D", phi="real D")
@compiled()
def assimilate(mu: Array, R: Array, phi: Array, residual: float, kappa: float) -> tuple[Array, Array]:
    r"""Posterior from the residual and curvature of the log likelihood at its mode.

    .. math:: \mu_t = \mu_{t-1} + R\phi\,g,\qquad
              \Sigma_t = R - \frac{\kappa}{1 + \kappa\,\phi^\top R\phi}\,R\phi\phi^\top R

    Args:
        mu: prior mean, shape ``(D,)``.
        R: predicted covariance, shape ``(D, D)``.
        phi: features, shape ``(D,)``.
        residual: g, derivative of the log likelihood in the logit, at the mode.
        kappa: minus its second derivative there.

    Returns:
        Mean ``(D,)`` and covariance ``(D, D)``; the inputs are left alone.
    """
    gain = R @ phi
    grown = 1.0 + kappa * max(np.dot(phi, gain), 0.0)
    sigma = R - kappa / grown * np.outer(gain, gain)
    # A variance falls to R_ii / grown at most; where phi is huge, the difference above is rounding alone.
    for i in range(mu.shape[0]):
        sigma[i, i] = max(sigma[i, i], R[i, i] / grown)
    return mu + gain * residual, sigma


@checked(mu="real D", R="real D D", phi="real D")
@compiled()
def laplace_update(mu: Array, R: Array, phi: Array, clicks: float, trials: float) -> tuple[Array, Array]:
    """Laplace update of section 2.2 for c clicks in n trials with the same features.

    Shapes as in `assimilate`, which it calls with g = c - n σ(s) and κ = n σ(s)(1 - σ(s)).
    """
    s = laplace_logit(np.dot(phi, mu), max(np.dot(phi, R @ phi), 0.0), clicks, trials)
    p = sigmoid(s)
    return assimilate(mu, R, phi, clicks - trials * p, trials * p * (1.0 - p))


@checked(mu="real D", R="real D D", phi="real D")
@compiled()
def gaussian_update(mu: Array, R: Array, phi: Array, y: float, noise: float) -> tuple[Array, Array]:
    r"""The linear special case :math:`y = \phi^\top w + N(0, r)`: the Kalman filter's update.

    Shapes as in `assimilate`; `noise` is the variance r.
    """
    v = np.dot(phi, R @ phi)
    s = (noise * np.dot(phi, mu) + v * y) / (noise + v)
    return assimilate(mu, R, phi, (y - s) / noise, 1.0 / noise)


@checked(mu="real D", R="real D D", phis="real B D", clicks="real B", trials="real B")
@compiled()
def laplace_update_batch(mu: Array, R: Array, phis: Array, clicks: Array, trials: Array) -> tuple[Array, Array]:
    r"""Laplace update on a mini-batch: Newton's method in D dimensions (section 2.2).

    Newton's method runs on u with :math:`w = \mu + S u` and :math:`S S^\top = R`: gradient :math:`u - A^\top (c - n
    \sigma)` and Hessian :math:`I + A^\top \mathrm{diag}(n\sigma(1-\sigma)) A` with :math:`A = \Phi S`, which can
    be inverted even where R cannot. A step is halved until the objective falls.

    Args:
        mu: prior mean ``(D,)``; R: predicted covariance ``(D, D)``.
        phis: features ``(B, D)``; clicks, trials: counts ``(B,)``.

    Returns:
        Mean ``(D,)`` and covariance ``(D, D)``.
    """
    variance, directions = np.linalg.eigh(R)
    S = directions * np.sqrt(np.maximum(variance, 0.0))
    A, offset = phis @ S, phis @ mu
    u = np.zeros_like(mu)
    value = _negative_log_posterior(u, A, offset, clicks, trials)
    hessian = np.eye(mu.shape[0])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(A @ u + offset, -LOGIT_LIMIT, LOGIT_LIMIT)))
        gradient = u - A.T @ (clicks - trials * p)
        hessian = np.eye(mu.shape[0]) + A.T @ ((trials * p * (1.0 - p)).reshape(-1, 1) * A)
        step = np.linalg.solve(hessian, gradient)
        length = 1.0
        while True:
            new = _negative_log_posterior(u - length * step, A, offset, clicks, trials)
            if new <= value or length < 1e-6:
                break
            length *= 0.5
        u = u - length * step
        value = new
        if np.max(np.abs(step)) < 1e-11:
            break
    return mu + S @ u, S @ np.linalg.solve(hessian, np.ascontiguousarray(S.T))


@compiled()
def _negative_log_posterior(u: Array, A: Array, offset: Array, clicks: Array, trials: Array) -> float:
    logits = A @ u + offset
    # log(1 + e^s) without overflow
    log_partition = np.maximum(logits, 0.0) + np.log1p(np.exp(-np.abs(logits)))
    return 0.5 * np.dot(u, u) - np.sum(clicks * logits - trials * log_partition)


@compiled()
def restoration_due(kept: float, gamma: float, dimension: int) -> bool:
    """Whether the prior has lost so much of its weight that `restore` is called.

    One restoration is D rank-one updates. A sweep each D rounds, when a fifth of the weight is gone, makes that
    O(D²) a round; a decay so fast that half would be gone by then is swept as often as that takes.

    Args:
        kept: share of the prior's precision left; gamma: this round's decay; dimension: D.
    """
    return kept < RESTORE and kept <= max(gamma**dimension, 0.5) * (1.0 + 1e-9)  # D products round


@checked(mu="real D", sigma="real D D", prior_mean="real D", prior_variance="real D")
@compiled()
def restore(mu: Array, sigma: Array, prior_mean: Array, prior_variance: Array, kept: float) -> tuple[Array, Array]:
    r"""Give the prior its full weight back after :math:`R = \Sigma/\gamma` has discounted it with the samples.

    Dividing every round blows up directions that are not observed (covariance wind-up, pitfall 1 of the method
    page). Only samples are to be forgotten,

    .. math:: \Lambda_t = \Lambda_0 + \sum_r \Gamma_{r,t}\,\kappa_r\phi_r\phi_r^\top,

    so the lost share of :math:`\Lambda_0` is observed again: each weight at its prior mean with precision
    :math:`(1 - \text{kept}) / \text{prior variance}`, one rank-one update each.

    Args:
        mu: mean ``(D,)``; sigma: covariance ``(D, D)``.
        prior_mean: ``(D,)``; prior_variance: ``(D,)``, the diagonal of the prior's covariance.
        kept: share of the prior's precision left, in (0, 1).

    Returns:
        Mean ``(D,)`` and covariance ``(D, D)``; the inputs are left alone.
    """
    for i in range(mu.shape[0]):
        at = np.zeros(mu.shape[0])
        at[i] = 1.0
        mu, sigma = gaussian_update(mu, sigma, at, prior_mean[i], prior_variance[i] / (1.0 - kept))
    return mu, sigma


@compiled()
def click_probability(m: float, v: float) -> float:
    r"""Predictive click probability, :math:`\sigma(m/\sqrt{1 + \pi v/8})` (pitfall 7 of the method page)."""
    return sigmoid(m / np.sqrt(1.0 + np.pi * v / 8.0))
