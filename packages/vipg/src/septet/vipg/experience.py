"""Whole episodes of K policies for each row: collected together, then sorted by policy (section 2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet import sampler
from septet.rl import returns
from septet.rl.lockstep import square_root
from septet.sampler.collect import Collection, Collector
from septet.sampler.policy import GaussianPolicy
from septet.sampler.rollout import Rollout
from septet.vipg import baseline, environments
from septet.vipg.config import Environment

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Batch(NamedTuple):
    """The samples of an iteration by policy, float32: M = R K policies, up to n steps each, zeros beyond."""

    observation: Tensor
    """As the policy saw it, (M, n, o)."""
    action: Tensor
    """As sampled, (M, n, A)."""
    advantage: Tensor
    """Of the task's reward, not standardised, (M, n)."""
    valid: Tensor
    """1 where there is a sample, (M, n)."""

    def row(self, r: int, policies: int) -> "Batch":
        """The samples of a row's K policies, up to as many of each as these have: (K, n, ...), in memory of its own."""
        some = slice(r * policies, (r + 1) * policies)
        longest = int(self.valid[some].sum(1).max())
        return Batch(*(x[some, :longest].clone(memory_format=torch.contiguous_format) for x in self))


@dataclass(frozen=True)
class Episodes:
    """What an iteration's episodes gave, besides the batch."""

    total: Array
    """Return of each episode (R, episodes)."""
    steps: Array
    """Environment steps (R,)."""
    scale: Array
    """Mean length of an episode times the standard deviation of the advantages (R,): with advantages
    standardised over the pool, the mean over samples is J divided by this."""


def collector(
    task: Environment, seeds: Sequence[int], policies: int, episodes: int, root: int, threads: int = 1
) -> Collector:
    """Collector of `episodes` whole episodes for each of `policies` policies of each row, reset.

    Environments are ordered by row, policy, episode; rows of the same seed start from the same states. The
    collector's `member` is the policy, so its weights are (R K, P).

    Raises:
        InputError: an unknown environment, or an action space without bounds to scale to.
    """
    environments.register()
    count = policies * episodes
    options = dict(task.options)
    batch = sampler.make(task.environment, seeds=seeds, environments=count, root=root, threads=threads, **options)
    plan = Collection(
        task=task.environment, policy=GaussianPolicy(batch.observation_size, batch.action_size, task.hidden),
        seeds=tuple(seeds), environments=count, steps=1, root=root, whole_episodes=True, bounds=task.actions,
        options=options,
    )  # fmt: skip
    runner = Collector(plan, batch)
    runner.member = np.arange(batch.size) // episodes
    runner.reset()
    return runner


def gather(array: NDArray[np.generic], valid: NDArray[np.bool_], policies: int) -> NDArray[np.float32]:
    """(T, E, ...) to (M, n, ...): the valid steps of each policy's environments, zeros after them.

    Args:
        valid: (T, E), a prefix of the steps of each environment.
        policies: M.
    """
    steps = len(array)
    by = array.reshape(steps, policies, -1, *array.shape[2:]).swapaxes(0, 1)
    by = by.swapaxes(1, 2).reshape(policies, -1, *array.shape[2:])
    keep = valid.reshape(steps, policies, -1).swapaxes(0, 1).swapaxes(1, 2).reshape(policies, -1)
    longest = int(keep.sum(axis=1).max())
    order = np.argsort(~keep, axis=1, kind="stable")[:, :longest]
    out = np.take_along_axis(by, order.reshape(*order.shape, *(1,) * (by.ndim - 2)), axis=1).astype(np.float32)
    out[np.arange(longest) >= keep.sum(axis=1)[:, None]] = 0.0
    return out


def advantages(
    reward: Array, ended: Flags, valid: Flags, x: Array, weights: Array, gamma: float, lam: float
) -> tuple[Array, Array]:
    """Generalised advantages and discounted returns (T, E); a time limit ends the task, and the features know time.

    Args:
        reward, ended, valid: (T, E).
        x: features of the baseline, (T, E, F).
        weights: of the baseline, (R, F).
    """
    value = baseline.values(weights, x)
    following = np.concatenate([value[1:], np.zeros((1, value.shape[1]))])
    advantage = returns.gae(reward, value, following, ended, ended, valid, gamma, lam)
    return advantage, returns.discounted(reward, following, ended, ended, valid, gamma)


def sort(
    rollout: Rollout, advantage: Array, rows: int, policies: int, mean: Array, scale: Array
) -> tuple[Batch, Episodes]:
    """The batch of an iteration, and its episodes.

    Args:
        rows: R.
        policies: K, of each row.
        mean: of the observations, (R, o); scale: the same.
    """
    count = rows * policies
    each = rollout.reward.shape[1] // rows
    row = np.arange(rollout.reward.shape[1]) // each
    seen = np.clip((rollout.observation - mean[row]) * scale[row], -10.0, 10.0)
    valid = rollout.valid
    parts = [gather(array, valid, count) for array in (seen, rollout.action, advantage, valid)]
    by_row = [array.reshape(len(array), rows, -1).swapaxes(0, 1).reshape(rows, -1) for array in (advantage, valid)]
    steps = by_row[1].sum(axis=1)
    spread = np.array([own[there].std() for own, there in zip(*by_row, strict=True)])
    batch = Batch(*(torch.from_numpy(part) for part in parts))
    total = totals(rollout.reward).reshape(rows, each)
    return batch, Episodes(total, steps.astype(np.float64), steps / each * np.maximum(spread, 1e-8))


def totals(reward: Array) -> Array:
    """Sum over time (E,) of rewards (T, E), in the order of time however many environments there are."""
    return np.asarray(np.cumsum(reward, axis=0)[-1])


def standardised(batch: Batch, rows: int) -> Tensor:
    """Advantages (M, n) less their mean over the row's pool, divided by their standard deviation; 0 where invalid."""
    by_row = (batch.advantage.reshape(rows, -1), batch.valid.reshape(rows, -1))
    count = by_row[1].sum(1, keepdim=True)
    centre = (by_row[0] * by_row[1]).sum(1, keepdim=True) / count
    away = (by_row[0] - centre) * by_row[1]
    spread = square_root(away.square().sum(1, keepdim=True) / count).clamp_min(1e-8)
    return (away / spread).reshape(batch.advantage.shape)
