"""Configuration of the paper's experiments: methods, tasks, and the jobs made of them.

Sources are given as sections of `docs/papers/svrpo.md`, since the paper's own text could not be read.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from septet.config import JobSeeds, SeededRuns, Seeds, Settings
from septet.rl.config import KeepModel, Widths

Gradient = Literal["svrg", "sgd", "full"]


class _Named(Settings):
    name: str = ""
    """Name of the method or task; filled in by the workflow for a job."""


class InnerLoop(_Named):
    """Newton-CG steps inside one KL budget on the batch of an iteration: SVRPO, its controls, and TRPO."""

    algorithm: Literal["inner_loop"]
    """Selects this method."""
    gradient: Gradient = "svrg"
    """Where the gradient of an inner step comes from: control variate, mini-batch alone, whole batch (section 5)."""
    single_step: bool = False
    """One step instead of the task's m."""
    ratio: bool = False
    """Surrogate with the importance ratio instead of the log-likelihood (section 6)."""
    target_kl: float = Field(default=0.01, gt=0.0)
    """delta, KL budget of an iteration, in nats (section 3)."""
    cg_steps: int = Field(default=10, ge=1)
    """Conjugate-gradient steps (section 2.3)."""
    damping: float = Field(default=1e-5, ge=0.0)
    """Multiple of the identity that is added to the Hessian (section 2.3)."""
    hessian_blocks: int = Field(default=10, ge=1)
    """The Hessian is taken on one of so many blocks of the batch: 10 is a sub-sample of 10 % (section 2.3)."""
    backtrack_ratio: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Factor between two trials of the line search (section 2.4; TRPO: 0.8)."""
    line_search_steps: int = Field(default=10, ge=1)
    """Trials of the line search (section 2.4; TRPO: 15)."""
    stop_at: float | None = Field(default=None, gt=0.0, le=1.0)
    """Stop the inner loop once this share of the budget is used; null never does (section 6)."""
    stop_after: int | None = Field(default=None, ge=1)
    """Stop the inner loop after so many rejections in a row; null never does (section 6)."""


class _Trajectories(_Named):
    snapshot: int = Field(default=20, ge=1)
    """N, trajectories of a snapshot."""
    trajectories: int = Field(default=5, ge=1)
    """B, trajectories of an inner step; divides N."""
    learning_rate: float = Field(default=1e-2, gt=0.0)
    """Adam's rate."""

    @model_validator(mode="after")
    def _divides(self) -> "_Trajectories":
        if self.snapshot % self.trajectories:
            raise ValueError(f"snapshot as a multiple of trajectories ({self.trajectories})")
        return self


class SVRPG(_Trajectories):
    """Stochastic variance-reduced policy gradient (Papini et al. 2018): new trajectories, importance weights."""

    algorithm: Literal["svrpg"]
    """Selects this method."""
    longest_epoch: int = Field(default=20, ge=1)
    """Most inner steps of an epoch, whose length is adaptive."""


class SRVRPG(_Trajectories):
    """Stochastic recursive variance-reduced policy gradient (Xu, Gao and Gu 2020)."""

    algorithm: Literal["srvrpg"]
    """Selects this method."""
    epoch: int = Field(default=10, ge=1)
    """Inner steps of an epoch."""


ESTIMATORS: dict[str, tuple[Gradient, bool]] = {
    "svrg": ("svrg", False),
    "svrg_ratio": ("svrg", True),
    "sgd": ("sgd", False),
    "sgd_ratio": ("sgd", True),
}
"""Label -> where the gradient of an inner step comes from, and whether the surrogate has the importance ratio."""


class Estimators(_Named):
    """Bias and variance of the gradients of an inner step where the true gradient is known (section 8)."""

    algorithm: Literal["estimators"]
    """Selects this method."""
    batches: int = Field(default=10, ge=2)
    """Batches of N samples that each seed averages over."""

    def labels(self) -> list[str]:
        """Method labels in the score table."""
        return [f"{self.name}/{estimator}" for estimator in ESTIMATORS]


Method = Annotated[InnerLoop | SVRPG | SRVRPG | Estimators, Field(discriminator="algorithm")]


class Task(_Named):
    """An environment and the sizes of its iterations (section 3)."""

    environment: str = "Swimmer-v5"
    """Gymnasium's name, or ContinuousCartPole."""
    batch_size: int = Field(default=50_000, ge=1)
    """N, environment steps of an iteration, per seed."""
    minibatch_size: int = Field(default=5_000, ge=1)
    """b, samples of a gradient block; divides N."""
    inner_steps: int = Field(default=20, ge=1)
    """m, inner steps."""
    iterations: int = Field(default=500, ge=1)
    """Iterations."""
    environments: int = Field(default=50, ge=1)
    """Environments of each seed; divides N into at least a horizon each."""
    gamma: float = Field(default=0.995, gt=0.0, le=1.0)
    """Discount per step."""
    hidden: Widths = (64, 64)
    """Hidden units of the policy, tanh."""

    @model_validator(mode="after")
    def _divides(self) -> "Task":
        for key in ("minibatch_size", "environments"):
            if self.batch_size % getattr(self, key):
                raise ValueError(f"batch_size as a multiple of {key} ({getattr(self, key)})")
        return self

    @property
    def steps(self) -> int:
        """Steps of each environment in an iteration."""
        return self.batch_size // self.environments


