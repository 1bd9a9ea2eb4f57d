"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any


def work(task: str, config: Mapping[str, Any]) -> float:
    """Environment steps x seeds x pools that take turns."""
    steps = config.get("steps") or config["task"]["steps"]  # of a run card, of the workflow's configuration
    return float(steps) * len(config["method"].get("pools", [1]))
