"""The `train` verb: the paper's algorithm, S seeds in lockstep (section 2.5)."""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.metaexplore import navigation, student, teacher
from septet.metaexplore.baselines import NoisyActor
from septet.metaexplore.config import Job, Method, Task
from septet.metaexplore.curve import PAPER, Curve
from septet.metaexplore.environments import Environments, Experience, make_environments, rollout
from septet.metaexplore.student import Array, Student, ddpg, merged, repeat
from septet.metaexplore.teacher import Lesson, Spread, shuffled, standardised, taught
from septet.nonfinite import check_finite
from septet.rl import models
from septet.rl.ddpg_update import Rates, networks
from septet.rl.loop import Iteration
from septet.rl.models import Kept
from septet.rl.normalise import Moments
from septet.rl.policies import Policy, deterministic
from septet.rl.replay import Replay
from septet.rl.shapes import Float32, initial, net
from septet.run import Run
from septet.seeding import stream

PACKAGES = ["septet", "septet.sampler", "septet.rl", "septet.metaexplore"]
LIBRARIES = ["numpy", "numba", "mujoco", "gymnasium", "polars"]


def train(job: Job, out: Path) -> None:
    """Run one method on one task and write OUT/scores.parquet, OUT/timing.parquet and OUT/run.json."""
    method, task, seeds = job.method, job.task, job.seeds
    assert isinstance(method, Method)
    with (
        Run(
            out, job, paper=PAPER, method=method.name, task=task.name, seeds=seeds, packages=PACKAGES,
            libraries=LIBRARIES,
        ) as run,
        closing(Learner(method, task, seeds, job.root_seed)) as learner,
        closing(Curve(job, method)) as curve,
    ):  # fmt: skip
        if method.teaches:
            first_evaluation(learner)
        own = navigation.__name__ if task.environment == navigation.NAME else None
        where = models.Environment(name=task.environment, options=task.options, registers=own)
        kept = Kept(run, learner, job.keep_model, where)
        kept.note(curve.measure(learner), None, learner.steps)
        state = {"learner": learner, "curve": curve, "kept": kept}
        for number in run.loop(method.cycles(task.steps), state, unit="cycles"):
            found = learner.cycle(number)
            curve.note(found)
            kept.note(curve.measure(learner), None, learner.steps)
        run.write(
            curve.score_rows(),
            methods={method.name: method.model_dump(mode="json", exclude={"name"})},
            steps=learner.steps * len(seeds),
            beside=kept.write,
        )


class Cycle(NamedTuple):
    """What a cycle gave: M trials of S seeds; of plain DDPG the data alone."""

    data: list[Float32]
    """D0, then D1: transitions (S, n, 2 O + A + 2)."""
    meta_reward: Array | None = None
    """R' - R, or R' of a group, (S, M)."""
    advantage: Array | None = None
    """What the teacher was given, (S, M)."""
    scores: dict[str, Array] = {}
    """Metric -> (S,)."""


def meta_cycle(learner: "Learner", number: int) -> Cycle:
    """One cycle of the algorithm: the teacher is paid by how much a copy of the student learns from its data."""
    method, seeds, pi = learner.method, learner.seeds, learner.student

    # 1. D0 <- steps of the teacher
    d0, lesson = explore(learner, method, learner.exploring, number)
    if method.explorer == "informed":
        learner.values = merged(learner.values, lesson.value)

    # 2. pi' <- DDPG(pi, D0): M trials of each seed, which draw the same rows of their data
    rows = draw(learner, "trial", number, method, method.trial_updates, method.explore_steps)
    trial, losses = trials_of(learner, method, d0.records, rows)

    # 3. D1 <- noise-free steps of pi', whose return is R'
    data = [d0.by_seed]
    if method.fresh:
        d1 = evaluate(learner.evaluating, pi, method, number)
        learner.reference = d1.returns
        data.append(d1.by_seed)
    d1 = evaluate(learner.evaluating, trial, method, number)
    data.append(d1.by_seed)

    # 4. the meta-reward R' - R; of a group it is R', less the group's mean
    meta_reward = d1.returns - learner.reference if method.trials == 1 else d1.returns
    learner.reference = d1.returns
    check_finite("the meta-reward", meta_reward, number, seeds)

    # 5. theta_e <- theta_e + eta A grad log pi_e, A the standardised meta-reward
    advantage, learner.rewards = standardised(meta_reward, learner.rewards)
    if method.teacher_update == "shuffled":
        advantage, learner.past = shuffled(advantage, learner.past, learner.streams("shuffle", number))
    norms = np.zeros(len(seeds))
    if method.teacher_update != "frozen" and method.explorer != "random":
        bounds = method.sigma_floor, method.sigma_ceiling
        learner.teacher, norms = taught(
            learner.teacher, learner.teacher_shape, lesson, advantage, method.teacher_learning_rate, bounds
        )
        check_finite("the teacher", learner.teacher.flat, number, seeds)

    # 6. B <- B + D0 + D1
    remember(learner, data)

    # 7. pi <- DDPG(pi, B), from pi as it was before the trial; or, as in the prototype, from pi'
    if method.student == "continue":
        learner.student, learner.losses = learner.student._replace(networks=trial.networks), losses
        learner.updates += method.trial_updates
    learn(learner, number)
    scores = {
        "meta_reward": meta_reward.mean(axis=1),
        "meta_std": learner.rewards.std,
        "sigma": learner.teacher.sigma,
        "distance": lesson.distance,
        "teacher_return": d0.returns.mean(axis=1),
        "trial_return": d1.returns.mean(axis=1),
        "gradient_norm": norms,
    }
    return Cycle(data, meta_reward, advantage, scores)


