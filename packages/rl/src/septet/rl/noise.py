r"""Exploration noise for a deterministic policy, in lockstep over S seeds.

Noise lives where the actions do that the actor gives, [-1, 1]; the sum is clipped to it by the caller.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from septet.rl.draws import Draw, Draws
from septet.rl.replay import Replay
from septet.rl.shapes import Float32, Net, gains, weight_count
from septet.seeding import stream

Array = NDArray[np.floating[Any]]


def ornstein_uhlenbeck(x: Array, epsilon: Array, theta: float, sigma: float, dt: float) -> Array:
    r"""One Euler step of the Ornstein-Uhlenbeck process around 0.

    .. math:: x \leftarrow x - \theta x\,dt + \sigma\sqrt{dt}\,\epsilon

    Lillicrap et al. (2016), section 7, with :math:`\theta = .15, \sigma = .2`; dt = 1 there, .01 in OpenAI
    Baselines and Stable-Baselines3. The stationary variance is :math:`\sigma^2 / (2\theta - \theta^2 dt)`.

    Args:
        x: state ``(S, A)``; epsilon: standard normal numbers ``(S, A)``.
    """
    return x - theta * dt * x + sigma * np.sqrt(dt) * epsilon


def action_distance(action: Array, perturbed: Array) -> NDArray[np.float64]:
    r"""Distance of two deterministic policies on the same N observations.

    .. math:: d = \sqrt{\tfrac1A \sum_i E_s[(\pi(s)_i - \tilde\pi(s)_i)^2]}

    Plappert et al. (2018), section 3 and appendix C.1.

    Args:
        action, perturbed: ``(S, N, A)``.

    Returns:
        ``(S,)``.
    """
    return np.asarray(np.sqrt(np.mean((action - perturbed) ** 2, axis=(1, 2), dtype=np.float64)))


def adapt_scale(scale: NDArray[np.float64], distance: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    r"""Next scale of the parameter noise: wider while the actions stay closer than the target.

    .. math:: \sigma \leftarrow \alpha\sigma \text{ if } d < \delta, \text{ else } \sigma/\alpha

    Plappert et al. (2018), equation 7, alpha = 1.01.

    Args:
        scale, distance: ``(S,)``; target: delta, the standard deviation that action noise would have.
    """
    return np.where(distance < target, scale * 1.01, scale / 1.01)


class ActionNoise(ABC):
    """Noise added to the actions ``(S, A)``, from a stream for each seed."""

    checkpointed: tuple[str, ...] = ()
    draw: ClassVar[Draw] = np.random.Generator.standard_normal

    def __init__(self, root: int, task: str, seeds: Sequence[int], action_size: int, scale: float) -> None:
        self._draws = Draws(type(self).draw, root, ("act", task), seeds, (action_size,))
        self._scale = scale

    @abstractmethod
    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of the next step; `step` counts environment steps from 0."""

    def reset(self, ended: NDArray[np.bool_]) -> None:  # noqa: B027  # most have no memory
        """Forget the seeds ``(S,)`` whose episode ended."""


class Gaussian(ActionNoise):
    """Independent normal noise of standard deviation `scale`."""

    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of a step."""
        return self._scale * self._draws.at(step)


class Uniform(ActionNoise):
    """Independent uniform noise in [-scale, scale]."""

    draw = np.random.Generator.random

    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of a step."""
        return self._scale * (2.0 * self._draws.at(step) - 1.0)


