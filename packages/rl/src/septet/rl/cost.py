"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any


def work(task: str, config: Mapping[str, Any]) -> float:
    """Environment steps x seeds."""
    return float(config.get("steps") or config["task"]["steps"])  # of a run card, of the workflow's configuration
