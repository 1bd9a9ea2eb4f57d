"""From a claim and a score table to the quantity that is judged, its interval, and the seeds that would decide it."""

import numpy as np
import polars as pl

from septet.errors import InputError
from septet.report import estimands, methods, tables
from septet.report.claims import Advantage, Claim, Improvement, Level, Ratio, RelativeAdvantage, ShiftOfBest
from septet.report.estimands import OPEN, Contrast, Quantity, Wins
from septet.report.inference import TAIL
from septet.report.methods import LEAST_SEEDS, Method
from septet.report.statistics import Array
from septet.report.tables import Paper

MOST_SEEDS = 10_000
"""A larger number of seeds is not proposed."""


class NotJudged(Exception):
    """The claim cannot be judged on these results; the text says why."""


def seed_array(claim: Claim, paper: Paper) -> tuple[Array, list[int]]:
    """The scores that a claim reads, and the seeds that all its methods share on all its tasks.

    Returns:
        Array of shape ``(M, T, S)``, methods in the order of `Claim.methods`, and the S seeds.

    Raises:
        NotJudged: a method, task or step is missing, or fewer than five seeds are shared.
    """
    rows = paper.scores.filter(pl.col("metric") == claim.column, pl.col("task").is_in(claim.tasks))
    present = {(method, task) for method, task in rows.select("method", "task").unique().iter_rows()}
    missing = [(m, t) for m in claim.methods for t in claim.tasks if (m, t) not in present]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotJudged(f"no {claim.column} of {missing[0][0]} on {missing[0][1]}{more}")
    rows = rows.filter(pl.col("method").is_in(claim.methods))
    step = None if claim.step == "last" else claim.step
    values = tables.per_seed(rows, claim.methods, area=claim.is_area, step=step)
    pairs = len(claim.methods) * len(claim.tasks)
    shared = values.group_by("seed").len().filter(pl.col("len") == pairs)["seed"].sort()
    if len(shared) < LEAST_SEEDS:
        unit = "iterations are needed" if claim.is_timed else "seeds are needed at one step"
        raise NotJudged(f"{LEAST_SEEDS} {unit}, {len(shared)} are shared by all methods")
    ordered = values.filter(pl.col("seed").is_in(shared.implode())).sort(
        pl.col("method").cast(pl.Enum(claim.methods)), pl.col("task").cast(pl.Enum(claim.tasks)), "seed"
    )
    shape = (len(claim.methods), len(claim.tasks), len(shared))
    return ordered["value"].to_numpy().reshape(shape), shared.to_list()


def method_of(claim: Claim) -> Method:
    """The test that judges a claim, from what the claim says of its scores; never from the scores themselves."""
    if claim.is_timed:
        return methods.ITERATIONS
    if isinstance(claim.estimand, Improvement):
        return methods.WINS
    if claim.range is not None:
        return methods.BOUNDED
    return methods.REGULAR if claim.regular else methods.ANY


def quantity_of(claim: Claim, paper: Paper, x: Array) -> Quantity:
    """What the claim is about, from its scores.

    Args:
        x: shape ``(M, T, S)``, of `seed_array`.

    Raises:
        NotJudged: a divisor is zero.
        InputError: a score lies outside the range that the claim gives, or a setting is missing in the run cards.
    """
    estimand, sign = claim.estimand, 1 if claim.direction == "higher" else -1
    test = method_of(claim)
    if isinstance(estimand, ShiftOfBest):
        return estimands.shift_of_best(x, _settings(estimand, paper), sign, estimand.aggregate, test)
    own, rivals = x[: len(estimand.of)].mean(axis=0), x[len(estimand.of) :]
    if isinstance(estimand, Improvement):
        return estimands.improvement(own, rivals, sign)
    quantity: Contrast
    bounds = OPEN if claim.range is None else (claim.range[0], claim.range[1])
    if x.min() < bounds[0] or x.max() > bounds[1]:
        where, found = f"claim {claim.id} of {paper.id}: range", f"{x.min():g} to {x.max():g}"
        raise InputError(where, expected=f"scores from {bounds[0]:g} to {bounds[1]:g}", found=found)
    match estimand:
        case Level():
            return estimands.level(own, estimand.aggregate, test, bounds)
        case Advantage():
            return estimands.advantage(own, rivals, sign, estimand.aggregate, test, bounds)
        case RelativeAdvantage():
            quantity = estimands.relative_advantage(own, rivals, sign, estimand.aggregate, test, bounds)
        case Ratio():
            quantity = estimands.ratio(own, rivals.mean(axis=0), estimand.aggregate, test, bounds)
    if (quantity.b.mean(axis=0) == 0).any():
        raise NotJudged("the estimate divides by zero")
    return quantity


def ends(quantity: Quantity) -> tuple[float, float]:
    """The 95 % interval: the lines that neither side refutes. An end is infinite where no line is refuted."""
    if isinstance(quantity, estimands.ShiftOfBest):
        return quantity.ends()
    return _end(quantity, above=True), _end(quantity, above=False)


def _end(quantity: Contrast | Wins, above: bool) -> float:
    """The line at which the p-value of one side reaches the stated rate."""
    from scipy.optimize import brentq  # here, as it takes .2 s and the page reads verdicts without an end to search for

    way, side = (-1.0, 0) if above else (1.0, 1)

    def short(line: float) -> float:
        return quantity.tails(line)[side] - TAIL

    near, step = quantity.estimate, quantity.scale
    for _ in range(30):
        far = near + way * step
        if short(far) <= 0:
            return float(brentq(short, near, far, xtol=1e-4 * quantity.scale, rtol=1e-9)) if short(near) > 0 else near
        near, step = far, 2 * step
    return way * np.inf


def _settings(estimand: ShiftOfBest, paper: Paper) -> Array:
    known = tables.settings(paper, estimand.attribute)
    for label in estimand.family:
        where = f"run cards of {paper.id}: {label}.{estimand.attribute}"
        if label not in known:
            raise InputError(where, expected="a number", found="none")
        if estimand.log and known[label] <= 0:
            raise InputError(where, expected="a positive number, for its logarithm", found=known[label])
    values = np.array([known[label] for label in estimand.family])
    return np.log10(values) if estimand.log else values
