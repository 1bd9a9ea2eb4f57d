"""The `bench` verb: environment steps per second beside the peers and the bare physics, in one run.

Everybody runs the same policy (64-64 tanh, this package's compiled one) in the loop, so what differs is
the environments. Contenders take turns; a row holds medians. The peers are development dependencies.
"""

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from septet import sampler
from septet.bench import Bench, Row, in_turns, row
from septet.config import Settings
from septet.sampler.batch import CompiledBatch
from septet.sampler.physics import Array, silence
from septet.sampler.policy import GaussianPolicy
from septet.sampler.samplers import Samplers

TASKS = ["HalfCheetah-v5", "Hopper-v5", "Ant-v5"]
BATCH = 64  # environments per core of ours and of EnvPool; the others are at their best with fewer
STEPS = 64  # of each environment in an iteration of the sampler processes
ROOT = 1806
PRELOADED = ["gymnasium.envs.mujoco", "stable_baselines3.common.vec_env"]  # once for all processes of the peers


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    tasks: list[str]
    cores: int
    processes: int
    """Environments, each in a process of its own, of Gymnasium's and Stable-Baselines3's vectors."""
    rounds: int
    seconds: float
    """How long a contender runs in a round."""


class Contender(NamedTuple):
    """Somebody who steps environments."""

    step: Callable[[], int]
    """One step of all its environments, policy included; how many that were."""
    close: Callable[[], object]
    """End its processes."""


def measure(setting: Setting) -> list[Row]:
    """The rows of all tasks."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["septet.sampler.bench", *PRELOADED])
    rates = {task: measure_task(task, setting) for task in setting.tasks}
    return [one for task in setting.tasks for one in compare(task, rates[task], setting.cores)]


def compare(task: str, rates: dict[str, float], cores: int) -> list[Row]:
    """Each of ours against each peer that uses as many cores, and against the limit."""
    limit = rates.pop("mj_step, 1 core")
    rows = []
    for ours in [name for name in rates if name.startswith("sampler")]:
        used = 1 if ours.endswith("1 core") else cores
        for peer in [name for name in rates if not name.startswith("sampler")]:
            if peer.endswith("1 core") == ours.endswith("1 core"):
                share = rates[ours] / (limit * used)
                rows.append(row(f"{task}: {ours}", rates[ours], "1/s", peer, rates[peer], share))
        rows.append(
            row(f"{task}: {ours}", rates[ours], "1/s", f"mj_step x {used}", limit * used, rates[ours] / limit / used)
        )
    return rows


def measure_task(task: str, setting: Setting) -> dict[str, float]:
    """Median steps per second of every contender, all taking turns."""
    steppers = contenders(task, setting.cores, setting.processes)
    limit = Replay(task, seconds=setting.seconds)
    turns: dict[str, Callable[[], float]] = {
        "mj_step, 1 core": limit.rate,
        **{name: partial(rate, one.step, setting.seconds) for name, one in steppers.items()},
    }
    try:
        for one in steppers.values():
            rate(one.step, 0.1)  # compile, page in
        return in_turns(turns, setting.rounds)
    finally:
        for one in steppers.values():
            one.close()


def rate(step: Callable[[], int], seconds: float) -> float:
    """Environment steps per second over about so many seconds."""
    done, start = 0, time.perf_counter()
    while True:
        done += step()
        passed = time.perf_counter() - start
        if passed >= seconds:
            return done / passed


class Actor:
    """The policy in the loop: 64-64 tanh, one fixed draw of weights, unit noise, actions clipped to their bounds."""

    def __init__(self, task: str, size: int) -> None:
        one = sampler.make(task, seeds=[0], environments=1)
        self.low, self.high = one.action_low, one.action_high
        self.policy = GaussianPolicy(one.observation_size, one.action_size)
        rng = np.random.default_rng(ROOT)
        self.weights = (0.1 * rng.standard_normal((1, self.policy.size))).astype(np.float32)
        self.weights[0, -one.action_size :] = 0.0
        self.member = np.zeros(size, dtype=np.int64)
        self.mean, self.scale = np.zeros((1, one.observation_size)), np.ones((1, one.observation_size))
        self.noise = rng.standard_normal((100, size, one.action_size))
        self.t = 0

    def __call__(self, observation: NDArray[Any]) -> Array:
        """Clipped actions ``(E, act)``."""
        self.t = (self.t + 1) % len(self.noise)
        observation = np.ascontiguousarray(observation, dtype=np.float64)
        action = self.policy.act(self.weights, self.member, observation, self.noise[self.t], self.mean, self.scale)
        return np.clip(action, self.low, self.high)


def loop(task: str, size: int, first: Any, step: Callable[[Array], Any], close: Any) -> Contender:
    """A contender that acts on its last observation; `step` gives the next one."""
    act = Actor(task, size)
    seen = [first]

    def both() -> int:
        seen[0] = step(act(seen[0]))
        return size

    return Contender(both, close)


def ours(task: str, threads: int) -> Contender:
    """Our batch, stepped by one thread or several."""
    batch = sampler.make(task, seeds=[0], environments=BATCH * threads, threads=threads)
    return loop(task, batch.size, batch.reset(), lambda action: batch.step(action).observation, batch.close)


def samplers(task: str, processes: int) -> Contender:
    """Our sampler processes: a step is a whole iteration, broadcast and rollout."""
    act = Actor(task, 1)
    pool = Samplers(task, act.policy, seeds=[0], environments=BATCH * processes, steps=STEPS, processes=processes)

    def iteration() -> int:
        pool.broadcast(act.weights)
        pool.collect()
        return BATCH * processes * STEPS

    return Contender(iteration, pool.close)


def make_quietly(task: str) -> Any:
    """Gymnasium's environment in a process of its own, without MuJoCo's log file."""
    silence()
    return importlib.import_module("gymnasium").make(task)


def contenders(task: str, cores: int, processes: int) -> dict[str, Contender]:
    """Ours and the peers' vectors of environments, by their names in the table."""
    envpool = importlib.import_module("envpool").make_gymnasium
    vector = importlib.import_module("gymnasium.vector")
    stable_baselines = importlib.import_module("stable_baselines3.common.vec_env")
    each = [partial(make_quietly, task)]

    def peer(env: Any) -> Contender:
        first = env.reset()
        first = first[0] if isinstance(first, tuple) else first
        return loop(task, len(first), first, lambda action: env.step(action)[0], env.close)

    return {
        "sampler, 1 core": ours(task, 1),
        f"sampler, {cores} threads": ours(task, cores),
        f"sampler, {cores} sampler processes": samplers(task, cores),
        "EnvPool, 1 core": peer(envpool(task, num_envs=BATCH, num_threads=1, seed=0)),
        f"EnvPool, {cores} threads": peer(envpool(task, num_envs=BATCH * cores, num_threads=cores, seed=0)),
        "Gymnasium sync, 1 core": peer(vector.SyncVectorEnv(each * 16)),
        f"Gymnasium async, {processes} processes": peer(vector.AsyncVectorEnv(each * processes, context="forkserver")),
        f"SubprocVecEnv, {processes} processes": peer(
            stable_baselines.SubprocVecEnv(each * processes, start_method="forkserver")
        ),
    }


