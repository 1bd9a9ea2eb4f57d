"""The experiments of the paper walle, and the validation against Stable-Baselines3: what the workflow runs.

The paper's claims need both halves, collecting and learning, so its experiments live here and not in walle.
A task may set the job's seeds, budget and environments for itself, a method its sampler processes.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from septet.config import Runs, Seeds
from septet.rl.config import DDPG, PPO, PPOKL, TRPO, Task


class ExperimentTask(Task):
    """A task, and what jobs on it have in common; nothing has a default, as a job would not see it."""

    seeds: Seeds = Field(min_length=1)
    """Seeds, trained in lockstep."""
    steps: int = Field(ge=1)
    """Environment steps per seed, rounded up to whole iterations."""
    environments: int = Field(default=1, ge=1)
    """B, environments per seed."""


class WallETask(ExperimentTask):
    """A task of the paper walle."""

    iteration_steps: int = Field(default=1000, ge=1)
    """b, least steps of each environment in an iteration."""


class Pool(PPOKL):
    """The paper's learner with a pool of sampler processes."""

    samplers: int = Field(default=0, ge=0)
    """N, sampler processes; 0 collects in the learner's process."""
    mode: Literal["synchronous", "asynchronous"] = "synchronous"
    """synchronous: samplers wait for new weights, as published; asynchronous: they go on with what they have."""


def _pool(samplers: int, **settings: object) -> Pool:
    return Pool.model_validate({"algorithm": "ppo_kl", "samplers": samplers, **settings})


class _Experiments(Runs):
    root_seed: int = Field(default=2019, ge=0)
    """Root of all random streams."""


class WallE(_Experiments):
    """The experiments of the paper walle."""

    paper: Literal["walle"] = "walle"
    """Paper that the scores belong to."""
    methods: dict[str, Pool] = {
        "in_process": _pool(0),
        "n1": _pool(1),
        "n2": _pool(2),
        "n4": _pool(4),
        "n5": _pool(5),
        "n8": _pool(8),
        "n10": _pool(10),
        "n20": _pool(20),
        "n1_script": _pool(1, policy="tanh"),
        "n2_own_scaling": _pool(2, per_sampler_scaling=True),
        "asynchronous": _pool(2, mode="asynchronous"),
    }
    """The learner of section 2.2 with N samplers; the policy of the authors' script for one sampler (pitfall 1); the
    published scaler per sampler (pitfall 3); samplers that never wait."""
    tasks: dict[str, WallETask] = {
        "half_cheetah": WallETask(environment="HalfCheetah-v5", steps=16_000, seeds=[0, 1, 2, 3, 4]),
        "slow_simulator": WallETask(
            environment="SlowPendulum", iteration_steps=200, steps=6 * 200, seeds=[0, 1, 2, 3, 4, 5, 6, 7]
        ),
        "processor_bound": WallETask(environment="HalfCheetah-v5", environments=4, steps=6 * 4000, seeds=[0, 1, 2, 3]),
    }
    """HalfCheetah as in section 3 (there 10,000 samples in an iteration, here 1,000 for each seed), a simulator that
    waits 1 ms a step, and one that keeps a core busy (section 7A), with the seeds' samples together in an iteration."""
    runs: dict[str, list[str]] = {
        "half_cheetah": ["n1", "n2", "n1_script"],
        "slow_simulator": ["n1", "n2", "n4", "n8", "asynchronous"],
        "processor_bound": ["n1", "n2"],
    }
    """Which methods run on which task; an empty list switches a task off."""


Validated = Annotated[PPO | TRPO | DDPG, Field(discriminator="algorithm")]
SHARED: dict[str, dict[str, object]] = {
    "ppo": {"steps": 1024, "batch": 256, "rate": 1e-3, "gamma": 0.95},
    "trpo": {"steps": 1024, "batch": 256, "gamma": 0.95, "divergence_per_action": True},
    "ddpg": {"hidden": [64, 64], "batch": 64, "noise": "gaussian", "report": 500},
}
"""Settings that ours and the peer's have in common; the rest are the peers' defaults."""


def _validated(algorithm: str, **settings: object) -> PPO | TRPO | DDPG:
    adapter: TypeAdapter[PPO | TRPO | DDPG] = TypeAdapter(Validated)
    return adapter.validate_python({"algorithm": algorithm, **settings})


def _task(environment: str, steps: int) -> ExperimentTask:
    return ExperimentTask(environment=environment, steps=steps, seeds=[10, 11, 12, 13, 14])


class Validation(_Experiments):
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
    }
    """Ours, and the peers (which `make setup-dev` installs) at the same settings."""
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
