"""The `bench` verb: end-to-end environment steps per second beside Stable-Baselines3 and CleanRL, in one run.

One math thread each, contenders in turns, medians. The peers are development dependencies.
"""

import torch

from septet.bench import Bench, Row
from septet.config import Settings
from septet.rl.bench_ddpg import rows as ddpg_rows
from septet.rl.bench_ppo import rows as ppo_rows


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    quick: bool


def measure(setting: Setting) -> list[Row]:
    """The rows of every method."""
    torch.set_num_threads(1)
    return ppo_rows(setting.quick) + ddpg_rows(setting.quick)


BENCH = Bench(
    measure=measure,
    full=Setting(quick=False),
    quick=Setting(quick=True),
    packages=["septet", "septet.sampler", "septet.rl"],
    libraries=["numpy", "numba", "torch", "mujoco", "gymnasium", "stable-baselines3"],
    peers=["stable_baselines3"],
)
