"""How the time of a training job grows with its configuration: `make plan` scales recorded times by it."""

from collections.abc import Mapping
from typing import Any


def work(task: str, config: Mapping[str, Any]) -> float:
    """Environment steps x seeds; of the study, trials x stages x settings x seeds, in thousands."""
    method = config["method"]
    if method["kind"] == "study":
        return 1e3 * method["trials"] * len(method["stages"]) * len(method["settings"])
    return float(config.get("steps") or config["task"]["steps"])  # of a run card, of the workflow's configuration
