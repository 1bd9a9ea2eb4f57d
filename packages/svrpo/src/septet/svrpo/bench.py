"""The `bench` verb: wall time of an iteration at the paper's batch beside sb3-contrib's TRPO, in one run.

Five of our seeds run in lockstep against five runs of the peer, one after the other (one is measured and counted five
times). One thread each, contenders in turns, medians. The peer is a development dependency.
"""

import importlib
import time
from functools import partial
from typing import Any

import numpy as np
import torch

from septet.bench import Bench, Row, in_turns, row
from septet.config import Settings
from septet.rl.bench_ddpg import matrix_rate
from septet.rl.bench_ppo import raw_rate
from septet.svrpo.config import Experiments, InnerLoop, Job, Task
from septet.svrpo.trust_region import TrustRegionLearner

PEER = "sb3-contrib TRPO"
SEEDS = [2001, 2002, 2003, 2004, 2005]


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    environment: str = "HalfCheetah-v5"
    batch: int = 50_000
    environments: int = 50
    rounds: int = 2
    seeds: list[int] = SEEDS


def measure(setting: Setting) -> list[Row]:
    """The rows: iterations per minute of five seeds; `limit_ratio` is the lower bound of the time over the time."""
    learners = {name: Ours(name, setting) for name in ("trpo", "svrpo_stop", "svrpo")}
    peers = {f"{PEER}, {n} environments": partial(peer, setting, n) for n in (setting.environments, 1)}
    torch.set_num_threads(1)
    learners["trpo"]()  # the first iteration compiles
    limits = [(raw_rate(20_000), matrix_rate()) for _ in range(3)]
    steps, products = (max(rates) for rates in zip(*limits, strict=True))
    seconds = in_turns({**learners, **peers}, setting.rounds)
    return [
        row(
            f"{name}: iterations of N = {setting.batch:,} per minute, {len(SEEDS)} seeds",
            60.0 / seconds[name],
            "1/min",
            other,
            60.0 / (len(SEEDS) * seconds[other]),
            (len(SEEDS) * setting.batch / steps + learner.flops / products) / seconds[name],
        )
        for name, learner in learners.items()
        for other in peers
    ]


class Ours:
    """Runs one of our methods, iteration by iteration, and counts the matrix products of the last one."""

    def __init__(self, name: str, setting: Setting) -> None:
        method = Experiments().methods[name].model_copy(update={"name": name})
        assert isinstance(method, InnerLoop)
        task = Task(
            name="bench",
            environment=setting.environment,
            batch_size=setting.batch,
            minibatch_size=setting.batch // 10,
            inner_steps=30,
            environments=setting.environments,
        )
        # The variance ratio is no part of the method: it would be measured at iteration 0.
        job = Job(method=method, task=task, seeds=SEEDS, redraw_every=1_000_000)
        self._learner, self._iteration, self._batch = TrustRegionLearner(job, method), 1, setting.batch
        self.flops = 0.0

    def __call__(self) -> float:
        """Seconds of the next iteration."""
        start = time.perf_counter()
        scores = self._learner.iterate(self._iteration).scores
        seconds = time.perf_counter() - start
        self._iteration += 1
        weights = sum(i * o for i, o in self._learner.network.shapes)
        # Counted in forward passes: a gradient is three, a product with the Hessian six, the batch's means one.
        passes = 1.0 + 3.0 * scores["gradient_passes"] + 6.0 * scores["hessian_passes"] + scores["evaluations"]
        self.flops = float(np.sum(passes)) * 2.0 * self._batch * weights
        return seconds


def peer(setting: Setting, environments: int) -> float:
    """Seconds of an iteration of sb3-contrib's TRPO: our settings where it has them, its own value net."""
    sb3_contrib: Any = importlib.import_module("sb3_contrib")
    make_vec_env: Any = importlib.import_module("stable_baselines3.common.env_util").make_vec_env
    vector = make_vec_env(setting.environment, n_envs=environments, seed=0)
    model = sb3_contrib.TRPO(
        "MlpPolicy",
        vector,
        n_steps=setting.batch // environments,
        gamma=0.995,
        gae_lambda=1.0,
        cg_max_steps=10,
        cg_damping=1e-5,
        line_search_max_iter=15,
        target_kl=0.01,
        device="cpu",
        seed=0,
    )
    start = time.perf_counter()
    model.learn(setting.batch)
    seconds = time.perf_counter() - start
    vector.close()
    return seconds


BENCH = Bench(
    measure=measure,
    full=Setting(),
    quick=Setting(batch=5_000, environments=5, rounds=1),
    packages=["septet", "septet.sampler", "septet.rl", "septet.svrpo"],
    libraries=["numpy", "numba", "torch", "mujoco", "gymnasium", "stable-baselines3", "sb3-contrib"],
    peers=["sb3_contrib"],
)
