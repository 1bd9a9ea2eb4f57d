"""The claims of a paper as data: `config/claims/<id>.yaml`."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from septet.config import Settings, validate
from septet.errors import InputError
from septet.reading import read_mapping
from septet.report.statistics import Aggregate


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) else given


Ground = Literal["the paper's task", "a stand-in", "generated data"]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Labels = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


class Equation(Settings):
    """One displayed equation of a method."""

    tex: str
    """The equation in LaTeX; the page turns it into MathML."""
    says: str
    """What it is, in a few words."""


class About(Settings):
    """The paper, as the report page introduces it."""

    id: Identifier
    """The paper's id, the name of its package."""
    title: str
    """Full title."""
    authors: str
    """The authors, as the paper lists them."""
    year: int
    """Year of first publication."""
    url: str = Field(pattern=r"^https?://\S+$")
    """Where the paper can be read."""
    finding: str = ""
    """What our reproduction found, in one sentence: the first line on its page and of its package's README."""
    claim: str = ""
    """What the paper claims, in a sentence or two of ours."""
    method: str
    """One paragraph on the method, in our words."""
    references: dict[str, Annotated[str, Field(pattern=r"^https?://\S+$")]] = Field(default={})
    """Another paper as the texts of this file name it -> where it can be read; the page makes a link of it."""
    equations: list[Equation] = Field(default=[])
    """Its equations, in the notation of `docs/papers/<id>.md`."""
    differences: list[str] = Field(default=[])
    """Known differences of our reproduction from the paper, one sentence each."""


class _Aggregated(Settings):
    aggregate: Aggregate = "mean"
    """How scores are pooled over tasks and seeds: `mean`, or `iqm`, the interquartile mean."""


class _Of(Settings):
    of: Labels
    """Method label, or several that are averaged seed by seed."""


class Level(_Aggregated, _Of):
    """The score itself."""

    kind: Literal["level"]
    """Selects this estimand."""


class Advantage(_Aggregated, _Of):
    """By how much `of` beats the strongest of its rivals `against`, in the metric's unit; positive is better."""

    kind: Literal["advantage"]
    """Selects this estimand."""
    against: Labels
    """The rivals; the smallest advantage counts."""


class RelativeAdvantage(_Aggregated, _Of):
    """The advantage over each rival divided by the size of the rival's score; the smallest counts."""

    kind: Literal["relative_advantage"]
    """Selects this estimand."""
    against: Labels
    """The rivals; the smallest relative advantage counts."""


class Ratio(_Aggregated, _Of):
    """The score of `of` divided by the score of `against`, whichever direction is better."""

    kind: Literal["ratio"]
    """Selects this estimand."""
    against: Labels
    """Method label, or several that are averaged seed by seed."""


class Improvement(_Of):
    """Probability that a run of `of` beats a run of the strongest of `against` on a task drawn at random."""

    kind: Literal["improvement"]
    """Selects this estimand."""
    against: Labels
    """The rivals; the smallest probability counts."""


class ShiftOfBest(_Aggregated):
    """How far the best setting of a family moves from the claim's first task to its second."""

    kind: Literal["shift_of_best"]
    """Selects this estimand."""
    family: Annotated[list[str], Field(min_length=2)]
    """The method labels that differ in the setting."""
    attribute: str
    """Name of the numeric setting in the run cards: `methods[label][attribute]`."""
    log: bool = True
    """Measure the move in decades (log10 of the setting) instead of in the setting's own unit."""


Estimand = Annotated[
    Level | Advantage | RelativeAdvantage | Ratio | Improvement | ShiftOfBest, Field(discriminator="kind")
]


class _Bound(Settings):
    than: float
    """The claimed bound."""
    tolerance: float = Field(default=0.0, ge=0.0)
    """How far the line is moved in the claim's favour."""


class Greater(_Bound):
    """The estimate lies above the line `than - tolerance`."""

    kind: Literal["greater"]
    """Selects this relation."""


