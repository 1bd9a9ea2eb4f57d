"""Measure how often a verdict is wrong if the truth is exactly on the line: `make coverage` writes docs/coverage.md.

Each cell draws many studies of one shape and size, with the truth on the line, and counts how often the quantity is
judged above it and below it: by the percentile bootstrap used before, and by the current method. The functions are the
ones that compute verdicts (`septet.report.methods`), applied to all studies of a cell at once.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.cli import program
from septet.files import write_text
from septet.report import estimands, inference, methods
from septet.report.estimands import OPEN
from septet.report.inference import TAIL
from septet.report.methods import Method
from septet.report.statistics import Array, percentile_interval
from septet.report.tabulate import as_markdown
from septet.seeding import stream

SIZES = (3, 5, 10, 20, 40)
STUDIES = 2_000
RESAMPLES = 1_000
"""Of the studentised bootstrap; a verdict uses more, which changes the rates by less than this study resolves."""
RATIO = "ratio of two levels"
ALLOWED = 3.0
"""A cell keeps its rate if it is at most this many simulation standard errors above it."""


@dataclass(frozen=True)
class Shape:
    """A distribution of scores."""

    name: str
    mean: float
    draw: Callable[[np.random.Generator, tuple[int, ...]], Array]
    regular: bool = False
    """Whether a claim with such scores may be declared regular."""
    bounds: estimands.Range = OPEN
    """The range of its scores by definition; such claims declare it."""


def _zero_one(share: float) -> Shape:
    def draw(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
        return (rng.random(size) < share).astype(np.float64)

    return Shape(f"0/1, p = {share}", share, draw, bounds=(0.0, 1.0))


SHAPES = (
    Shape("normal", 5.0, lambda rng, size: 5.0 + rng.standard_normal(size), regular=True),
    Shape("heavy tails (t, 3 df)", 8.0, lambda rng, size: 8.0 + rng.standard_t(3, size), regular=True),
    Shape("accuracies (beta 20, 5)", 0.8, lambda rng, size: rng.beta(20, 5, size), regular=True, bounds=(0.0, 1.0)),
    Shape("counts (Poisson 3)", 3.0, lambda rng, size: rng.poisson(3, size).astype(np.float64), regular=True),
    Shape("lognormal (sigma 1)", float(np.exp(0.5)), lambda rng, size: np.exp(rng.standard_normal(size))),
    Shape(
        "one run in five fails",
        0.8,
        lambda rng, size: np.where(rng.random(size) < 0.2, 0.0, 1.0) + 0.05 * rng.standard_normal(size),
    ),
    _zero_one(0.1),
    _zero_one(0.5),
    _zero_one(0.9),
)


@dataclass(frozen=True)
class Cell:
    """One row of the table at one size: wrong verdicts in per cent, above and below."""

    quantity: str
    shape: str
    method: str
    seeds: int
    before: tuple[float, float]
    now: tuple[float, float] | None
    """None if there are too few seeds for a verdict."""
    studies: int

    @property
    def excess(self) -> float:
        """Standard errors of the simulation by which the worse side exceeds the stated rate."""
        worst = max(self.now) / 100 if self.now else 0.0
        return (worst - TAIL) / float(np.sqrt(TAIL * (1 - TAIL) / self.studies))


Sample = tuple[Array, Array]
"""a and b of shape ``(S, R, J)``: the truth is on the line if ``a`` has a mean of 0 (b: the divisor of a ratio)."""


def level(shape: Shape, rng: np.random.Generator, seeds: int, studies: int) -> Sample:
    """One method against a number."""
    a = shape.draw(rng, (seeds, studies, 1)) - shape.mean
    return a, np.ones_like(a)


def rivals(count: int, shared: bool) -> Callable[[Shape, np.random.Generator, int, int], Sample]:
    """One method against the best of `count` equals, on separate or shared worlds."""

    def draw(shape: Shape, rng: np.random.Generator, seeds: int, studies: int) -> Sample:
        x, y = shape.draw(rng, (seeds, studies, 1)), shape.draw(rng, (seeds, studies, count))
        if shared:  # half of the runs equal those of the first method: correlation 0.5
            y = np.where(rng.random(y.shape) < 0.5, x, y)
        return x - y, np.ones_like(y)

    return draw


def ratio(shape: Shape, rng: np.random.Generator, seeds: int, studies: int) -> Sample:
    """A ratio of two levels whose truth is 1.2."""
    x, y = 1.2 * shape.draw(rng, (seeds, studies, 1)), shape.draw(rng, (seeds, studies, 1))
    return x - 1.2 * y, y


MEANS: dict[str, Callable[[Shape, np.random.Generator, int, int], Sample]] = {
    "level": level,
    "difference, own worlds": rivals(1, False),
    "difference, shared worlds": rivals(1, True),
    "best of 2 rivals": rivals(2, False),
    "best of 6 rivals": rivals(6, False),
    RATIO: ratio,
}


def methods_of(shape: Shape) -> list[Method]:
    """Return the methods that can judge such scores, by the assumptions that a claim may declare."""
    return [methods.ANY] + [methods.REGULAR] * shape.regular + [methods.BOUNDED] * (shape.bounds != OPEN)


def coarse(method: Method) -> Method:
    """Return the same method with fewer resamples, so that the study is fast enough."""
    if method not in (methods.ANY, methods.REGULAR):
        return method
    return replace(method, run=lambda z, low, high: inference.mean_tails(z, method.tail, RESAMPLES))


def means(quantity: str, sizes: Sequence[int], studies: int) -> Iterator[Cell]:
    """Levels, differences, ratios: all shapes and methods."""
    for shape in SHAPES:
        for seeds in sizes:
            a, b = MEANS[quantity](shape, stream(0, "coverage", quantity, shape.name, seeds), seeds, studies)
            before = _rates(*percentile(a, b, seeds))
            for method in methods_of(shape):
                test, now = coarse(method), None
                if seeds >= method.least:
                    above, below = inference.combined(*test(a, *_bounds(shape, quantity)))
                    clear = test(b, *shape.bounds)[0].max(axis=-1) <= TAIL if quantity == RATIO else True
                    now = _rates((above <= TAIL) & clear, (below <= TAIL) & clear)
                yield Cell(quantity, shape.name, method.name, seeds, before, now, studies)


def _bounds(shape: Shape, quantity: str) -> estimands.Range:
    low, high = shape.bounds
    if quantity == "level":
        return low - shape.mean, high - shape.mean
    width = (high - low) * (1.2 if quantity == RATIO else 1.0)
    return -width, width


def percentile(a: Array, b: Array, seeds: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Compute verdicts of the percentile bootstrap, expanded for few seeds, with the minimum over rivals inside.

    Returns:
        Whether each of R studies is judged above the line, and whether below; intervals of zero width count.
    """
    weights = inference.resample_weights(seeds, RESAMPLES)
    drawn, divisors = np.tensordot(weights, a, axes=1), np.tensordot(weights, b, axes=1)
    torn = (divisors == 0).any(axis=(0, 2))  # such a claim was not judged
    low, high = percentile_interval(drawn.min(axis=-1), seeds)  # divisors are positive: they change no sign
    return (low > 0) & ~torn, (high <= 0) & ~torn


