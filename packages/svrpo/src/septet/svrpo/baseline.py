"""Returns for the ridge baseline of section 2.6 (`septet.rl.baseline`), and the time that it knows."""

import numpy as np
from numpy.typing import NDArray

from septet.rl.returns import discounted

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


def steps_since_reset(start: Integers, ended: Flags) -> Integers:
    """Steps (T, E) that each running episode had behind it at each step.

    Args:
        start: at the first step, (E,).
        ended: the episode ended with this step, (T, E).
    """
    out = np.empty(ended.shape, np.int64)
    running = start.copy()
    for t, over in enumerate(ended):
        out[t] = running
        running = np.where(over, 0, running + 1)
    return out


def returns(
    reward: Array,
    terminated: Flags,
    truncated: Flags,
    last_value: Array,
    final_value: Array | None,
    gamma: float,
) -> Array:
    """Discounted returns (T, E).

    As published the time limit is an end of the task: the baseline knows the time, so this is a task of finite
    horizon. An episode that the batch cuts in two goes on with the baseline's value.

    Args:
        reward, terminated, truncated: (T, E).
        last_value: value after the last step, (E,).
        final_value: values of the states that time limits cut, (T, E), to count them; none as published.
        gamma: discount per step.
    """
    following = np.zeros_like(reward) if final_value is None else final_value.copy()
    following[-1] = np.where(truncated[-1] | terminated[-1], following[-1], last_value)
    return discounted(reward, following, terminated, truncated, np.ones_like(terminated), gamma)
