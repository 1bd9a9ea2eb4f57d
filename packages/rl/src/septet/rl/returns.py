"""Returns and advantages along the time axis: bootstrap where a time limit cut, not where the task ended."""

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


def next_values(
    value: Array, last_value: Array, final_step: Integers, final_environment: Integers, final_value: Array
) -> Array:
    """Values of the states that each step led to: V(s_{t+1}), and V(final observation) where an episode ended.

    Args:
        value: V(s_t), (T, E).
        last_value: V of the observation after the last step, (E,).
        final_step: t of the K steps that ended an episode.
        final_environment: e of the same steps.
        final_value: V of their final observations, (K,).

    Returns:
        (T, E).
    """
    following = np.concatenate([value[1:], last_value[None]])
    following[final_step, final_environment] = final_value
    return following


STEPS = {"next_value": "f8 T>0 E", "terminated": "? T E", "truncated": "? T E", "valid": "? T E", "gamma": "float"}


@checked(reward="f8 T>0 E", value="f8 T E", lam="float", **STEPS)
@compiled()
def gae(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Flags,
    truncated: Flags,
    valid: Flags,
    gamma: float,
    lam: float,
) -> Array:
    """Generalised advantage estimates.

        delta_t = r_t + gamma V(s_{t+1}) [not terminated] - V(s_t)
        A_t = delta_t + gamma lambda A_{t+1} [no end at t]

    Schulman et al. 2016, equation 16.

    Args:
        reward: r, (T, E).
        value: V(s_t), (T, E).
        next_value: V(s_{t+1}), (T, E), see `next_values`.
        terminated: the task ended at t, (T, E).
        truncated: the episode was cut at t, (T, E).
        valid: false where an environment idled, (T, E); the advantage is 0 there.
        gamma: discount per step.
        lam: lambda.

    Returns:
        (T, E).
    """
    advantage = np.zeros(reward.shape)
    running = np.zeros(reward.shape[1])
    for t in range(reward.shape[0] - 1, -1, -1):
        for e in range(reward.shape[1]):
            if not valid[t, e]:
                running[e] = 0.0
                continue
            following = 0.0 if terminated[t, e] else next_value[t, e]
            delta = reward[t, e] + gamma * following - value[t, e]
            ended = terminated[t, e] or truncated[t, e]
            running[e] = delta if ended else delta + gamma * lam * running[e]
            advantage[t, e] = running[e]
    return advantage


@checked(reward="f8 T>0 E", **STEPS)
@compiled()
def discounted(
    reward: Array, next_value: Array, terminated: Flags, truncated: Flags, valid: Flags, gamma: float
) -> Array:
    """Discounted returns R_t = r_t + gamma R_{t+1}; V(s_{t+1}) stands for R_{t+1} where an episode was cut.

    Arguments as for `gae`; pass zeros as `next_value` to take time limits as ends of the task.
    """
    out = np.zeros(reward.shape)
    running = next_value[-1].astype(np.float64)
    for t in range(reward.shape[0] - 1, -1, -1):
        for e in range(reward.shape[1]):
            if not valid[t, e]:
                running[e] = 0.0
                continue
            if terminated[t, e]:
                running[e] = 0.0
            elif truncated[t, e]:
                running[e] = next_value[t, e]
            running[e] = reward[t, e] + gamma * running[e]
            out[t, e] = running[e]
    return out


def explained_variance(prediction: Array, target: Array) -> Array:
    """1 - Var(target - prediction) / Var(target) per seed, (S,), of arrays (S, n); 0 where the target is constant."""
    spread = target.var(1)
    known = spread > 0.0
    return np.where(known, 1.0 - (target - prediction).var(1) / np.where(known, spread, 1.0), 0.0)
