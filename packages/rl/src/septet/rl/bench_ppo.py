"""PPO's rows of the bench: end-to-end environment steps per second on HalfCheetah-v5, one core."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from septet.bench import Row, in_turns, row
from septet.rl.config import PPO, Job, Task
from septet.rl.ppo import PPOLearner

ENVIRONMENT, STEPS = "HalfCheetah-v5", 2048
CLEANRL = "SEPTET_CLEANRL"
"""Environment variable that names a clone of CleanRL, for its rows."""
CLEANRL_RUN = """
import runpy, sys, types
import gymnasium, torch
torch.set_num_threads(1)
clone, environment, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv = ["ppo_continuous_action"]
given = dict(env_id=environment, total_timesteps=steps, cuda=False)
sys.modules["tyro"] = types.SimpleNamespace(cli=lambda args: args(**given))
class Writer:
    def __init__(self, *_, **__): pass
    def __getattr__(self, _): return lambda *_, **__: None
sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=Writer)
transform, vector = gymnasium.wrappers.TransformObservation, gymnasium.vector.SyncVectorEnv
gymnasium.wrappers.TransformObservation = lambda env, f, space=None: transform(env, f, space or env.observation_space)
class Vector(vector):
    def step(self, actions):
        *found, infos = super().step(actions)
        infos.pop("final_info", None)
        return *found, infos
gymnasium.vector.SyncVectorEnv = Vector
runpy.run_path(clone + "/cleanrl/ppo_continuous_action.py", run_name="__main__")
"""


def rows(quick: bool) -> list[Row]:
    """Ours with one and with five seeds beside Stable-Baselines3 and, if there is a clone of it, CleanRL.

    All at Stable-Baselines3's defaults, which CleanRL shares but for the annealed rate and normalised rewards.
    `limit_ratio` is our rate over the raw rate of MuJoCo's `mj_step` alone.
    """
    iterations = 2 if quick else 5
    contenders: dict[str, Callable[[], float]] = {
        "1 seed": partial(ours, 1, 2 * iterations),
        "5 seeds together": partial(ours, 5, iterations),
        "Stable-Baselines3 PPO": partial(stable_baselines3, iterations),
    }
    if clone := os.environ.get(CLEANRL):
        contenders["CleanRL ppo_continuous_action"] = partial(cleanrl, clone, iterations + 1)
    contenders["limit"] = partial(raw_rate, 5_000 if quick else 20_000)
    rate = in_turns(contenders, 1 if quick else 5)
    return [
        row(f"PPO steps per second, {label}", rate[label], "1/s", peer, rate[peer], rate[label] / rate["limit"])
        for peer in list(contenders)[2:-1]
        for label in list(contenders)[:2]
    ]


def ours(seeds: int, iterations: int) -> float:
    """Environment steps per second over all seeds, collecting and learning, after two iterations to warm up."""
    job = Job(method=PPO(algorithm="ppo"), task=Task(environment=ENVIRONMENT), seeds=list(range(seeds)))
    learner = PPOLearner(job)
    for k in range(2):
        learner.iterate(k)
    start = time.perf_counter()
    for k in range(iterations):
        learner.iterate(2 + k)
    seconds = time.perf_counter() - start
    learner.close()
    return seeds * iterations * STEPS / seconds


def stable_baselines3(iterations: int) -> float:
    """Environment steps per second of Stable-Baselines3's PPO at its defaults, after one iteration to warm up."""
    model = importlib.import_module("stable_baselines3").PPO("MlpPolicy", ENVIRONMENT, device="cpu")
    model.learn(STEPS)
    start = time.perf_counter()
    model.learn(iterations * STEPS, reset_num_timesteps=False)
    return iterations * STEPS / (time.perf_counter() - start)


def cleanrl(clone: str, iterations: int) -> float:
    """Environment steps per second that CleanRL's script prints at the end, in a process of its own.

    Its command line and its TensorBoard are stood in for, and two of Gymnasium's calls get their older form.
    """
    lines = printed(CLEANRL_RUN, clone, ENVIRONMENT, str(iterations * STEPS))
    return float([line for line in lines if line.startswith("SPS:")][-1].split()[1])


def printed(program: str, clone: str, *arguments: str) -> list[str]:
    """Lines that a program prints, in a process and a folder of its own, with one math thread.

    Args:
        clone: folder of CleanRL, the program's first argument.
    """
    command = [sys.executable, "-c", program, str(Path(clone).resolve()), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True, encoding="utf-8"
        )
    return result.stdout.splitlines()


def raw_rate(steps: int) -> float:
    """Environment steps per second of `mj_step` alone, five physics steps each, with random controls."""
    mujoco, gymnasium = importlib.import_module("mujoco"), importlib.import_module("gymnasium")
    environment = gymnasium.make(ENVIRONMENT).unwrapped
    model, data = environment.model, mujoco.MjData(environment.model)
    controls = np.random.default_rng(0).uniform(-1.0, 1.0, (steps, model.nu))
    start = time.perf_counter()
    for control in controls:
        data.ctrl[:] = control
        mujoco.mj_step(model, data, nstep=5)
    rate = steps / (time.perf_counter() - start)
    environment.close()
    return rate
