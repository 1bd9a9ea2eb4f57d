"""The frame of every package's `bench` verb: peers, turns, rows, and the file that they go to.

A package's own `bench.py` measures rows and ends in `BENCH = Bench(...)`, which says what with.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Generic, TypeVar

from septet.card import Stopwatch
from septet.config import Settings
from septet.errors import InputError
from septet.sealed import write_json

Row = dict[str, Any]
"""One measured figure; see `row`."""

Setting = TypeVar("Setting", bound=Settings)


@dataclass(frozen=True)
class Bench(Generic[Setting]):
    """A package's bench. Called, it measures the rows and writes them with their run card."""

    measure: Callable[[Setting], list[Row]]
    """The rows; peers and ours run in turns, in this process or in those it starts."""
    full: Setting
    """What is kept in published/bench/ ran with this."""
    quick: Setting
    """Ends inside a minute."""
    packages: Sequence[str]
    """Our import packages whose sources are measured, the package's own last."""
    libraries: Sequence[str]
    """Distributions whose versions may change the numbers."""
    peers: Sequence[str]
    """Who is measured next to us, by import names: development dependencies."""

    def __call__(self, quick: bool, file: Path) -> None:
        """Measure, and write ``{rows, card}`` to a JSON file.

        Raises:
            InputError: a peer is not installed.
        """
        for peer in self.peers:
            if importlib.util.find_spec(peer) is None:
                raise InputError("bench", expected=f"the peer {peer} (make setup-dev)", found="it is not installed")
        watch, setting = Stopwatch(), self.quick if quick else self.full
        rows = self.measure(setting)
        card = watch.card(
            paper=self.packages[-1],
            verb="bench",
            task="bench",
            methods={},
            seeds=list(getattr(setting, "seeds", [])),
            config=setting,
            packages=list(self.packages),
            libraries=list(self.libraries),
            steps=0,
        )
        write_json(file, {"rows": rows, "card": card.model_dump(mode="json")})
        print_rows(rows)


def row(
    name: str,
    value: float,
    unit: str,
    peer: str | None = None,
    peer_value: float | None = None,
    limit_ratio: float | None = None,
) -> Row:
    """One row of a bench file.

    Args:
        name: what was measured.
        value: its median, in `unit`.
        peer: the peer that was measured, with the median `peer_value`; the row's ratio is value / peer_value.
        limit_ratio: share of the physical limit that was reached, where one was worked out.
    """
    ratio = value / peer_value if peer_value else None
    compared = {"peer": peer, "peer_value": peer_value, "ratio": ratio}
    return {"name": name, "value": value, "unit": unit, **compared, "limit_ratio": limit_ratio}


def in_turns(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each contender's measurement returns; in turns, so that a slow minute meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: median(values) for name, values in found.items()}


def seconds(run: Callable[[], object]) -> Callable[[], float]:
    """A measurement for `in_turns`: wall seconds of a call of `run`."""

    def measure() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return measure


def print_rows(rows: Sequence[Row]) -> None:
    """Print the rows as a table."""
    wide, other = (max([len(one[key] or "") for one in rows], default=0) for key in ("name", "peer"))
    for one in rows:
        line = f"{one['name']:{wide}}  {one['value']:>12,.4g} {one['unit']:8}"
        if one["peer"]:
            line += f"  {one['peer']:{other}}  {one['peer_value']:>12,.4g}  ratio {one['ratio']:,.2f}"
        if one["limit_ratio"] is not None:
            line += f"  of the limit {one['limit_ratio']:.2f}"
        print(line.rstrip())
