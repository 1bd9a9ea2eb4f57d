"""The `bench` verb: updates per second at five seeds beside Stable-Baselines3's DDPG, in one run.

Both update actor and critic on mini-batches of 64 from a replay of 10,000 transitions, with one math thread and
two hidden layers of 64; ours has layer normalisation and running statistics besides. Stable-Baselines3 trains one
seed at a time, so its five seeds take turns.
"""

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from septet.bench import Bench, Row, in_turns, row, seconds
from septet.compiled import compiled
from septet.config import Settings
from septet.metaexplore import student
from septet.metaexplore.config import Method
from septet.metaexplore.train import rates
from septet.rl.ddpg_update import networks, workspace
from septet.rl.shapes import initial

SIZES = {"Pendulum-v1": (3, 1), "HalfCheetah-v5": (17, 6)}
HELD, BATCH, HIDDEN = 10_000, 64, 64


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    updates: int
    rounds: int
    seeds: list[int]


def measure(setting: Setting) -> list[Row]:
    """The rows of all tasks."""
    return [rate(task, setting) for task in SIZES]


def rate(task: str, setting: Setting) -> Row:
    """The row of one task: ours and the peer in turns, medians of the rounds."""
    contenders = {"ours": ours(task, setting.seeds), "peer": peer(task)}
    for learn in contenders.values():
        learn(10)  # the first call may compile
    turns = {name: seconds(partial(learn, setting.updates)) for name, learn in contenders.items()}
    taken = in_turns(turns, setting.rounds)
    value, theirs = setting.updates * len(setting.seeds) / taken["ours"], setting.updates / taken["peer"]
    limit = product_rate() / operations(*SIZES[task])
    return row(f"updates per second, five seeds, {task}", value, "1/s", "Stable-Baselines3 DDPG", theirs, value / limit)


def operations(size: int, actions: int) -> int:
    """Multiply-adds of the matrix products of one update: four forward passes and what goes back, per example."""
    actor = [size * HIDDEN, HIDDEN * HIDDEN, HIDDEN * actions]
    critic = [size * HIDDEN, (HIDDEN + actions) * HIDDEN, HIDDEN]
    forward = 2 * sum(actor) + 3 * sum(critic)
    back = 2 * sum(critic) - critic[0] + critic[2] + actions * HIDDEN + 2 * sum(actor) - actor[0]
    return BATCH * (forward + back)


def product_rate() -> float:
    """Multiply-adds per second of (64, 64) float32 products on one core, measured now."""
    a, b, c = (np.ones((BATCH, HIDDEN), np.float32) for _ in range(3))
    _products(a, b, c, 10)
    start, repeats = time.perf_counter(), 2000
    _products(a, b, c, repeats)
    return BATCH * HIDDEN * HIDDEN * repeats / (time.perf_counter() - start)


@compiled(nogil=True)
def _products(a: Any, b: Any, c: Any, repeats: int) -> None:
    for _ in range(repeats):
        np.dot(a, b, c)


def ours(task: str, seeds: list[int]) -> Callable[[int], None]:
    """So many updates of every seed, mini-batches drawn."""
    (size, actions), count, rng = SIZES[task], len(seeds), np.random.default_rng(0)
    shapes = student.shapes(size, (HIDDEN, HIDDEN), actions)
    weights = (initial(shape, 0, ("bench", int(shape.sizes[-1])), seeds, student.LAST) for shape in shapes)
    students = networks(*weights)
    records = rng.standard_normal((count, HELD, 2 * size + actions + 2)).astype(np.float32)
    scaling = np.zeros((count, size), np.float32), np.ones((count, size), np.float32)
    work, numbers = workspace(shapes, BATCH), rates(Method())

    def learn(updates: int) -> None:
        rows, losses = rng.integers(0, HELD, (count, updates, BATCH)), np.zeros((count, 2))
        student.update(students, shapes, records, rows, *scaling, work, 0, numbers, losses)

    return learn


def peer(task: str) -> Callable[[int], None]:
    """So many updates of one seed of Stable-Baselines3's DDPG."""
    torch: Any = importlib.import_module("torch")
    sb3: Any = importlib.import_module("stable_baselines3")
    torch.set_num_threads(1)
    size, actions = SIZES[task]
    net = {"net_arch": [HIDDEN, HIDDEN]}
    agent = sb3.DDPG("MlpPolicy", task, batch_size=BATCH, buffer_size=HELD, policy_kwargs=net, device="cpu", seed=0)
    agent.set_logger(importlib.import_module("stable_baselines3.common.logger").configure(None, []))
    rng = np.random.default_rng(0)
    for _ in range(HELD):
        o, after = rng.standard_normal((2, 1, size)).astype(np.float32)
        agent.replay_buffer.add(o, after, rng.uniform(-1, 1, (1, actions)), np.zeros(1), np.zeros(1), [{}])
    return lambda updates: agent.train(updates, BATCH)


BENCH = Bench(
    measure=measure,
    full=Setting(updates=400, rounds=7, seeds=[0, 1, 2, 3, 4]),
    quick=Setting(updates=100, rounds=3, seeds=[0, 1, 2, 3, 4]),
    packages=["septet", "septet.sampler", "septet.rl", "septet.metaexplore"],
    libraries=["numpy", "numba", "torch", "stable-baselines3"],
    peers=["stable_baselines3"],
)
