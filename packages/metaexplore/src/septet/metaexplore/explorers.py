"""What gathers data: a teacher that sees the student, or the student's actor with noise."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from septet.metaexplore import nets, student
from septet.metaexplore.config import Method
from septet.metaexplore.environments import Environments, Experience, rollout
from septet.metaexplore.nets import Float32, Shape
from septet.metaexplore.student import Array, Networks, State
from septet.metaexplore.teacher import Teacher
from septet.rl.noise import ActionNoise, Gaussian, OrnsteinUhlenbeck, ParameterNoise, Uniform
from septet.rl.normalise import Moments, standard
from septet.seeding import stream


class View(Protocol):
    """What an explorer may see of the learner."""

    students: Networks
    actor_shape: Shape
    critic_shape: Shape
    mean: Float32
    scale: Float32
    cycle: int


def by_seed(array: NDArray[Any], seeds: int) -> NDArray[Any]:
    """``(S B, ...)`` as ``(S, B, ...)``."""
    return array.reshape(seeds, -1, *array.shape[1:])


def student_acts(view: View, observation: Array, weights: Float32 | None = None) -> Float32:
    """Noise-free actions ``(S B, A)`` of the students (or of other actors ``(S, P)``) at observations ``(S B, O)``."""
    seeds = len(view.mean)
    x = student.normalised(by_seed(observation, seeds), view.mean, view.scale)
    acts = student.actions(view.students.actor if weights is None else weights, view.actor_shape, x)
    return acts.reshape(len(observation), -1)


class TeacherExplorer:
    """A teacher's rollouts: M environments per seed, which go on from cycle to cycle.

    Attributes:
        teacher: none for uniformly random actions.
        inputs, action, mean: what the update needs of the last rollout, ``(S, M, T, ...)``; action before clipping.
        distance: mean of |f - mu| over the last rollout, ``(S,)``.
    """

    def __init__(self, method: Method, root: int, task: str, seeds: list[int], environments: Environments) -> None:
        size, width = environments.observation_size, environments.action_size
        self.method, self.environments, self.seeds = method, environments, seeds
        self._name = (root, "explore", task)
        shape = np.array([size + (method.explorer == "informed"), *method.hidden, width, 0])
        bounds = {"sigma": method.sigma, "floor": method.sigma_floor, "ceiling": method.sigma_ceiling}
        self.teacher = Teacher(method.explorer, shape, root, task, seeds, rate=method.teacher_rate, **bounds)
        self.observation = environments.reset()
        at = (len(seeds), method.trials, method.explore_steps)
        self.inputs = np.zeros((*at, int(shape[0])), np.float32)
        self.action, self.mean = np.zeros((*at, width)), np.zeros((*at, width))
        self.distance = np.zeros(len(seeds))
        self.q = Moments.none(len(seeds), 1)

    def explore(self, view: View) -> Experience:
        """D0: `explore_steps` steps of each trial."""
        method, count = self.method, len(self.seeds)
        generators = [stream(*self._name, seed, view.cycle) for seed in self.seeds]
        shape = self.action.shape[1:]
        if method.explorer == "random":
            noise = np.stack([g.uniform(-1.0, 1.0, shape) for g in generators])
        else:
            noise = np.stack([g.standard_normal(shape) for g in generators])
        sigma, weights = self.teacher.sigma[:, None, None], self.teacher.weights
        q_mean, q_scale = (a.astype(np.float32) for a in standard(self.q))
        seen = np.zeros((*self.action.shape[:3], 1))
        self.distance = np.zeros(count)

        def act(t: int, observation: Array) -> Array:
            x = student.normalised(by_seed(observation, count), view.mean, view.scale)
            own = student.actions(view.students.actor, view.actor_shape, x)
            if method.explorer == "informed":
                seen[:, :, t, 0] = q = student.values(view.students.critic, view.critic_shape, x, own)
                x = np.concatenate([x, student.normalised(q[..., None], q_mean, q_scale)], axis=2)
            if method.explorer in ("local", "random"):
                f = own if method.explorer == "local" else np.zeros_like(own)
            else:
                f = student.actions(weights, self.teacher.shape, x)
            raw = noise[:, :, t] if method.explorer == "random" else f + sigma * noise[:, :, t]
            self.inputs[:, :, t], self.action[:, :, t], self.mean[:, :, t] = x, raw, f
            self.distance += np.linalg.norm(f - own, axis=-1).mean(axis=1) / method.explore_steps
            return np.clip(raw, -1.0, 1.0).reshape(len(observation), -1)

        found = rollout(self.environments, self.observation, act, method.explore_steps)
        self.observation = found.observation
        if method.explorer == "informed":
            values = seen.reshape(count, -1, 1)
            centre = values.mean(axis=1)
            squares = ((values - centre[:, None]) ** 2).sum(axis=1)
            self.q = self.q.merge(Moments(np.full(count, float(values.shape[1])), centre, squares))
        return found

    @property
    def state(self) -> State:
        """Teacher, environments and the last rollout."""
        own: State = {"observation": self.observation, "inputs": self.inputs, "action": self.action, "f": self.mean}
        own |= {"distance": self.distance, "count": self.q.count, "q_mean": self.q.mean, "q_squares": self.q.squares}
        parts: dict[str, State] = {"teacher": self.teacher.state, "environments": self.environments.state, "own": own}
        return {f"{part}.{name}": array.copy() for part, arrays in parts.items() for name, array in arrays.items()}

    @state.setter
    def state(self, saved: State) -> None:
        parts: dict[str, State] = {"teacher": {}, "environments": {}, "own": {}}
        for key, array in saved.items():
            part, _, name = key.partition(".")
            parts[part][name] = array
        self.teacher.state, self.environments.state, own = parts["teacher"], parts["environments"], parts["own"]
        self.observation, self.distance = own["observation"].copy(), own["distance"].copy()
        self.inputs[:], self.action[:], self.mean[:] = own["inputs"], own["action"], own["f"]
        self.q = Moments(own["count"].copy(), own["q_mean"].copy(), own["q_squares"].copy())


class NoiseExplorer:
    """The student's actor with noise on its actions or weights: plain DDPG (section 5)."""

    def __init__(
        self, method: Method, root: int, task: str, seeds: list[int], environments: Environments, actor_shape: Shape
    ) -> None:
        self.method, self.environments, self.seeds = method, environments, seeds
        name, width = (root, task, seeds), environments.action_size
        kinds: dict[str, Any] = {"ornstein_uhlenbeck": OrnsteinUhlenbeck, "uniform": Uniform, "gaussian": Gaussian}
        kind = kinds.get(method.explorer)
        self.noise: ActionNoise | None = kind(*name, width, method.noise_scale) if kind else None
        self.weights = ParameterNoise(*name, target=method.noise_scale) if method.explorer == "parameter" else None
        self.perturbed = np.zeros((len(seeds), nets.weight_count(actor_shape)), np.float32)
        self._kept = nets.normalised(actor_shape)
        self.observation = environments.reset()
        self._last: Float32 | None = None  # records of the last rollout

    def explore(self, view: View) -> Experience:
        """`explore_steps` steps of each seed; noise begins anew with each episode."""
        start = view.cycle * self.method.explore_steps

        def act(t: int, observation: Array) -> Array:
            ended = self.environments.elapsed == 0
            if self.noise is not None:
                self.noise.reset(ended)
                own = student_acts(view, observation)
                return np.clip(own + self.noise.at(start + t), -1.0, 1.0)
            if self.weights is None:
                return student_acts(view, observation).astype(np.float64)
            self._perturb(view, observation, ended)
            return student_acts(view, observation, self.perturbed).astype(np.float64)

        found = rollout(self.environments, self.observation, act, self.method.explore_steps)
        self.observation = found.observation
        self._last = found.records
        return found

    def _perturb(self, view: View, observation: Array, begun: NDArray[np.bool_]) -> None:
        """New perturbed actors where an episode begins, the scale adapted to the last one's on the last rollout."""
        assert self.weights is not None
        if not begun.any():
            return
        if self._last is not None:
            size = self.environments.observation_size
            x = student.normalised(self._last[:, :, :size], view.mean, view.scale)
            own, other = (student.actions(w, view.actor_shape, x) for w in (view.students.actor, self.perturbed))
            self.weights.adapt(own, other, begun)
        self.weights.perturb(view.students.actor, self.perturbed, begun)
        self.perturbed[:, self._kept] = view.students.actor[:, self._kept]

    @property
    def state(self) -> State:
        """Noise, environments and the last rollout."""
        noise = self.noise.state if self.noise is not None else {}
        noise = self.weights.state if self.weights is not None else noise
        own: State = {"observation": self.observation, "perturbed": self.perturbed}
        if self.weights is not None and self._last is not None:
            own["last"] = self._last
        parts: dict[str, State] = {"noise": noise, "environments": self.environments.state, "own": own}
        return {f"{part}.{name}": array.copy() for part, arrays in parts.items() for name, array in arrays.items()}

    @state.setter
    def state(self, saved: State) -> None:
        parts: dict[str, State] = {"noise": {}, "environments": {}, "own": {}}
        for key, array in saved.items():
            part, _, name = key.partition(".")
            parts[part][name] = array
        self.environments.state, own = parts["environments"], parts["own"]
        self.observation, self.perturbed[:] = own["observation"].copy(), own["perturbed"]
        if self.noise is not None:
            self.noise.state = parts["noise"]
        if self.weights is not None:
            self.weights.state = parts["noise"]
            self._last = own["last"].copy() if "last" in own else None
