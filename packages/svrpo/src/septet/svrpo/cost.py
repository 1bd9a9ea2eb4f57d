"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any


def work(task: str, config: Mapping[str, Any]) -> float:
    """Iterations x batch x inner steps x seeds / threads."""
    method, given = config["method"], config["task"]
    if method["algorithm"] == "estimators":  # the gradients of one batch at each divergence
        return float(method["batches"]) * given["batch_size"] * len(given["divergences"])
    looped = method["algorithm"] == "inner_loop" and not method.get("single_step")
    return float(given["iterations"]) * given["batch_size"] * (given["inner_steps"] if looped else 1)
