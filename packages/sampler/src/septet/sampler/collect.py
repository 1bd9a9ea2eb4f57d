"""The loop that collects: policy, environments, and the running episodes between iterations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from septet import sampler
from septet.arrays import fit
from septet.errors import InputError
from septet.sampler.batch import check_state, scaling, whole_seeds
from septet.sampler.nonfinite import check_rollout, fits
from septet.sampler.policy import GaussianPolicy, act_rows
from septet.sampler.rollout import Array, Arrays, Rollout, assemble, layout, merge_moments, moments
from septet.seeding import stream

BOUNDS = ("clip", "scale")
TIME_UNIT = 0.001  # of the time feature, per step (section 2.2)
PREFIX = "environment."  # of the environments' own state among a collector's


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What is collected, and how: the same for every process.

    Args:
        task: name of the task; options: of its environments.
        policy: shape of the policy; its observation counts the time feature.
        seeds: the seeds that run in lockstep; environments: of each seed (B), so E = len(seeds) * B.
        root: root seed of all random streams.
        steps: of each environment in an iteration; with whole episodes, at least so many.
        whole_episodes: each environment runs episodes to their end until it has `steps` steps (section 2.1).
        bounds: how an action reaches the environment: ``"clip"`` to its bounds, or ``"scale"`` from ±1 to them.
        time_feature: append 0.001 * (steps since the reset) to the observation (section 2.2).
        scalers: samplers that scale observations by moments of their own, as published (section 2.2); each has an equal
            share of every seed's environments; 0 for moments that the learner broadcasts.

    Raises:
        InputError: a value out of range.
    """

    task: str
    policy: GaussianPolicy
    seeds: Sequence[int]
    environments: int
    steps: int
    root: int = 0
    whole_episodes: bool = False
    bounds: str = "clip"
    time_feature: bool = False
    scalers: int = 0
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check."""
        object.__setattr__(self, "seeds", whole_seeds("samplers", self.seeds))
        for name in ("environments", "steps"):
            object.__setattr__(self, name, fit(f"samplers: {name}", "int 1", getattr(self, name)))
        if fit("samplers: scalers", "int 0", self.scalers) and self.environments % self.scalers:
            expected = f"a multiple of the {self.scalers} samplers that scale by moments of their own"
            raise InputError("samplers: environments", expected=expected, found=self.environments)
        if self.bounds not in BOUNDS:
            raise InputError("samplers: bounds", expected=" or ".join(BOUNDS), found=self.bounds)

    @property
    def size(self) -> int:
        """Environments of all seeds, E."""
        return len(self.seeds) * self.environments

    def fitted(
        self, where: str, weights: Array, mean: Array | None, scale: Array | None, rows: int
    ) -> tuple[Array, Array, Array]:
        """Weights ``(rows, P)``, mean and scale ``(rows, obs)``, which are 0 and 1 if none.

        Raises:
            InputError: an array that does not fit.
        """
        sides = {"S": rows, "P": self.policy.size, "I": self.policy.observation_size}
        mean = np.zeros((rows, sides["I"])) if mean is None else mean
        scale = np.ones((rows, sides["I"])) if scale is None else scale
        given = {"weights": ("f4 S P", weights), "mean": ("f8 S I", mean), "scale": ("f8 S I", scale)}
        weights, mean, scale = (fit(f"{where}: {name}", *of, sides) for name, of in given.items())
        return weights, mean, scale


class Collector:
    """Runs a policy in the environments `first` to `last` of a collection, one iteration at a time.

    Args:
        collection: what to collect.
        batch: its environments `first` to `last`; made here if none.
        first, last: default all.
        threads: that step the environments, if made here.

    Raises:
        InputError: a policy whose sizes are not the task's, or bounds to scale to that are not finite.
    """

    def __init__(
        self, collection: Collection, batch: Any = None, first: int = 0, last: int | None = None, threads: int = 1
    ) -> None:
        self.collection = collection
        self.first, self.last = first, collection.size if last is None else last
        if batch is None:
            batch = sampler.make(
                collection.task, seeds=collection.seeds, environments=collection.environments, root=collection.root,
                threads=threads, members=(self.first, self.last), **(collection.options or {}),
            )  # fmt: skip
        self.batch = batch
        policy, size = collection.policy, self.last - self.first
        want = (batch.observation_size + collection.time_feature, batch.action_size)
        if (policy.observation_size, policy.action_size) != want:
            raise InputError(
                "samplers: policy",
                expected=f"{want[0]} observations and {want[1]} actions, as {collection.task} has",
                found=f"{policy.observation_size} and {policy.action_size}",
            )
        self.low, self.high = np.asarray(batch.action_low, float), np.asarray(batch.action_high, float)
        self.middle, self.half = np.zeros_like(self.low), np.ones_like(self.low)
        if collection.bounds == "scale":
            self.middle, self.half = scaling(collection.task, self.low, self.high)
        if collection.whole_episodes and batch.time_limit < 1:
            raise InputError(f"{collection.task}: whole episodes", expected="a time limit", found="none")
        places = np.arange(self.first, self.last)
        self.member = places // collection.environments
        share = collection.environments // (collection.scalers or 1)  # of a seed's environments, one scaler's
        scaled, self.scaler = np.unique(places // share, return_inverse=True)
        self.scaler_seed = scaled * share // collection.environments
        self.most_steps = collection.steps + (batch.time_limit - 1 if collection.whole_episodes else 0)
        self.observation = np.zeros((size, policy.observation_size))
        self.running_return = np.zeros(size)
        self.running_length = np.zeros(size, np.int64)
        self.moments = (np.zeros(size), np.zeros(self.observation.shape), np.zeros(self.observation.shape))
        self.buffers = {
            name: np.zeros(shape, kind)
            for name, (shape, kind) in layout(
                self.most_steps, size, policy.observation_size, policy.action_size
            ).items()
        }

    def reset(self) -> None:
        """Start new episodes everywhere."""
        self.observation[:, : self.batch.observation_size] = self.batch.reset()
        if self.collection.time_feature:
            self.observation[:, -1] = 0.0
        self.running_return[:] = 0.0
        self.running_length[:] = 0

    @property
    def state(self) -> Arrays:
        """All that the next iteration depends on, rows by environment; setting it goes on from there exactly."""
        batch = {PREFIX + name: value for name, value in self.batch.state.items()}
        return {name: array.copy() for name, array in self._arrays().items()} | batch

    @state.setter
    def state(self, state: Mapping[str, Array]) -> None:
        own = self._arrays()
        check_state("samplers", own, state)
        self.batch.state = {name[len(PREFIX) :]: value for name, value in state.items() if name.startswith(PREFIX)}
        for name, array in own.items():
            array[:] = state[name]

    def _arrays(self) -> Arrays:
        own = {"observation": self.observation, "running_return": self.running_return}
        moments = zip(("count", "moment_mean", "moment_m2"), self.moments, strict=True)
        return {**own, "running_length": self.running_length, **dict(moments)}

    def noise(self, iteration: int, steps: int) -> Array:
        """Standard normal noise of an iteration ``(steps, E, act)``; each environment has its own stream."""
        task, count = self.collection.task, self.collection.environments
        noise = np.empty((steps, self.last - self.first, self.collection.policy.action_size))
        for row, e in enumerate(range(self.first, self.last)):
            name = ("act", task, self.collection.seeds[e // count], e % count, iteration)
            noise[:, row] = stream(self.collection.root, *name).standard_normal(noise[:, row].shape)
        return noise

    def collect(
        self,
        weights: Array,
        *,
        iteration: int,
        mean: Array | None = None,
        scale: Array | None = None,
        noise: Array | None = None,
        version: int = 0,
    ) -> Rollout:
        """Collect an iteration in this process.

        Args:
            weights: float32 ``(seeds, P)``.
            iteration: number of the iteration, which names its noise.
            mean, scale: of the observations, ``(seeds, obs)``; none for 0 and 1.
            noise: ``(T, E, act)`` in place of standard normal noise, e.g. zeros, or correlated in time.
            version: of the weights.

        Raises:
            InputError: an array that does not fit; nothing was stepped.
            NotFinite: an environment gave a reward or an observation that is not finite.
        """
        steps = self.fill(self.buffers, weights, mean, scale, iteration, noise)
        self.buffers["version"][:] = version
        rollout, count = assemble(self.buffers, steps, version), self.collection.environments
        of = [self.collection.seeds[e // count] for e in range(self.first, self.last)]
        check_rollout(rollout, of, iteration)
        return rollout

    def fill(
        self,
        out: Mapping[str, Array],
        weights: Array,
        mean: Array | None,
        scale: Array | None,
        iteration: int,
        noise: Array | None = None,
        beat: Array | None = None,
    ) -> int:
        """Collect an iteration into the arrays of `rollout.layout`; returns how many steps it took.

        Args:
            out: arrays of this collector's environments.
            beat: counts the steps as they are made, ``(1,)``.

        Raises:
            InputError: an array that does not fit; nothing was stepped.
        """
        plan, batch, policy = self.collection, self.batch, self.collection.policy
        raw, member = batch.observation_size, self.member
        rows = max(len(plan.seeds), int(member.max()) + 1)  # a caller may give environments other policies
        weights, mean, scale = plan.fitted("samplers", weights, mean, scale, rows)
        noise = self.noise(iteration, self.most_steps) if noise is None else noise
        sides = {"T": self.most_steps, "E": len(member), "A": policy.action_size}
        noise = fit("samplers: noise", "any f8 T E A", noise, sides)
        if plan.scalers:
            weights, member, (mean, scale) = weights[self.scaler_seed], self.scaler, self.own_scaling()
        out["mean"][:], out["scale"][:] = mean[member], scale[member]
        observation, returns, lengths = self.observation, self.running_return, self.running_length
        action = np.empty((len(observation), policy.action_size), np.float32)
        control = np.empty(action.shape)
        tanh_hidden = policy.activation == "tanh"
        done = np.zeros(len(observation), np.int64)  # steps of this iteration, with whole episodes
        active = None
        t = 0
        while t < (self.most_steps if plan.whole_episodes else plan.steps):
            if plan.whole_episodes:
                active = (done < plan.steps) | (lengths > 0)
                if not active.any():
                    break
                done += active
                out["valid"][t] = active
            act_rows.unchecked(
                policy.sizes, tanh_hidden, policy.clip, weights, member, observation, noise[t], mean, scale, action
            )
            np.multiply(action, self.half, out=control)
            control += self.middle
            np.clip(control, self.low, self.high, out=control)
            out["observation"][t] = observation
            try:
                step = batch.step(control) if active is None else batch.step(control, active)
            except InputError:
                if fits(observation):
                    raise
                out["valid"][t:] = False  # no action can be chosen: `check_rollout` reports the observation
                break
            out["action"][t] = action
            out["reward"][t] = step.reward
            out["terminated"][t] = step.terminated
            out["truncated"][t] = step.truncated
            returns += step.reward
            lengths += 1 if active is None else active
            observation[:, :raw] = step.observation
            ended = step.terminated | step.truncated
            if ended.any():
                final = out["final_observation"][t]
                final[ended, :raw] = step.next_observation[ended]
                if plan.time_feature:
                    final[ended, raw] = TIME_UNIT * lengths[ended]
                out["episode_return"][t, ended] = returns[ended]
                out["episode_length"][t, ended] = lengths[ended]
                returns[ended] = 0.0
                lengths[ended] = 0
            if plan.time_feature:
                np.multiply(lengths, TIME_UNIT, out=observation[:, raw])
            t += 1
            if beat is not None:
                beat += 1
        if plan.whole_episodes:
            self.blank(out, t)
        else:
            out["valid"][:t] = True
        out["last_observation"][:] = observation
        moments(out["observation"][:t], out["valid"][:t], out["count"], out["moment_mean"], out["moment_m2"])
        if plan.scalers:
            new = (out["count"], out["moment_mean"], out["moment_m2"])
            self.moments = merge_moments(*(np.stack(pair, axis=1) for pair in zip(self.moments, new, strict=True)))
        return t

    @staticmethod
    def blank(out: Mapping[str, Array], steps: int) -> None:
        """Zeros where no step was made, also of iterations before."""
        out["valid"][steps:] = False
        idle = ~out["valid"]
        for name in ("observation", "action", "reward", "terminated", "truncated"):
            out[name][idle] = 0

    def own_scaling(self) -> tuple[Array, Array]:
        r"""Mean and scale :math:`1/(3(\sigma + 0.1))` of what each sampler has seen of each seed (section 2.2).

        The time feature is not scaled; nothing is before the first iteration.
        """
        shape = (len(self.scaler_seed), self.observation.shape[1])
        mean, scale = np.zeros(shape), np.ones(shape)
        for scaler in range(len(mean)):
            count, centre, m2 = merge_moments(*(array[self.scaler == scaler] for array in self.moments))
            if count > 0:
                mean[scaler], scale[scaler] = centre, 1.0 / (3.0 * (np.sqrt(m2 / count) + 0.1))
        if self.collection.time_feature:
            mean[:, -1], scale[:, -1] = 0.0, 1.0
        return mean, scale
