"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any

LISTS = {"craft_small": 9507, "ewt": 12544}
"""Training lists of a whole treebank (packages/vrda/README.md), where the configuration says `null`."""


def work(task: str, config: Mapping[str, Any]) -> float:
    """Lists x epochs x lambdas x seeds."""
    lists = config["task"]["train_lists"] or LISTS[task]
    return float(config["epochs"]) * lists * len(config["method"].get("l1") or [0.0])
