"""Configuration of the paper WALL-E: its method, its jobs, and the experiments that the workflow runs.

The paper's claims need both halves, collecting and learning.
"""

from typing import Literal

from pydantic import Field

from septet.rl.config import BaseJob, BaseMethod
from septet.rl.experiments import Experiments, ExperimentTask


class PPOKL(BaseMethod):
    """The paper walle's learner: proximal policy optimisation with an adaptive KL penalty (section 2.2)."""

    algorithm: Literal["ppo_kl"]
    """Selects this method."""
    gamma: float = Field(default=0.995, gt=0.0, lt=1.0)
    """Discount per step; rewards are scaled by 1 - gamma."""
    gae_lambda: float = Field(default=0.98, ge=0.0, le=1.0)
    """lambda of the generalised advantage estimate."""
    steps: int = Field(default=1000, ge=1)
    """b, least steps of each environment between two updates; episodes are whole."""
    target_kl: float = Field(default=0.003, gt=0.0)
    """kappa, target of the mean KL divergence."""
    beta: float = Field(default=1.0, gt=0.0)
    """beta_0, weight of the divergence at the start."""
    hinge: float = Field(default=50.0, ge=0.0)
    """eta, weight of the squared divergence beyond 2 kappa."""
    policy_steps: int = Field(default=20, ge=1)
    """Most full-batch steps of the policy in an iteration."""
    learning_rate: float = Field(default=9e-4, gt=0.0)
    """AMSGrad's rate for the policy, times the square root of h2."""
    value_learning_rate: float = Field(default=1e-2, gt=0.0)
    """Adam's rate for the value net, times the square root of its h2."""
    value_epochs: int = Field(default=10, ge=1)
    """Passes of the value net."""
    value_minibatch_size: int = Field(default=256, ge=1)
    """Samples in a mini-batch of the value net, about."""
    small_net: bool = False
    """h1 = d_o, h3 = d_a, as for Humanoid, HumanoidStandup and Ant, in place of ten times as many."""
    policy: Literal["linear", "tanh"] = "linear"
    """linear: uniform ±.05 weights and a linear third layer, as in the parallel script; tanh: normal weights and tanh
    on all three layers, as in the script for one sampler (pitfall 1)."""
    bootstrap_time_limits: bool = False
    """Count the value of the last observation when a time limit cut the episode (pitfall 6)."""
    per_sampler_scaling: bool = False
    """Each sampler scales observations by its own moments, as published (pitfall 3)."""


class Job(BaseJob):
    """One training job of the paper."""

    paper: str = "walle"
    """Paper that the scores belong to."""
    method: PPOKL
    """The method."""


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


class WallE(Experiments):
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
