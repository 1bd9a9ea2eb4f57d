"""Simulated worlds: contexts, moving weights and the click probabilities that follow from them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.compiled import compiled
from septet.dynts.config import Simulation
from septet.seeding import stream

Array = NDArray[np.float64]

CONTEXT_SCALE = 1.0 / 1.5  # contexts (1, N(0, I)) * this have a norm of about sqrt(d) / 1.5


class Rounds(NamedTuple):
    """A stretch of T rounds of one world, for S seeds."""

    features: Array
    """Disjoint arms: contexts ``(S, T, D)``. Shared weights: joint features ``(S, T * K, D)``."""
    probabilities: Array
    """Click probability of each arm: ``(S, T, K)``, or ``(S, T * K)`` with shared weights."""
    rewards: Array
    """Uniforms behind the clicks, ``(S, T)``: common to all methods."""
    weights: Array
    """Weights after each mark in the stretch, ``(S, marks, groups, D)``."""


def initial_weights(task: Simulation, root: int, seeds: list[int]) -> Array:
    """w_0 ~ N(0, I) of shape ``(S, groups, D)``; one group per arm, or one in all when shared."""
    shape = (task.groups, task.dim)
    return np.stack([stream(root, "dynts", task.name, "weights", seed).standard_normal(shape) for seed in seeds])


def simulate(
    task: Simulation, root: int, seeds: list[int], weights: Array, start: int, stop: int, marks: NDArray[np.int64]
) -> tuple[Rounds, Array]:
    """Simulate rounds ``start + 1 .. stop`` from the weights that held after round `start`.

    Args:
        weights: ``(S, groups, D)``.
        start: names, with the seed, the random streams of the stretch.
        marks: rounds of the stretch, counted from 1, whose weights are kept.

    Returns:
        The rounds, and the weights ``(S, groups, D)`` at their end.
    """
    each = zip(seeds, weights, strict=True)
    parts, ends = zip(*(_simulate_one(task, root, seed, w, start, stop, marks) for seed, w in each), strict=True)
    return Rounds(*(np.stack(fields) for fields in zip(*parts, strict=True))), np.stack(ends)


def _simulate_one(
    task: Simulation, root: int, seed: int, weights: Array, start: int, stop: int, marks: NDArray[np.int64]
) -> tuple[Rounds, Array]:
    length = stop - start

    def draws(what: str) -> np.random.Generator:
        return stream(root, "dynts", task.name, what, seed, start)

    moved = weights.copy()
    noise = draws("drift").standard_normal((length if task.drift != "static" else 0, task.groups, task.dim))
    path = np.empty((length, task.groups, task.dim))
    _drift(moved, noise, path, start, task.persistence, task.step_sd, task.period if task.drift == "reset" else 0)
    contexts = draws("contexts").standard_normal((length, task.context_dim)) * CONTEXT_SCALE
    contexts[:, 0] = CONTEXT_SCALE
    if task.shared:
        ads = stream(root, "dynts", task.name, "ads", seed).standard_normal((task.arms, task.ad_dim)) * CONTEXT_SCALE
        joint = joint_features(contexts, ads)
        logits = np.einsum("tkd,td->tk", joint, path[:, 0]).reshape(-1)
        features = joint.reshape(-1, task.dim)
    else:
        features, logits = contexts, np.einsum("td,tkd->tk", contexts, path)
    rounds = Rounds(features, 1.0 / (1.0 + np.exp(-logits)), draws("rewards").random(length), path[marks - start - 1])
    return rounds, moved


def joint_features(contexts: Array, ads: Array) -> Array:
    """Features of (user, ad): the user, the ad, and their products.

    Args:
        contexts: users ``(T, U)``, the first column constant; ads: ``(K, A)``.

    Returns:
        ``(T, K, U + A + (U - 1) A)``: user, ad, crossed (the constant's products are the ad itself).
    """
    rounds, users = contexts.shape
    arms, size = ads.shape
    user = np.broadcast_to(contexts[:, None, :], (rounds, arms, users))
    ad = np.broadcast_to(ads[None], (rounds, arms, size))
    crossed = (contexts[:, None, 1:, None] * ads[None, :, None, :]).reshape(rounds, arms, (users - 1) * size)
    return np.concatenate([user, ad, crossed], axis=2)


@compiled()
def _drift(w: Array, noise: Array, path: Array, start: int, keep: float, step: float, period: int) -> None:
    """w_t = keep * w_{t-1} + step * noise_t, or a fresh draw every `period` rounds; w_t goes to `path`."""
    for t in range(path.shape[0]):
        if period > 0:
            if start + t > 0 and (start + t) % period == 0:
                w[:] = noise[t]
        elif noise.shape[0] > 0:
            w[:] = keep * w + step * noise[t]
        path[t] = w
