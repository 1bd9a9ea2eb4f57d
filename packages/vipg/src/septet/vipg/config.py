"""Configuration of the paper's experiments: methods, tasks, and the jobs made of them.

Sources are sections of `docs/papers/vipg.md`: the paper's own protocol could not be read.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from septet.config import Seeds, Settings
from septet.rl.config import KeepModel, Widths

Family = Literal["particles", "mean_field", "full", "low_rank", "planar", "coupling"]


class _Named(Settings):
    name: str = ""
    """Name of the method or task; filled in by the workflow for a job."""


class _WithAlphas(_Named):
    def labels(self) -> list[str]:
        """Method labels in the score table."""
        alphas: list[float] = self.alphas  # type: ignore[attr-defined]  # each method has its own default
        return [f"{self.name}/alpha-{alpha:g}" for alpha in alphas] if len(alphas) > 1 else [self.name]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.labels())) < len(self.alphas) or min(self.alphas) < 0:  # type: ignore[attr-defined]
            raise ValueError("alphas different in six digits, none negative")
        return self


class _Policies(_WithAlphas):
    family: Family = "mean_field"
    """Sampler of policy weights (section 2.3); one of `particles` is an ordinary policy."""
    particles: int = Field(default=8, ge=1)
    """K, policies of an iteration; the task's episodes are divided among them (section 3)."""
    alphas: list[float] = Field(default=[0.0], min_length=1)
    """alpha d / (range of returns), section 6: at 1, a nat for every weight is worth the task's whole range of
    returns. Several are run in lockstep and labelled name/alpha-VALUE."""
    gradient: Literal["pathwise", "score", "stein"] = "pathwise"
    """How the sampler is moved: section 2.1, from returns alone, or along Stein's directions (section 5)."""
    scale_lr_multiplier: float = Field(default=5.0, ge=0.0)
    """Rate of the log-scales in multiples of the rate of the other parameters, for Adam: their natural step is longer
    by 1 / (2 sigma^2), which would be 200 at the start."""
    freeze_sigma: bool = False
    """Leave the log-scales as they are: parameter noise of fixed size (section 5)."""
    sigma: float = Field(default=0.05, gt=0.0, le=1.0)
    """Standard deviation of the weights at the start (section 3)."""
    prior_scale: float = Field(default=1.0, gt=0.0)
    """s0 of the prior N(0, s0^2 I) (section 3)."""
    rank: int = Field(default=4, ge=1)
    """Columns of the low-rank part."""
    layers: int = Field(default=4, ge=1)
    """Layers of a flow."""
    flow_hidden: int = Field(default=8, ge=1)
    """Hidden units of a coupling layer."""
    action_std: float = Field(default=0.6, gt=0.0)
    """Standard deviation of the action noise at the start; it is learned as a point (section 6)."""
    gae_lambda: float = Field(default=0.97, ge=0.0, le=1.0)
    """lambda of the generalised advantage estimate."""
    normalise_observations: bool = False
    """Subtract the running mean of each observation and divide by its standard deviation."""

    @model_validator(mode="after")
    def _fits(self) -> "_Policies":
        if self.family == "particles" and self.gradient != "stein" and (self.particles > 1 or max(self.alphas) > 0):
            raise ValueError("particles > 1 or alpha > 0 only with a density or with gradient: stein")
        if self.gradient == "score" and (self.family == "particles" or self.particles < 2):
            raise ValueError("gradient: score only with a density and at least two particles")
        return self


class VPG(_Policies):
    """V-VPG (section 2.4), or VPG with one particle; also SVPG and amortised SVGD."""

    algorithm: Literal["vpg"]
    """Selects this method."""
    learning_rate: float = Field(default=1e-2, gt=0.0)
    """Adam's rate."""


class TRPO(_Policies):
    """V-TRPO (section 2.4): one trust region for all parameters of the sampler, merit with the entropy."""

    algorithm: Literal["trpo"]
    """Selects this method."""
    target_kl: float = Field(default=0.01, gt=0.0)
    """delta, largest mean KL divergence between old and new policies of the same noise."""
    cg_steps: int = Field(default=10, ge=1)
    """Conjugate-gradient steps (section 2.5)."""
    damping: float = Field(default=0.1, ge=0.0)
    """Multiple of the identity added to the Fisher matrix of each policy's weights, before it is pulled back."""
    states: int = Field(default=800, ge=1)
    """States of an iteration on which the Fisher matrix is averaged, per seed."""
    backtrack_ratio: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Factor between two trials of the line search (section 2.5)."""
    line_search_steps: int = Field(default=10, ge=1)
    """Trials of the line search (section 2.5)."""
    merit: Literal["joint", "surrogate"] = "joint"
    """What the line search looks at: with the entropy (section 2.4), or without, as action_space (section 6)."""


class PPO(_Policies):
    """V-PPO (section 2.4), or PPO with one particle."""

    algorithm: Literal["ppo"]
    """Selects this method."""
    learning_rate: float = Field(default=3e-3, gt=0.0)
    """Adam's rate."""
    clip_range: float = Field(default=0.2, gt=0.0)
    """epsilon of the clipped ratio (section 3)."""
    epochs: int = Field(default=10, ge=1)
    """Passes over the samples (section 3)."""
    minibatches: int = Field(default=4, ge=1)
    """Mini-batches of a pass."""
    target_kl: float = Field(default=0.01, gt=0.0)
    """delta; a seed stops at 1.5 delta (section 2.4)."""


