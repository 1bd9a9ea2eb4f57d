"""From a claim and a score table to the quantity that is judged, its interval, and the seeds that would decide it."""

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.special import ndtri

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
    """The line at which the p-value of one side reaches the stated rate, to a thousandth of a standard error."""
    way, side = (-1.0, 0) if above else (1.0, 1)

    def excess(line: float) -> float:
        """How far the p-value is above the rate, as normal quantiles: nearly linear in the line."""
        p = quantity.tails(line)[side]
        return float(ndtri(np.clip(p, 1e-12, 0.9)) - ndtri(TAIL))

    near, step, over = quantity.estimate, quantity.scale, excess(quantity.estimate)
    if over <= 0:
        return near
    for _ in range(30):
        far = near + way * step
        under = excess(far)
        if under <= 0:
            return _crossing(excess, (near, over), (far, under), 1e-3 * quantity.scale)
        near, over, step = far, under, 2 * step
    return way * np.inf


def _crossing(f: Callable[[float], float], near: tuple[float, float], far: tuple[float, float], width: float) -> float:
    """Where a function passes from above 0 to 0 or below, by the Illinois algorithm (Dowell and Jarratt 1971).

    Args:
        near: a place and the function's value there, above 0.
        far: a place and its value, at most 0.
        width: how near the two come to one another; no finer than rounding allows.
    """
    width = max(width, 4 * np.spacing(max(abs(near[0]), abs(far[0]))))
    last = 0.0
    while (gap := abs(far[0] - near[0])) > width:
        share = near[1] / (near[1] - far[1])
        inside = width / gap / 2  # away from either end, so that both close in
        place = near[0] + (far[0] - near[0]) * min(max(share, inside), 1 - inside)
        value = f(place)
        again, last = value * last > 0, value  # an end that stays for the second time counts for half
        if value > 0:
            near, far = (place, value), (far[0], far[1] / 2 if again else far[1])
        else:
            near, far = (near[0], near[1] / 2 if again else near[1]), (place, value)
    return (near[0] + far[0]) / 2


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
