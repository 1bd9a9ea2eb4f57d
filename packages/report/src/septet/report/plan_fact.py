"""The plan beside what came: for the report, after a run."""

from pathlib import Path

from septet.config import Settings
from septet.reading import is_file
from septet.report.plan import FILE, Plan, read_plan
from septet.report.tables import runs_of


class PlanFact(Settings):
    """The training jobs of one paper, planned and run."""

    paper: str
    jobs: int
    """Jobs of the plan."""
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
    """What the plan stood on."""


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
