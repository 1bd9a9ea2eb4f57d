"""SVRPG: stochastic variance-reduced policy gradient (Papini, Binaghi, Canonaco, Pirotta and Restelli 2018)."""

from torch import Tensor


def direction(at_w: Tensor, weighted_at_snapshot: Tensor, full: Tensor) -> Tensor:
    """Semi-stochastic gradient of algorithm 1, line 8.

        v = g(tau; theta_t) - omega g(tau; theta~) + g_N(theta~),   tau ~ pi(theta_t)

    Args:
        at_w: gradient of B new trajectories at theta_t, (P,).
        weighted_at_snapshot: their gradient at the snapshot, weighted by omega = p(tau; theta~) / p(tau; theta_t).
        full: gradient of the snapshot's N trajectories.
    """
    return at_w - weighted_at_snapshot + full


def epoch_ends(snapshot_rate: float, inner_rate: float, snapshot: int, trajectories: int) -> bool:
    """Whether a new snapshot brings more per trajectory than another inner step: a_FG / N > a_SI / B (section 5.2).

    Args:
        snapshot_rate: a_FG, length of the snapshot's step per length of its gradient.
        inner_rate: a_SI, the same of the last inner step.
        snapshot: N.
        trajectories: B.
    """
    return snapshot_rate / snapshot > inner_rate / trajectories
