"""Two processes that share each batch do what one does."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from empg_helpers import job

from empg.train import train
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


@pytest.mark.parametrize(("method", "prompts"), [("ppo", 5), ("empg_kl", 4), ("raft", 4)])
def test_two_processes_give_the_scores_of_one(method, prompts, tmp_path):
    task = job(method, "cold", seeds=[4], task_settings={"prompts": prompts})
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


def test_more_processes_than_prompts_are_one_line(tmp_path):
    config = tmp_path / "job.json"
    config.write_text(json.dumps(job(task_settings={"prompts": 1}).model_dump(mode="json")))
    for process in launch(config, tmp_path / "out", 2):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2 and "at most one per prompt, 1" in errors
