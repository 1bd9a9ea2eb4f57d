"""GPU-hours of a job that trains a large language model, for want of a benchmark: bounds from its operations.

Operations of one token through N parameters: 2 N forwards, 6 N for a training step (forwards and backwards). A
completion is drawn token by token, read by the policy and, with a KL term, by the reference, and trained on.
"""

import re
from typing import Any

FAST, SLOW = 0.40 * 989e12, 0.03 * 312e12
"""Operations per second of a GPU that the bounds take: 40 % of an H100's bfloat16 peak, and 3 % of an A100's, where
`transformers` draws token by token."""
SHORT = 0.2
"""Mean length of a completion as a share of the limit, for the lower bound; the upper bound takes the limit."""
BASIS = (
    f"no benchmark: bounds from operations, {SHORT:.0%} to all of the length limit, "
    "40 % of an H100's peak to 3 % of an A100's"
)


def is_large(config: dict[str, Any]) -> bool:
    """Whether the job trains a model from a hub, which nothing recorded here compares with."""
    model = config["task"].get("model")
    return isinstance(model, dict) and model.get("kind") == "hub" and parameters(model["name"]) is not None


def parameters(name: str) -> float | None:
    """Parameters that a model's name tells, as in Qwen2.5-1.5B; none if it does not."""
    found = re.search(r"(\d+(?:\.\d+)?)B\b", name)
    return float(found.group(1)) * 1e9 if found else None


def gpus(config: dict[str, Any]) -> int:
    """GPUs of a job as in the author's runs: 4, and 8 for the 14B (`docs/papers/empg.md`, section 3)."""
    return 8 if (parameters(config["task"]["model"]["name"]) or 0) > 10e9 else 4


def gpu_hours(config: dict[str, Any]) -> tuple[float, float]:
    """Lower and upper bound of a job's GPU-hours, all seeds together."""
    size = parameters(config["task"]["model"]["name"]) or 0.0
    method, task = config["method"], config["task"]
    samples = method.get("samples") or task["samples"]
    drawn = float(task["steps"]) * task["prompts"] * samples * task["max_completion_length"]
    read = (task["steps"] // task["eval_every"] + 1) * float(task["eval_prompts"]) * task["max_completion_length"]
    reference = 2 if method.get("kl_loss") or method.get("kl_reward") else 0
    per_token = 2 + 2 + reference + 6 * method.get("inner_steps", 1)  # drawn, read, by the reference, trained on
    operations = len(config["seeds"]) * size * (drawn * per_token + read * 2)
    return SHORT * operations / FAST / 3600, operations / SLOW / 3600
