"""Configuration of the paper WALL-E: its method, its jobs, and the experiments that the workflow runs.

The paper's claims need both halves, collecting and learning.
"""

from typing import Annotated, Literal

from pydantic import Field

from septet.rl.config import BaseJob, BaseMethod
from septet.rl.experiments import Experiments, ExperimentTask


class PPOKLSettings(BaseMethod):
    """Proximal policy optimisation with an adaptive KL penalty (section 2.2)."""

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


class PPOKL(PPOKLSettings):
    """The paper walle's learner."""

    algorithm: Literal["ppo_kl"]
    """Selects this method."""


class Alternating(PPOKLSettings):
    """The learner with several pools of samplers that take turns, so that other work on the machine slows all."""

    algorithm: Literal["alternating"]
    """Selects this measurement."""
    pools: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """N of each pool, <name>/n<N> in the score table; 0 collects in the learner's process, <name>/in_process."""

    def labels(self) -> list[str]:
        """Method labels in the score table, in the order of the pools."""
        return [f"{self.name}/{f'n{pool}' if pool else 'in_process'}" for pool in self.pools]


class Job(BaseJob):
    """One training job of the paper."""

    paper: str = "walle"
    """Paper that the scores belong to."""
    method: Annotated[PPOKL | Alternating, Field(discriminator="algorithm")]
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
    methods: dict[str, Annotated[Pool | Alternating, Field(discriminator="algorithm")]] = {
        "in_process": _pool(0),
        "n1": _pool(1),
        "n2": _pool(2),
        "n10": _pool(10),
        "n1_script": _pool(1, policy="tanh"),
        "n2_own_scaling": _pool(2, per_sampler_scaling=True),
        "asynchronous": _pool(2, mode="asynchronous"),
        "alternating": Alternating(algorithm="alternating", pools=[1, 2, 4, 8]),
        "alternating_cores": Alternating(algorithm="alternating", pools=[1, 2]),
    }
    """The learner of section 2.2 with N samplers; the policy of the authors' script for one sampler (pitfall 1); the
    published scaler per sampler (pitfall 3); samplers that never wait; times of several N, an iteration of each in
    turn."""
    tasks: dict[str, WallETask] = {
        "half_cheetah": WallETask(environment="HalfCheetah-v5", steps=16_000, seeds=[0, 1, 2, 3, 4]),
        "slow_simulator": WallETask(
            environment="SlowPendulum", iteration_steps=200, steps=12 * 200, seeds=[0, 1, 2, 3, 4, 5, 6, 7]
        ),
        "processor_bound": WallETask(environment="HalfCheetah-v5", environments=4, steps=12 * 4000, seeds=[0, 1, 2, 3]),
    }
    """HalfCheetah as in section 3 (there 10,000 samples in an iteration, here 1,000 for each seed), a simulator that
    waits 1 ms a step, and one that keeps a core busy (section 7A), with the seeds' samples together in an iteration."""
    runs: dict[str, list[str]] = {
        "half_cheetah": ["n1", "n2", "n1_script"],
        "slow_simulator": ["alternating", "asynchronous"],
        "processor_bound": ["alternating_cores"],
    }
    """Which methods run on which task; an empty list switches a task off."""
