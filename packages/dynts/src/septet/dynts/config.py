"""Configuration of the paper's experiments: methods, tasks, and the jobs made of them.

Sources are given as sections of `docs/papers/dynts.md`, where the paper's own text
could not be read, or as the paper itself.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from septet.config import PLACE, Runs, Seeds, Settings
from septet.dynts import schedules


class Method(Settings):
    """One policy on one filter, with the schedules that it is run with, all in one job."""

    name: str = ""
    """Name of the method; filled in by the workflow for a job."""
    filter: Literal["full", "kalman", "diagonal", "beta", "ucb1"] = "full"
    """Posterior: Laplace with the full covariance, the same with the true drift as Q (kalman), its diagonal; or
    context-free: Beta-Bernoulli counts, UCB1's counts (section 5)."""
    posterior_scale: float = Field(default=1.0, ge=0.0)
    """alpha of section 2.4, scale of the covariance drawn from: 1 is plain Thompson sampling, 0 draws nothing."""
    confidence_width: float = Field(default=0.0, ge=0.0)
    """Standard deviations of the logit that are added to its mean (UCB on m + width * sqrt(v), section 5)."""
    epsilon: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of rounds with an arm at random."""
    oracle: bool = False
    """Choose the arm with the highest true click probability."""
    clock: Literal["round", "pull"] = "round"
    """Who is discounted: every arm every round (default: the world moves on its own) or the pulled arm (pitfall 2)."""
    schedules: list[str] = Field(default=["none"], min_length=1)
    """Decay schedules of section 2.3: none, exp-GAMMA, poly-C-ALPHA, harm-C, window-LENGTH. A decay discounts the
    samples and not the prior; with the suffix -uncapped it discounts both (the paper's own filter, which winds up),
    with -trace both, each covariance held at the prior's trace (pitfall 1)."""
    trace: bool = False
    """Also write the posterior's variance and the path of one weight (for the figures of section 4)."""

    @field_validator("schedules")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for text in value:
            schedules.parse(text)
        if len(set(value)) != len(value):
            raise ValueError("each schedule once")
        return value

    def labels(self) -> list[str]:
        """Method labels in the score table, one per schedule: ``name/schedule``."""
        return [f"{self.name}/{schedule}" for schedule in self.schedules]


class Simulation(Settings):
    """A simulated world (section 3)."""

    kind: Literal["simulation"]
    """Selects this kind of task."""
    name: str = ""
    """Name of the task; filled in by the workflow for a job."""
    arms: int = Field(default=10, ge=2)
    """K, number of ads in the pool."""
    context_dim: int = Field(default=10, ge=2)
    """Size of a user's features, the intercept included."""
    shared: bool = False
    """One weight vector on (user, ad, crossed) features instead of one per arm (section 2.1)."""
    ad_dim: int = Field(default=4, ge=1)
    """Size of an ad's features, when weights are shared."""
    drift: Literal["static", "mean_reverting", "random_walk", "reset"] = "static"
    """Dynamics of the weights; every kind starts from, and all but the random walk stay at, N(0, I)."""
    period: int = Field(default=1000, ge=1)
    """Memory tau = 1 / (1 - phi) of the mean-reverting state in rounds; rounds between resets; 1 / q of the walk."""

    @property
    def groups(self) -> int:
        """Weight vectors: one, or one per arm."""
        return 1 if self.shared else self.arms

    @property
    def dim(self) -> int:
        """D, size of a weight vector."""
        return self.context_dim * (1 + self.ad_dim) if self.shared else self.context_dim

    @property
    def persistence(self) -> float:
        """Factor phi of w_t = phi w_{t-1} + step_sd * noise."""
        return 1.0 - 1.0 / self.period if self.drift == "mean_reverting" else 1.0

    @property
    def step_sd(self) -> float:
        """Standard deviation of one step of the weights."""
        if self.drift == "mean_reverting":
            return float((1.0 - self.persistence**2) ** 0.5)
        return float(self.period**-0.5) if self.drift == "random_walk" else 0.0


class Tracking(Settings):
    """Click rates of real headlines in the order of time, predicted before they are seen (section 7, experiment A)."""

    kind: Literal["tracking"]
    """Selects this kind of task."""
    name: str = ""
    """Name of the task; filled in by the workflow for a job."""
    data: Literal["upworthy"] = "upworthy"
    """Data set."""
    clean_weeks: bool = False
    """Leave out the weeks 201326 to 201402, whose randomisation was faulty."""
    impressions: int = Field(default=100, ge=1)
    """Impressions drawn for each headline, at its real click rate."""


class HeadlineBandit(Settings):
    """A shared-weight bandit over real headline tests in the order of time (section 7, experiment B)."""

    kind: Literal["headline_bandit"]
    """Selects this kind of task."""
    name: str = ""
    """Name of the task; filled in by the workflow for a job."""
    data: Literal["upworthy"] = "upworthy"
    """Data set."""
    visitors: int = Field(default=10, ge=1)
    """Visitors of each test; each sees one headline and clicks at its real rate."""


Task = Annotated[Simulation | Tracking | HeadlineBandit, Field(discriminator="kind")]

DECAYS = [f"exp-{gamma}" for gamma in ("0.9999", "0.9995", "0.999", "0.998", "0.995", "0.99", "0.98")]
GRID = ["none", *DECAYS]
UNCAPPED = [f"{decay}-uncapped" for decay in DECAYS]
TRACE = [f"exp-{gamma}-trace" for gamma in ("0.999", "0.995", "0.99", "0.98")]
HEADLINE_DECAYS = ["none", "exp-0.999", "exp-0.99", "exp-0.999-uncapped", "exp-0.99-uncapped"]
PULLS = [f"exp-{gamma}" for gamma in ("0.999", "0.995", "0.99", "0.98", "0.95")]
POLICIES = ["random", "oracle", "greedy", "epsilon", "ucb", "ts", "ts_quarter", "ts_small", "ts_window", "ts_pull"]
POLICIES += ["ts_kalman", "beta", "ucb1"]


class Common(Settings):
    """What every job of the paper shares."""

    root_seed: int = Field(default=2013, ge=0)
    """Root of all random streams."""
    seeds: Seeds = Field(default=list(range(20)), min_length=1)
    """Replicates, run in lockstep with common random numbers (section 3: 20)."""
    horizon: int = Field(default=5000, ge=20)
    """T, rounds of a simulation (section 3: 5,000)."""
    points: int = Field(default=10, ge=5)
    """Points of each curve in the score table."""
    prior_variance: float = Field(default=1.0, gt=0.0)
    """Prior N(0, prior_variance * I) in the simulations, whose weights are N(0, I)."""
    headline_prior_variance: float = Field(default=0.1, gt=0.0)
    """Prior variance of each headline feature's weight; the intercept has variance 1 around `base_rate`."""
    base_rate: float = Field(default=0.015, gt=0.0, lt=1.0)
    """Click rate at which the intercept's prior is centred on real data (pitfall 7)."""
    keep_model: Literal["none", "last"] = "last"
    """last keeps the filters at the end in `model/` beside the scores; none keeps nothing."""


class Job(Common):
    """One training job: one method with all its schedules, one task, all seeds."""

    method: Method
    """The method."""
    task: Task
    """The task."""
    data_file: Annotated[str | None, PLACE] = None
    """Prepared data, for tasks on real data."""

    @model_validator(mode="after")
    def _fits(self) -> "Job":
        method, task = self.method, self.task
        disjoint = isinstance(task, Simulation) and not task.shared
        if method.filter in ("kalman", "beta", "ucb1") and not disjoint:
            raise ValueError(f"a filter with one posterior per arm on disjoint arms only (not {method.filter})")
        if method.filter == "diagonal" and disjoint:
            raise ValueError("the diagonal filter on shared weights only")
        windows = [text for text in method.schedules if schedules.parse(text).window]
        if windows and not (disjoint and method.filter == "full"):
            raise ValueError(f"sliding windows for a full covariance on disjoint arms only (not {windows[0]})")
        if method.clock == "pull" and not disjoint:
            raise ValueError("the clock of pulls on disjoint arms only (not clock: pull)")
        guarded = any(schedules.parse(text).guard != "prior" for text in method.schedules)
        if guarded and method.filter in ("beta", "ucb1"):
            raise ValueError(f"no guard for counts, which have no prior to keep (not {method.filter})")
        if not isinstance(task, Simulation) and self.data_file is None:
            raise ValueError("data_file, the output of prepare, for a task on real data")
        return self


class Preparation(Settings):
    """The `prepare` verb: real data to a checked table."""

    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA."""
    data_source: Literal["auto", "real", "generated"] = "auto"
    """real data, a generated stand-in, or real data where they can be had and the stand-in elsewhere."""
    root_seed: int = Field(default=2013, ge=0)
    """Root of all random streams (for the stand-in)."""


class Experiments(Common, Runs):
    """The paper's experiments: `config/papers/dynts.yaml`."""

    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA."""
    data_source: Literal["auto", "real", "generated"] = "auto"
    """real data, a generated stand-in, or real data where they can be had and the stand-in elsewhere."""
    methods: dict[str, Method] = {
        "random": Method(epsilon=1.0, posterior_scale=0.0),
        "oracle": Method(oracle=True, posterior_scale=0.0),
        "greedy": Method(posterior_scale=0.0, schedules=[*GRID, *UNCAPPED]),
        "epsilon": Method(posterior_scale=0.0, epsilon=0.01, schedules=GRID),
        "ucb": Method(posterior_scale=0.0, confidence_width=0.5, schedules=[*GRID, *UNCAPPED]),
        "ts": Method(schedules=[*GRID, "poly-1-0.75", "harm-1", *UNCAPPED, *TRACE], trace=True),
        "ts_quarter": Method(posterior_scale=0.25, schedules=GRID),
        "ts_small": Method(posterior_scale=0.03, schedules=[*GRID, *UNCAPPED]),
        "ts_window": Method(schedules=[f"window-{length}" for length in (125, 250, 500, 1000, 2000, 4000)]),
        "ts_pull": Method(clock="pull", schedules=[*PULLS, *(f"{decay}-uncapped" for decay in PULLS)]),
        "ts_kalman": Method(filter="kalman"),
        "ts_diagonal": Method(filter="diagonal", schedules=["none", "exp-0.999", "exp-0.998"]),
        "beta": Method(filter="beta", schedules=["none", "exp-0.999", "exp-0.99"]),
        "ucb1": Method(filter="ucb1", posterior_scale=0.0, confidence_width=1.0, schedules=["none", "exp-0.999"]),
        "tracker": Method(posterior_scale=0.0, schedules=[*GRID, "poly-1-0.75", "harm-1", *UNCAPPED[2:6], *TRACE]),
        "headline_greedy": Method(posterior_scale=0.0, schedules=["none", "exp-0.999", "exp-0.99"]),
        "headline_ucb": Method(posterior_scale=0.0, confidence_width=0.5, schedules=["none", "exp-0.999", "exp-0.99"]),
        "headline_ts": Method(schedules=HEADLINE_DECAYS),
        "headline_ts_small": Method(posterior_scale=0.03, schedules=HEADLINE_DECAYS),
    }
    """Policies and baselines of section 5, with their decay schedules. The scale of `ts_small`, the width of `ucb`
    and the share of `epsilon` were chosen on seeds 1000 to 1019 of tau1000 (section 3)."""
    tasks: dict[str, Task] = {
        "static": Simulation(kind="simulation", drift="static"),
        "tau5000": Simulation(kind="simulation", drift="mean_reverting", period=5000),
        "tau1000": Simulation(kind="simulation", drift="mean_reverting", period=1000),
        "tau200": Simulation(kind="simulation", drift="mean_reverting", period=200),
        "reset1000": Simulation(kind="simulation", drift="reset", period=1000),
        "shared1000": Simulation(
            kind="simulation", shared=True, arms=20, context_dim=6, ad_dim=4, drift="mean_reverting", period=1000
        ),
        "headlines": Tracking(kind="tracking", data="upworthy"),
        "headlines_clean": Tracking(kind="tracking", data="upworthy", clean_weeks=True),
        "headline_bandit": HeadlineBandit(kind="headline_bandit", data="upworthy"),
    }
    """Simulated worlds of section 3 and the real click rates of section 7."""
    runs: dict[str, list[str]] = {
        **dict.fromkeys(("static", "tau5000", "tau1000", "tau200", "reset1000"), POLICIES),
        "shared1000": ["random", "greedy", "ucb", "ts", "ts_quarter", "ts_small", "ts_diagonal"],
        "headlines": ["tracker"],
        "headlines_clean": ["tracker"],
        "headline_bandit": ["random", "headline_greedy", "headline_ucb", "headline_ts", "headline_ts_small"],
    }
    """Which methods run on which task; an empty list switches a task off."""
