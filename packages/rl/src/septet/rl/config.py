"""Configuration of a training job: one method on one task, all seeds in lockstep."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from septet.config import Seeds, Settings

KeepModel = Literal["none", "last", "both"]
"""Which trained policies a job keeps: none, the last of each seed, or the last and the best."""

Widths = tuple[Annotated[int, Field(ge=1)], ...]
"""Units of each hidden layer."""


class BaseMethod(Settings):
    """What every method has."""

    name: str = ""
    """Label of the method in the score table; the algorithm's name if empty, with /sb3 for the peer."""
    implementation: Literal["septet", "stable_baselines3"] = "septet"
    """Ours, or the peer of the validation (PPO, TRPO and DDPG)."""
    gamma: float = Field(default=0.99, gt=0.0, le=1.0)
    """Discount per step."""

    @property
    def label(self) -> str:
        """Label in the score table."""
        algorithm: str = self.algorithm  # type: ignore[attr-defined]  # every variant has one
        return self.name or (algorithm if self.implementation == "septet" else f"{algorithm}/sb3")


class _OnPolicy(BaseMethod):
    steps: int = Field(default=2048, ge=1)
    """T, steps of each environment between two updates."""
    gae_lambda: float = Field(default=0.95, ge=0.0, le=1.0)
    """lambda of the generalised advantage estimate."""
    hidden: Widths = (64, 64)
    """Hidden units of the policy and of the value net, which share nothing."""
    normalise_observations: bool = False
    """Subtract the running mean of each observation and divide by its standard deviation, clipped to ±10."""

    @property
    def clip_observations(self) -> float:
        """Bound of an observation as the nets see it."""
        return 10.0 if self.normalise_observations else math.inf

    bootstrap_time_limits: bool = True
    """Count the value of the last observation when an episode was cut off by its time limit."""


class VPG(_OnPolicy):
    """Policy gradient with a learned baseline: one step of Adam on the policy per iteration."""

    algorithm: Literal["vpg"]
    """Selects this method."""
    learning_rate: float = Field(default=3e-3, gt=0.0)
    """Adam's rate for the policy."""
    value_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's rate for the value net."""
    value_epochs: int = Field(default=10, ge=1)
    """Passes over the batch for the value net."""
    value_minibatch_size: int = Field(default=128, ge=1)
    """Samples in a mini-batch of the value net."""


class TRPO(_OnPolicy):
    """Trust-region policy optimisation, with sb3-contrib's settings as defaults."""

    algorithm: Literal["trpo"]
    """Selects this method."""
    target_kl: float = Field(default=0.01, gt=0.0)
    """delta, largest mean KL divergence of one update."""
    cg_steps: int = Field(default=15, ge=1)
    """Conjugate-gradient steps."""
    damping: float = Field(default=0.1, ge=0.0)
    """Multiple of the identity that is added to the Fisher matrix."""
    divergence_per_action: bool = False
    """Divide the KL divergence by the number of action dimensions: sb3-contrib takes the mean over them, so that with
    its settings a step is longer than the paper's by their square root."""
    backtrack_ratio: float = Field(default=0.8, gt=0.0, lt=1.0)
    """Factor between two trials of the line search."""
    line_search_steps: int = Field(default=10, ge=1)
    """Trials of the line search."""
    value_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's rate for the value net."""
    value_epochs: int = Field(default=10, ge=1)
    """Passes over the batch for the value net."""
    value_minibatch_size: int = Field(default=128, ge=1)
    """Samples in a mini-batch of the value net."""


class PPO(_OnPolicy):
    """Proximal policy optimisation with a clipped ratio, with Stable-Baselines3's settings as defaults."""

    algorithm: Literal["ppo"]
    """Selects this method."""
    learning_rate: float = Field(default=3e-4, gt=0.0)
    """Adam's rate."""
    epochs: int = Field(default=10, ge=1)
    """Passes over the batch."""
    minibatch_size: int = Field(default=64, ge=2)
    """Samples in a mini-batch."""
    clip_range: float = Field(default=0.2, gt=0.0)
    """The ratio counts up to 1 ± clip."""
    ent_coef: float = Field(default=0.0, ge=0.0)
    """Weight of the entropy in the loss."""
    vf_coef: float = Field(default=0.5, ge=0.0)
    """Weight of the squared error of the values in the loss."""
    max_grad_norm: float = Field(default=0.5, gt=0.0)
    """Largest norm of the gradient of policy and value net together."""


