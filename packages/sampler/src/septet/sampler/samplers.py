"""Samplers: collect experience with the learner's weights, in this process or in several."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from septet.arrays import fit
from septet.errors import InputError
from septet.sampler.collect import Collection, Collector
from septet.sampler.nonfinite import check_rollout
from septet.sampler.policy import GaussianPolicy
from septet.sampler.processes import SamplerDied, SamplerPool
from septet.sampler.rollout import Array, Arrays, Rollout

__all__ = ["SamplerDied", "Samplers"]

MODES = ("synchronous", "asynchronous")


class Samplers(AbstractContextManager["Samplers"]):
    """N samplers, each with a share of the environments and its own copy of the policy (figure 2).

    Args:
        task: name of the task; options: of its environments.
        policy: shape of the policy; its observation counts the time feature.
        seeds: the seeds that run in lockstep; environments: of each seed (B).
        steps: of each environment in an iteration; with whole episodes, at least so many.
        root: root seed of all random streams.
        processes: N; 0 collects in this process, in `threads` threads.
        mode: ``"synchronous"``: samplers wait for the learner's weights, as published; ``"asynchronous"``: they
            go on with what weights there are, and the learner is at most `max_lag` broadcasts ahead.
        max_lag: in asynchronous mode, at least 1.
        patience: seconds without a step after which a sampler process counts as dead; compiling takes some.
        whole_episodes, bounds, time_feature: see `septet.sampler.collect.Collection`.
        per_sampler_scaling: each sampler scales observations by moments of its own, of its share of each seed's
            environments, as published (section 2.2).

    Attributes:
        action_bounds: low and high of an action ``(act,)``.

    Raises:
        InputError: a value out of range, or a policy whose sizes are not the task's.
    """

    def __init__(
        self,
        task: str,
        policy: GaussianPolicy,
        *,
        seeds: Sequence[int],
        environments: int,
        steps: int,
        root: int = 0,
        processes: int = 0,
        mode: str = "synchronous",
        whole_episodes: bool = False,
        bounds: str = "clip",
        time_feature: bool = False,
        per_sampler_scaling: bool = False,
        threads: int = 1,
        max_lag: int = 1,
        patience: float = 300.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        fit("samplers: processes", "int 0", processes)
        self.collection = Collection(
            task=task,
            policy=policy,
            seeds=seeds,
            environments=environments,
            steps=steps,
            root=root,
            whole_episodes=whole_episodes,
            bounds=bounds,
            time_feature=time_feature,
            scalers=max(processes, 1) if per_sampler_scaling else 0,
            options=dict(options or {}),
        )
        self.iteration = 0
        self.version = -1
        fit("samplers: max_lag", "int 0", max_lag)
        if mode not in MODES:
            raise InputError("samplers: mode", expected=" or ".join(MODES), found=mode)
        if mode == "asynchronous" and not (processes >= 1 and max_lag >= 1):
            expected = "at least one process and a max_lag of at least 1"
            raise InputError("samplers: asynchronous", expected=expected, found=f"{processes} and {max_lag}")
        self.asynchronous = mode == "asynchronous"
        self._pool: SamplerPool | None = None
        self._collector: Collector | None = None
        if processes == 0:
            self._collector = Collector(self.collection, threads=threads)
            self._collector.reset()
            self.action_bounds = self._collector.low, self._collector.high
        else:
            self._pool = SamplerPool(
                self.collection, processes, slots=1 + max_lag * self.asynchronous, patience=patience
            )
            self.action_bounds = self._pool.action_bounds

    def broadcast(self, weights: Array, mean: Array | None = None, scale: Array | None = None) -> None:
        """Give the samplers new weights float32 ``(S, P)``, and the observations' mean and scale ``(S, obs)``.

        Raises:
            InputError: an array of the wrong shape.
        """
        weights, mean, scale = self.collection.fitted("broadcast", weights, mean, scale, len(self.collection.seeds))
        if self._pool is not None:
            self._pool.broadcast(weights, mean, scale, self.version + 1)
        else:
            self._given = weights.copy(), mean.copy(), scale.copy()
        self.version += 1

    def collect(self) -> Rollout:
        """Collect the next iteration; the rollout holds until the next call.

        Raises:
            InputError: no weights were broadcast.
            NotFinite: an environment gave a reward or an observation that is not finite.
        """
        if self.version < 0:
            raise InputError("samplers: collect", expected="a broadcast before it", found="none")
        if self._pool is not None:
            rollout = self._pool.collect(self.version)
            check_rollout(rollout, self.collection.seeds, self.iteration)
        else:
            assert self._collector is not None
            weights, mean, scale = self._given
            rollout = self._collector.collect(
                weights, iteration=self.iteration, mean=mean, scale=scale, version=self.version
            )
        self.iteration += 1
        return rollout

    @property
    def state(self) -> Arrays:
        """All environments in their order, and the iteration: setting it goes on exactly, also with another N.

        Weights are not in it: broadcast them anew.
        """
        source = self._collector or self._pool
        assert source is not None
        return {"iteration": np.array(self.iteration), **source.state}

    @state.setter
    def state(self, state: Mapping[str, Array]) -> None:
        state = dict(state)
        iteration = int(fit("samplers: state iteration", "i8", state.pop("iteration", None)))
        if self._pool is not None:
            self._pool.restore(iteration, state)
        elif self._collector is not None:
            self._collector.state = state
        self.iteration = iteration

    def close(self) -> None:
        """End the samplers; rollouts that were collected stay good."""
        if self._pool is not None:
            self._pool.close()
        if self._collector is not None:
            self._collector.batch.close()

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()
