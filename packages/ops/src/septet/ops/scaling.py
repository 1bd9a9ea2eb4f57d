"""How much work a training job is: what the plan scales a recorded time by.

Each paper has a rule of its own (`work` in workflow/papers.yaml): a product of numbers of the configuration. The unit
does not matter; only ratios within a paper are used.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from septet.workflow_config import papers_here

Config = Mapping[str, Any]


@cache
def rules() -> dict[str, Callable[[str, Config], float]]:
    """Paper -> its rule; a paper without one has no estimate."""
    found = {}
    for paper, row in papers_here().items():
        if row.work is not None:
            module, _, name = row.work.rpartition(".")
            found[paper] = getattr(importlib.import_module(module), name)
    return found


def in_words(paper: str) -> str:
    """A paper's rule as text; empty if it has none."""
    rule = rules().get(paper)
    return (rule.__doc__ or "").partition("\n")[0].rstrip(".").lower() if rule else ""


def work(paper: str, task: str, config: Config) -> float | None:
    """The amount of work of a job over all its seeds, in the paper's own unit; none if there is no rule for it."""
    rule = rules().get(paper)
    return _seeds(config) * rule(task, config) if rule else None


def threads(config: Config) -> int:
    """Threads that a job of this configuration divides its work among."""
    return int(config.get("threads") or 1)


def _seeds(config: Config) -> int:
    chosen = config["method"].get("seeds") or config.get("seeds") or config["task"].get("seeds")
    return len(chosen or [0])
