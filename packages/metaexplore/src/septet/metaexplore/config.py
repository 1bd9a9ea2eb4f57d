"""Configuration of the paper's experiments; sources are sections of `docs/papers/metaexplore.md`."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from septet.config import SeededRuns, Seeds, Settings
from septet.rl.config import KeepModel

TEACHERS = ("independent", "local", "informed", "random")
Explorer = Literal[
    "independent", "local", "informed", "random", "ornstein_uhlenbeck", "uniform", "gaussian", "parameter", "none"
]


class _Named(Settings):
    name: str = ""
    """Name of the method or task; filled in by the workflow for a job."""


class Method(_Named):
    """A student and how it gathers data."""

    kind: Literal["training"] = "training"
    """Selects this kind of method."""
    explorer: Explorer = "independent"
    """A teacher of section 2.4 (independent, local, informed), uniformly random actions in its place (random), or
    plain DDPG with noise on actions or weights."""
    teacher_update: Literal["meta", "frozen", "shuffled"] = "meta"
    """What moves the teacher: its meta-rewards, nothing, or meta-rewards in random order (controls of section 5)."""
    trials: int = Field(default=1, ge=1)
    """M, trial students per cycle; from two on the group's mean is the baseline (meta-group, section 6)."""
    reference: Literal["fresh", "reuse"] = "reuse"
    """R of one trial: a rollout of the student, counted, or the last trial's R' (section 6)."""
    student: Literal["restore", "continue"] = "restore"
    """After a trial the student is put back, or it goes on from there, as in the prototype."""
    starts: Literal["common", "own"] = "common"
    """Evaluations of a cycle start from the same states, or go on where the last one stopped."""
    explore_steps: int = Field(default=100, ge=1)
    """|D0| per trial; of plain DDPG, steps between two rounds of updates (section 3)."""
    evaluate_steps: int = Field(default=200, ge=1)
    """|D1| (section 3)."""
    trial_updates: int = Field(default=50, ge=0)
    """Updates of a trial student on D0 (section 3)."""
    student_updates: int = Field(default=50, ge=0)
    """Updates of the student on the replay, per cycle; of plain DDPG, whose only updates these are, see the two
    countings of section 3."""
    teacher_learning_rate: float = Field(default=3e-3, gt=0.0)
    """Adam's rate for the teacher (section 3: not found)."""
    sigma: float = Field(default=0.5, gt=0.0)
    """Initial standard deviation of the teacher (section 3: not found)."""
    sigma_floor: float = Field(default=0.05, gt=0.0)
    """Least standard deviation (section 6)."""
    sigma_ceiling: float = Field(default=1.0, gt=0.0)
    """Largest standard deviation (section 6)."""
    noise_scale: float = Field(default=0.2, gt=0.0)
    """Of plain DDPG: sigma, half width, or the distance that noise on weights keeps."""
    hidden: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (64, 64)
    """Hidden units of all nets (section 3)."""
    actor_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's rate for the actor (section 7; section 3 has 1e-4)."""
    critic_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's rate for the critic (section 3)."""
    critic_decay: float = Field(default=1e-2, ge=0.0)
    """L2 on the critic's matrices (section 3)."""
    gamma: float = Field(default=0.99, gt=0.0, le=1.0)
    """Discount per step (section 3)."""
    tau: float = Field(default=0.01, gt=0.0, le=1.0)
    """Share of the new weights in the targets (section 3)."""
    batch_size: int = Field(default=64, ge=1)
    """Transitions of a mini-batch (section 3)."""
    buffer_size: int = Field(default=1_000_000, ge=1)
    """Transitions that the replay holds, per seed (section 3)."""
    visits: bool = False
    """Also write histograms of the states that explorer and student visit."""

    @property
    def teaches(self) -> bool:
        """Whether a cycle has trial students."""
        return self.explorer in TEACHERS

    @property
    def fresh(self) -> bool:
        """Whether each cycle evaluates the student itself too; the baseline of a group needs no R."""
        return self.reference == "fresh" and self.trials == 1

    @property
    def cycle_steps(self) -> int:
        """Environment steps of one cycle, evaluations included."""
        if not self.teaches:
            return self.explore_steps
        return self.trials * (self.explore_steps + self.evaluate_steps) + self.fresh * self.evaluate_steps

    @property
    def first_steps(self) -> int:
        """Environment steps before the first cycle."""
        return self.trials * self.evaluate_steps if self.teaches else 0

    def cycles(self, steps: int) -> int:
        """Whole cycles in so many environment steps."""
        return (steps - self.first_steps) // self.cycle_steps

    @model_validator(mode="after")
    def _fits(self) -> "Method":
        if self.student == "continue" and self.trials > 1:
            raise ValueError("one trial where the student goes on from it (student: continue)")
        if not self.sigma_floor <= self.sigma <= self.sigma_ceiling:
            raise ValueError("sigma between sigma_floor and sigma_ceiling")
        return self


