"""One iteration's experience of S seeds: collected, with returns and advantages, as arrays per seed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from septet import sampler
from septet.errors import InputError
from septet.rl.baseline import features, fit
from septet.rl.collecting import returns_of
from septet.rl.networks import Network, initial
from septet.rl.policies import Policy, Shape
from septet.rl.returns import discounted
from septet.sampler.policy import GaussianPolicy
from septet.sampler.samplers import Samplers
from septet.svrpo.config import Job

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


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


class Collecting:
    """What both kinds of method share around learning: policies w (S, P), samplers, and the baseline of section 2.6.

    Args:
        environments: of each seed.
        steps: of each environment in a collection; at least a time limit, so that each ends an episode.

    Raises:
        InputError: `steps` is less than the task's time limit, or there is none.
    """

    checkpointed: ClassVar[tuple[str, ...]] = ("w", "samplers", "coefficients", "elapsed")
    judged_by, judged_after = "return", False

    def __init__(self, job: Job, environments: int, steps: int) -> None:
        threadpool_limits(1, "blas")  # a job's own threads work on different seeds, and sums do not depend on them
        self.job, self.environments, self.steps = job, environments, steps
        observation_size, action_size, time_limit = sizes_of(job)
        if steps < time_limit:
            where = f"task {job.task.name}: batch / environments"
            raise InputError(where, expected=f"at least the time limit of {time_limit} steps", found=steps)
        self.policy = GaussianPolicy(observation_size, action_size, hidden=job.simulation.hidden)
        self.network = Network(self.policy.sizes, "tanh", free=action_size)
        self.w = initial(self.network, job.root_seed, (job.task.name,), job.seeds, glorot)
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

    def restart(self, iteration: int) -> None:
        """Go on at an iteration with new episodes, where the environments' state could not be saved."""
        self.samplers.iteration = iteration
        self.elapsed[:] = 0

    def acting(self) -> Policy:
        """What collects next; see `septet.rl.models.Keeps`."""
        nothing = np.zeros((len(self.w), self.policy.observation_size))
        shape = Shape.gaussian(self.policy, self.samplers.collection.bounds)
        return Policy(shape, self.w.numpy(), nothing, nothing + 1.0, *self.samplers.action_bounds)

    def collect(self) -> Experience:
        """Collect with w; the advantages use the previous fit, and then the baseline is fitted again."""
        self.samplers.broadcast(self.w.numpy())
        rollout, gamma = self.samplers.collect(), self.job.simulation.gamma
        ended = rollout.terminated | rollout.truncated
        elapsed = steps_since_reset(self.elapsed, ended)
        x = self._by_seed(features(rollout.observation, elapsed[:-1]))
        prediction = (x @ self.coefficients[..., None])[..., 0]
        x_last = features(rollout.last_observation, elapsed[-1])
        last_value = (x_last * self.coefficients.repeat(self.environments, axis=0)).sum(1)
        final_value = None
        if self.job.bootstrap_time_limits:
            at = rollout.final_step, rollout.final_environment
            x_final = features(rollout.final_observation, elapsed[at] + 1)
            final_value = np.zeros(rollout.reward.shape)
            final_value[at] = (x_final * self.coefficients[at[1] // self.environments]).sum(1)
        target = self._by_seed(
            returns(rollout.reward, rollout.terminated, rollout.truncated, last_value, final_value, gamma)
        )
        self.elapsed, self.coefficients = elapsed[-1], fit(x, target)
        return Experience(
            observation=torch.from_numpy(self._by_seed(rollout.observation).astype(np.float32)),
            action=torch.from_numpy(self._by_seed(rollout.action)),
            reward=self._by_seed(rollout.reward).reshape(len(self.job.seeds), self.environments, self.steps),
            advantage=target - prediction,
            prediction=prediction,
            episode_return=returns_of(rollout, len(self.job.seeds))[0],
            terminated=bool(rollout.terminated.any()),
        )

    def close(self) -> None:
        """Let go of the environments."""
        self.samplers.close()

    def _by_seed(self, x: Array) -> Array:
        """(T, E, ...) -> (S, B T, ...), contiguous."""
        shape = (len(x), len(self.job.seeds), self.environments, *x.shape[2:])
        moved = np.moveaxis(x.reshape(shape), 0, 2)
        return np.ascontiguousarray(moved).reshape(shape[1], -1, *x.shape[2:])


def steps_since_reset(start: Integers, ended: Flags) -> Integers:
    """Steps (T + 1, E) that the running episodes have behind them at each step, and after the last one.

    Args:
        start: at the first step, (E,).
        ended: the episode ended with this step, (T, E).
    """
    running = [start]
    for over in ended:
        running.append(np.where(over, 0, running[-1] + 1))
    return np.stack(running)


def returns(
    reward: Array, terminated: Flags, truncated: Flags, last_value: Array, final_value: Array | None, gamma: float
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


def glorot(rng: np.random.Generator, layer: int, fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """Weights from U(-b, b), b = sqrt(6 / (fan in + fan out)), biases zero (Glorot and Bengio 2010)."""
    bound = (6.0 / (fan_in + fan_out)) ** 0.5
    return rng.uniform(-bound, bound, (fan_in, fan_out)), np.zeros(fan_out)


def sizes_of(job: Job) -> tuple[int, int, int]:
    """Observation size, action size and time limit of the job's task. Raises InputError if it has no time limit."""
    batch = sampler.make(job.simulation.environment, seeds=job.seeds[:1], environments=1)
    batch.close()
    if batch.time_limit < 1:
        raise InputError(f"task {job.task.name}: environment", expected="a time limit on episodes", found="none")
    return batch.observation_size, batch.action_size, batch.time_limit
