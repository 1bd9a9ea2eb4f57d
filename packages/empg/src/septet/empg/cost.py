"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any


def work(task: str, config: Mapping[str, Any]) -> float:
    """Iterations x prompts x samples x inner steps x seeds."""
    method, given = config["method"], config["task"]
    samples = method.get("samples") or given["samples"]
    return float(given["steps"]) * given["prompts"] * samples * method.get("inner_steps", 1)
