"""Rewards and observations that are not finite: reported before anything is learned from them."""

from collections.abc import Sequence

import numpy as np

from septet.errors import NotFinite
from septet.sampler.batch import Step
from septet.sampler.rollout import Array, Rollout

LARGEST = float(np.finfo(np.float32).max)
"""The largest value that replays and networks can hold."""


def fits(values: Array) -> bool:
    """Whether all values are finite, also as float32."""
    return bool((np.abs(values) <= LARGEST).all())


def check(name: str, values: Array, seeds: Sequence[int], where: str) -> None:
    """Raise NotFinite unless values ``(E, ...)`` of the E environments are finite, also as float32.

    Args:
        name: of the values, as the message calls them.
        seeds: of the environments ``(E,)``, or fewer: the S seeds, each of E / S environments in a row.
        where: what the message begins with, e.g. ``"step 12"``.
    """
    if fits(values):
        return
    rows = values.reshape(len(values), -1)
    environment, column = np.argwhere(~(np.abs(rows) <= LARGEST))[0]
    seed = seeds[environment // (len(rows) // len(seeds))]
    raise NotFinite(f"{where}: {name} is not finite: {rows[environment, column]:g} (seed {seed})")


def check_step(step: Step, seeds: Sequence[int], where: str) -> None:
    """`check` the rewards and observations of a step."""
    check("reward", step.reward, seeds, where)
    check("observation", step.next_observation, seeds, where)
    if step.observation is not step.next_observation:  # of episodes that begin
        check("observation", step.observation, seeds, where)


def check_rollout(rollout: Rollout, seeds: Sequence[int], iteration: int) -> None:
    """Raise NotFinite for the first reward or observation of a rollout that is not finite, also as float32.

    Args:
        rollout: of E environments.
        seeds: as of `check`.
        iteration: its number, for the message.
    """
    # an observation that is not finite makes the mean of its column so: it need not be looked at here
    if all(fits(x) for x in (rollout.reward, rollout.moment_mean, rollout.last_observation, rollout.final_observation)):
        return
    for t, valid in enumerate(rollout.valid):
        seen = np.where(valid[:, None], rollout.observation[t], 0.0)
        check("observation", seen, seeds, f"iteration {iteration}, after step {t}")
        where = f"iteration {iteration}, step {t + 1}"
        check("reward", np.where(valid, rollout.reward[t], 0.0), seeds, where)
        ended, led = rollout.final_step == t, np.zeros_like(rollout.last_observation)
        led[rollout.final_environment[ended]] = rollout.final_observation[ended]
        check("observation", led, seeds, where)
    for e, observation in enumerate(rollout.last_observation):
        where = f"iteration {iteration}, after step {np.count_nonzero(rollout.valid[:, e])}"
        check("observation", observation[None], [seeds[e // (len(rollout.last_observation) // len(seeds))]], where)
