"""How much work a training job is, from its configuration alone: what the plan scales a recorded time by.

One rule per paper, as a product of numbers of the configuration. The unit does not matter; only ratios within a
paper are used.
"""

from collections.abc import Callable
from typing import Any

Config = dict[str, Any]

RULES = {
    "walle": "environment steps x seeds",
    "learner": "environment steps x seeds",
    "metaexplore": "environment steps x seeds (the study of section 8: trials x stages x settings x seeds)",
    "svrpo": "iterations x batch x inner steps x seeds / threads",
    "vipg": "iterations x episodes x the task's time limit x alphas x seeds / threads",
    "dynts": "rounds x schedules x seeds (real click rates: schedules x seeds)",
    "vrda": "lists x epochs x lambdas x seeds",
    "empg": "iterations x prompts x samples x inner steps x seeds",
    "empgreal": "iterations x prompts x samples x inner steps x seeds",
}
"""Paper -> its scaling rule in words, as `work` computes it."""

TIME_LIMITS = {"ContinuousCartPole": 200, "Pendulum-v1": 200}
"""Steps of a whole episode where it is not the 1,000 of the MuJoCo tasks and the configuration does not say."""

LISTS = {"craft_small": 9507, "ewt": 12544}
"""Training lists of a whole treebank (packages/vrda/README.md), where the configuration says `null`."""


def work(paper: str, task: str, config: Config) -> float | None:
    """The amount of work of a job over all its seeds, in the paper's own unit; none if there is no rule for it."""
    rule = _RULES.get(paper)
    return float(rule(task, config)) if rule else None


def threads(config: Config) -> int:
    """Threads that a job of this configuration divides its work among."""
    return int(config.get("threads") or 1)


def _seeds(config: Config) -> int:
    chosen = config["method"].get("seeds") or config.get("seeds") or config["task"].get("seeds")
    return len(chosen or [0])


def _collection(task: str, config: Config) -> float:
    """A run card of the learner has `steps` beside the task, the workflow's configuration inside it."""
    return _seeds(config) * float(config.get("steps") or config["task"]["steps"])


def _metaexplore(task: str, config: Config) -> float:
    method = config["method"]
    if method["kind"] == "study":
        return _seeds(config) * 1e3 * method["trials"] * len(method["stages"]) * len(method["settings"])
    return _collection(task, config)


def _svrpo(task: str, config: Config) -> float:
    method, given = config["method"], config["task"]
    looped = method["algorithm"] == "inner_loop" and not method.get("single_step")
    inner = given["inner_steps"] if looped else 1
    return _seeds(config) * float(given["iterations"]) * given["batch"] * inner


def _vipg(task: str, config: Config) -> float:
    method, given = config["method"], config["task"]
    if given["kind"] != "environment":
        return _seeds(config) * float(method["steps"]) * len(method["variants"])
    limit = given["options"].get("time_limit") or TIME_LIMITS.get(given["environment"], 1000)
    alphas = len(method.get("alphas") or [0.0])
    return _seeds(config) * float(given["iterations"]) * given["episodes"] * limit * alphas


def _dynts(task: str, config: Config) -> float:
    rounds = config["horizon"] if config["task"]["kind"] == "simulation" else 1
    return _seeds(config) * float(rounds) * len(config["method"].get("schedules") or [None])


def _vrda(task: str, config: Config) -> float:
    lists = config["task"]["train_lists"] or LISTS[task]
    lambdas = len(config["method"].get("l1") or [0.0])
    return _seeds(config) * float(config["epochs"]) * lists * lambdas


def _empg(task: str, config: Config) -> float:
    method, given = config["method"], config["task"]
    samples = method.get("samples") or given["samples"]
    return _seeds(config) * float(given["steps"]) * given["prompts"] * samples * method.get("inner_steps", 1)


_RULES: dict[str, Callable[[str, Config], float]] = {
    "walle": _collection,
    "learner": _collection,
    "metaexplore": _metaexplore,
    "svrpo": _svrpo,
    "vipg": _vipg,
    "dynts": _dynts,
    "vrda": _vrda,
    "empg": _empg,
    "empgreal": _empg,
}
