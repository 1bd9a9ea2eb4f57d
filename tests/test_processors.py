"""A small job of each package gives the same bytes on an emulated processor of another maker."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("emulator")]

LESS: dict[str, dict[str, Any]] = {
    "walle": {"seeds": [0], "steps": 1000},
    "svrpo": {"seeds": [0], "task": {"iterations": 1, "inner_steps": 2}},
    "metaexplore": {"seeds": [0], "points": 3, "tests": 1, "task": {"steps": 900}},
    "vipg": {"method": {"alphas": [0.01]}, "task": {"iterations": 1, "episodes": 8}},
    "empg": {"seeds": [0], "task": {"steps": 1, "eval_every": 1, "eval_prompts": 4}},
    "dynts": {"seeds": [0, 1], "horizon": 40, "points": 5, "method": {"schedules": ["none", "exp-0.99", "harm-1"]}},
    "vrda": {},
}
"""Settings in place of those of scale smoke: an emulated instruction takes twenty to fifty times as long."""


def smaller(config: dict[str, Any], less: dict[str, Any]) -> dict[str, Any]:
    """A configuration with some settings replaced, in nested mappings too."""
    nested = {key: smaller(config[key], value) if isinstance(value, dict) else value for key, value in less.items()}
    return {**config, **nested}


@pytest.mark.parametrize("paper", LESS)
def test_an_amd_processor_gives_the_bytes_of_this_one(native, tmp_path, paper, need):
    """MKL asks who made the processor, the others what it can do; both run the same code under `compatible`."""
    need(shutil.which("qemu-x86_64") is not None, "QEMU's user mode (the Debian package qemu-user)")
    card = next(card for card in native.small_cards() if card["paper"] == paper)
    job = json.dumps(smaller(card["config"], LESS[paper]))
    # The emulated process finds numba's code in the cache: it runs what this processor compiled.
    for folder, emulator in (("here", []), ("emulated", ["qemu-x86_64", "-cpu", "EPYC"])):
        python = [sys.executable, "-m", "septet.processor", "compatible", "--", *emulator, sys.executable]
        command = [*python, "-m", f"septet.{paper}", "train", "--config", "-", "--out", str(tmp_path / folder)]
        done = subprocess.run(
            command, cwd=native.folder, env=native.environment(), input=job, text=True,
            capture_output=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    assert scores(tmp_path / "emulated") == scores(tmp_path / "here")


def scores(folder: Path) -> bytes:
    """The score table of a job."""
    return (folder / "scores.parquet").read_bytes()
