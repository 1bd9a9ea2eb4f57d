"""What gathers data in plain DDPG (section 5): the student's actor with noise on its actions or its weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.metaexplore.environments import Environments, Experience, rollout
from septet.metaexplore.student import Array, Student, actions, normalised
from septet.rl.noise import ActionNoise, Gaussian, OrnsteinUhlenbeck, ParameterNoise, Uniform
from septet.rl.shapes import Float32, gains

ACTION_NOISE: dict[str, Any] = {"ornstein_uhlenbeck": OrnsteinUhlenbeck, "uniform": Uniform, "gaussian": Gaussian}


class NoisyActor:
    """Noise around the actors of S seeds, which begins again with each episode.

    Args:
        kind: a key of `ACTION_NOISE`, `parameter` or `none`.
        scale: of the noise: sigma, half width, or the distance that noise on weights keeps.
        root, task, seeds: names of the streams.
        student: of S seeds.
    """

    checkpointed = ("action_noise", "weight_noise", "perturbed", "last")

    def __init__(self, kind: str, scale: float, root: int, task: str, seeds: list[int], student: Student) -> None:
        of = (root, task, seeds)
        make = ACTION_NOISE.get(kind)
        self.action_noise: ActionNoise | None = make(*of, int(student.shapes.actor.sizes[-1]), scale) if make else None
        self.weight_noise = ParameterNoise(*of, target=scale) if kind == "parameter" else None
        self.perturbed = np.zeros_like(student.networks.actor)
        self.last: Float32 | None = None  # observations of the last rollout, (S, T, O)

    def explore(self, student: Student, environments: Environments, first: int, steps: int) -> Experience:
        """Take steps in one environment per seed.

        Args:
            first: number of the first step, which names its noise.
        """

        def act(t: int, observation: Array) -> NDArray[Any]:
            begun = environments.elapsed == 0
            if self.weight_noise is not None:
                self._perturb(self.weight_noise, student, begun)
                return with_actor(student, self.perturbed).act(observation)
            own = student.act(observation)
            if self.action_noise is None:
                return own
            self.action_noise.reset(begun)
            return np.clip(own + self.action_noise.at(first + t), -1.0, 1.0)

        found = rollout(environments, act, steps)
        if self.weight_noise is not None:
            self.last = found.records[:, :, : environments.observation_size].copy()
        return found

    def _perturb(self, noise: ParameterNoise, student: Student, begun: NDArray[np.bool_]) -> None:
        """New perturbed actors where an episode begins, the scale adapted to the last one's on the last rollout."""
        if not begun.any():
            return
        actor, shape = student.networks.actor, student.shapes.actor
        if self.last is not None:
            x = normalised(self.last, student.scaling)
            noise.adapt(actions(actor, shape, x), actions(self.perturbed, shape, x), begun)
        noise.perturb(actor, self.perturbed, begun)
        kept = gains(shape)
        self.perturbed[:, kept] = actor[:, kept]


def with_actor(student: Student, actor: Float32) -> Student:
    """The student with other weights ``(S, P)`` of the actor."""
    return student._replace(networks=student.networks._replace(actor=actor))
