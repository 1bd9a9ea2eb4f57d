"""Voted RDA as pure functions of arrays (Xu, Gao, Lin and Xiao 2014, sections 2 and 3).

Notation of the paper: `g_k` subgradient at the k-th mistake, `s_k = g_1 + ... + g_k`,
`g_bar = s_k / k`, `Psi` the regulariser, `h(w) = |w|^2 / 2` the auxiliary function with weight
`beta_k = gamma sqrt(k)`, and

    w_{k+1} = argmin_w <g_bar, w> + Psi(w) + (beta_k / k) h(w).                              (update)

Every regulariser here has the same closed form per coordinate,

    w_{k+1} = -q(k) sign(s_k) max(|s_k| - t(k), 0),
    t(k) = l1 k + gamma rho sqrt(k),      q(k) = 1 / (l2 k + gamma sqrt(k)),

which is what makes lazy evaluation and the exact lazy average possible (`kernels`).
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Loss = Literal["hinge", "log"]


@dataclass(frozen=True)
class Regulariser:
    """`Psi(w) = l1 |w|_1 + l2/2 |w|_2^2`, with `h(w) = |w|_2^2 / 2 + rho |w|_1` ("enhanced l1" if rho > 0).

    All zero is no regulariser. The paper runs `l1` alone, with `gamma` its eta, and has `l2` in a remark; both
    together, and `rho`, are Xiao's (2010). `gamma` may be 0 only when `l2` is positive.

    Raises:
        ValueError: a weight is negative or not finite, or the update has no unique minimum.
    """

    l1: float = 0.0
    l2: float = 0.0
    rho: float = 0.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        """Refuse impossible weights."""
        for name in ("l1", "l2", "rho", "gamma"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < np.inf:
                raise ValueError(f"{name}: expected a finite number >= 0, found {value!r}")
            if float(value) > 1e50:  # a threshold, or its product with a sum of subgradients, may overflow
                raise ValueError(f"{name}: expected a number of at most 1e50, found {value!r}")
        if max(self.gamma, self.l2) < 1e-50:
            raise ValueError(f"gamma: expected a number >= 1e-50 when l2 is {self.l2!r}, found {self.gamma!r}")

    def weights(self) -> Floats:
        """The four numbers as the kernels take them, shape ``(4,)``: l1, l2, rho, gamma."""
        return np.array([self.l1, self.l2, self.rho, self.gamma])

    def threshold(self, k: ArrayLike) -> Any:
        """`t(k) = l1 k + gamma rho sqrt(k)`: sums of subgradients below it give weight zero."""
        k = np.asarray(k, dtype=np.float64)
        return self.l1 * k + self.gamma * self.rho * np.sqrt(k)

    def scale(self, k: ArrayLike) -> Any:
        """`q(k) = 1 / (l2 k + gamma sqrt(k))`, k >= 1."""
        k = np.asarray(k, dtype=np.float64)
        return 1.0 / (self.l2 * k + self.gamma * np.sqrt(k))


def prox_update(s: Floats, k: int, regulariser: Regulariser) -> Floats:
    """The predictor after the k-th mistake, `w_{k+1} = argmin <s/k, w> + Psi(w) + (gamma/sqrt(k)) h(w)`.

    Args:
        s: sum of the k subgradients, shape ``(n,)``.
        k: number of mistakes; 0 gives the zero predictor.
        regulariser: `Psi`, `h` and `gamma`.

    Returns:
        `w_{k+1}`, shape ``(n,)``. Section 2, with the closed forms of Xiao (2010), section 2.2.
    """
    if k == 0:
        return np.zeros_like(s)
    soft = np.sign(s) * np.maximum(np.abs(s) - regulariser.threshold(k), 0.0)
    return np.asarray(-regulariser.scale(k) * soft)


def loss_slope(margin: ArrayLike, loss: Loss) -> Any:
    """The factor `a >= 0` in the subgradient `g = -a y x` on a mistake (margin `<= 0`)."""
    margin = np.asarray(margin, dtype=np.float64)
    if loss == "hinge":
        return np.ones_like(margin)
    return 1.0 / (1.0 + np.exp(np.minimum(margin, 700.0)))


def mistake_bound(loss_u: ArrayLike, regret: ArrayLike, strength: ArrayLike) -> Any:
    """Bound on the number of mistakes M for a comparator u.

    `sqrt(M) <= (C + sqrt(C^2 + 4 (1 - Lambda) L)) / (2 (1 - Lambda))`, from
    `(1 - Lambda) M <= L + C sqrt(M)`.

    Args:
        loss_u: `L_M(u)`, loss of u summed over the mistakes.
        regret: `C = gamma |u|^2 / 2 + G^2 / gamma` with `|g_k| <= G` (see `regret_constant`).
        strength: relative strength of regularisation, `Lambda_M(u) = Psi(u) - (1/M) sum_k Psi(w_k)`. At most 0: the
            bound is no worse than without regulariser. Between 0 and 1: it inflates.

    Returns:
        The bound, infinite where `Lambda >= 1`. Section 3.
    """
    loss_u, regret, strength = np.broadcast_arrays(*(np.asarray(a, float) for a in (loss_u, regret, strength)))
    room = 1.0 - strength
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (regret + np.sqrt(regret**2 + 4.0 * room * loss_u)) / (2.0 * room)
    return np.where(room > 0, root**2, np.inf)


def regret_constant(u_norm: ArrayLike, g_max: float, gamma: ArrayLike) -> Any:
    """`C = gamma |u|_2^2 / 2 + G^2 / gamma`, the constant of RDA's regret `C sqrt(M)` (Xiao 2010, corollary 2)."""
    gamma = np.asarray(gamma, dtype=np.float64)
    return 0.5 * gamma * np.asarray(u_norm, dtype=np.float64) ** 2 + g_max**2 / gamma


def fitted_bound(
    margins: Floats, u_norm: float, l1_u: float, g_max: float, mean_l1_w: float, l1: float
) -> tuple[float, float]:
    """Bound for one comparator at the multiple of it that fits the mistakes best, for hinge loss and l1.

    A multiple near 0 would always give a bound near M, since the zero vector loses 1 at every
    mistake: it says nothing. So the multiple is the one with the least loss `L_M`. Gamma is free:
    for hinge and l1 the mistakes do not depend on it (predictions are blind to the scale of w)
    while `w_k` shrinks as `1/gamma`, so the bound holds at every gamma and the least over gamma holds.

    Args:
        margins: `<u, -g_k>` at each of the M mistakes, shape ``(M,)``.
        u_norm: `|u|_2`.
        l1_u: `|u|_1` over the penalised coordinates.
        g_max: largest `|g_k|_2`.
        mean_l1_w: mean of `|w_k|_1` over the mistakes, at gamma = 1.
        l1: the weight lambda.

    Returns:
        ``(bound on M, Lambda_M(u) at that bound)``; infinite if `Lambda >= 1` at every gamma.
    """
    if len(margins) == 0:
        return 0.0, 0.0
    typical = float(np.mean(np.abs(margins))) or 1.0
    multiples = np.geomspace(1e-3, 1e2, 101) / typical
    losses = np.array([np.maximum(0.0, 1.0 - multiple * margins).sum() for multiple in multiples])
    at = int(np.argmin(losses))
    multiple, gammas = multiples[at], np.geomspace(1e-4, 1e6, 201)
    strength = l1 * multiple * l1_u - l1 * mean_l1_w / gammas
    bounds = mistake_bound(losses[at], regret_constant(multiple * u_norm, g_max, gammas), strength)
    least = int(np.argmin(bounds))
    return float(bounds[least]), float(strength[least])
