"""Collection for on-policy methods, and the shapes that their samples take."""

import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet import sampler
from septet.nonfinite import check_finite
from septet.rl.config import BaseJob
from septet.rl.lockstep import own
from septet.rl.loop import Iteration
from septet.rl.networks import Parameters
from septet.rl.normalise import Moments
from septet.rl.policies import Policy, Shape
from septet.sampler.policy import GaussianPolicy
from septet.sampler.rollout import Rollout, merge_moments
from septet.sampler.samplers import Samplers
from septet.seeding import stream

Array = NDArray[np.float64]


class Batch(NamedTuple):
    """Samples of an iteration by seed, float32; where a seed has fewer than others, its rows end in zeros."""

    observation: Tensor
    """Normalised, (S, n, in)."""
    action: Tensor
    """As sampled, (S, n, A)."""
    log_prob: Tensor
    """Of the actions under the sampling policy, (S, n)."""
    advantage: Tensor
    """(S, n)."""
    returns: Tensor
    """Targets of the value net, (S, n)."""


def sizes_of(environment: str) -> tuple[int, int]:
    """Numbers of an observation and of an action."""
    batch = sampler.make(environment, seeds=[0], environments=1)
    batch.close()
    return batch.observation_size, batch.action_size


def by_seed(array: NDArray[Any], seeds: int) -> NDArray[Any]:
    """(T, S * B, ...) as (S, T * B, ...)."""
    split = array.reshape(len(array), seeds, -1, *array.shape[2:]).swapaxes(0, 1)
    return np.ascontiguousarray(split.reshape(seeds, -1, *array.shape[2:]))


def by_step(array: NDArray[Any], steps: int) -> NDArray[Any]:
    """(S, T * B) as (T, S * B): the inverse of `by_seed`."""
    return array.reshape(len(array), steps, -1).swapaxes(0, 1).reshape(steps, -1)


def normalised(observation: Array, mean: Array, scale: Array, clip: float) -> NDArray[np.float32]:
    """clip((o - mean) * scale) in float32, as the policy sees it when it acts; shapes broadcast."""
    return np.clip((observation - mean) * scale, -clip, clip).astype(np.float32)


def permutations(root: int, seeds: list[int], iteration: int, epochs: int, n: int) -> NDArray[np.int64]:
    """Order (S, epochs, n) in which each seed goes through its samples in an iteration."""
    draws = [stream(root, "minibatch", seed, iteration) for seed in seeds]
    return np.stack([np.stack([rng.permutation(n) for _ in range(epochs)]) for rng in draws])


def returns_of(rollout: Rollout, seeds: int) -> tuple[Array, Array]:
    """Mean return (NaN where no episode ended) and number of the episodes that ended, per seed (S,)."""
    seed = rollout.final_environment // (rollout.reward.shape[1] // seeds)
    episodes = np.bincount(seed, minlength=seeds).astype(np.float64)
    total = np.bincount(seed, weights=rollout.episode_return, minlength=seeds)
    return np.where(episodes > 0, total / np.maximum(episodes, 1.0), np.nan), episodes


@torch.no_grad()
def values_at(value: Parameters, x: NDArray[np.float32], seed: NDArray[np.int64]) -> Array:
    """Values (k,) of single observations x (k, in), each by the net of its seed (k,)."""
    values = np.zeros(len(x))
    for s in np.unique(seed):
        rows = np.flatnonzero(seed == s)
        values[rows] = value.network(own(value.flat, s), own(torch.from_numpy(x[rows][None]), 0)).reshape(-1).numpy()
    return values


class Collecting(ABC):
    """What on-policy methods share around learning: samplers, moments of the observations, state.

    Args:
        job: what to train.
        policy: shape of the policy that acts.
        steps: T, of each environment in an iteration.
        options: of `septet.sampler.samplers.Samplers`.
    """

    checkpointed: ClassVar[tuple[str, ...]] = ("moments", "samplers")
    judged_by, judged_after = "return", False

    def __init__(self, job: BaseJob, policy: GaussianPolicy, steps: int, **options: Any) -> None:
        self.job, self.shape = job, policy
        self.moments = Moments.none(len(job.seeds), policy.observation_size)
        self.window = steps * job.environments
        self.iterations = -(-job.steps // self.window)
        self.samplers = Samplers(
            job.task.environment,
            policy,
            seeds=job.seeds,
            environments=job.environments,
            steps=steps,
            root=job.root_seed,
            processes=job.samplers,
            mode=job.mode,
            bounds=job.task.actions,
            threads=job.threads,
            **options,
        )

    def iterate(self, iteration: int) -> Iteration:
        """Collect with the current policy, form the samples, learn from them."""
        rollout, seconds = self.collect()
        batch, scores = self.prepare(rollout)
        scores |= self.learn(batch, iteration)
        return self.finish(iteration, rollout, scores, seconds)

    @abstractmethod
    def weights(self) -> NDArray[np.float32]:
        """Weights (S, P) that the samplers act with."""

    @abstractmethod
    def scaling(self) -> tuple[Array, Array]:
        """Mean and scale (S, in) of observations, from `moments`."""

    @abstractmethod
    def prepare(self, rollout: Rollout) -> tuple[Any, dict[str, Array]]:
        """The samples of a rollout, and scores (S,)."""

    @abstractmethod
    def learn(self, batch: Any, iteration: int) -> dict[str, Array]:
        """Update policy and value net on one iteration's samples; diagnostics (S,)."""

    def acting(self) -> Policy:
        """What collects next; see `septet.rl.models.Keeps`."""
        own, (low, high) = self.samplers.collection, self.samplers.action_bounds
        shape = Shape.gaussian(self.shape, own.bounds, own.time_feature)
        return Policy(shape, self.weights(), *self.scaling(), low, high)

    def collect(self) -> tuple[Rollout, dict[str, float]]:
        """Broadcast and collect; the rollout, and the seconds of both (of learning, less its start)."""
        start = time.perf_counter()
        self.samplers.broadcast(self.weights(), *self.scaling())
        sent = time.perf_counter()
        rollout = self.samplers.collect()
        collected = time.perf_counter()
        return rollout, {"broadcast": sent - start, "collect": collected - sent, "learn": -collected}

    def finish(
        self, iteration: int, rollout: Rollout, scores: dict[str, Array], seconds: dict[str, float]
    ) -> Iteration:
        """Check what was learned, merge the moments of what was seen, and write the iteration down."""
        seeds = self.job.seeds
        mean_return, episodes = returns_of(rollout, len(seeds))
        for name, value in scores.items():
            check_finite(name, value, iteration, seeds)
        check_finite("policy", self.weights(), iteration, seeds)
        parts = (rollout.count, rollout.moment_mean, rollout.moment_m2)
        each = [part.reshape(len(seeds), -1, *part.shape[1:]) for part in parts]
        self.moments = self.moments.merge(Moments(*merge_moments(*each)))
        scores |= {"return": mean_return, "episodes": episodes}
        if self.job.mode == "asynchronous":
            scores["lag"] = rollout.lag.reshape(len(seeds), -1).mean(1)
        seconds["learn"] += time.perf_counter()
        return Iteration(by_seed(rollout.valid, len(seeds)).sum(1), scores, seconds)

    def restart(self, iteration: int) -> None:
        """Go on at an iteration with new episodes, where the samplers' state could not be saved."""
        self.samplers.iteration = iteration

    def close(self) -> None:
        """End the samplers."""
        self.samplers.close()
