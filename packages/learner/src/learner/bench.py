"""The `bench` verb: end-to-end environment steps per second beside Stable-Baselines3 and CleanRL, in one run.

One math thread each, contenders in turns, medians. The peers are development dependencies.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from learner.bench_ddpg import rows as ddpg_rows
from learner.bench_ppo import rows as ppo_rows
from septet.card import Stopwatch
from septet.config import Settings
from septet.errors import InputError
from septet.files import write_text

Row = dict[str, Any]
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
    for peer in ("stable_baselines3",):
        if importlib.util.find_spec(peer) is None:
            raise InputError("bench", expected=f"the peer {peer} (make setup-dev)", found="it is not installed")
    torch.set_num_threads(1)
    watch = Stopwatch()
    rows = [row for measure in ROWS for row in measure(quick)]
    card = watch.card(
        paper="learner",
        verb="bench",
        task="HalfCheetah-v5",
        methods={},
        seeds=[],
        config=Setting(quick=quick),
        packages=["septet", "walle", "learner"],
        libraries=["numpy", "numba", "torch", "mujoco", "gymnasium", "stable-baselines3"],
        steps=0,
    )
    write_text(file, json.dumps({"rows": rows, "card": card.model_dump(mode="json")}, indent=1) + "\n")
    for one in rows:
        ours, theirs = f"{one['name']:54}{one['value']:>12,.0f}", f"{one['peer']:28}{one['peer_value']:>10,.0f}"
        print(f"{ours}  {theirs}  ratio {one['ratio']:.2f}")
