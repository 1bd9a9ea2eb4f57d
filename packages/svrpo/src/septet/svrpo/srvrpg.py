"""SRVR-PG: stochastic recursive variance-reduced policy gradient (Xu, Gao and Gu 2020)."""

from torch import Tensor


def direction(at_w: Tensor, weighted_at_previous: Tensor, previous: Tensor) -> Tensor:
    """Recursive semi-stochastic gradient, algorithm 1.

        v_t = v_{t-1} + g(tau; theta_t) - omega g(tau; theta_{t-1}),   tau ~ pi(theta_t)

    Args:
        at_w: gradient of B new trajectories at theta_t, (P,).
        weighted_at_previous: their gradient one step before, weighted by omega = p(tau; theta_{t-1}) / p(tau; theta_t).
        previous: v_{t-1}.
    """
    return at_w - weighted_at_previous + previous