class DDPG(BaseMethod):
    """Deep deterministic policy gradient, with Stable-Baselines3's settings as defaults."""

    algorithm: Literal["ddpg"]
    """Selects this method."""
    hidden: Widths = Field(default=(400, 300), min_length=1)
    """Hidden units of the actor and of the critic, relu."""
    last_layer: float | None = Field(default=None, gt=0.0)
    """Bound of the last layers' uniform initial weights (Lillicrap et al.: 0.003); null for PyTorch's rule."""
    actor_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's rate for the actor."""
    critic_learning_rate: float = Field(default=1e-3, gt=0.0)
    """Adam's rate for the critic."""
    critic_decay: float = Field(default=0.0, ge=0.0)
    """L2 on the critic's weights, added to its gradient."""
    tau: float = Field(default=0.005, gt=0.0, le=1.0)
    """Share of the new weights in the target networks after each update."""
    buffer_size: int = Field(default=1_000_000, ge=1)
    """Transitions that the replay holds, per seed."""
    batch_size: int = Field(default=256, ge=1)
    """Transitions in a mini-batch."""
    learning_starts: int = Field(default=100, ge=1)
    """Steps with uniform actions before the first update."""
    train_every: int = Field(default=1, ge=1)
    """Environment steps between two rounds of updates."""
    updates: int = Field(default=1, ge=1)
    """Updates in one round."""
    actor_every: int = Field(default=1, ge=1)
    """Updates of the critic for one of the actor and of the targets."""
    noise: Literal["none", "gaussian", "uniform", "ornstein_uhlenbeck", "parameter"] = "none"
    """Exploration: on the action, or on the actor's weights (adaptive)."""
    noise_scale: float = Field(default=0.1, gt=0.0)
    """Standard deviation (gaussian), half width (uniform), sigma (ornstein_uhlenbeck), or distance of the actions that
    the noise on the weights shall keep (parameter); actions are in [-1, 1]."""
    noise_theta: float = Field(default=0.15, ge=0.0)
    """Pull of the Ornstein-Uhlenbeck process to 0."""
    noise_dt: float = Field(default=0.01, gt=0.0)
    """Time step of the Ornstein-Uhlenbeck process (Lillicrap et al.: 1)."""
    report: int = Field(default=1000, ge=1)
    """Environment steps per seed between two rows of the score table."""


Method = Annotated[VPG | TRPO | PPO | DDPG, Field(discriminator="algorithm")]


class Task(Settings):
    """An environment and how the policy meets it."""

    name: str = ""
    """Label of the task in the score table; the environment's name if empty."""
    environment: str = "HalfCheetah-v5"
    """Gymnasium's name of the environment, or ContinuousCartPole."""
    actions: Literal["clip", "scale"] = "clip"
    """clip: actions are clipped to the bounds; scale: [-1, 1] is stretched to the bounds, then clipped."""

    @property
    def label(self) -> str:
        """Label in the score table."""
        return self.name or self.environment


OF_A_TASK = {"seeds", "steps", "environments"}
OF_A_POOL = {"samplers", "mode", "threads"}


class BaseJob(Settings):
    """One training job, of whatever method."""

    paper: str = "rl"
    """Paper that the scores belong to."""
    method: BaseMethod
    """The method."""
    task: Task
    """The task."""
    seeds: Seeds = Field(default=[0], min_length=1)
    """Seeds, trained in lockstep."""
    root_seed: int = Field(default=2019, ge=0)
    """Root of all random streams."""
    steps: int = Field(default=1_000_000, ge=1)
    """Environment steps per seed, rounded up to whole iterations."""
    environments: int = Field(default=1, ge=1)
    """B, environments per seed."""
    samplers: int = Field(default=0, ge=0)
    """Sampler processes; 0 collects in this process."""
    mode: Literal["synchronous", "asynchronous"] = "synchronous"
    """synchronous: samplers wait for new weights; asynchronous: they go on with what they have (lag in the scores)."""
    keep_model: KeepModel = "both"
    """Policies that a job keeps in `model/` beside its scores: none, the last of each seed (last), or the last and the
    best one (both)."""
    threads: int = Field(default=1, ge=1)
    """Threads that step environments when there is no sampler process, and learn where a method divides its seeds."""

    @model_validator(mode="before")
    @classmethod
    def _of_its_parts(cls, data: Any) -> Any:
        """What an experiment says of the job in its task or its method (see `septet.rl.experiments`), lifted to it."""
        if not (isinstance(data, dict) and isinstance(data.get("task"), dict) and isinstance(data.get("method"), dict)):
            return data
        data = {**data, "task": dict(data["task"]), "method": dict(data["method"])}
        for part, names in (("task", OF_A_TASK), ("method", OF_A_POOL)):
            for name in names & data[part].keys():
                data[name] = data[part].pop(name)
        if "iteration_steps" in data["task"]:
            data["method"]["steps"] = data["task"].pop("iteration_steps")
        return data


class Job(BaseJob):
    """One training job of a method of this package."""

    method: Method
    """The method."""

    @model_validator(mode="after")
    def _learns(self) -> "Job":
        if isinstance(self.method, DDPG) and self.steps <= self.method.learning_starts:
            raise ValueError(
                f"more steps than the {self.method.learning_starts} before learning starts, not {self.steps}"
            )
        return self
