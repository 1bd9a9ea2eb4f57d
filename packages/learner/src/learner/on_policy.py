"""What the on-policy methods share: collect with the policy, estimate advantages, hand them to the update."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learner import gaussian, returns
from learner.config import PPO, TRPO, VPG, Job
from learner.loop import Iteration, check_finite
from learner.networks import Network, Parameters, initial, orthogonal
from learner.normalise import Moments, standard
from learner.optimisers import Adam
from septet.seeding import stream
from walle.collect import Collection, Collector
from walle.policy import GaussianPolicy
from walle.rollout import Rollout, merge_moments

Array = NDArray[np.float64]
M = TypeVar("M", VPG, TRPO, PPO)
EPS = 1e-5  # Adam's, as in Stable-Baselines3


class Batch(NamedTuple):
    """Samples of an iteration by seed, float32."""

    observation: Tensor
    """Normalised, (S, n, in)."""
    action: Tensor
    """As sampled, (S, n, A)."""
    log_prob: Tensor
    """Of the actions under the sampling policy, (S, n)."""
    advantage: Tensor
    """(S, n)."""
    returns: Tensor
    """Targets of the value net, advantage + value, (S, n)."""


def permutations(root: int, seeds: list[int], iteration: int, epochs: int, n: int) -> NDArray[np.int64]:
    """Order (S, epochs, n) in which each seed goes through its samples in an iteration."""
    draws = [stream(root, "minibatch", seed, iteration) for seed in seeds]
    return np.stack([np.stack([rng.permutation(n) for _ in range(epochs)]) for rng in draws])


def by_seed(array: NDArray[Any], seeds: int) -> NDArray[Any]:
    """(T, S * B, ...) as (S, T * B, ...)."""
    split = array.reshape(len(array), seeds, -1, *array.shape[2:]).swapaxes(0, 1)
    return split.reshape(seeds, -1, *array.shape[2:])


def normalised(observation: Array, mean: Array, scale: Array, clip: float = 10.0) -> NDArray[np.float32]:
    """clip((o - mean) * scale) in float32, as the policy sees it when it acts; shapes broadcast."""
    return np.clip((observation - mean) * scale, -clip, clip).astype(np.float32)


def returns_of(rollout: Rollout, seeds: int) -> tuple[Array, Array]:
    """Mean return (NaN where no episode ended) and number of the episodes that ended, per seed (S,)."""
    seed = rollout.final_environment // (rollout.reward.shape[1] // seeds)
    episodes = np.bincount(seed, minlength=seeds).astype(np.float64)
    total = np.bincount(seed, weights=rollout.episode_return, minlength=seeds)
    return np.where(episodes > 0, total / np.maximum(episodes, 1.0), np.nan), episodes


class OnPolicy(ABC, Generic[M]):
    """A Gaussian policy and a value net, orthogonal tanh nets that share nothing; S seeds in lockstep.

    Args:
        job: what to train.
    """

    def __init__(self, job: Job) -> None:
        method: Any = job.method
        self.job, self.method = job, method
        seeds = len(job.seeds)
        collection, self.collector = collector_of(job, method.hidden, method.steps)
        sizes = collection.policy.sizes
        gains = [math.sqrt(2.0)] * len(method.hidden)
        networks = Network(sizes, free=sizes[-1]), Network((*sizes[:-1], 1))
        draws = orthogonal([*gains, 0.01]), orthogonal([*gains, 1.0])
        self.policy, self.value = (
            Parameters(network, initial(network, job.root_seed, (name,), job.seeds, draw))
            for network, name, draw in zip(networks, ("policy", "value"), draws, strict=True)
        )
        rates = self.rates()
        self.policy_optimiser = Adam(self.policy.flat, self.policy.gradient, rates[0], eps=EPS)
        self.value_optimiser = Adam(self.value.flat, self.value.gradient, rates[1], eps=EPS)
        self.moments = Moments.none(seeds, sizes[0])
        self.iterations = -(-job.steps // (method.steps * job.environments))

    @abstractmethod
    def rates(self) -> tuple[float, float]:
        """Adam's rates of policy and value net."""

    @abstractmethod
    def learn(self, batch: Batch, iteration: int) -> dict[str, Array]:
        """Update policy and value net on one iteration's samples; diagnostics (S,)."""

    def iterate(self, iteration: int) -> Iteration:
        """Collect with the current policy, then learn."""
        start = time.perf_counter()
        mean, scale = self.scaling()
        rollout = self.collector.collect(self.policy.flat.numpy(), iteration=iteration, mean=mean, scale=scale)
        collected = time.perf_counter()
        batch, scores = self.prepare(rollout, mean, scale)
        scores |= self.learn(batch, iteration)
        seeds = self.job.seeds
        for name, value in {**scores, "policy": self.policy.flat.numpy(), "value": self.value.flat.numpy()}.items():
            if name != "return":
                check_finite(name, value, iteration, seeds)
        if self.method.normalise_observations:
            shape = (len(seeds), -1)
            parts = (rollout.count, rollout.moment_mean, rollout.moment_m2)
            each = [part.reshape(*shape, *part.shape[1:]) for part in parts]
            self.moments = self.moments.merge(Moments(*merge_moments(*each)))
        seconds = {"collect": collected - start, "learn": time.perf_counter() - collected}
        steps = by_seed(rollout.valid, len(seeds)).sum(1)
        return Iteration(steps, scores, seconds)

    def scaling(self) -> tuple[Array, Array]:
        """Mean and scale (S, in) of the observations of this iteration."""
        if self.method.normalise_observations:
            return standard(self.moments)
        return np.zeros_like(self.moments.mean), np.ones_like(self.moments.mean)

    @torch.no_grad()
    def prepare(self, rollout: Rollout, mean: Array, scale: Array) -> tuple[Batch, dict[str, Array]]:
        """The batch that the update takes, and the scores of the iteration."""
        seeds, method = len(self.job.seeds), self.method
        each = rollout.reward.shape[1] // seeds
        x = torch.from_numpy(normalised(by_seed(rollout.observation, seeds), mean[:, None], scale[:, None]))
        action = torch.from_numpy(np.ascontiguousarray(by_seed(rollout.action, seeds)))
        value = self.value(x).squeeze(2).numpy()
        by_step = value.reshape(seeds, -1, each).swapaxes(0, 1).reshape(rollout.reward.shape).astype(np.float64)
        following = returns.next_values(
            by_step,
            self.values_at(rollout.last_observation, np.arange(len(rollout.last_observation)) // each, mean, scale),
            rollout.final_step,
            rollout.final_environment,
            self.values_at(rollout.final_observation, rollout.final_environment // each, mean, scale),
        )
        terminated = rollout.terminated if method.bootstrap_time_limits else rollout.terminated | rollout.truncated
        advantage = returns.gae(
            rollout.reward,
            by_step,
            following,
            terminated,
            rollout.truncated,
            rollout.valid,
            method.gamma,
            method.gae_lambda,
        )
        advantages = by_seed(advantage, seeds).astype(np.float32)
        targets = advantages + value
        log_prob = gaussian.log_prob(self.policy(x), self.policy.free, action)
        mean_return, episodes = returns_of(rollout, seeds)
        scores = {
            "return": mean_return,
            "episodes": episodes,
            "entropy": gaussian.entropy(self.policy.free).double().numpy(),
            "explained_variance": returns.explained_variance(value.astype(np.float64), targets.astype(np.float64)),
        }
        return Batch(x, action, log_prob, torch.from_numpy(advantages), torch.from_numpy(targets)), scores

    def values_at(self, observation: Array, seed: NDArray[np.int64], mean: Array, scale: Array) -> Array:
        """Values (k,) of single observations (k, in), each by the net of its seed."""
        x = torch.from_numpy(normalised(observation, mean[seed], scale[seed]))
        values = np.zeros(len(x))
        for s in np.unique(seed):
            rows = torch.from_numpy(np.flatnonzero(seed == s))
            flat = self.value.flat[s : s + 1]
            values[rows.numpy()] = self.value.network(flat, x[rows].unsqueeze(0)).reshape(-1).numpy()
        return values

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """Parameters, optimisers, moments and environments."""
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "parameters": {"policy": self.policy.flat.numpy(), "value": self.value.flat.numpy()},
            "policy_optimiser": self.policy_optimiser.state,
            "value_optimiser": self.value_optimiser.state,
            "moments": vars(self.moments),
            "collector": self.collector.state,
        }
        return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    @state.setter
    def state(self, saved: dict[str, NDArray[Any]]) -> None:
        def part(name: str) -> dict[str, NDArray[Any]]:
            return {key.removeprefix(name + "/"): value for key, value in saved.items() if key.startswith(name + "/")}

        parameters = part("parameters")
        self.policy.flat.copy_(torch.from_numpy(parameters["policy"]))
        self.value.flat.copy_(torch.from_numpy(parameters["value"]))
        self.policy_optimiser.state = part("policy_optimiser")
        self.value_optimiser.state = part("value_optimiser")
        self.moments = Moments(**part("moments"))
        self.collector.state = part("collector")

    def close(self) -> None:
        """Let go of the environments."""
        self.collector.batch.close()


def collector_of(job: Job, hidden: tuple[int, ...], steps: int, **options: Any) -> tuple[Collection, Collector]:
    """The collection that a job asks for, and its collector, reset."""
    import walle

    seeds = tuple(job.seeds)
    batch = walle.make(
        job.task.environment, seeds=seeds, environments=job.environments, root=job.root_seed, threads=job.threads
    )
    inputs = batch.observation_size + int(options.get("time_feature", False))
    collection = Collection(
        task=job.task.environment,
        policy=GaussianPolicy(inputs, batch.action_size, hidden),
        seeds=seeds,
        environments=job.environments,
        steps=steps,
        root=job.root_seed,
        bounds=job.task.actions,
        **options,
    )
    collector = Collector(collection, batch)
    collector.reset()
    return collection, collector
