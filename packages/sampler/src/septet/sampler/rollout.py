"""What an iteration collects: arrays of steps, and the sparse ends of episodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.compiled import compiled

Array = NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One iteration's experience of E environments, T steps each; K episodes ended in it.

    Environments are ordered seed-major. The big arrays are views of the collector's memory: they hold until
    its next `collect`. Where `valid` is false the step did not happen, and the arrays hold zeros.

    Attributes:
        observation: on which each action was chosen, float64 ``(T, E, obs)``, not normalised.
        action: as sampled, before it was fitted into the environment's bounds, float32 ``(T, E, act)``.
        reward: float64 ``(T, E)``; terminated, truncated, valid: bool ``(T, E)``.
        last_observation: the one after the last step, ``(E, obs)``: where to bootstrap unfinished episodes.
        mean, scale: with which each environment's policy normalised its observations, ``(E, obs)``.
        version: of the weights that each environment was sampled with, ``(E,)``; lag: how many broadcasts the
            learner is ahead of it, ``(E,)``, always 0 in synchronous mode.
        final_step, final_environment: where episodes ended, by time and then environment, ``(K,)``.
        final_observation: to which their last steps led, before the reset, ``(K, obs)``.
        episode_return, episode_length: sum of rewards and number of steps of whole episodes, ``(K,)``.
        count, moment_mean, moment_m2: of each environment's observations: number ``(E,)``, mean and sum of
            squared deviations from it, ``(E, obs)``.
    """

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    valid: Array
    last_observation: Array
    mean: Array
    scale: Array
    version: Array
    lag: Array
    final_step: Array
    final_environment: Array
    final_observation: Array
    episode_return: Array
    episode_length: Array
    count: Array
    moment_mean: Array
    moment_m2: Array


STEPWISE = ("observation", "action", "reward", "terminated", "truncated", "valid")
SPARSE = ("final_observation", "episode_return", "episode_length")  # written where an episode ended
PER_ENVIRONMENT = ("last_observation", "mean", "scale", "version", "count", "moment_mean", "moment_m2")


def layout(steps: int, environments: int, observation: int, action: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each array of a rollout while it is collected: the ends of episodes not yet picked out."""
    by_step, wide = (steps, environments), (environments, observation)
    return {
        "observation": ((*by_step, observation), "f8"),
        "action": ((*by_step, action), "f4"),
        "reward": (by_step, "f8"),
        "terminated": (by_step, "?"),
        "truncated": (by_step, "?"),
        "valid": (by_step, "?"),
        "final_observation": ((*by_step, observation), "f8"),
        "episode_return": (by_step, "f8"),
        "episode_length": (by_step, "i8"),
        "last_observation": (wide, "f8"),
        "mean": (wide, "f8"),
        "scale": (wide, "f8"),
        "version": ((environments,), "i8"),
        "count": ((environments,), "f8"),
        "moment_mean": (wide, "f8"),
        "moment_m2": (wide, "f8"),
    }


def assemble(arrays: Mapping[str, Array], steps: int, version: int) -> Rollout:
    """The rollout of the first `steps` rows of arrays laid out by `layout`, for a learner at `version`."""
    cut = {name: arrays[name][:steps] for name in (*STEPWISE, *SPARSE)}
    ended = np.nonzero(cut["terminated"] | cut["truncated"])
    return Rollout(
        **{name: cut[name] for name in STEPWISE},
        **{name: cut[name][ended] for name in SPARSE},
        **{name: arrays[name] for name in PER_ENVIRONMENT},
        final_step=ended[0],
        final_environment=ended[1],
        lag=version - arrays["version"],
    )


@checked(observation="any f8 T E I", valid="any ? T E", count="out f8 E", mean="out f8 E I", m2="out f8 E I")
@compiled(nogil=True)
def moments(observation: Array, valid: Array, count: Array, mean: Array, m2: Array) -> None:
    r"""Number, mean and :math:`\sum (o - \bar o)^2` of each environment's valid observations.

    Summed in the order of time for each environment alone, so the bits do not depend on the others.

    Args:
        observation: ``(T, E, obs)``; valid: ``(T, E)``.
        count: filled, ``(E,)``; mean, m2: filled, ``(E, obs)``.
    """
    steps, environments, size = observation.shape
    count[:] = 0.0
    mean[:] = 0.0
    m2[:] = 0.0
    for t in range(steps):
        for e in range(environments):
            if valid[t, e]:
                count[e] += 1.0
                for i in range(size):
                    mean[e, i] += observation[t, e, i]
    for e in range(environments):
        for i in range(size):
            mean[e, i] /= max(count[e], 1.0)
    for t in range(steps):
        for e in range(environments):
            if valid[t, e]:
                for i in range(size):
                    away = observation[t, e, i] - mean[e, i]
                    m2[e, i] += away * away


def merge_moments(count: Array, mean: Array, m2: Array) -> tuple[Array, Array, Array]:
    r"""Moments of several sets together, added in their order (Chan, Golub and LeVeque).

    .. math:: \bar o = \frac{\sum_e n_e \bar o_e}{\sum_e n_e},\qquad
              M = \sum_e \big(M_e + n_e (\bar o_e - \bar o)^2\big)

    Args:
        count: ``(..., B)``; mean, m2: ``(..., B, obs)``.

    Returns:
        Count ``(...)``, mean and M ``(..., obs)``.
    """
    total = count.sum(axis=-1)
    weight = count[..., None]
    centre = (weight * mean).sum(axis=-2) / np.maximum(total, 1.0)[..., None]
    return total, centre, (m2 + weight * (mean - centre[..., None, :]) ** 2).sum(axis=-2)