class AtLeast(_Bound):
    """The estimate lies on or above the line `than - tolerance`."""

    kind: Literal["at_least"]
    """Selects this relation."""


class Less(_Bound):
    """The estimate lies below the line `than + tolerance`."""

    kind: Literal["less"]
    """Selects this relation."""


class Within(Settings):
    """The estimate lies between `center - tolerance` and `center + tolerance`, ends included."""

    kind: Literal["within"]
    """Selects this relation."""
    center: float
    """The claimed value."""
    tolerance: float = Field(gt=0.0)
    """Half the width of the band."""


Relation = Annotated[Greater | AtLeast | Less | Within, Field(discriminator="kind")]

_AUC = re.compile(r"auc\(([^()]+)\)")
_TIMED = re.compile(r"(seconds|share)\(([^()]+)\)")


class Number(Settings):
    """The paper's number, in the unit of the estimand."""

    value: float
    """What the paper reports."""
    share: float = Field(default=0.1, gt=0.0)
    """How far from it, as a share of its size, still counts as the same."""

    @property
    def relation(self) -> Within:
        """What agreeing with the number means."""
        return Within(kind="within", center=self.value, tolerance=self.share * abs(self.value))


class Claim(Settings):
    """One claim of a paper, and how it is judged."""

    id: Identifier
    """Name of the claim, unique within its paper."""
    statement: str
    """The claim in our words."""
    source: str
    """Where the paper says it: table, figure or section; it starts with 'Ours' for a claim that we add."""
    reported: str
    """The paper's number as text, or 'not recovered'."""
    pilot: str = ""
    """A number of our own pilot, kept apart from the paper's."""
    number: Number | None = None
    """That number where our task has the same unit and size: the estimate is judged against it, too. Without one the
    claim gives a direction only."""
    by_construction: str = ""
    """Why the claim cannot fail (a theorem, identical bits); such a claim is shown, and counted apart."""
    regular: str = ""
    """Why no run can fail or lie far from the others: the scores are taken for nearly symmetric, so that five seeds
    support a verdict. Without it a verdict needs 20."""
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Least and largest score that a run can have by definition: judged without any assumption on the shape."""
    note: str = ""
    """What the interval is conditional on, such as one test set."""
    metric: str
    """Metric of the score table; `auc(metric)`: its average over the steps (area under the curve); `seconds(phase)`
    or `share(phase)` of the timing table, where iterations are used as replicates."""
    direction: Literal["higher", "lower"]
    """Whether a higher or a lower value of the metric is better."""
    step: Literal["last"] | int = "last"
    """The step that is read; `last` is the last one that all methods of the claim share on a task."""
    tasks: Annotated[list[str], Field(min_length=1)]
    """The tasks that are pooled; for `shift_of_best` the two that are compared."""
    estimand: Estimand
    """The quantity that is estimated."""
    relation: Relation
    """What the claim says about that quantity."""
    unit: str = ""
    """Unit of the estimate, for display."""
    scales: Annotated[list[str], Field(min_length=1)]
    """The scales at which the claim may be judged."""
    data: Literal["any", "real"] = "any"
    """`real`: not judged on generated data."""
    waits: str = ""
    """Why runs wait by design; without it a claim about time is not judged if wall time is far above CPU time."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.estimand, ShiftOfBest) and len(self.tasks) != 2:
            raise ValueError(f"two tasks for shift_of_best of claim {self.id}")
        if self.is_area and self.step != "last":
            raise ValueError(f"step `last` for the area under a curve of claim {self.id}")
        for names in (self.tasks, self.methods):
            if len(set(names)) != len(names):
                raise ValueError(f"each task and method once in claim {self.id}")
        if self.range is not None:
            self._check_range(*self.range)
        if self.is_timed and self.regular:
            raise ValueError(f"iterations, which are not independent, are never regular: claim {self.id}")
        if self.waits and not self.is_timed:
            raise ValueError(f"waits only in claims about time, not in claim {self.id}")
        return self

    def _check_range(self, low: float, high: float) -> None:
        estimand = self.estimand
        if not isinstance(estimand, Level | Advantage | RelativeAdvantage | Ratio) or estimand.aggregate != "mean":
            raise ValueError(f"no range for {estimand.kind} of claim {self.id}, which is no mean of scores")
        if not low < high:
            raise ValueError(f"the smaller end of the range first in claim {self.id}")
        if isinstance(estimand, RelativeAdvantage | Ratio) and low < 0:
            raise ValueError(f"a range from 0 on for the divisor in claim {self.id}")
        if self.regular or self.is_timed:
            raise ValueError(f"a range, or regular, or times, not two of them: claim {self.id}")

    @property
    def ours(self) -> bool:
        """Whether we add the claim: its source says so."""
        return self.source.casefold().startswith("ours")

    @property
    def unit_shown(self) -> str:
        """The unit of the estimate, with what a positive one means: regret saved, return gained."""
        means = ""
        if isinstance(self.estimand, Advantage | RelativeAdvantage):
            means = " saved" if self.direction == "lower" else " gained"
        elif isinstance(self.estimand, ShiftOfBest):
            means = " upwards"
        return f"{self.unit.removeprefix('share ')}{means}" if self.unit and means else self.unit

    @property
    def is_area(self) -> bool:
        """Whether the metric is an area under a curve."""
        return _AUC.fullmatch(self.metric) is not None

    @property
    def is_timed(self) -> bool:
        """Whether the claim is about the timing table."""
        return _TIMED.fullmatch(self.metric) is not None

    @property
    def column(self) -> str:
        """The metric of the score table that the claim reads."""
        match = _AUC.fullmatch(self.metric)
        return match[1] if match else self.metric

    @property
    def methods(self) -> list[str]:
        """Every method label that the claim needs, in the order of the estimand's arrays."""
        estimand = self.estimand
        if isinstance(estimand, ShiftOfBest):
            return estimand.family
        return estimand.of if isinstance(estimand, Level) else [*estimand.of, *estimand.against]