AS_TRAINED = ("explorer", "student", "hidden")
"""Settings that a study cannot change: what was trained has them."""


class Study(_Named):
    """How much of the meta-reward is signal, under many settings of one method (section 8)."""

    kind: Literal["study"]
    """Selects this kind of method."""
    learner: Method = Method(teacher_update="frozen")
    """How the student is trained up to each stage; its teacher stays as it is."""
    stages: list[int] = Field(default=[5, 25], min_length=1)
    """Cycles after which it is judged, ascending."""
    trials: int = Field(default=16, ge=4)
    """Data sets that are drawn and judged, per seed."""
    seeds: Seeds = Field(default=[1000, 1001, 1002, 1003, 1004, 1005], min_length=1)
    """Seeds of the study: development seeds, for the protocol was chosen by it."""
    settings: dict[str, dict[str, Any]] = Field(default={"default": {}}, min_length=1)
    """Label -> what differs from `learner` in the trials; `replay` adds the replay to what they learn from."""

    @model_validator(mode="after")
    def _known(self) -> "Study":
        if self.stages != sorted(set(self.stages)) or self.stages[0] < 1:
            raise ValueError("ascending stages, 1 or more")
        if not self.learner.teaches or self.learner.student != "restore":
            raise ValueError("a student with a teacher, restored after each trial")
        for label, given in self.settings.items():
            try:
                settings = {key: value for key, value in given.items() if key != "replay"}
                method = Method.model_validate({**self.learner.model_dump(), **settings})
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"settings.{label}: {first['loc']} {first['msg']}") from None
            for key in AS_TRAINED:
                if getattr(method, key) != getattr(self.learner, key):
                    raise ValueError(f"settings.{label} without {key}, as one student is judged under all of them")
        return self


def _kind(given: Any) -> str:
    """What kind of method a mapping describes: a training run unless it says otherwise."""
    return str(given.get("kind", "training") if isinstance(given, dict) else given.kind)


AnyMethod = Annotated[Annotated[Method, Tag("training")] | Annotated[Study, Tag("study")], Discriminator(_kind)]


class Task(_Named):
    """An environment and a budget."""

    environment: str = "Pendulum-v1"
    """Name of the environment: one of walle's, or DeceptiveNavigation."""
    options: dict[str, Any] = {}
    """Settings of the environment."""
    steps: int = Field(default=15_000, ge=1)
    """Environment steps per seed, of every kind (section 6)."""


class Common(Settings):
    """What every job of the paper shares."""

    root_seed: int = Field(default=2018, ge=0)
    """Root of all random streams."""
    seeds: Seeds = Field(default=list(range(200, 222)), min_length=1)
    """Seeds, trained in lockstep (section 3: their number, and why seeds 0 to 19 are not among them)."""
    points: int = Field(default=15, ge=3)
    """Points of each curve in the score table."""
    tests: int = Field(default=5, ge=1)
    """Noise-free episodes of the student at each point, from the same starts; not counted, and no method sees them."""
    keep_model: KeepModel = "both"
    """Policies that a job keeps in `model/` beside its scores: none, the last of each seed (last), or the last and the
    best one (both)."""


class Job(Common):
    """One training job: one method on one task, all seeds."""

    method: AnyMethod
    """The method."""
    task: Task
    """The task."""

    @property
    def replicates(self) -> list[int]:
        """The seeds that run: those of the job, or the study's own."""
        return self.method.seeds if isinstance(self.method, Study) else self.seeds

    @model_validator(mode="after")
    def _affordable(self) -> "Job":
        if isinstance(self.method, Study):
            return self
        first = self.method.first_steps + self.method.cycle_steps
        if self.task.steps < first:
            raise ValueError(f"steps for a cycle, {first}")
        if self.task.steps < self.points:
            raise ValueError(f"steps for {self.points} points")
        return self


def _method(**given: Any) -> Method:
    return Method.model_validate(given)


def _plain(explorer: str, student_updates: int = 50, **given: Any) -> Method:
    """Plain DDPG in the steps of a cycle of one trial: the student's updates of that cycle, and no trial student's."""
    return _method(explorer=explorer, explore_steps=300, student_updates=student_updates, **given)