class ActionSpace(_WithAlphas):
    """The author's earlier method (section 2.5): the variational family is over actions, a = m(s) + sigma(s) xi."""

    algorithm: Literal["action_space"]
    """Selects this method."""
    update: Literal["sgd", "trust_region"] = "sgd"
    """Mean and std net in turn by gradient steps, or with a trust region each (two CG solves)."""
    alphas: list[float] = Field(default=[1.0], min_length=1)
    """Weight of the mean of sum_j log sigma_j(s), in units of standardised advantages (section 2.5: 1)."""
    learning_rate: float = Field(default=1e-2, gt=0.0)
    """Step of the mini-batch updates (section 2.5)."""
    minibatch_size: int = Field(default=100, ge=1)
    """Samples of a mini-batch (section 2.5)."""
    minibatches: int = Field(default=10, ge=1)
    """Mini-batches of an iteration (section 2.5)."""
    max_grad_norm: float | None = Field(default=None, gt=0.0)
    """Longest gradient of a mini-batch, longer ones are shortened; null leaves all, as published."""
    target_kl: float = Field(default=0.01, gt=0.0)
    """delta of each trust region (section 2.5)."""
    cg_steps: int = Field(default=10, ge=1)
    """Conjugate-gradient steps (section 2.5)."""
    line_search_steps: int = Field(default=10, ge=1)
    """Trials of the line search, each half the step (section 2.5)."""
    action_std: float = Field(default=0.6, gt=0.0)
    """Standard deviation at the start, as of the other methods."""
    gae_lambda: float = Field(default=0.97, ge=0.0, le=1.0)
    """lambda of the generalised advantage estimate."""


Variant = Literal[
    "mean_field", "full", "low_rank", "planar", "coupling", "mean_field_collapse", "full_collapse", "svgd",
    "amortised_svgd",
]  # fmt: skip


class Posterior(_Named):
    """Samplers fitted to a posterior that is known (sections 2.3 and 7)."""

    algorithm: Literal["posterior"]
    """Selects this method."""
    variants: list[Variant] = Field(
        default=["mean_field", "full", "low_rank", "planar", "coupling", "mean_field_collapse", "full_collapse"],
        min_length=1,
    )
    """Families; `_collapse` leaves the log-determinant out; svgd moves particles, amortised_svgd a sampler."""
    particles: int = Field(default=16, ge=2)
    """K, samples of a step (section 7)."""
    steps: int = Field(default=3000, ge=10)
    """Steps of Adam."""
    learning_rate: float = Field(default=2e-2, gt=0.0)
    """Adam's rate, which falls to a hundredth along a cosine."""
    rank: int = Field(default=1, ge=1)
    """Columns of the low-rank part."""
    layers: int = Field(default=8, ge=1)
    """Layers of a flow."""
    flow_hidden: int = Field(default=16, ge=1)
    """Hidden units of a coupling layer."""

    @model_validator(mode="after")
    def _each_once(self) -> "Posterior":
        if len(set(self.variants)) != len(self.variants):
            raise ValueError("each variant once")
        return self

    def labels(self) -> list[str]:
        """Method labels in the score table."""
        return [f"{self.name}/{variant}" for variant in self.variants]


Method = Annotated[VPG | TRPO | PPO | ActionSpace | Posterior, Field(discriminator="algorithm")]
PolicyMethod = VPG | TRPO | PPO


class Environment(_Named):
    """Episodes in an environment; the batch of an iteration is the same for every method."""

    kind: Literal["environment"]
    """Selects this kind of task."""
    environment: str
    """Gymnasium's name, ContinuousCartPole, SparseMountainCar, or DoublePendulumSwingUp."""
    options: dict[str, Any] = {}
    """Settings of the environment."""
    actions: Literal["clip", "scale"] = "scale"
    """scale: [-1, 1] is stretched to the bounds, then clipped."""
    hidden: Widths = (32, 32)
    """Hidden units of the policy (section 3)."""
    gamma: float = Field(default=0.99, gt=0.0, le=1.0)
    """Discount per step."""
    iterations: int = Field(default=40, ge=1)
    """Iterations."""
    episodes: int = Field(default=16, ge=1)
    """Episodes of an iteration, per seed, whole ones."""
    return_low: float
    """Return of a policy that knows nothing: 0 on the scale of scores."""
    return_high: float
    """Return of a good policy: 1 on the scale of scores, and with `return_low` the unit of alpha (section 6)."""

    @property
    def range(self) -> float:
        """return_high - return_low."""
        return self.return_high - self.return_low

    def score(self, total: Any) -> Any:
        """Returns, a number or an array, on the scale of scores."""
        return (total - self.return_low) / self.range

    @model_validator(mode="after")
    def _ordered(self) -> "Environment":
        if self.return_high <= self.return_low:
            raise ValueError("return_high above return_low")
        return self