class ClaimsFile(Settings):
    """One paper and its claims."""

    paper: About
    """The paper."""
    tasks: dict[str, Ground] = {}
    """What each task of the claims is: the paper's own task, a stand-in for it, or generated data."""
    claims: list[Claim]
    """Its claims, in the order of the report."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [claim.id for claim in self.claims]
        if len(set(names)) != len(names):
            raise ValueError("each claim id once")
        texts = self.model_dump_json(exclude={"paper": {"references"}})
        if absent := [name for name in self.paper.references if name not in texts]:
            raise ValueError(f"a text that names each reference, and none names {absent[0]}")
        used = {task for claim in self.claims for task in claim.tasks}
        if self.tasks and (odd := used ^ self.tasks.keys()):
            raise ValueError(f"under `tasks` the tasks of the claims, no more and no fewer: see {min(odd)}")
        return self

    def ground(self, claim: Claim) -> str:
        """What a claim is judged on: of several tasks the least like the paper's; empty if the file does not say."""
        kinds = {self.tasks[task] for task in claim.tasks if task in self.tasks}
        return next((kind for kind in reversed(get_args(Ground)) if kind in kinds), "")


def read_claims(path: Path) -> ClaimsFile:
    """Read one claims file.

    Raises:
        InputError: the file is missing, no YAML, or of another form; names the key at fault.
    """
    return validate(ClaimsFile, read_mapping(str(path)), str(path))


def read_all(paths: list[Path]) -> list[ClaimsFile]:
    """Read several claims files; raises as `read_claims` does, and if two are of the same paper."""
    files = [read_claims(path) for path in paths]
    names = [file.paper.id for file in files]
    for name, path in zip(names, paths, strict=True):
        if names.count(name) > 1:
            raise InputError(str(path), expected="each paper once", found=f"a second file of {name}")
    return files
