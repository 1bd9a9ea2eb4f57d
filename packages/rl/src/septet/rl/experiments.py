"""The validation against Stable-Baselines3 that the workflow runs, and what it shares with a paper's experiments.

A task may set the job's seeds, budget and environments for itself, a method its sampler processes.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from septet.config import Runs, Seeds
from septet.rl.config import DDPG, PPO, TRPO, KeepModel, Task


class ExperimentTask(Task):
    """A task, and what jobs on it have in common; nothing has a default, as a job would not see it."""

    seeds: Seeds = Field(min_length=1)
    """Seeds, trained in lockstep."""
    steps: int = Field(ge=1)
    """Environment steps per seed, rounded up to whole iterations."""
    environments: int = Field(default=1, ge=1)
    """B, environments per seed."""


class Experiments(Runs):
    """What experiments of this package and of the paper walle have in common."""

    root_seed: int = Field(default=2019, ge=0)
    """Root of all random streams."""
    keep_model: KeepModel = "both"
    """Policies that a job keeps in `model/` beside its scores: none, the last of each seed (last), or the last and the
    best one (both)."""


Validated = Annotated[PPO | TRPO | DDPG, Field(discriminator="algorithm")]
SHARED: dict[str, dict[str, object]] = {
    "ppo": {"steps": 1024, "minibatch_size": 256, "learning_rate": 1e-3, "gamma": 0.95},
    "trpo": {"steps": 1024, "value_minibatch_size": 256, "gamma": 0.95, "divergence_per_action": True},
    "ddpg": {"hidden": [64, 64], "batch_size": 64, "noise": "gaussian", "report": 500},
}
"""Settings that ours and the peer's have in common; the rest are the peers' defaults."""


def _validated(algorithm: str, **settings: object) -> PPO | TRPO | DDPG:
    adapter: TypeAdapter[PPO | TRPO | DDPG] = TypeAdapter(Validated)
    return adapter.validate_python({"algorithm": algorithm, **settings})


def _task(environment: str, steps: int) -> ExperimentTask:
    return ExperimentTask(environment=environment, steps=steps, seeds=[10, 11, 12, 13, 14])


class Validation(Experiments):
    """PPO, TRPO and DDPG beside Stable-Baselines3's and sb3-contrib's, at the same settings."""

    paper: Literal["rl"] = "rl"
    """Id that the scores belong to."""
    methods: dict[str, Validated] = {
        name: method
        for kind, settings in SHARED.items()
        for name, method in (
            (kind, _validated(kind, **settings)),
            (f"{kind}_sb3", _validated(kind, implementation="stable_baselines3", **settings)),
        )
    } | {
        f"{kind}_normalised": _validated(kind, normalise_observations=True, **SHARED[kind]) for kind in ("ppo", "trpo")
    }
    """Ours, and the peers (which `make setup-dev` installs) at the same settings; ours with normalised observations, as
    published returns on MuJoCo tasks have them."""
    tasks: dict[str, ExperimentTask] = {
        "inverted_pendulum": _task("InvertedPendulum-v5", 30_720),
        "double_pendulum": _task("InvertedDoublePendulum-v5", 30_720),
        "pendulum_offpolicy": _task("Pendulum-v1", 10_000),
        "double_pendulum_offpolicy": _task("InvertedDoublePendulum-v5", 10_000),
    }
    """Tasks that are learned in minutes; a method that learns from a replay takes fewer steps."""
    runs: dict[str, list[str]] = {
        "inverted_pendulum": ["ppo", "ppo_sb3", "trpo", "trpo_sb3"],
        "double_pendulum": ["ppo", "ppo_sb3", "trpo", "trpo_sb3"],
        "pendulum_offpolicy": ["ddpg", "ddpg_sb3"],
        "double_pendulum_offpolicy": ["ddpg", "ddpg_sb3"],
    }
    """Which methods run on which task; an empty list switches a task off."""
