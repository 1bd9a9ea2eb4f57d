"""Trained policies of several seeds as arrays: what acts, how observations reach it and actions leave it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from septet.arrays import fit
from septet.config import Settings
from septet.rl.dense import apply
from septet.rl.shapes import Float32, Net, net, weight_count
from septet.sampler.batch import scaling
from septet.sampler.collect import TIME_UNIT
from septet.sampler.policy import GaussianPolicy

Array = NDArray[np.float64]
LOG_STD_BOUNDS = (-4.0, 1.0)
"""Of a standard deviation that depends on the state."""


class Shape(Settings):
    """The network of a policy, and what surrounds it."""

    kind: Literal["gaussian", "deterministic"]
    """gaussian: the network gives the mean, log sigma is at the end of the weights; deterministic: tanh at the end."""
    sizes: tuple[int, ...]
    """Units of the input, of each hidden layer and of the output."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Of the hidden layers."""
    layer_norm: bool = False
    """Hidden layers are normalised."""
    clip: float | None = None
    """Bound of a normalised observation; null for none."""
    actions: Literal["clip", "scale"] = "clip"
    """clip: actions are clipped to the bounds; scale: [-1, 1] is stretched to the bounds, then clipped."""
    time_feature: bool = False
    """The last input is 0.001 times the steps since the reset."""

    @classmethod
    def gaussian(cls, policy: GaussianPolicy, actions: str, time_feature: bool = False) -> Self:
        """The shape of a policy that samplers run."""
        clip = policy.clip if np.isfinite(policy.clip) else None
        given = {"sizes": policy.sizes, "activation": policy.activation, "clip": clip, "actions": actions}
        return cls.model_validate({"kind": "gaussian", "time_feature": time_feature, **given})

    @property
    def size(self) -> int:
        """P, number of weights."""
        return self._gaussian.size if self.kind == "gaussian" else weight_count(self._net)

    @property
    def bound(self) -> float:
        """Bound of a normalised observation, infinite for none."""
        return np.inf if self.clip is None else self.clip

    @property
    def _gaussian(self) -> GaussianPolicy:
        first, *hidden, last = self.sizes
        return GaussianPolicy(first, last, tuple(hidden), self.activation, clip=self.bound)

    @property
    def _net(self) -> Any:
        return net(self.sizes, normalised=self.layer_norm)  # relu


def deterministic(actor: Net, clip: float | None = None) -> Shape:
    """The shape of actors with actions in [-1, 1], of DDPG and what is built on it."""
    sizes, layer_norm = tuple(actor.sizes.tolist()), actor.normalised
    return Shape(
        kind="deterministic", sizes=sizes, activation="relu", layer_norm=layer_norm, clip=clip, actions="scale"
    )


@dataclass(frozen=True, eq=False)
class Policy:
    """Policies of S seeds (or rows: a seed of a variant of a method).

    Args:
        shape: of all of them.
        weights: float32 ``(S, P)``.
        mean, scale: of the observations, ``(S, I)``.
        low, high: bounds of an action ``(A,)``, infinite for none.
        std_weights: float32 ``(S, P)`` of a second network, which gives log sigma; none where it does not depend on
            the state.

    Raises:
        InputError: arrays that do not fit the shape.
    """

    shape: Shape
    weights: Float32
    mean: Array
    scale: Array
    low: Array
    high: Array
    std_weights: Float32 | None = None

    def __post_init__(self) -> None:
        """Check."""
        sides = {"P": self.shape.size, "I": self.shape.sizes[0], "A": self.shape.sizes[-1]}
        specs = {"weights": "f4 S P", "mean": "f8 S I", "scale": "f8 S I", "low": "f8 A", "high": "f8 A"}
        if self.std_weights is not None:
            specs["std_weights"] = "f4 S P"
        for name, spec in specs.items():
            object.__setattr__(self, name, fit(f"policy: {name}", spec, getattr(self, name), sides))
        if self.shape.actions == "scale":
            scaling("policy", self.low, self.high)

    def __len__(self) -> int:
        """S."""
        return len(self.weights)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays with a row for each seed, by name."""
        named: dict[str, NDArray[Any]] = {"weights": self.weights, "mean": self.mean, "scale": self.scale}
        return named if self.std_weights is None else {**named, "std_weights": self.std_weights}

    def rows(self, which: Sequence[int]) -> "Policy":
        """The policies of some rows."""
        return replace(self, **{name: array[list(which)] for name, array in self.arrays.items()})  # type: ignore[arg-type]

    def copy(self) -> "Policy":
        """The same with arrays of its own."""
        return self.rows(range(len(self)))

    def act(self, observation: Array, elapsed: NDArray[np.int64] | None = None, noise: Array | None = None) -> Float32:
        """Actions as the training had them, before they are brought to the bounds.

        Args:
            observation: ``(S, n, O)``, n of each seed.
            elapsed: steps since the reset ``(S, n)``, for a policy with a time feature; 0 if none.
            noise: standard normal ``(S, n, A)``; none for the mean action.

        Returns:
            ``(S, n, A)``.

        Raises:
            InputError: arrays that do not fit.
        """
        own = self.shape.sizes[0] - self.shape.time_feature
        sides = {"S": len(self), "O": own, "A": self.shape.sizes[-1]}
        observation = fit("policy: observation", "f8 S n O", observation, sides)
        if noise is not None:
            noise = fit("policy: noise", "f8 S n A", noise, sides)
        if self.shape.time_feature:
            steps = np.zeros(observation.shape[:2], np.int64) if elapsed is None else elapsed
            time = TIME_UNIT * fit("policy: elapsed", "i8 S n", steps, sides)
            observation = np.concatenate([observation, time[..., None]], axis=2)
        return self._gaussian(observation, noise) if self.shape.kind == "gaussian" else self._deterministic(observation)

    def _gaussian(self, observation: Array, noise: Array | None) -> Float32:
        seeds, count = observation.shape[:2]
        member, flat = np.repeat(np.arange(seeds), count), observation.reshape(seeds * count, -1)
        own = None if noise is None else noise.reshape(seeds * count, -1)
        policy = self.shape._gaussian
        if self.std_weights is None or own is None:
            found = policy.act(self.weights, member, flat, own, self.mean, self.scale)
        else:
            mean, log_std = (
                policy.act(weights, member, flat, None, self.mean, self.scale)
                for weights in (self.weights, self.std_weights)
            )
            found = (mean + np.exp(np.clip(log_std, *LOG_STD_BOUNDS)) * own).astype(np.float32)
        return found.reshape(seeds, count, -1)

    def _deterministic(self, observation: Array) -> Float32:
        mean, scale = (part.astype(np.float32)[:, None] for part in (self.mean, self.scale))
        x = (observation.astype(np.float32) - mean) * scale
        x = np.clip(x, -np.float32(self.shape.bound), np.float32(self.shape.bound))
        out = np.empty((*x.shape[:2], self.shape.sizes[-1]), np.float32)
        squash = not self.shape.layer_norm  # each kind as it acted when it was trained, to the last bit
        apply(self.weights, self.shape._net, x, x[..., :0], out, squash)
        return out if squash else np.tanh(out)

    def bounded(self, action: Float32) -> Array:
        """Actions of `act` as the environment gets them, float64 ``(S, n, A)``."""
        control = action.astype(np.float64)
        if self.shape.actions == "scale":
            middle, half = scaling("policy", self.low, self.high)
            control = middle + half * control
        return np.clip(control, self.low, self.high)