def plain_cycle(learner: "Learner", number: int) -> Cycle:
    """Plain DDPG (section 5): noise around the student in the teacher's place, and no trials."""
    assert learner.noise is not None
    steps = learner.method.explore_steps
    d0 = learner.noise.explore(learner.student, learner.exploring, number * steps, steps)
    remember(learner, [d0.by_seed])
    learn(learner, number)
    return Cycle([d0.by_seed], scores=learner.noise.scores)


def first_evaluation(learner: "Learner") -> None:
    """D1 of the untrained student, before the first cycle: R, the first scaling of observations, the first of B."""
    d1 = evaluate(learner.evaluating, learner.student, learner.method, 0)
    learner.reference = d1.returns
    remember(learner, [d1.by_seed])


class Learner:
    """Students, teacher and replay of S seeds, and their environments: all that a cycle reads and changes.

    Attributes:
        student: networks and scaling of the students; updates: done so far; losses: L_Q and L_mu of the last ones.
        teacher: its weights and moments; rewards: spread of the meta-rewards; past: advantages, for the control that
            shuffles them; values: moments of Q, for the teacher that sees it.
        noise: explores in plain DDPG, in the teacher's place.
        replay: B; seen: moments of its observations.
        reference: R, ``(S, M)``; steps: environment steps per seed, of every kind.
        exploring, evaluating: M environments per seed for D0, and for D1.
    """

    checkpointed = (
        "student", "updates", "losses", "teacher", "rewards", "past", "values", "noise", "replay", "seen", "reference",
        "steps", "exploring", "evaluating",
    )  # fmt: skip
    judged_by, judged_after = "return", True

    def __init__(self, method: Method, task: Task, seeds: list[int], root: int) -> None:
        self.method, self.task, self.seeds, self.root = method, task, seeds, root
        self.exploring = self.environments("explore", method.trials if method.teaches else 1)
        self.evaluating = self.environments("evaluate", method.trials)
        count, size, width = len(seeds), self.evaluating.observation_size, self.evaluating.action_size
        shapes, seen = student.shapes(size, method.hidden, width), Moments.none(count, size)
        name = task.environment
        weights = [
            initial(s, root, (n, name), seeds, student.LAST) for n, s in zip(shapes._fields, shapes, strict=True)
        ]
        self.student = Student(networks(*weights), shapes, student.scaling(seen))
        self.updates, self.losses, self.steps = 0, np.zeros((count, 2)), 0
        self.replay, self.seen = Replay(seeds, size, width, min(method.buffer_size, task.steps)), seen
        self.noise: NoisyActor | None = None
        if not method.teaches:
            of = (method.explorer, method.noise_scale, root, name, seeds, self.student)
            self.noise = NoisyActor(*of, batch=method.batch_size)
        self.teacher_shape = net((size + (method.explorer == "informed"), *method.hidden, width), normalised=True)
        self.teacher = teacher.initial(method.explorer, self.teacher_shape, root, name, seeds, method.sigma)
        self.rewards = Spread(*np.zeros((3, count)))
        self.past: list[Array] = []
        self.values, self.reference = Moments.none(count, 1), np.zeros((count, method.trials))

    def cycle(self, number: int) -> Cycle:
        """One cycle of the algorithm, or of plain DDPG."""
        return meta_cycle(self, number) if self.method.teaches else plain_cycle(self, number)

    def iterate(self, number: int) -> Iteration:
        """One cycle; see `septet.rl.loop.Learner`."""
        before, scores = self.steps, self.cycle(number).scores
        scores = {**scores, "critic_loss": self.losses[:, 0], "return": self.reference.mean(axis=1)}
        return Iteration(np.full(len(self.seeds), float(self.steps - before)), scores, {})

    def restart(self, number: int) -> None:
        """Go on with new episodes, where the environments' state could not be saved: nothing refers to the old ones."""

    def acting(self) -> Policy:
        """The students; see `septet.rl.models.Keeps`."""
        bounds = self.evaluating.action_low, self.evaluating.action_high
        shape = deterministic(self.student.shapes.actor, student.CLIP)
        mean, scale = (part.astype(np.float64) for part in self.student.scaling)
        return Policy(shape, self.student.networks.actor, mean, scale, *bounds)

    def environments(self, purpose: str, number: int) -> Environments:
        """New environments, `number` per seed; their starts carry the purpose."""
        task = self.task
        made = make_environments(task.environment, task.options, self.seeds, number, self.root, purpose)
        made.reset()
        return made

    def streams(self, name: str, number: int) -> list[np.random.Generator]:
        """Random numbers of a cycle, a generator per seed."""
        return [stream(self.root, name, self.task.environment, seed, number) for seed in self.seeds]

    def close(self) -> None:
        """Close the environments."""
        self.exploring.close()
        self.evaluating.close()