BOTH = 100
"""Updates of student and trial student together in a cycle of one trial: the other counting of section 3."""
GROUP = {"trials": 4, "student_updates": 200}
"""Four trials of one cycle; as many updates per environment step as with one."""
EVERYWHERE = ("meta", "frozen", "shuffled", "ou", "ou_double", "uniform", "uniform_double")
"""What the claims compare on every task of section 7."""
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "D0=50": {"explore_steps": 50},
    "D0=400": {"explore_steps": 400},
    "D1=800": {"evaluate_steps": 800},
    "actor rate 1e-4": {"actor_learning_rate": 1e-4},
    "10 updates": {"trial_updates": 10},
    "with the replay": {"replay": True},
}


class Experiments(SeededRuns, Common):
    """The paper's experiments: `config/papers/metaexplore.yaml`."""

    methods: dict[str, AnyMethod] = {
        "meta": _method(visits=True),
        "frozen": _method(teacher_update="frozen", visits=True),
        "shuffled": _method(teacher_update="shuffled"),
        "random": _method(explorer="random"),
        "local": _method(explorer="local"),
        "informed": _method(explorer="informed"),
        "group": _method(**GROUP),
        "group_frozen": _method(teacher_update="frozen", **GROUP),
        "group_shuffled": _method(teacher_update="shuffled", **GROUP),
        "fresh": _method(reference="fresh"),
        "prototype": _method(student="continue", starts="own"),
        "only_d0": _method(student="continue", student_updates=0, trial_updates=100),
        "ou": _plain("ornstein_uhlenbeck", visits=True),
        "ou_double": _plain("ornstein_uhlenbeck", BOTH),
        "uniform": _plain("uniform", noise_scale=0.3),
        "uniform_double": _plain("uniform", BOTH, noise_scale=0.3),
        "gaussian_01": _plain("gaussian", noise_scale=0.1),
        "gaussian": _plain("gaussian", noise_scale=0.2),
        "gaussian_03": _plain("gaussian", noise_scale=0.3),
        "gaussian_double": _plain("gaussian", BOTH, noise_scale=0.2),
        "parameter": _plain("parameter"),
        "parameter_double": _plain("parameter", BOTH),
        "d0_50": _method(explore_steps=50),
        "d0_200": _method(explore_steps=200),
        "d1_100": _method(evaluate_steps=100),
        "d1_400": _method(evaluate_steps=400),
        "updates_10": _method(trial_updates=10),
        "updates_200": _method(trial_updates=200),
        "signal": Study(kind="study", settings=SETTINGS),
        "signal_late": Study(kind="study", settings=SETTINGS, stages=[25]),
    }
    """Teachers, controls and baselines of section 5 (double: with as many updates as student and trial student have
    together), the settings of figure 4 of section 4, the study of section 8
    (late: its second stage alone, for a task whose physics costs most)."""
    tasks: dict[str, Task] = {
        "navigation": Task(environment="DeceptiveNavigation", steps=12_000),
        "sparse_navigation": Task(environment="DeceptiveNavigation", options={"near_height": 0.0}, steps=12_000),
        "pendulum": Task(environment="Pendulum-v1", steps=12_000),
        "double_pendulum": Task(environment="InvertedDoublePendulum-v5", steps=12_000),
        "pendulum_long": Task(environment="Pendulum-v1", steps=500_000),
        "inverted_pendulum": Task(environment="InvertedPendulum-v5", steps=500_000),
        "inverted_double_pendulum": Task(environment="InvertedDoublePendulum-v5", steps=500_000),
        "reacher": Task(environment="Reacher-v5", steps=500_000),
        "hopper": Task(environment="Hopper-v5", steps=500_000),
        "half_cheetah": Task(environment="HalfCheetah-v5", steps=500_000),
    }
    """The tasks of section 7, and the six of section 3 with the prototype's budget."""
    runs: dict[str, list[str]] = {
        "navigation": [
            *("meta", "frozen", "shuffled", "random", "local", "informed", "group", "group_frozen", "group_shuffled"),
            *("ou", "ou_double", "uniform", "uniform_double", "gaussian", "gaussian_double"),
            *("parameter", "parameter_double", "d0_200", "d1_400", "updates_10", "signal"),
        ],
        "sparse_navigation": [*EVERYWHERE, "signal"],
        "pendulum": [*EVERYWHERE, "signal"],
        "double_pendulum": [*EVERYWHERE, "signal_late"],
    }
    """Which methods run on which task; an empty list switches a task off."""
