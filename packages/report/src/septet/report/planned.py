"""The plan of a run, `plan.json`, and what its jobs took, for the report after the run."""

from pathlib import Path

from septet.config import Settings, validate
from septet.reading import is_file
from septet.report.tables import runs_of
from septet.sealed import read_sealed_json

FILE = "plan.json"


class Estimate(Settings):
    """What one job will take."""

    paper: str
    rule: str
    label: str
    """Method and task, or what else tells the job apart."""
    threads: int
    gpus: int
    memory_mb: int
    """Memory asked for on the first attempt."""
    wall_s: float | None
    """Wall seconds; none if there is no benchmark."""
    low: float
    high: float | None
    """Ends of the interval of `wall_s`; none if not even a time limit is known."""
    limit_s: float | None
    """Time limit of the first attempt."""
    basis: str


class Row(Settings):
    """One row of `plan.json`: the jobs of one rule of one paper."""

    paper: str
    rule: str
    jobs: int
    core_hours: float | None
    """None if no job of the row has a benchmark."""
    low: float
    high: float | None
    """Ends of the interval of `core_hours`; of `gpu_hours`, where there are any."""
    gpu_hours: float | None
    memory_mb: int
    """The most that one job asks for."""
    wall_s: float | None
    unknown: int
    """Jobs without a benchmark: only their time limit is in the interval's upper end."""
    late: int
    """Jobs whose estimate is over the time limit of the first attempt."""
    basis: str


class Wall(Settings):
    """Wall time of the whole run at a number of cores."""

    cores: int
    wall_s: float
    low: float
    high: float


class Plan(Settings):
    """`plan.json`."""

    scale: str
    jobs: int
    done: int
    rows: list[Row]
    longest_path_s: float
    """The chain of jobs that takes longest: no number of cores makes the run shorter."""
    walls: list[Wall]
    estimates: list[Estimate]


def read_plan(path: Path) -> Plan:
    """Read `plan.json`; raises InputError if it is missing, changed, or of another form."""
    data = read_sealed_json(path, "a plan (make plan) with its checksum")
    return validate(Plan, data if isinstance(data, dict) else {}, str(path))


class PlanFact(Settings):
    """The training jobs of one paper, planned and run."""

    paper: str
    jobs: int
    ran: int
    """Jobs of the plan whose run card is there."""
    planned_s: float | None
    """Planned wall seconds of the jobs that ran, summed; none if one of them had no benchmark."""
    low_s: float
    high_s: float | None
    """Ends of its interval."""
    fact_s: float
    """Wall seconds of their run cards, summed."""
    inside: int
    """Jobs that ended inside their own interval."""
    basis: str


def plan_and_fact(results: Path) -> list[PlanFact]:
    """One row per paper that was planned and has run; empty if `results` has no `plan.json`.

    Args:
        results: the folder `results/<scale>`.

    Raises:
        InputError: the plan or a file of run cards is torn.
    """
    if not is_file(results / FILE):
        return []
    plan = read_plan(results / FILE)
    return [row for paper in sorted({one.paper for one in plan.estimates}) if (row := _row(plan, results, paper))]


def _row(plan: Plan, results: Path, paper: str) -> PlanFact | None:
    if not is_file(results / paper / "runs.json"):
        return None
    cards = runs_of(results, paper).runs
    walls = {f"{card.config['method']['name']}/{card.task}": card.wall_seconds for card in cards}
    planned = [one for one in plan.estimates if one.paper == paper and one.rule == "train"]
    ran = [one for one in planned if one.label in walls]
    if not ran:
        return None
    known = all(one.wall_s is not None for one in ran)
    bounded = all(one.high is not None for one in ran)
    return PlanFact(
        paper=paper,
        jobs=len(planned),
        ran=len(ran),
        planned_s=sum(one.wall_s or 0.0 for one in ran) if known else None,
        low_s=sum(one.low for one in ran),
        high_s=sum(one.high or 0.0 for one in ran) if bounded else None,
        fact_s=sum(walls[one.label] for one in ran),
        inside=sum(one.low <= walls[one.label] <= (one.high or float("inf")) for one in ran),
        basis="; ".join(sorted({one.basis for one in ran})),
    )