class OrnsteinUhlenbeck(ActionNoise):
    """Temporally correlated noise, from 0 at each start of an episode; see `ornstein_uhlenbeck`."""

    checkpointed = ("x",)

    def __init__(
        self,
        root: int,
        task: str,
        seeds: Sequence[int],
        action_size: int,
        scale: float,
        theta: float = 0.15,
        dt: float = 0.01,
    ) -> None:
        super().__init__(root, task, seeds, action_size, scale)
        self._theta, self._dt = theta, dt
        self.x: Array = np.zeros((len(seeds), action_size))

    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of the next step; advances the process."""
        self.x = ornstein_uhlenbeck(self.x, self._draws.at(step), self._theta, self._scale, self._dt)
        return self.x

    def reset(self, ended: NDArray[np.bool_]) -> None:
        """Back to 0 for the seeds whose episode ended."""
        if ended.any():
            self.x = np.where(ended[:, None], 0.0, self.x)


class ParameterNoise:
    """Adaptive noise on the weights of deterministic actors (Plappert et al. 2018), as in OpenAI Baselines.

    A perturbed copy of the actor gathers data; it is drawn again where an episode begins. Every `EVERY` updates another
    copy of today's actor is perturbed, only to measure how far its actions lie from today's actor on a mini-batch of
    the replay; the scale follows (`adapt_scale`). Gains and offsets of layer normalisations are not perturbed.

    Args:
        root, task, seeds: names of the streams.
        shape: of the actors' nets, with P weights.
        target: delta, the distance in action space to keep.
        batch: N, observations on which the distance is measured.

    Attributes:
        perturbed: weights of the actors that gather data, ``(S, P)``.
        scale: sigma, ``(S,)``, at first the target.
        distance: what it gave when it was last measured, ``(S,)``, NaN before.
        episode: rollout perturbations drawn so far, ``(S,)``.
    """

    checkpointed = ("perturbed", "scale", "distance", "episode")
    EVERY = 50
    """Updates between two adaptations (param_noise_adaption_interval of OpenAI Baselines)."""

    def __init__(self, root: int, task: str, seeds: Sequence[int], shape: Net, target: float, batch: int) -> None:
        self._root, self._task, self._seeds = root, task, tuple(seeds)
        self._target, self._batch, self._kept = target, batch, gains(shape)
        count = len(self._seeds)
        self.perturbed: Float32 = np.zeros((count, weight_count(shape)), np.float32)
        self.scale: NDArray[np.float64] = np.full(count, target)
        self.distance: NDArray[np.float64] = np.full(count, np.nan)
        self.episode = np.zeros(count, dtype=np.int64)

    def redraw(self, actor: Float32, begun: NDArray[np.bool_]) -> None:
        """Perturb the actors ``(S, P)`` again for the seeds ``(S,)`` whose episode begins."""
        for index in np.flatnonzero(begun):
            draws = stream(self._root, "perturb", self._task, self._seeds[index], int(self.episode[index]))
            self.perturbed[index] = self._noisy(actor[index], self.scale[index], draws)
            self.episode[index] += 1

    def is_due(self, updates: int) -> bool:
        """Whether the scale is adapted before the next update, after so many."""
        return updates % self.EVERY == 0

    def adapt(
        self, updates: int, actor: Float32, replay: Replay, act: Callable[[Float32, Float32], NDArray[Any]]
    ) -> None:
        """Measure the distance that the scale gives today, and adapt the scale.

        Args:
            updates: updates done before, which names the draws.
            actor: weights ``(S, P)``.
            replay: of the S seeds, not empty.
            act: actions ``(S, N, A)`` in [-1, 1] at observations ``(S, N, O)`` of the replay, with weights ``(S, P)``.
        """
        rows, probe = np.empty((len(actor), self._batch), np.int64), np.empty_like(actor)
        for index, seed in enumerate(self._seeds):
            draws = stream(self._root, "adapt", self._task, seed, updates)
            rows[index] = draws.integers(0, len(replay), self._batch)
            probe[index] = self._noisy(actor[index], self.scale[index], draws)
        observation = replay.fields(rows)["observation"]
        self.distance = action_distance(act(observation, actor), act(observation, probe))
        self.scale = adapt_scale(self.scale, self.distance, self._target)

    def _noisy(self, weights: Float32, scale: float, draws: np.random.Generator) -> Float32:
        """The weights ``(P,)`` of one actor with noise."""
        noise = draws.standard_normal(len(weights), dtype=np.float32) * np.float32(scale)
        return weights + np.where(self._kept, np.float32(0.0), noise)
