"""Two processes that share each batch do what one does."""

import json
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from empg_helpers import job

from empg.fleet import Fleet
from empg.train import Run, train
from septet.errors import InputError
from septet.scores import read_scores


def launch(config, out, size):
    """What `accelerate launch` and `torchrun` do: one process each, told its rank by the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "empg", "train", "--config", str(config), "--out", str(out)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip


def test_two_processes_give_the_scores_of_one(tmp_path):
    """PPO with a KL in the reward: critic, reference, statistics over all tokens; shares of unequal size."""
    task = job("ppo", "cold", seeds=[4], method_settings={"kl_reward": 0.01}, task_settings={"prompts": 5})
    config = tmp_path / "job.json"
    config.write_text(json.dumps(task.model_dump(mode="json")))
    processes = launch(config, tmp_path / "two", 2)
    train(task, tmp_path / "one")
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-2000:]
    one, two = (read_scores(tmp_path / name / "scores.parquet") for name in ("one", "two"))
    both = one.join(two, on=["metric", "step", "seed"], suffix="_two")
    assert len(both) == len(one) == len(two) and len(one.filter(pl.col("metric") == "reward")) == 2
    assert np.allclose(both["value"], both["value_two"], atol=1e-4)


def test_more_processes_than_prompts_are_refused(monkeypatch):
    monkeypatch.setattr("empg.train.Fleet", lambda: SimpleNamespace(size=5))
    with pytest.raises(InputError, match="processes: expected at most one per prompt, 4, found 5"):
        Run(job())


def test_shares_are_whole_prompts_and_cover_all():
    rollout = SimpleNamespace(prompts=[[0]] * 5, samples=2)
    shares = []
    for rank in range(3):
        fleet = Fleet()
        fleet.size, fleet.rank = 3, rank
        shares.append(fleet.own([0, 1, 3, 5, 6, 7, 9], rollout))
    assert shares == [[0, 1], [3, 5], [6, 7, 9]]
