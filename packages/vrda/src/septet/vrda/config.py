"""Configuration of the paper's experiments: methods, tasks, and the jobs made of them.

Sections of `docs/papers/vrda.md` are given as (section N), those of the paper as (paper, section N).
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from septet.config import PLACE, Runs, Seeds, Settings


def number(value: float) -> str:
    """A setting as labels show it: ``3e-4``, ``0``."""
    mantissa, exponent = f"{value:.6e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return "0" if value == 0 else f"{mantissa}e{int(exponent)}"


GRID = [0.0, 1e-5, 1e-4, 3e-4, 6e-4, 1e-3, 3e-3]
"""lambdas of the sweeps: the paper's settings, 1e-5 and 1e-4, and what goes from no effect to almost no weights."""


class Method(Settings):
    """One learner with the weights of its l1 regulariser, all in one job."""

    name: str = ""
    """Name of the method; filled in by the workflow for a job."""
    learner: Literal["vrda", "perceptron", "rda", "tg", "fobos", "maxent"] = "vrda"
    """vRDA (section 2.3), perceptron, RDA on every example, truncated gradient, FOBOS, batch MaxEnt (section 5)."""
    loss: Literal["hinge", "log"] = "hinge"
    """Surrogate loss (section 2.1)."""
    l1: list[float] = Field(default=[0.0], min_length=1)
    """lambda, weights of the l1 norm to run (section 2.2)."""
    l2: float = Field(default=0.0, ge=0.0)
    """sigma, weight of the squared l2 norm, after Xiao 2010; the paper runs l1 alone (section 2.2)."""
    rho: float = Field(default=0.0, ge=0.0)
    """rho of the enhanced l1, after Xiao 2010 (section 2.2)."""
    gamma: float = Field(default=1.0, gt=0.0)
    """The paper's eta, in beta_k = gamma sqrt(k); without effect for hinge with l1 (pitfall 1)."""
    eta: float = Field(default=0.1, gt=0.0)
    """Step size of truncated gradient and FOBOS (pitfall 5)."""
    period: int = Field(default=1, ge=1)
    """Examples between two shrinkages of truncated gradient (pitfall 5: every example)."""
    theta: float | None = Field(default=None, gt=0.0)
    """Weights above theta are not shrunk by truncated gradient; null shrinks all."""
    vote_l1: list[float] = []
    """lambdas for which the exact vote is taken too (pitfall 3: costly)."""
    bound: bool = False
    """At the end, also write the mistake bound and the relative strength of regularisation (section 2.6)."""

    @field_validator("l1")
    @classmethod
    def _l1_in_range(cls, value: list[float]) -> list[float]:
        if min(value) < 0 or value != sorted(set(value)):
            raise ValueError("numbers that rise, none negative")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Method":
        if missing := set(self.vote_l1) - set(self.l1):
            raise ValueError(f"vote_l1 from l1 (not {min(missing)})")
        if self.vote_l1 and self.learner not in ("vrda", "perceptron"):
            raise ValueError(f"votes of a learner that changes on mistakes only (not {self.learner})")
        if self.bound and (self.learner, self.loss, self.l2, self.rho) != ("vrda", "hinge", 0.0, 0.0):
            raise ValueError("the bound for vrda with hinge loss and l1 only")
        if self.learner == "maxent" and (self.loss != "log" or min(self.l1) == 0.0):
            raise ValueError("maxent with log loss and positive l1")
        return self

    def label(self, l1: float, prediction: str) -> str:
        """Method label in the score table, e.g. ``vrda_hinge/l1-3e-4/averaged``."""
        return f"{self.name}/l1-{number(l1)}/{prediction}"

    def predictions(self, l1: float) -> list[str]:
        """The predictions that are read off a run: a batch learner has one predictor, the vote is taken on request."""
        kinds = ["last"] if self.learner == "maxent" else ["last", "averaged"]
        return [*kinds, "voted"] if l1 in self.vote_l1 else kinds

    def labels(self) -> list[str]:
        """Method labels in the score table, one per lambda and prediction."""
        labels = [self.label(l1, kind) for l1 in self.l1 for kind in self.predictions(l1)]
        return [*labels, self.range_label] if self.has_range else labels

    @property
    def has_range(self) -> bool:
        """Whether there are metrics over lambdas: three at least, of an online learner."""
        return len(self.l1) > 2 and self.learner != "maxent"

    @property
    def range_label(self) -> str:
        """Method label of what belongs to all lambdas together."""
        return f"{self.name}/range"


