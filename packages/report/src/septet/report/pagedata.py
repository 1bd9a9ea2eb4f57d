"""What the page's script knows: the points of every panel and the run cards, each written once and short."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from septet.card import RunCard
from septet.report.figure_files import Drawn, Panel
from septet.report.formatting import seeds_text
from septet.report.rerun import rerun_command

DIGITS = 5
"""Significant digits of a number on the page; the files next to the figures have six, the score tables all."""

EXACT = 2**53 - 1
"""The largest whole number that a script holds exactly; seeds may be larger."""

POINTS = 1_500
"""At most so many points of a panel can be pointed at; what is drawn stays."""


def data(scale: str, figures: Mapping[str, Sequence[Drawn]], cards: Iterable[tuple[str, RunCard]]) -> dict[str, Any]:
    """The page's data, as plain values.

    Args:
        scale: the scale of the verdicts.
        figures: paper -> its figures.
        cards: each run card with the scale it was run at.
    """
    shared: list[dict[str, str]] = []
    return {
        "scale": scale,
        "figures": {
            f"{paper}/{figure.name}": [_panel(panel) for panel in figure.panels]
            for paper, drawn in figures.items()
            for figure in drawn
        },
        "cards": {card.id: _card(card, scale_of_run, shared) for scale_of_run, card in cards},
        "shared": shared,
    }


def short(value: object) -> object:
    """A number at the digits that are shown; a whole number as one, or as text if a script would round it."""
    if not isinstance(value, float):
        return str(value) if isinstance(value, int) and abs(value) > EXACT else value
    near = float(f"{value:.{DIGITS}g}")
    return int(near) if near.is_integer() and abs(near) < 1e15 else near


def _panel(panel: Panel) -> dict[str, Any]:
    columns = [name for name in panel.titles if name != "run"] + ["run"]
    told: dict[str, list[str]] = {"series": [], "run": []}
    rows = []
    for point in panel.points[:: -(-len(panel.points) // POINTS) or 1]:
        values = []
        for name in columns:
            value = point.row.get(name, "")
            if name in told:
                if value not in told[name]:
                    told[name].append(str(value))
                value = told[name].index(str(value))
            values.append(short(value))
        rows.append([short(point.x), short(point.y), *values])
    return {
        "title": panel.title,
        "columns": columns,
        "titles": [panel.titles.get(name, "") for name in columns],
        "series": told["series"],
        "runs": told["run"],
        "rows": rows,
    }


def _card(card: RunCard, scale: str, shared: list[dict[str, str]]) -> dict[str, Any]:
    host = f"{card.host.get('system', 'not recorded')}, {card.host.get('cores', '?')} cores"
    common = {
        "host": host,
        "image": card.image or "",
        "commit": card.commit or "not recorded",
        "versions": _listed(card.versions),
        "sources": _listed(
            {name: digest[:12] for name, digest in {**card.sources, "lock": card.lock}.items() if digest}
        ),
    }
    if common not in shared:
        shared.append(common)
    return {
        "paper": card.paper,
        "task": card.task,
        "seeds": seeds_text(card.seeds),
        "methods": [[label, _written(given)] for label, given in card.methods.items()],
        "config": _written(card.config, indent=1),
        "data": card.data,
        "started": card.started,
        "wall": short(card.wall_seconds),
        "cpu": short(card.cpu_seconds),
        "memory": short(card.peak_memory_mb),
        "steps": f"{card.steps:,}",
        "rate": short(card.steps_per_second),
        "command": rerun_command(card, scale),
        "shared": shared.index(common),
    }


def _written(settings: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(settings, indent=indent, ensure_ascii=False)


def _listed(named: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items())
