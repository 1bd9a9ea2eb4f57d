r"""Exploration noise for a deterministic policy, in lockstep over S seeds.

Noise lives where the actions do that the actor gives, [-1, 1]; the sum is clipped to it by the caller.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from septet.rl.draws import Draws, normal, uniform

Array = NDArray[np.floating[Any]]
Kind = Literal["none", "gaussian", "uniform", "ornstein_uhlenbeck", "parameter"]


def ornstein_uhlenbeck(x: Array, epsilon: Array, theta: float, sigma: float, dt: float) -> Array:
    r"""One Euler step of the Ornstein-Uhlenbeck process around 0.

    .. math:: x \leftarrow x - \theta x\,dt + \sigma\sqrt{dt}\,\epsilon

    Lillicrap et al. (2016), section 7, with :math:`\theta = .15, \sigma = .2`; dt = 1 there, .01 in OpenAI
    Baselines and Stable-Baselines3. The stationary variance is :math:`\sigma^2 / (2\theta - \theta^2 dt)`.

    Args:
        x: state ``(S, A)``; epsilon: standard normal numbers ``(S, A)``.
    """
    return x - theta * dt * x + sigma * np.sqrt(dt) * epsilon


def action_distance(action: Array, perturbed: Array) -> Array:
    r"""Distance of two deterministic policies on the same N observations.

    .. math:: d = \sqrt{\tfrac1A \sum_i E_s[(\pi(s)_i - \tilde\pi(s)_i)^2]}

    Plappert et al. (2018), section 3 and appendix C.1.

    Args:
        action, perturbed: ``(S, N, A)``.

    Returns:
        ``(S,)``.
    """
    return np.sqrt(np.mean((action - perturbed) ** 2, axis=(1, 2)))


def adapt_scale(scale: Array, distance: Array, target: float, factor: float = 1.01) -> Array:
    r"""Next scale of the parameter noise: wider while the actions stay closer than the target.

    .. math:: \sigma \leftarrow \alpha\sigma \text{ if } d < \delta, \text{ else } \sigma/\alpha

    Plappert et al. (2018), equation 7, alpha = 1.01.

    Args:
        scale, distance: ``(S,)``; target: delta, the standard deviation that action noise would have.
    """
    return np.where(distance < target, scale * factor, scale / factor)


class ActionNoise(Protocol):
    """Noise added to actions."""

    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of the next step; `step` counts environment steps from 0."""

    def reset(self, ended: NDArray[np.bool_]) -> None:
        """Forget the seeds ``(S,)`` whose episode ended."""


class _Memoryless:
    checkpointed: tuple[str, ...] = ()

    def __init__(self, root: int, task: str, seeds: Sequence[int], action_size: int, scale: float) -> None:
        kind = normal if isinstance(self, Gaussian) else uniform
        self._draws = Draws(kind, root, ("act", task), seeds, (action_size,))
        self._scale = scale

    def reset(self, ended: NDArray[np.bool_]) -> None:
        """Nothing to forget."""


class Gaussian(_Memoryless):
    """Independent normal noise of standard deviation `scale`."""

    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of a step."""
        return self._scale * self._draws.at(step)


class Uniform(_Memoryless):
    """Independent uniform noise in [-scale, scale]."""

    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of a step."""
        return self._scale * (2.0 * self._draws.at(step) - 1.0)


class OrnsteinUhlenbeck:
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
        self._draws = Draws(normal, root, ("act", task), seeds, (action_size,))
        self._constants = theta, scale, dt
        self.x: Array = np.zeros((len(seeds), action_size))

    def at(self, step: int) -> Array:
        """Noise ``(S, A)`` of the next step; advances the process."""
        self.x = ornstein_uhlenbeck(self.x, self._draws.at(step), *self._constants)
        return self.x

    def reset(self, ended: NDArray[np.bool_]) -> None:
        """Back to 0 for the seeds whose episode ended."""
        if ended.any():
            self.x = np.where(ended[:, None], 0.0, self.x)


class ParameterNoise:
    """Adaptive noise on the actor's weights: one perturbed copy per episode (Plappert et al. 2018).

    Without layer normalisation the weights of a layer are perturbed by one scale all the same, as in the paper.

    Args:
        root, task, seeds: names of the streams.
        target: delta, the distance in action space to keep.
        scale: initial standard deviation of the weights' noise.

    Attributes:
        scale: ``(S,)``.
        episode: perturbations drawn so far, ``(S,)``.
    """

    checkpointed = ("scale", "episode")

    def __init__(self, root: int, task: str, seeds: Sequence[int], target: float, scale: float | None = None) -> None:
        self._name, self._seeds, self._target = (root, "perturb", task), tuple(seeds), target
        self.scale: Array = np.full(len(self._seeds), target if scale is None else scale)
        self.episode = np.zeros(len(self._seeds), dtype=np.int64)

    def perturb(self, weights: NDArray[np.float32], perturbed: NDArray[np.float32], which: NDArray[np.bool_]) -> None:
        """Draw new perturbed weights ``(S, P)`` for the seeds of `which`, in place."""
        from septet.seeding import stream

        root, *name = self._name
        for index in np.flatnonzero(which):
            generator = stream(int(root), *name, self._seeds[index], int(self.episode[index]))
            epsilon = generator.standard_normal(weights.shape[1], dtype=np.float32)
            perturbed[index] = weights[index] + np.float32(self.scale[index]) * epsilon
            self.episode[index] += 1

    def adapt(self, action: Array, perturbed_action: Array, which: NDArray[np.bool_]) -> None:
        """Adapt the scale of the seeds of `which` to the distance of the actions ``(S, N, A)``."""
        distance = action_distance(action, perturbed_action)
        self.scale = np.where(which, adapt_scale(self.scale, distance, self._target), self.scale)
