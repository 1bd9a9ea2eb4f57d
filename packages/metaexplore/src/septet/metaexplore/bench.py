"""The `bench` verb: updates per second at five seeds beside Stable-Baselines3's DDPG, in one run.

Both update actor and critic on mini-batches of 64 from a replay of 10,000 transitions, with one math thread and
two hidden layers of 64; ours has layer normalisation and running statistics besides. Stable-Baselines3 trains one
seed at a time, so its five seeds take turns.
"""

import importlib
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from septet.bench import Row, need, row, write
from septet.card import Stopwatch
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


def bench(quick: bool, file: Path) -> None:
    """Measure updates per second at five seeds beside Stable-Baselines3's DDPG.

    Args:
        quick: fewer updates, for a look inside a minute.
        file: JSON file for ``{rows, card}``.

    Raises:
        InputError: the peer is not installed.
    """
    need("stable_baselines3")
    watch = Stopwatch()
    setting = Setting(updates=100 if quick else 400, rounds=3 if quick else 7, seeds=[0, 1, 2, 3, 4])
    rows = [row for task in SIZES for row in measure(task, setting)]
    card = watch.card(
        paper="metaexplore",
        verb="bench",
        task=" ".join(SIZES),
        methods={},
        seeds=setting.seeds,
        config=setting,
        packages=["septet", "septet.sampler", "septet.rl", "septet.metaexplore"],
        libraries=["numpy", "numba", "torch", "stable-baselines3"],
        steps=0,
    )
    write(file, rows, card)


def measure(task: str, setting: Setting) -> list[Row]:
    """The rows of one task: ours and the peer in turns, medians of the rounds."""
    ours, peer = _Ours(task, setting.seeds), _Peer(task)
    ours.learn(10)  # the first call may compile
    peer.learn(10)
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(setting.rounds):
        start = time.perf_counter()
        ours.learn(setting.updates)
        middle = time.perf_counter()
        peer.learn(setting.updates)
        seconds["ours"].append((middle - start) / (setting.updates * len(setting.seeds)))
        seconds["peer"].append((time.perf_counter() - middle) / setting.updates)
    value, theirs = 1.0 / median(seconds["ours"]), 1.0 / median(seconds["peer"])
    return [
        row(
            f"updates per second, five seeds, {task}",
            value,
            "1/s",
            "Stable-Baselines3 DDPG",
            theirs,
            value * operations(*SIZES[task]) / product_rate(),
        )
    ]


def operations(size: int, actions: int) -> int:
    """Multiply-adds of the matrix products of one update: four forward passes and what goes back, per example."""
    actor = [size * HIDDEN, HIDDEN * HIDDEN, HIDDEN * actions]
    critic = [size * HIDDEN, (HIDDEN + actions) * HIDDEN, HIDDEN]
    forward = 2 * sum(actor) + 3 * sum(critic)
    back = 2 * sum(critic) - critic[0] + critic[2] + actions * HIDDEN + 2 * sum(actor) - actor[0]
    return BATCH * (forward + back)


def product_rate(repeats: int = 2000) -> float:
    """Multiply-adds per second of (64, 64) float32 products on one core, measured now."""
    a, b, c = (np.ones((BATCH, HIDDEN), np.float32) for _ in range(3))
    _products(a, b, c, 10)
    start = time.perf_counter()
    _products(a, b, c, repeats)
    return BATCH * HIDDEN * HIDDEN * repeats / (time.perf_counter() - start)


@compiled(nogil=True)
def _products(a: Any, b: Any, c: Any, repeats: int) -> None:
    for _ in range(repeats):
        np.dot(a, b, c)


class _Ours:
    def __init__(self, task: str, seeds: list[int]) -> None:
        (size, actions), method, rng = SIZES[task], Method(), np.random.default_rng(0)
        shapes, count = student.shapes(size, (HIDDEN, HIDDEN), actions), len(seeds)
        weights = (initial(shape, 0, ("bench", int(shape.sizes[-1])), seeds, student.LAST) for shape in shapes)
        self.students, self.shapes, self.count, self.rng = networks(*weights), shapes, count, rng
        self.records = rng.standard_normal((count, HELD, 2 * size + actions + 2)).astype(np.float32)
        self.scaling = np.zeros((count, size), np.float32), np.ones((count, size), np.float32)
        self.work, self.rates = workspace(shapes, BATCH), rates(method)

    def learn(self, updates: int) -> None:
        """Updates of every seed, mini-batches drawn."""
        rows, losses = self.rng.integers(0, HELD, (self.count, updates, BATCH)), np.zeros((self.count, 2))
        student.update(self.students, self.shapes, self.records, rows, *self.scaling, self.work, 0, self.rates, losses)


class _Peer:
    def __init__(self, task: str) -> None:
        torch: Any = importlib.import_module("torch")
        sb3: Any = importlib.import_module("stable_baselines3")
        spaces: Any = importlib.import_module("gymnasium.spaces")
        torch.set_num_threads(1)
        size, actions = SIZES[task]
        net = {"net_arch": [HIDDEN, HIDDEN]}
        self.agent = sb3.DDPG(
            "MlpPolicy", task, batch_size=BATCH, buffer_size=HELD, policy_kwargs=net, device="cpu", seed=0
        )
        self.agent.set_logger(importlib.import_module("stable_baselines3.common.logger").configure(None, []))
        rng = np.random.default_rng(0)
        assert isinstance(self.agent.observation_space, spaces.Box)
        for _ in range(HELD):
            o, after = rng.standard_normal((2, 1, size)).astype(np.float32)
            self.agent.replay_buffer.add(o, after, rng.uniform(-1, 1, (1, actions)), np.zeros(1), np.zeros(1), [{}])

    def learn(self, updates: int) -> None:
        """Updates of one seed."""
        self.agent.train(updates, BATCH)
