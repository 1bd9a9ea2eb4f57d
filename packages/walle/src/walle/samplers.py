"""Samplers: collect experience with the learner's weights, in this process or in several."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from septet.errors import InputError
from walle.collect import Collection, Collector
from walle.policy import GaussianPolicy
from walle.rollout import Array, Arrays, Rollout

MODES = ("synchronous", "asynchronous")


class Samplers:
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
        whole_episodes, bounds, time_feature, per_sampler_scaling: see `walle.collect.Collection`.

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
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.collection = Collection(
            task=task,
            policy=policy,
            seeds=tuple(seeds),
            environments=environments,
            steps=steps,
            root=root,
            whole_episodes=whole_episodes,
            bounds=bounds,
            time_feature=time_feature,
            per_sampler_scaling=per_sampler_scaling,
            options=dict(options or {}),
        )
        self.iteration = 0
        self.version = -1
        self._collector = Collector(self.collection, threads=threads)
        self._collector.reset()

    def broadcast(self, weights: Array, mean: Array | None = None, scale: Array | None = None) -> None:
        """Give the samplers new weights float32 ``(S, P)``, and the observations' mean and scale ``(S, obs)``.

        Raises:
            InputError: an array of the wrong shape.
        """
        members, policy = len(self.collection.seeds), self.collection.policy
        mean = np.zeros((members, policy.observation_size)) if mean is None else mean
        scale = np.ones((members, policy.observation_size)) if scale is None else scale
        for name, array, size in (
            ("weights", weights, policy.size),
            ("mean", mean, policy.observation_size),
            ("scale", scale, policy.observation_size),
        ):
            if np.shape(array) != (members, size):
                raise InputError(f"broadcast: {name}", expected=f"shape {(members, size)}", found=np.shape(array))
        self._weights = np.array(weights, np.float32)
        self._mean, self._scale = np.array(mean, float), np.array(scale, float)
        self.version += 1

    def collect(self, noise: Array | None = None) -> Rollout:
        """Collect the next iteration; the rollout holds until the next call.

        Args:
            noise: ``(T, E, act)`` in place of standard normal noise.

        Raises:
            InputError: no weights were broadcast.
        """
        if self.version < 0:
            raise InputError("samplers: collect", expected="a broadcast before it", found="none")
        rollout = self._collector.collect(
            self._weights,
            iteration=self.iteration,
            mean=self._mean,
            scale=self._scale,
            noise=noise,
            version=self.version,
        )
        self.iteration += 1
        return rollout

    @property
    def state(self) -> Arrays:
        """All environments in their order, and the iteration: setting it goes on exactly, also with another N.

        Weights are not in it: broadcast them anew.
        """
        return {"iteration": np.array(self.iteration), **self._collector.state}

    @state.setter
    def state(self, state: Mapping[str, Array]) -> None:
        self._collector.state = {name: value for name, value in state.items() if name != "iteration"}
        self.iteration = int(state["iteration"])

    def close(self) -> None:
        """End the samplers."""
        self._collector.batch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
