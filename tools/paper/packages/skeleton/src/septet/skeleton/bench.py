"""The `bench` verb: shrunk estimates per second next to a loop over vectors (TODO: next to the peers)."""

import numpy as np

from septet.bench import Bench, Row, in_turns, row, seconds
from septet.config import Settings
from septet.skeleton.method import shrunk


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    vectors: int
    rounds: int


def measure(setting: Setting) -> list[Row]:
    """The rows; contenders in turns, medians."""
    x = np.random.default_rng(0).normal(size=(setting.vectors, 50))
    contenders = {"together": lambda: shrunk(x, 1.0), "loop": lambda: [shrunk(one, 1.0) for one in x]}
    taken = in_turns({name: seconds(run) for name, run in contenders.items()}, setting.rounds)
    rates = {name: setting.vectors / found for name, found in taken.items()}
    return [row("estimates per second, d = 50", rates["together"], "1/s", "loop over vectors", rates["loop"])]


BENCH = Bench(
    measure=measure,
    full=Setting(vectors=100_000, rounds=7),
    quick=Setting(vectors=1_000, rounds=3),
    packages=["septet", "septet.skeleton"],
    libraries=["numpy"],
    peers=[],
)