class Replay:
    """The limit of one core: bare `mj_step` calls over physics that a batch of ours went through.

    Same states, same controls, so the same contacts and solver iterations, but no policy, observation,
    reward or episode start (a start is a copy of its state).

    Args:
        task: one of the tasks.
        seconds: about how long a replay takes.
    """

    def __init__(self, task: str, seconds: float) -> None:
        batch = sampler.make(task, seeds=[0], environments=BATCH)
        assert isinstance(batch, CompiledBatch)
        act, observation = Actor(task, BATCH), batch.reset()
        for _ in range(100):
            observation = batch.step(act(observation)).observation
        simulator = batch.simulators[0]
        self.model, self.data = simulator.model, mujoco.MjData(simulator.model)
        self.frame_skip = simulator.frame_skip
        start = time.perf_counter()
        self.states, self.actions, self.starts = [batch.state["state"]], [], [np.ones(BATCH, dtype=bool)]
        while time.perf_counter() - start < seconds:
            self.actions.append(act(observation))
            step = batch.step(self.actions[-1])
            observation = step.observation
            self.states.append(batch.state["state"])
            self.starts.append(step.terminated | step.truncated)

    def rate(self) -> float:
        """Steps per second."""
        data, model, frame_skip, step = self.data, self.model, self.frame_skip, mujoco.mj_step
        nq, nv = model.nq, model.nv
        begin = time.perf_counter()
        for e in range(BATCH):
            for state, action, new in zip(self.states, self.actions, self.starts, strict=False):
                if new[e]:
                    data.qpos[:], data.qvel[:] = state[e, :nq], state[e, nq : nq + nv]
                    data.qacc_warmstart[:] = state[e, nq + nv : nq + 2 * nv]
                data.ctrl[:] = action[e]
                step(model, data, nstep=frame_skip)
        return BATCH * len(self.actions) / (time.perf_counter() - begin)


CORES = len(os.sched_getaffinity(0))
BENCH = Bench(
    measure=measure,
    full=Setting(tasks=TASKS, cores=CORES, processes=8 * CORES, rounds=9, seconds=1.0),
    quick=Setting(tasks=TASKS, cores=CORES, processes=4 * CORES, rounds=3, seconds=0.15),
    packages=["septet", "septet.sampler"],
    libraries=["numpy", "numba", "mujoco", "gymnasium", "envpool", "stable-baselines3"],
    peers=["envpool", "stable_baselines3"],
)