class GaussianBandit(_Named):
    """One state, the action a ~ N(m, s^2), the reward -(a - c)^2; the snapshot is N(0, 1) (section 8)."""

    distance: float = Field(gt=0.0)
    """c, the distance of the best action from the snapshot's mean, in the snapshot's standard deviations."""
    batch_size: int = Field(default=2000, ge=1)
    """N, samples of a batch."""
    minibatch_size: int = Field(default=200, ge=1)
    """b, samples of a gradient block; divides N."""
    divergences: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 3, 10, 30, 50, 100], min_length=1)
    """KL divergences of the policy from the snapshot at which gradients are taken, in thousandths of a nat."""

    @model_validator(mode="after")
    def _divides(self) -> "GaussianBandit":
        if self.batch_size % self.minibatch_size:
            raise ValueError(f"batch_size as a multiple of minibatch_size ({self.minibatch_size})")
        if sorted(set(self.divergences)) != self.divergences:
            raise ValueError("divergences in ascending order, each once")
        return self


class Common(Settings):
    """What every job of the paper shares."""

    root_seed: int = Field(default=2017, ge=0)
    """Root of all random streams."""
    seeds: Seeds = Field(default=list(range(100, 120)), min_length=1)
    """Seeds, trained in lockstep; their number was chosen on earlier ones, 0 to 79."""
    threads: int = Field(default=1, ge=1)
    """Threads of a job."""
    keep_model: KeepModel = "both"
    """Policies that a job keeps in `model/` beside its scores: none, the last of each seed (last), or the last and the
    best one (both)."""
    redraw_every: int = Field(default=10, ge=1)
    """Iterations between two measurements of the variance ratio on redrawn mini-batches."""
    bootstrap_time_limits: bool = False
    """Count the baseline's value where a time limit cut an episode; as published it is an end of the task."""


class Job(Common):
    """One training job: one method, one task, all seeds."""

    method: Method
    """The method."""
    task: Task | GaussianBandit
    """The task."""

    @property
    def simulation(self) -> Task:
        """The task of a job that trains: an environment and the sizes of its iterations."""
        assert isinstance(self.task, Task)
        return self.task

    @model_validator(mode="after")
    def _fits(self) -> "Job":
        if isinstance(self.task, GaussianBandit) != isinstance(self.method, Estimators):
            raise ValueError("algorithm: estimators for a Gaussian bandit, and for nothing else")
        if isinstance(self.method, InnerLoop) and self.task.batch_size % self.method.hessian_blocks:
            raise ValueError(f"batch_size a multiple of hessian_blocks ({self.method.hessian_blocks})")
        return self


def inner_loop(**settings: object) -> InnerLoop:
    """An `InnerLoop` with these settings."""
    return InnerLoop(algorithm="inner_loop", **settings)


LOOPS = ["trpo", "sgd", "svrpo", "full", "svrpo_stop"]


class Experiments(SeededRuns, Common):
    """The paper's experiments: `config/papers/svrpo.yaml`."""

    methods: dict[str, Method] = {
        "trpo": inner_loop(
            gradient="full", single_step=True, ratio=True, hessian_blocks=1, backtrack_ratio=0.8, line_search_steps=15
        ),
        "sgd": inner_loop(gradient="sgd"),
        "svrpo": inner_loop(gradient="svrg"),
        "full": inner_loop(gradient="full"),
        "svrpo_stop": inner_loop(gradient="svrg", stop_at=0.98, stop_after=3),
        "svrpo_ratio": inner_loop(gradient="svrg", ratio=True),
        "svrpg": SVRPG(algorithm="svrpg"),
        "srvrpg": SRVRPG(algorithm="srvrpg", snapshot=10, learning_rate=3e-3),
        "estimators": Estimators(algorithm="estimators"),
    }
    """SVRPO, its controls, the other methods of section 5, and the gradients on their own (section 8)."""
    tasks: dict[str, Task | GaussianBandit] = {
        "cart_pole": Task(
            environment="ContinuousCartPole", batch_size=2000, minibatch_size=200, inner_steps=10, iterations=16,
            environments=10, gamma=0.99, hidden=(32, 32),
        ),
        "pendulum": Task(
            environment="Pendulum-v1", batch_size=5000, minibatch_size=500, inner_steps=10, iterations=50,
            environments=25, gamma=0.99, hidden=(32, 32),
        ),
        "swimmer": Task(environment="Swimmer-v5", inner_steps=20, iterations=500),
        "half_cheetah": Task(environment="HalfCheetah-v5", inner_steps=30, iterations=1000),
        "hopper": Task(environment="Hopper-v5", inner_steps=50, iterations=1000),
        "walker": Task(environment="Walker2d-v5", minibatch_size=1000, inner_steps=100, iterations=1000),
        "ant": Task(environment="Ant-v5", inner_steps=10, iterations=1000),
        "bandit_near": GaussianBandit(distance=1.0),
        "bandit": GaussianBandit(distance=2.0),
        "bandit_far": GaussianBandit(distance=3.0),
    }  # fmt: skip
    """The two small tasks of section 7, the table of section 3, and the bandit of section 8."""
    runs: dict[str, list[str]] = {
        "cart_pole": [*LOOPS, "svrpo_ratio"],
        "pendulum": [*LOOPS, "svrpg", "srvrpg"],
        "swimmer": [],
        "half_cheetah": [],
        "hopper": [],
        "walker": [],
        "ant": [],
        "bandit_near": ["estimators"],
        "bandit": ["estimators"],
        "bandit_far": ["estimators"],
    }
    """Which methods run on which task; an empty list switches a task off."""
    seeds_of: dict[str, JobSeeds] = {
        "svrpo/cart_pole": list(range(100, 180)),
        "trpo/cart_pole": list(range(100, 180)),
        "full/cart_pole": list(range(100, 140)),
        "svrpg/pendulum": list(range(100, 110)),
        "srvrpg/pendulum": list(range(100, 110)),
    }
    """Seeds of the jobs on a task, or of one job, method/task, in place of `seeds`: more where a power estimate asks
    for them, fewer where nothing is judged."""