class Task(Settings):
    """N-best lists to rerank (section 7)."""

    name: str = ""
    """Name of the task; filled in by the workflow for a job."""
    treebank: Literal["craft", "ewt"] = "craft"
    """Parses of CRAFT, or part-of-speech tags of UD English EWT (then F is tag accuracy)."""
    from_scratch: bool = False
    """Train the first-pass parser (ewt: tagger) and make the lists from the treebank, rather than read ready lists;
    without a folder of data sets there are none to read."""
    train_lists: int | None = Field(default=2500, ge=20)
    """Training lists, the first of a fixed shuffle; null takes all (section 7: 2,500 is the small version)."""
    test_lists: int | None = Field(default=1000, ge=20)
    """Test lists, the first of a fixed shuffle; null takes all."""
    least: int = Field(default=5, ge=1)
    """A feature is kept if it varies within at least so many training lists (section 7)."""
    test_split: Literal["dev", "test"] = "test"
    """Where F is measured: settings are chosen on dev, reported on test."""

    @model_validator(mode="after")
    def _has_lists(self) -> "Task":
        if self.treebank == "ewt" and not self.from_scratch:
            raise ValueError("from_scratch for ewt, which has no ready lists")
        return self


class Preparation(Settings):
    """The `prepare` verb: from trees to lists of candidates with features."""

    task: Task
    """The task whose lists are made."""
    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA."""
    data_source: Literal["auto", "real", "generated"] = "auto"
    """real data, a generated stand-in, or real data where they can be had and the stand-in elsewhere."""
    root_seed: int = Field(default=2014, ge=0)
    """Root of all random streams (choice of lists, stand-in)."""


class Common(Settings):
    """What every job of the paper shares."""

    root_seed: int = Field(default=2014, ge=0)
    """Root of all random streams."""
    seeds: Seeds = Field(default=list(range(10)), min_length=1)
    """Shuffles of the training lists (section 3: ten)."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the training lists (paper, section 6: 20)."""
    reads: list[float] = [0.1, 0.25, 0.5, *map(float, range(1, 21))]
    """Where the learners are read, in epochs; the last one is the end."""
    keep_model: Literal["none", "last"] = "last"
    """last keeps the predictors at the end of the first shuffle in `model/` beside the scores; none keeps nothing."""

    @model_validator(mode="after")
    def _reads_end_the_run(self) -> "Common":
        if self.reads != sorted(set(self.reads)) or self.reads[0] <= 0 or self.reads[-1] != self.epochs:
            raise ValueError(f"reads that rise from above 0 to epochs, {self.epochs}")
        if 1 not in self.reads:
            raise ValueError("reads with the end of the first epoch, 1")
        return self


class Job(Common):
    """One training job: one learner with all its lambdas, one task, all shuffles."""

    method: Method
    """The method."""
    task: Task
    """The task."""
    data_file: Annotated[str, PLACE]
    """The lists, output of prepare."""


METHODS = {
    "perceptron": Method(learner="perceptron"),
    "vrda_hinge": Method(l1=GRID, gamma=0.05, bound=True),
    "vrda_log": Method(loss="log", l1=GRID, gamma=1000.0),
    "rda_hinge": Method(learner="rda", l1=[1e-5, 1e-4], gamma=0.05),
    "rda_log": Method(learner="rda", loss="log", l1=[1e-5, 1e-4], gamma=1000.0),
    "rda_hinge_tuned": Method(learner="rda", l1=[1e-5, 1e-4, 2e-4], gamma=0.1),
    "rda_log_tuned": Method(learner="rda", loss="log", l1=[1e-4, 2e-4, 4e-4], gamma=0.02),
    "tg": Method(learner="tg", l1=[3e-4, 1e-3, 3e-3]),
    "fobos": Method(learner="fobos", l1=[1e-6, 1e-5, 3e-5, 1e-4], eta=0.03),
    "maxent": Method(learner="maxent", loss="log", l1=[1e-4, 3e-4, 1e-3, 3e-3]),
}


class Experiments(Common, Runs):
    """The paper's experiments: `config/papers/vrda.yaml`."""

    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA."""
    data_source: Literal["auto", "real", "generated"] = "auto"
    """real data, a generated stand-in, or real data where they can be had and the stand-in elsewhere."""
    methods: dict[str, Method] = METHODS
    """Learners and baselines of sections 2 and 5, with their lambdas."""
    tasks: dict[str, Task] = {
        "craft_small": Task(),
        "ewt": Task(treebank="ewt", from_scratch=True, train_lists=None, test_lists=None),
    }
    """Lists to rerank (section 7): parses of CRAFT, the small version; tags of EWT."""
    runs: dict[str, list[str]] = {"craft_small": list(METHODS), "ewt": []}
    """Which methods run on which task; an empty list switches a task off."""
