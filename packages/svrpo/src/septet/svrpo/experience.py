"""One iteration's experience of S seeds: collected, with returns and advantages, as arrays per seed."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.errors import InputError
from septet.rl.baseline import features, fit
from septet.rl.networks import Draw, Network, initial
from septet.rl.policies import Policy, Shape
from septet.sampler.policy import GaussianPolicy
from septet.sampler.samplers import Samplers
from septet.svrpo import baseline
from septet.svrpo.config import Job

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Experience:
    """N steps of each of S seeds, environment by environment, B environments of T steps."""

    observation: Tensor
    """(S, N, o), float32."""
    action: Tensor
    """(S, N, A), float32, as sampled."""
    reward: Array
    """(S, B, T)."""
    advantage: Array
    """Discounted return minus the baseline's prediction, (S, N)."""
    prediction: Array
    """The baseline's prediction, (S, N)."""
    episode_return: Array
    """Mean undiscounted return of the episodes that ended, (S,)."""
    terminated: bool
    """Whether any episode ended before its time limit."""


class Source:
    """Collects experience for all seeds, and keeps the baseline that was fitted on what came before (section 2.6).

    Args:
        job: the job.
        environments: of each seed.
        steps: of each environment in an iteration; at least a time limit, so that each ends an episode.

    Raises:
        InputError: `steps` is less than the task's time limit, or there is none.
    """

    checkpointed = ("samplers", "coefficients", "elapsed")

    def __init__(self, job: Job, environments: int, steps: int) -> None:
        self.job, self.environments, self.steps = job, environments, steps
        observation_size, action_size, self.time_limit = _sizes(job)
        if self.time_limit < 1:
            raise InputError(f"task {job.task.name}: environment", expected="a time limit on episodes", found="none")
        if steps < self.time_limit:
            where = f"task {job.task.name}: batch / environments"
            raise InputError(where, expected=f"at least the time limit of {self.time_limit} steps", found=steps)
        self.policy = GaussianPolicy(observation_size, action_size, hidden=job.simulation.hidden)
        self.network = Network(self.policy.sizes, "tanh", free=action_size)
        self.samplers = Samplers(
            job.simulation.environment,
            self.policy,
            seeds=job.seeds,
            environments=environments,
            steps=steps,
            root=job.root_seed,
            bounds="scale",
            threads=job.threads,
        )
        self.coefficients = np.zeros((len(job.seeds), 2 * observation_size + 4))
        self.elapsed = np.zeros(len(job.seeds) * environments, np.int64)

    def initial(self) -> Tensor:
        """Initial parameters (S, P): Glorot's uniform weights, biases and log s zero."""
        return initial(self.network, self.job.root_seed, (self.job.task.name,), self.job.seeds, glorot())

    def restart(self, iteration: int) -> None:
        """Go on at an iteration with new episodes, where the environments' state could not be saved."""
        self.samplers.iteration = iteration
        self.elapsed[:] = 0

    def acting(self, w: Tensor) -> Policy:
        """The policies with parameters (S, P)."""
        nothing = np.zeros((len(w), self.policy.observation_size))
        shape = Shape.gaussian(self.policy, self.samplers.collection.bounds)
        return Policy(shape, w.numpy(), nothing, nothing + 1.0, *self.samplers.action_bounds)

    def broadcast(self, w: Tensor) -> None:
        """Give the samplers the parameters (S, P)."""
        self.samplers.broadcast(w.numpy())

    def collect(self) -> Experience:
        """Collect an iteration; its advantages use the previous fit, and then the baseline is fitted anew."""
        rollout, gamma = self.samplers.collect(), self.job.simulation.gamma
        ended = rollout.terminated | rollout.truncated
        elapsed = baseline.steps_since_reset(self.elapsed, ended)
        x = self._by_seed(features(rollout.observation, elapsed))
        prediction = (x @ self.coefficients[..., None])[..., 0]
        following = np.where(ended[-1], 0, elapsed[-1] + 1)
        last_value = self._value(rollout.last_observation, following)
        final_value = None
        if self.job.bootstrap_time_limits:
            at = rollout.final_step, rollout.final_environment
            x_final = features(rollout.final_observation, elapsed[at] + 1)
            final_value = np.zeros(rollout.reward.shape)
            final_value[at] = (x_final * self.coefficients[at[1] // self.environments]).sum(1)
        target = baseline.returns(rollout.reward, rollout.terminated, rollout.truncated, last_value, final_value, gamma)
        target = self._by_seed(target)
        self.elapsed = following
        self.coefficients = fit(x, target)
        seed = rollout.final_environment // self.environments
        episodes = np.bincount(seed, minlength=len(self.job.seeds))
        totals = np.bincount(seed, rollout.episode_return, minlength=len(self.job.seeds))
        return Experience(
            observation=torch.from_numpy(self._by_seed(rollout.observation).astype(np.float32)),
            action=torch.from_numpy(self._by_seed(rollout.action)),
            reward=self._by_seed(rollout.reward).reshape(len(self.job.seeds), self.environments, self.steps),
            advantage=target - prediction,
            prediction=prediction,
            episode_return=totals / episodes,
            terminated=bool(rollout.terminated.any()),
        )

    def close(self) -> None:
        """Let go of the environments."""
        self.samplers.close()

    def _value(self, observation: Array, elapsed: NDArray[np.int64]) -> Array:
        """The baseline's value (E,) of states (E, o)."""
        coefficients = self.coefficients.repeat(self.environments, axis=0)
        return (features(observation, elapsed) * coefficients).sum(1)

    def _by_seed(self, x: Array) -> Array:
        """(T, E, ...) -> (S, B T, ...), contiguous."""
        shape = (len(x), len(self.job.seeds), self.environments, *x.shape[2:])
        moved = np.moveaxis(x.reshape(shape), 0, 2)
        return np.ascontiguousarray(moved).reshape(shape[1], -1, *x.shape[2:])


def glorot() -> Draw:
    """Draw weights from U(-b, b), b = sqrt(6 / (fan in + fan out)), biases zero (Glorot and Bengio 2010)."""

    def draw(rng: np.random.Generator, layer: int, fan_in: int, fan_out: int) -> tuple[Array, Array]:
        bound = (6.0 / (fan_in + fan_out)) ** 0.5
        return rng.uniform(-bound, bound, (fan_in, fan_out)), np.zeros(fan_out)

    return draw


def _sizes(job: Job) -> tuple[int, int, int]:
    """Observation size, action size and time limit of the job's task."""
    from septet import sampler

    batch = sampler.make(job.simulation.environment, seeds=job.seeds[:1], environments=1)
    sizes = batch.observation_size, batch.action_size, batch.time_limit
    batch.close()
    return sizes
