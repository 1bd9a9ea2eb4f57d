"""DDPG's rows of the bench: end-to-end environment steps per second on HalfCheetah-v5, one core."""

import importlib
import importlib.util
import itertools
import json
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
from septet.rl.config import DDPG, Job, Task
from septet.rl.ddpg import DDPGLearner

ENVIRONMENT = "HalfCheetah-v5"
WARM_UP = 150  # steps before the clock starts: past learning_starts
CLEANRL = "SEPTET_CLEANRL"
"""Environment variable that names a clone of CleanRL, for its rows."""


def rows(quick: bool) -> list[Row]:
    """Ours with one and with five seeds beside Stable-Baselines3 and, if there is a clone of it, CleanRL.

    `limit_ratio` is our rate over the one that the update's matrix products alone would allow at this core's
    measured rate of them (1,024 square, float32).
    """
    found = []
    settings = [((64, 64), 64, 300 if quick else 1500), ((400, 300), 256, 60 if quick else 300)]
    for hidden, batch, steps in settings:
        contenders: dict[str, Callable[[], float]] = {
            "one": partial(ours, hidden, batch, 1, steps),
            "five": partial(ours, hidden, batch, 5, steps // 3),
            "Stable-Baselines3 DDPG": partial(stable_baselines3, hidden, batch, steps),
        }
        rate = in_turns(contenders, 1 if quick else 5)
        limit = matrix_rate() / update_flops(hidden, batch, 17, 6)
        what = f"{'-'.join(map(str, hidden))} nets, batch {batch}"
        peer = "Stable-Baselines3 DDPG"
        for name, label in (("one", "1 seed"), ("five", "5 seeds together")):
            found.append(
                row(f"DDPG steps per second, {label}, {what}", rate[name], "1/s", peer, rate[peer], rate[name] / limit)
            )
    if clone := os.environ.get(CLEANRL):
        hidden, batch, steps = (256, 256), 256, 100 if quick else 400
        peer = "CleanRL ddpg_continuous_action"
        rate = in_turns(
            {
                "one": partial(ours, hidden, batch, 1, steps, actor_every=2),
                "five": partial(ours, hidden, batch, 5, steps // 3, actor_every=2),
                peer: partial(cleanrl, Path(clone), steps),
            },
            1 if quick else 5,
        )
        limit = matrix_rate() / update_flops(hidden, batch, 17, 6, actor_every=2)
        for name, label in (("one", "1 seed"), ("five", "5 seeds together")):
            what = f"DDPG steps per second, {label}, 256-256 nets, actor every 2nd"
            found.append(row(what, rate[name], "1/s", peer, rate[peer], rate[name] / limit))
    return found


def ours(hidden: tuple[int, ...], batch: int, seeds: int, steps: int, actor_every: int = 1) -> float:
    """Environment steps per second of all seeds together, learning included."""
    method = DDPG(algorithm="ddpg", hidden=hidden, batch_size=batch, report=WARM_UP, actor_every=actor_every)
    job = Job(method=method, task=Task(environment=ENVIRONMENT), seeds=list(range(seeds)), steps=WARM_UP + steps)
    learner = DDPGLearner(job)
    learner.iterate(0)
    learner.method = method.model_copy(update={"report": steps})
    start = time.perf_counter()
    learner.iterate(1)
    seconds = time.perf_counter() - start
    learner.close()
    return seeds * steps / seconds


def stable_baselines3(hidden: tuple[int, ...], batch: int, steps: int) -> float:
    """Environment steps per second of Stable-Baselines3's DDPG, learning included."""
    peer = importlib.import_module("stable_baselines3").DDPG
    settings = {"batch_size": batch, "policy_kwargs": {"net_arch": list(hidden)}, "buffer_size": WARM_UP + steps}
    model = peer("MlpPolicy", ENVIRONMENT, seed=0, device="cpu", **settings)
    model.set_logger(importlib.import_module("stable_baselines3.common.logger").Logger(None, []))
    model.learn(WARM_UP)
    start = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    rate = steps / (time.perf_counter() - start)
    model.get_env().close()
    return rate


CLEANRL_RUN = """
import json, runpy, sys, time, types

class Writer:  # the script logs every 100 steps: the clock of the bench
    times = []
    def __init__(self, *_): pass
    def add_text(self, *_): pass
    def close(self): pass
    def add_scalar(self, name, value, step):
        if name == "losses/qf1_loss":
            self.times.append((step, time.perf_counter()))

def cli(arguments):
    return arguments(env_id="HalfCheetah-v5", total_timesteps=int(sys.argv[2]), learning_starts=100, cuda=False)

sys.modules["tyro"] = types.SimpleNamespace(cli=cli)
sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=Writer)
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
runpy.run_path(sys.argv[1] + "/cleanrl/ddpg_continuous_action.py", run_name="__main__")
(first, start), (last, end) = Writer.times[0], Writer.times[-1]
print(json.dumps({"rate": (last - first) / (end - start)}))
"""


def cleanrl(clone: Path, steps: int) -> float:
    """Environment steps per second of CleanRL's script at its defaults, in a process of its own.

    Its command line and its TensorBoard are stood in for (it need not be installed). It wants an older
    Gymnasium at the end of an episode, so it runs for less than one: at most 999 steps.
    """
    total = min(301 + steps, 1000)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CLEANRL_RUN, str(clone.resolve()), str(total)]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, encoding="utf-8")
    return float(json.loads(result.stdout.splitlines()[-1])["rate"])


def update_flops(hidden: tuple[int, ...], batch: int, size: int, actions: int, actor_every: int = 1) -> float:
    """Floating-point operations of the matrix products of one update of one seed."""
    actor, critic = (size, *hidden, actions), (size + actions, *hidden, 1)

    def products(sizes: tuple[int, ...]) -> int:
        return sum(a * b for a, b in itertools.pairwise(sizes))

    inner, inner_critic = products(actor[1:]), products(critic[1:])  # back through all but the first layer
    of_critic = products(actor) + 2 * products(critic) + inner_critic + products(critic)
    of_actor = products(actor) + products(critic) + inner_critic + actions * hidden[0] + inner + products(actor)
    return 2.0 * batch * (of_critic + of_actor / actor_every)


def matrix_rate() -> float:
    """Operations per second of this core in a product of 1,024 square float32 matrices, one BLAS thread."""
    left, right = np.ones((1024, 1024), "f4"), np.ones((1024, 1024), "f4")
    out, times = np.empty((1024, 1024), "f4"), []
    for _ in range(12):
        start = time.perf_counter()
        np.dot(left, right, out=out)
        times.append(time.perf_counter() - start)
    return 2.0 * 1024**3 / min(times)
