"""The cycle of section 2.5, S seeds in lockstep, one phase at a time."""

import numpy as np
from numpy.typing import NDArray

from septet.metaexplore import nets, student
from septet.metaexplore.config import Method, Task
from septet.metaexplore.environments import Environments, Experience, return_estimate, rollout
from septet.metaexplore.explorers import NoiseExplorer, TeacherExplorer, by_seed, student_acts
from septet.metaexplore.nets import Float32
from septet.metaexplore.student import Array, Networks, Rates, State
from septet.metaexplore.teacher import standardised
from septet.nonfinite import check_finite
from septet.rl.normalise import Moments, standard
from septet.rl.replay import Replay
from septet.seeding import stream

WITH_TEACHER = ("explore", "trial", "evaluate", "teach", "train")
PLAIN = ("explore", "train")


class Cycle:
    """Students, explorer, replay and environments of S seeds; a cycle is a row of phases.

    Rows of trial students and of their environments are seed-major: M of each seed.

    Args:
        begin: evaluate the first student (section 2.5); false where another cycle's student takes its place.

    Attributes:
        students: weights, targets and moments; trials: those of the trial students, between two phases.
        updates: updates of the students so far; steps: environment steps per seed so far, of every kind.
        cycle, phase: number of the cycle, and of the phase that comes next.
        meta_reward: R' - R of the last cycle (R' of a group), ``(S, M)``; advantage: what the teacher was given.
    """

    def __init__(self, method: Method, task: Task, seeds: list[int], root: int, begin: bool = True) -> None:
        self.method = method
        self.seeds, self.root, self.task = seeds, root, task.environment
        count = len(seeds)

        def environments(purpose: str, number: int) -> Environments:
            return Environments(self.task, task.options, seeds, number, root, purpose)

        self.rows = count * method.trials
        self.evaluation = environments("evaluate", method.trials)
        self.horizon = self.evaluation.time_limit
        size, width = self.evaluation.observation_size, self.evaluation.action_size
        self.actor_shape = np.array([size, *method.hidden, width, 0])
        self.critic_shape = np.array([size, *method.hidden, 1, width])
        names = (("actor", self.actor_shape), ("critic", self.critic_shape))
        self.students = student.networks(*(nets.initial(s, self.root, (n, self.task), self.seeds) for n, s in names))
        self.work = student.workspace(self.actor_shape, self.critic_shape, method.batch)
        self.rates = Rates(method.actor_rate, method.critic_rate, method.critic_decay, method.gamma, method.tau)
        self.explorer: TeacherExplorer | NoiseExplorer
        named = (method, self.root, self.task, self.seeds)
        if method.teaches:
            self.explorer = TeacherExplorer(*named, environments("explore", method.trials))
        else:
            self.explorer = NoiseExplorer(*named, environments("explore", 1), self.actor_shape)
        self.phases = WITH_TEACHER if method.teaches else PLAIN
        self.replay = Replay(seeds, size, width, min(method.replay, task.steps))
        self.moments = Moments.none(count, size)
        self.mean, self.scale = np.zeros((count, size), np.float32), np.ones((count, size), np.float32)
        self.trials: Networks | None = None
        self.new: list[Float32] = []  # records of this cycle, (S, n, ...), that the replay does not hold yet
        self.updates = self.trial_updates = self.steps = self.cycle = self.phase = 0
        self.losses = np.zeros((count, 2))
        shape = (count, method.trials)
        self.teacher_return, self.trial_return, self.meta_reward, self.advantage = (np.zeros(shape) for _ in range(4))
        self.reference = np.zeros(count)
        self.gradient_norm = np.zeros(count)
        self.history = np.zeros((count, 0))  # advantages so far, for the control that shuffles them in time
        self.observation = self.evaluation.reset()
        if method.teaches and begin:
            self._first_evaluation()

    def advance(self) -> None:
        """Do the phase that comes next."""
        getattr(self, self.phases[self.phase])()
        self.phase += 1
        if self.phase == len(self.phases):
            self.phase = 0
            self.cycle += 1

    def explore(self) -> None:
        """1. D0: steps of the explorer."""
        found = self.explorer.explore(self)
        steps = found.records.shape[1]
        self.teacher_return = by_seed(return_estimate(found.reward, found.falls, steps, self.horizon), len(self.seeds))
        self._keep(found)

    def trial(self) -> None:
        """2. pi': copies of the student, updates on D0 only. With `continue` the student itself."""
        method = self.method
        first = self.new[0].reshape(self.rows, method.explore_steps, -1)
        # the trials of a seed draw alike: what differs between their returns is what they were taught from
        rows = self.draw("trial", method.trial_updates, method.explore_steps)
        if method.student == "continue":
            self._train(self.students, first, rows, self.mean, self.scale, self.updates, self.losses)
            self.updates += method.trial_updates
            self.trials = self.students
            return
        self.trials = student.repeat(self.students, method.trials)
        self.learn(self.trials, first, rows)
        self.trial_updates += method.trial_updates * method.trials

    def evaluate(self) -> None:
        """3. and 4. D1: noise-free steps of pi', and the meta-reward."""
        assert self.trials is not None
        method = self.method
        if method.trials == 1 and method.reference == "fresh":
            self.reference = self._evaluation(self.students.actor)[:, 0]
        self.trial_return = self._evaluation(self.trials.actor)
        self.meta_reward = self.trial_return.copy()
        if method.trials == 1:
            self.meta_reward -= self.reference[:, None]
            self.reference = self.trial_return[:, 0].copy()
        check_finite("the meta-reward", self.meta_reward, self.cycle, self.seeds)
        self.trials = None

    def teach(self) -> None:
        """5. theta_e: one step up the meta-policy gradient, unless the teacher is frozen."""
        method, explorer = self.method, self.explorer
        assert isinstance(explorer, TeacherExplorer)
        advantage = standardised(self.meta_reward, explorer.teacher.spread)
        if method.teacher_update == "shuffled":
            advantage = self._shuffled(advantage)
        self.advantage = advantage
        if method.teacher_update != "frozen" and method.explorer != "random":
            given = explorer.inputs, explorer.action, explorer.mean
            self.gradient_norm = explorer.teacher.update(*given, advantage)
            check_finite("the teacher", explorer.teacher.flat, self.cycle, self.seeds)

    def train(self) -> None:
        """6. and 7. B <- B + D0 + D1, their observations counted once; the student learns from B."""
        method, size = self.method, self.evaluation.observation_size
        for records in self.new:
            self._store(records)
        self._count_observations(np.concatenate([records[:, :, :size] for records in self.new], axis=1))
        self.new = []
        if method.student_updates:
            rows = self.draw("train", method.student_updates, len(self.replay))
            held = self.replay.records
            self._train(self.students, held, rows, self.mean, self.scale, self.updates, self.losses)
            self.updates += method.student_updates
        check_finite("the losses", self.losses, self.cycle, self.seeds)
        check_finite("the actor", self.students.actor, self.cycle, self.seeds)

    def act(self, observation: Array) -> Float32:
        """Noise-free actions of the students at observations ``(S B, O)``."""
        return student_acts(self, observation)

    def learn(self, trials: Networks, records: Float32, rows: NDArray[np.int64]) -> None:
        """Updates of trial students on records ``(S M, n, ...)``; the M of a seed draw the same rows ``(S, U, N)``."""
        times = self.method.trials
        each, losses = np.repeat(rows, times, axis=0), np.zeros((self.rows, 2))
        mean, scale = (np.repeat(a, times, axis=0) for a in (self.mean, self.scale))
        self._train(trials, records, each, mean, scale, self.updates, losses)

    def _first_evaluation(self) -> None:
        """D1 of the first student: R, the first statistics of observations, the first of B (section 2.5)."""
        self.reference = self._evaluation(self.students.actor)[:, 0]
        size = self.evaluation.observation_size
        self._store(self.new[0])
        self._count_observations(self.new[0][:, :, :size])
        self.new = []

    def _evaluation(self, actors: Float32) -> Array:
        """Return estimates ``(S, M)`` of noise-free actors (one per seed or per trial); what they saw is kept."""
        method, count = self.method, len(self.seeds)
        if method.starts == "common":
            self.observation = self.evaluation.restart(self.cycle)
        each = len(actors) // count
        mean, scale = (np.repeat(a, each, axis=0) for a in (self.mean, self.scale))

        def act(t: int, observation: Array) -> Float32:
            x = student.normalised(by_seed(observation, len(actors)), mean, scale)
            return student.actions(actors, self.actor_shape, x).reshape(len(observation), -1)

        found = rollout(self.evaluation, self.observation, act, method.evaluate_steps)
        self.observation = found.observation
        self._keep(found)
        return by_seed(return_estimate(found.reward, found.falls, method.evaluate_steps, self.horizon), count)

    def _keep(self, found: Experience) -> None:
        """Count the steps of a rollout and keep its records until they enter the replay."""
        count = len(self.seeds)
        records = found.records.reshape(count, -1, found.records.shape[2])
        self.steps += records.shape[1]
        self.new.append(records)

    def _store(self, records: Float32) -> None:
        """Add records ``(S, n, ...)`` to the replay, over its oldest ones if it is full."""
        at = (self.replay.added + np.arange(records.shape[1])) % self.replay.capacity
        self.replay.records[:, at] = records
        self.replay.added += records.shape[1]

    def _count_observations(self, observation: Float32) -> None:
        """Merge observations ``(S, n, O)`` into the running statistics."""
        seen = observation.astype(np.float64)
        centre = seen.mean(axis=1)
        squares = ((seen - centre[:, None]) ** 2).sum(axis=1)
        self.moments = self.moments.merge(Moments(np.full(len(seen), float(seen.shape[1])), centre, squares))
        mean, scale = standard(self.moments)
        self.mean, self.scale = mean.astype(np.float32), scale.astype(np.float32)

    def draw(self, name: str, updates: int, held: int) -> NDArray[np.int64]:
        """Rows of mini-batches, ``(S, U, N)`` in [0, held)."""
        shape = (updates, self.method.batch)
        generators = (stream(self.root, name, self.task, seed, self.cycle) for seed in self.seeds)
        return np.stack([g.integers(0, held, shape) for g in generators])

    def _train(
        self,
        students: Networks,
        records: Float32,
        rows: NDArray[np.int64],
        mean: Float32,
        scale: Float32,
        step: int,
        losses: Array,
    ) -> None:
        shapes = (self.actor_shape, self.critic_shape)
        student.train(students, *shapes, records, rows, mean, scale, self.work, step, self.rates, losses)

    def _shuffled(self, advantage: Array) -> Array:
        """Advantages in random order: within the group, or for one trial drawn from those so far."""
        generators = [stream(self.root, "shuffle", self.task, seed, self.cycle) for seed in self.seeds]
        if advantage.shape[1] > 1:
            return np.stack([g.permutation(row) for g, row in zip(generators, advantage, strict=True)])
        self.history = np.concatenate([self.history, advantage], axis=1)
        picked = [int(g.integers(self.history.shape[1])) for g in generators]
        return np.stack([row[[k]] for row, k in zip(self.history, picked, strict=True)])

    @property
    def state(self) -> State:
        """Everything that the next phase depends on; to set is to restore exactly."""
        numbers = [self.updates, self.trial_updates, self.steps, self.cycle, self.phase]
        own = {"numbers": np.array(numbers), "observation": self.observation, "reference": self.reference}
        own |= {"mean": self.mean, "scale": self.scale, "losses": self.losses}
        own |= {"teacher_return": self.teacher_return, "trial_return": self.trial_return, "history": self.history}
        own |= {"meta_reward": self.meta_reward, "advantage": self.advantage, "gradient_norm": self.gradient_norm}
        own |= {"count": self.moments.count, "centre": self.moments.mean, "squares": self.moments.squares}
        own |= {f"new{k:03}": records for k, records in enumerate(self.new)}
        parts: dict[str, State] = {"own": own, "students": self.students._asdict()}
        if self.trials is not None and self.method.student == "restore":
            parts["trials"] = self.trials._asdict()
        parts |= {"explorer": self.explorer.state, "replay": self.replay.state, "evaluation": self.evaluation.state}
        return {f"{part}.{name}": array.copy() for part, arrays in parts.items() for name, array in arrays.items()}

    @state.setter
    def state(self, saved: State) -> None:
        parts: dict[str, State] = {}
        for key, array in saved.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = array.copy()
        own = parts["own"]
        self.updates, self.trial_updates, self.steps, self.cycle, self.phase = (int(n) for n in own["numbers"])
        for name in ("observation", "reference", "mean", "scale", "losses", "history"):
            setattr(self, name, own[name])
        for name in ("teacher_return", "trial_return", "meta_reward", "advantage", "gradient_norm"):
            setattr(self, name, own[name])
        self.moments = Moments(own["count"], own["centre"], own["squares"])
        self.new = [own[name] for name in sorted(own) if name.startswith("new")]
        self.students = Networks(**parts["students"])
        self.trials = Networks(**parts["trials"]) if "trials" in parts else None
        if self.method.student == "continue" and self.phases[self.phase] == "evaluate":
            self.trials = self.students
        self.explorer.state, self.replay.state = parts["explorer"], parts["replay"]
        self.evaluation.state = parts["evaluation"]

    def close(self) -> None:
        """Let go of the environments."""
        self.evaluation.close()
        self.explorer.environments.close()
