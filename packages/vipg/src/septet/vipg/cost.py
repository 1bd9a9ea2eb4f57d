"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any

TIME_LIMITS = {"ContinuousCartPole": 200, "Pendulum-v1": 200, "DoublePendulumSwingUp": 500}
"""Steps of a whole episode where it is not the 1,000 of the MuJoCo tasks and the configuration does not say."""


def work(task: str, config: Mapping[str, Any]) -> float:
    """Iterations x episodes x the task's time limit x alphas x seeds / threads."""
    method, given = config["method"], config["task"]
    if given["kind"] != "environment":
        return float(method["steps"]) * len(method["variants"])
    limit = given["options"].get("time_limit") or TIME_LIMITS.get(given["environment"], 1000)
    return float(given["iterations"]) * given["episodes"] * limit * len(method.get("alphas") or [0.0])
