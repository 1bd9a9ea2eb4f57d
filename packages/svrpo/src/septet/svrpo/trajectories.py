"""Policy gradients of whole trajectories, and their importance weights: what SVRPG and SRVR-PG share.

These methods sample new trajectories in the inner loop and re-weight their gradient at an older policy; SVRPO does
neither (section 5, table of separate methods).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.rl.networks import Network
from septet.svrpo import network_passes as passes
from septet.svrpo.network_passes import Samples

Array = NDArray[np.float64]

LARGEST_LOG_WEIGHT = 10.0
"""Log-weights are cut off here: beyond, one trajectory is the whole estimate, and float32 overflows at 88."""


def log_weights(
    network: Network, row: Tensor, sampling_row: Tensor, observation: Tensor, action: Tensor, steps: int
) -> Array:
    """log omega_{0:t} = sum_{h <= t} log pi_row(a_h | s_h) - log pi_sampling(a_h | s_h), (B, T).

    Args:
        network: the policies'.
        row: parameters (P,) of the policy whose gradient is wanted.
        sampling_row: parameters (P,) with which the trajectories were sampled.
        observation, action: of B trajectories of T steps, (B T, ...).
        steps: T.
    """
    log_probs = []
    for each in (row, sampling_row):
        layers, log_std = passes.split(network, each)
        log_probs.append(passes.log_prob(passes.forward(layers, observation)[1], log_std, action))
    change = (log_probs[0] - log_probs[1]).double().numpy().reshape(-1, steps)
    return change.cumsum(1).clip(-LARGEST_LOG_WEIGHT, LARGEST_LOG_WEIGHT)


def coefficients(reward: Array, value: Array, gamma: float, weight: Array | None = None) -> Array:
    """Factor c_t of d log pi(a_t | s_t) in the gradient of a trajectory (GPOMDP), (B, T).

        c_t = sum_{h >= t} gamma^h omega_{0:h} r_h - gamma^t omega_{0:t} b(s_t)

    Baxter and Bartlett 2001; weights per decision as in Papini et al. 2018, section 4.1.

    Args:
        reward: (B, T).
        value: the baseline b, (B, T).
        gamma: discount per step.
        weight: omega_{0:t}, (B, T); none for 1.
    """
    discount = gamma ** np.arange(reward.shape[1])
    if weight is not None:
        discount = discount * weight
    return np.flip(np.flip(discount * reward, 1).cumsum(1), 1) - discount * value


def gradient(network: Network, row: Tensor, observation: Tensor, action: Tensor, factor: Array) -> Tensor:
    """Ascent direction (P,): 1/B sum_b sum_t c_t d log pi(a_t | s_t), with c (B, T)."""
    steps = factor.shape[1]
    weight = torch.from_numpy((steps * factor).ravel()).to(row.dtype)
    parts = passes.chunks(Samples(observation, action, weight, action))
    return -passes.surrogate_gradient(network, row, parts, row[-action.shape[1] :])
