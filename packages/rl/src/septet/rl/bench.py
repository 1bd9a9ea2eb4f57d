"""The `bench` verb: end-to-end environment steps per second beside Stable-Baselines3 and CleanRL, in one run.

One math thread each, contenders in turns, medians. The peers are development dependencies.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from septet.bench import Row, need, write
from septet.card import Stopwatch
from septet.config import Settings
from septet.rl.bench_ddpg import rows as ddpg_rows
from septet.rl.bench_ppo import rows as ppo_rows

ROWS: list[Callable[[bool], list[Row]]] = [ppo_rows, ddpg_rows]
"""Functions that measure: given `quick`, the rows of one method."""


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    quick: bool


def bench(quick: bool, file: Path) -> None:
    """Measure environment steps per second, learning included, beside Stable-Baselines3 and CleanRL.

    Args:
        quick: fewer steps, for a look inside a minute.
        file: JSON file for ``{rows, card}``.

    Raises:
        InputError: a peer is not installed.
    """
    need("stable_baselines3")
    torch.set_num_threads(1)
    watch = Stopwatch()
    rows = [row for measure in ROWS for row in measure(quick)]
    card = watch.card(
        paper="rl",
        verb="bench",
        task="HalfCheetah-v5",
        methods={},
        seeds=[],
        config=Setting(quick=quick),
        packages=["septet", "septet.sampler", "septet.rl"],
        libraries=["numpy", "numba", "torch", "mujoco", "gymnasium", "stable-baselines3"],
        steps=0,
    )
    write(file, rows, card)
