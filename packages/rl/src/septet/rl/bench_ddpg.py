"""DDPG's rows of the bench: end-to-end environment steps per second on HalfCheetah-v5, one core."""

import importlib
import itertools
import json
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from septet.bench import Row, in_turns, row
from septet.rl.bench_ppo import CLEANRL, printed
from septet.rl.config import DDPG, Job, Task
from septet.rl.ddpg import DDPGLearner

ENVIRONMENT = "HalfCheetah-v5"
WARM_UP = 150  # steps before the clock starts: past learning_starts


def rows(quick: bool) -> list[Row]:
    """Ours with one and with five seeds beside Stable-Baselines3 and, if there is a clone of it, CleanRL.

    `limit_ratio` is our rate over the one that the update's matrix products alone would allow at this core's
    measured rate of them (1,024 square, float32).
    """
    clone = os.environ.get(CLEANRL, "")
    settings = [
        ("64-64 nets, batch 64", (64, 64), 64, 1, 300 if quick else 1500),
        ("400-300 nets, batch 256", (400, 300), 256, 1, 60 if quick else 300),
    ]
    if clone:
        settings.append(("256-256 nets, actor every 2nd", (256, 256), 256, 2, 100 if quick else 400))
    found = []
    for what, hidden, batch, every, steps in settings:
        peer = "Stable-Baselines3 DDPG" if every == 1 else "CleanRL ddpg_continuous_action"
        theirs = partial(stable_baselines3, hidden, batch, steps) if every == 1 else partial(cleanrl, clone, steps)
        contenders: dict[str, Callable[[], float]] = {
            "1 seed": partial(ours, hidden, batch, 1, steps, every),
            "5 seeds together": partial(ours, hidden, batch, 5, steps // 3, every),
        }
        rate = in_turns({**contenders, peer: theirs}, 1 if quick else 5)
        limit = matrix_rate() / update_flops(hidden, batch, 17, 6, every)
        for label in contenders:
            name = f"DDPG steps per second, {label}, {what}"
            found.append(row(name, rate[label], "1/s", peer, rate[peer], rate[label] / limit))
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


def cleanrl(clone: str, steps: int) -> float:
    """Environment steps per second of CleanRL's script at its defaults, in a process of its own.

    Its command line and its TensorBoard are stood in for (it need not be installed). It wants an older
    Gymnasium at the end of an episode, so it runs for less than one: at most 999 steps.
    """
    total = min(301 + steps, 1000)
    return float(json.loads(printed(CLEANRL_RUN, clone, str(total))[-1])["rate"])


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
