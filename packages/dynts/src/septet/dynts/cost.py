"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any


def work(task: str, config: Mapping[str, Any]) -> float:
    """Rounds x schedules x seeds; of real click rates, schedules x seeds."""
    rounds = config["horizon"] if config["task"]["kind"] == "simulation" else 1
    return float(rounds) * len(config["method"].get("schedules") or [None])
