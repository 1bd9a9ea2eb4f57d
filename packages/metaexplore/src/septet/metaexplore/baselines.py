"""What gathers data in plain DDPG (section 5): the student's actor with noise on its actions or its weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.metaexplore.environments import Environments, Experience, rollout
from septet.metaexplore.student import Array, Student, actions, normalised
from septet.rl.noise import ActionNoise, Gaussian, OrnsteinUhlenbeck, ParameterNoise, Uniform
from septet.rl.replay import Replay
from septet.rl.shapes import Float32

ACTION_NOISE: dict[str, Any] = {"ornstein_uhlenbeck": OrnsteinUhlenbeck, "uniform": Uniform, "gaussian": Gaussian}


class NoisyActor:
    """Noise around the actors of S seeds, which begins again with each episode.

    Args:
        kind: a key of `ACTION_NOISE`, `parameter` or `none`.
        scale: of the noise: sigma, half width, or the distance that noise on weights keeps.
        root, task, seeds: names of the streams.
        student: of S seeds; batch: N, observations on which noise on weights is measured.
    """

    checkpointed = ("action_noise", "weight_noise")

    def __init__(
        self, kind: str, scale: float, root: int, task: str, seeds: list[int], student: Student, batch: int
    ) -> None:
        of = (root, task, seeds)
        make = ACTION_NOISE.get(kind)
        self.action_noise: ActionNoise | None = make(*of, int(student.shapes.actor.sizes[-1]), scale) if make else None
        self.weight_noise: ParameterNoise | None = None
        if kind == "parameter":
            self.weight_noise = ParameterNoise(*of, student.shapes.actor, target=scale, batch=batch)

    def explore(self, student: Student, environments: Environments, first: int, steps: int) -> Experience:
        """Take steps in one environment per seed.

        Args:
            first: number of the first step, which names its noise.
        """

        def act(t: int, observation: Array) -> NDArray[Any]:
            begun = environments.elapsed == 0
            if self.weight_noise is not None:
                self.weight_noise.redraw(student.networks.actor, begun)
                networks = student.networks._replace(actor=self.weight_noise.perturbed)
                return student._replace(networks=networks).act(observation)
            own = student.act(observation)
            if self.action_noise is None:
                return own
            self.action_noise.reset(begun)
            return np.clip(own + self.action_noise.at(first + t), -1.0, 1.0)

        return rollout(environments, act, steps)

    def stops(self, updates: int, count: int) -> list[int]:
        """After how many of the next `count` updates, 1 to count - 1, the noise is adapted again."""
        noise = self.weight_noise
        return [] if noise is None else [k for k in range(1, count) if noise.is_due(updates + k)]

    def adapt(self, student: Student, updates: int, replay: Replay) -> None:
        """Adapt noise on weights to today's student, if its time has come (`ParameterNoise.adapt`)."""
        if self.weight_noise is None or not self.weight_noise.is_due(updates):
            return

        def act(observation: Float32, actor: Float32) -> Float32:
            return actions(actor, student.shapes.actor, normalised(observation, student.scaling))

        self.weight_noise.adapt(updates, student.networks.actor, replay, act)

    @property
    def scores(self) -> dict[str, Array]:
        """Scale and measured distance of noise on weights, ``(S,)``; nothing of noise on actions."""
        noise = self.weight_noise
        return {} if noise is None else {"noise_scale": noise.scale, "noise_distance": noise.distance}