def _positive_definite(rows: list[list[float]]) -> bool:
    """Whether a symmetric matrix has positive pivots; without numpy, which reading a configuration does not need."""
    while rows:
        (pivot, *first), *below = rows
        if not pivot > 0.0:
            return False
        rows = [[x - row[0] * y / pivot for x, y in zip(row[1:], first, strict=True)] for row in below]
    return True


class Quadratic(_Named):
    """J = -1/2 (theta - c)' A (theta - c): a Gaussian posterior (section 2.3)."""

    kind: Literal["quadratic"]
    """Selects this kind of task."""
    curvature: list[list[float]] = [[2.0, 0.9], [0.9, 1.0]]
    """A (section 7)."""
    centre: list[float] = [0.0, 0.0]
    """c."""
    alpha: float = Field(default=0.5, gt=0.0)
    """alpha (section 7)."""
    prior_scale: float = Field(default=1e6, gt=0.0)
    """s0; a large one is a flat prior."""

    @model_validator(mode="after")
    def _definite(self) -> "Quadratic":
        size, rows = len(self.centre), self.curvature
        if size < 2 or len(rows) != size or any(len(row) != size for row in rows):
            raise ValueError(f"curvature with as many rows and columns as centre has numbers ({size}), two or more")
        symmetric = all(row[j] == rows[j][i] for i, row in enumerate(rows) for j in range(i))
        if not (symmetric and _positive_definite(rows)):
            raise ValueError("curvature symmetric and positive definite")
        return self


class Surface(_Named):
    """J with several peaks in two weights: a posterior with several modes (section 3, figure 3)."""

    kind: Literal["surface"]
    """Selects this kind of task."""
    centres: list[list[float]] = [[1.3, 1.3], [-1.3, 1.3], [-1.3, -1.3], [1.3, -1.3]]
    """Peaks (M, 2)."""
    heights: list[float] = [1.0, 0.9, 1.0, 0.8]
    """h."""
    widths: list[float] = [0.6, 0.6, 0.5, 0.7]
    """w."""
    alpha: float = Field(default=0.25, gt=0.0)
    """alpha."""
    prior_scale: float = Field(default=1.5, gt=0.0)
    """s0."""

    @model_validator(mode="after")
    def _matches(self) -> "Surface":
        count = len(self.centres)
        if count < 1 or any(len(centre) != 2 for centre in self.centres):
            raise ValueError("centres of two numbers each, at least one")
        if not len(self.heights) == len(self.widths) == count:
            raise ValueError(f"as many heights and widths as centres ({count})")
        if min(self.heights) <= 0 or min(self.widths) <= 0:
            raise ValueError("positive heights and widths")
        return self


Task = Annotated[Environment | Quadratic | Surface, Field(discriminator="kind")]


class Common(Settings):
    """What every job of the paper shares."""

    root_seed: int = Field(default=2018, ge=0)
    """Root of all random streams."""
    seeds: Seeds = Field(default=list(range(100, 120)), min_length=1)
    """Replicates, trained in lockstep (section 3)."""
    evaluate_every: int = Field(default=4, ge=1)
    """Iterations between two evaluations of the mean-weight policy."""
    evaluation_episodes: int = Field(default=4, ge=1)
    """Episodes of an evaluation, without action noise, from the same starts each time."""
    sampled_policies: int = Field(default=32, ge=0)
    """Policies drawn from the sampler at the end, one episode each, for the histograms (section 4)."""
    threads: int = Field(default=1, ge=1)
    """Threads of a job: environments and matrix products."""
    keep_model: KeepModel = "both"
    """Policies that a job keeps in `model/` beside its scores: none, the last of each seed (last), or the last and the
    best one (both)."""


class Job(Common):
    """One training job: one method with all its variants, one task, all seeds."""

    method: Method
    """The method."""
    task: Task
    """The task."""

    def evaluates(self, iteration: int) -> bool:
        """Whether iteration number `iteration` ends with an evaluation; the last one does."""
        assert isinstance(self.task, Environment)
        return (iteration + 1) % self.evaluate_every == 0 or iteration + 1 == self.task.iterations

    @model_validator(mode="after")
    def _fits(self) -> "Job":
        method, task = self.method, self.task
        if isinstance(task, Environment) == isinstance(method, Posterior):
            raise ValueError("algorithm: posterior for a quadratic or a surface, and for nothing else")
        if not isinstance(task, Environment) or not isinstance(method, VPG | TRPO | PPO):
            return self
        if task.episodes % method.particles:
            raise ValueError(f"episodes as a multiple of the {method.particles} particles")
        return self