def explore(learner: Learner, method: Method, environments: Environments, number: int) -> tuple[Experience, Lesson]:
    """D0 of cycle `number`, and what the teacher has to know of it."""
    shape = method.trials, method.explore_steps, environments.action_size
    generators = learner.streams("explore", number)
    if method.explorer == "random":
        noise = np.stack([g.uniform(-1.0, 1.0, shape) for g in generators])
    else:
        noise = np.stack([g.standard_normal(shape) for g in generators])
    of_value = student.scaling(learner.values)
    return teacher.explore(
        learner.teacher, method.explorer, learner.teacher_shape, learner.student, of_value, environments, noise
    )


def draw(learner: Learner, name: str, number: int, method: Method, updates: int, held: int) -> NDArray[np.int64]:
    """Rows of the mini-batches of cycle `number`, ``(S, U, N)`` in [0, held)."""
    return np.stack([g.integers(0, held, (updates, method.batch_size)) for g in learner.streams(name, number)])


def trials_of(learner: Learner, method: Method, records: Float32, rows: NDArray[np.int64]) -> tuple[Student, Array]:
    """pi': M copies of each student after updates on records ``(S M, n, ...)``, and their losses ``(S M, 2)``."""
    copies = repeat(learner.student, method.trials)
    return ddpg(copies, records, np.repeat(rows, method.trials, axis=0), rates(method), learner.updates)


def evaluate(environments: Environments, students: Student, method: Method, number: int) -> Experience:
    """D1 of cycle `number`: noise-free steps of students, one for each seed or for each trial."""
    if method.starts == "common":
        environments.restart(number)
    return rollout(environments, lambda t, observation: students.act(observation), method.evaluate_steps)


def remember(learner: Learner, data: list[Float32]) -> None:
    """B takes transitions ``(S, n, ...)``, over its oldest ones if it is full; their observations count once each."""
    replay = learner.replay
    for records in data:
        at = (replay.added + np.arange(records.shape[1])) % replay.capacity
        replay.records[:, at] = records
        replay.added += records.shape[1]
        learner.steps += records.shape[1]
    seen = np.concatenate([records[:, :, : replay.observation_size] for records in data], axis=1)
    learner.seen = merged(learner.seen, seen)
    learner.student = learner.student._replace(scaling=student.scaling(learner.seen))


def learn(learner: Learner, number: int) -> None:
    """The student learns from B."""
    method, seeds, replay = learner.method, learner.seeds, learner.replay
    if method.student_updates:
        rows = draw(learner, "train", number, method, method.student_updates, len(replay))
        stops = learner.noise.stops(learner.updates, method.student_updates) if learner.noise else []
        learner.losses = np.zeros_like(learner.losses)
        for part in np.split(rows, stops, axis=1):
            if learner.noise is not None:
                learner.noise.adapt(learner.student, learner.updates, replay)
            learner.student, losses = ddpg(learner.student, replay.records, part, rates(method), learner.updates)
            learner.updates += part.shape[1]
            learner.losses += losses * (part.shape[1] / method.student_updates)
    check_finite("the losses", learner.losses, number, seeds)
    check_finite("the actor", learner.student.networks.actor, number, seeds)


def rates(method: Method) -> Rates:
    """The numbers of the student's update."""
    return Rates(method.actor_learning_rate, method.critic_learning_rate, method.critic_decay, method.gamma, method.tau)