def improvements(count: int, sizes: Sequence[int], studies: int) -> Iterator[Cell]:
    """Probability that a run beats the hardest of `count` equals: truth 1/2, whatever the shape."""
    quantity = f"probability of improvement, {count} rival{'s' if count > 1 else ''}"
    for shape in SHAPES:
        for seeds in (size for size in sizes if size >= methods.WINS.least):
            rng = stream(0, "coverage", quantity, shape.name, seeds)
            won = estimands.wins(shape.draw(rng, (studies, 1, seeds)), shape.draw(rng, (studies, count, 1, seeds)))
            above, below = inference.combined(*estimands.wins_tails(estimands.shifted(won), 0.5))
            weights = inference.resample_weights(seeds, RESAMPLES // 2)
            drawn = np.stack([((weights @ one) * weights).sum(axis=-1) for one in won.reshape(-1, seeds, seeds)])
            low, high = percentile_interval(drawn.reshape(studies, count, -1).min(axis=1).T, seeds)
            now = _rates(above <= TAIL, below <= TAIL)
            yield Cell(quantity, shape.name, methods.WINS.name, seeds, _rates(low > 0.5, high <= 0.5), now, studies)


def shifts(name: str, hill: float, sizes: Sequence[int], studies: int) -> Iterator[Cell]:
    """The best of six settings, of a world and a second draw of the same world: truth 0."""
    settings = np.arange(6.0)
    heights = -hill * (settings - 2.0) ** 2
    for shape in (one for one in SHAPES if one.name in ("normal", "lognormal (sigma 1)", "one run in five fails")):
        for seeds in sizes:
            noise = shape.draw(stream(0, "coverage", "shift", name, shape.name, seeds), (studies, 2, 6, seeds))
            values = noise + heights[:, None]
            weights = inference.resample_weights(seeds, RESAMPLES // 2)
            best = settings[np.tensordot(weights, values, axes=(1, 3)).argmax(axis=-1)]  # (B, R, 2)
            low, high = percentile_interval(best[..., 0] - best[..., 1], seeds)
            for method in [methods.ANY] + [methods.REGULAR] * shape.regular:
                now = None
                if seeds >= method.least:
                    refuted = estimands.refuted(values, coarse(method))
                    above, below = estimands.shift_tails(settings, refuted, 0.0)
                    now = _rates(above <= TAIL, below <= TAIL)
                before = _rates(low > 0, high <= 0)
                yield Cell(f"shift of the best, {name}", shape.name, method.name, seeds, before, now, studies)


def iterations(rho: float, sizes: Sequence[int], studies: int) -> Iterator[Cell]:
    """The level of an autoregression, as a model of timed iterations."""
    for seeds in (size for size in sizes if size >= methods.ITERATIONS.least):
        z = stream(0, "coverage", "series", str(rho), seeds).standard_normal((seeds, studies, 1))
        for place in range(1, seeds):
            z[place] = rho * z[place - 1] + np.sqrt(1 - rho**2) * z[place]
        above, below = inference.combined(*methods.ITERATIONS(z, *OPEN))
        before = _rates(*percentile(z, np.ones_like(z), seeds))
        now = _rates(above <= TAIL, below <= TAIL)
        name = methods.ITERATIONS.name
        yield Cell("level of a series", f"autocorrelation {rho}", name, seeds, before, now, studies)


def _rates(above: NDArray[Any], below: NDArray[Any]) -> tuple[float, float]:
    return 100 * float(np.mean(above)), 100 * float(np.mean(below))


def parts(sizes: Sequence[int], studies: int) -> list[Callable[[], Iterator[Cell]]]:
    """Split the study into parts that can run in parallel."""
    few = studies // 4
    return [
        *(partial(means, quantity, sizes, studies) for quantity in MEANS),
        *(partial(improvements, count, sizes, few) for count in (1, 3)),
        *(partial(shifts, name, hill, sizes, few) for name, hill in (("flat", 0.0), ("low hill", 0.1), ("hill", 1.0))),
        *(partial(iterations, rho, sizes, 2 * studies) for rho in (0.0, 0.25, 0.5, 0.75, 0.9, 0.95)),
    ]


def _listed(part: Callable[[], Iterator[Cell]]) -> list[Cell]:
    return list(part())


def study(sizes: Sequence[int] = SIZES, studies: int = STUDIES, processes: int = 1) -> list[Cell]:
    """All cells; the numbers do not depend on `processes`."""
    if processes == 1:
        return [cell for part in parts(sizes, studies) for cell in part()]
    with ProcessPoolExecutor(processes) as pool:
        return [cell for found in pool.map(_listed, parts(sizes, studies)) for cell in found]


def page(cells: Sequence[Cell]) -> str:
    """The table as a page of the documentation."""
    sizes = sorted({cell.seeds for cell in cells})
    rows = []
    for key, group in groupby(sorted(cells, key=_row), key=_row):
        found = {cell.seeds: f"{_pair(cell.before)} → {_pair(cell.now)}" for cell in group}
        rows.append([*key[1:], *(found.get(size, "") for size in sizes)])
    worst = max(cells, key=lambda cell: cell.excess)
    error = 100 * np.sqrt(TAIL * (1 - TAIL) / worst.studies)
    text = as_markdown(["quantity", "shape", "method", *(f"n = {size}" for size in sizes)], rows)
    return f"""# Coverage study

Written by `make coverage` from `septet.report.coverage`; the tests are explained in [statistics](statistics.md). Each
cell is the percentage of wrong verdicts if the truth is on the line: judged above / judged below, first by the
percentile bootstrap used before, then by the current method; "–" if there are too few seeds for a verdict. The stated
rate is {TAIL:.1%} on each side. The worst cell of the current methods is {worst.quantity}, {worst.shape},
n = {worst.seeds}: {_pair(worst.now)} ({worst.studies:,} studies, standard error {error:.2f}).

{text}"""


def _row(cell: Cell) -> tuple[int, str, str, str]:
    order = [*MEANS, "probability", "shift", "level of a series"]
    place = next(place for place, name in enumerate(order[::-1]) if cell.quantity.startswith(name))
    return -place, cell.quantity, cell.shape, cell.method


def _pair(rates: tuple[float, float] | None) -> str:
    return "–" if rates is None else f"{rates[0]:.1f} / {rates[1]:.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, write the page, and exit with 0 if every cell keeps its rate, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m septet.report.coverage", allow_abbrev=False)
    parser.add_argument("page", type=Path, help="the page to write, such as docs/coverage.md")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--studies", type=int, default=STUDIES, help="studies in each cell")
    given = parser.parse_args(arguments)
    cells = study(studies=given.studies, processes=given.processes)
    write_text(given.page, page(cells))
    wrong = [cell for cell in cells if cell.excess > ALLOWED]
    for cell in wrong:
        print(f"{cell.quantity}, {cell.shape}, {cell.method}, n = {cell.seeds}: {_pair(cell.now)}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    program("septet.report.coverage", main)
