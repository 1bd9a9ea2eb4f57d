"""Two processes that share each batch do what one does."""

import json
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from empg_helpers import job
from safetensors.numpy import load_file

from empg import launch as launch_module
from empg.fleet import Fleet
from empg.train import Run, train
from septet.errors import InputError
from septet.scores import read_scores


def launch(task, folder, size=2, wait=True):
    """One job in several processes, with `empg.launch`; what it wrote lies in `folder`."""
    text = json.dumps(task.model_dump(mode="json"))
    command = [sys.executable, "-m", "empg.launch", str(size), "train", "--config", "-", "--out", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdin.write(text)
    process.stdin.close()
    if wait:
        errors = process.stderr.read()
        assert process.wait(timeout=120) == 0, errors[-2000:]
    return process


def parts(shard, **more):
    """PPO with a KL in the reward: critic, reference, statistics over all tokens; shares of unequal size."""
    settings = {"prompts": 5, "row_tokens": 20, "batch_tokens": 60, "shard": shard, **more}
    return job("ppo", "cold", seeds=[4, 5], method_settings={"kl_reward": 0.01}, task_settings=settings)


def close(one, two):
    """Whether two runs have the same scores, up to the rounding of sums in another order."""
    one, two = (read_scores(folder / "scores.parquet") for folder in (one, two))
    both = one.join(two, on=["metric", "step", "seed"], suffix="_two")
    assert len(both) == len(one) == len(two) and len(one.filter(pl.col("metric") == "reward")) == 4
    return np.allclose(both["value"], both["value_two"], atol=1e-4)


STATE = """
import sys, json
from safetensors.numpy import save_file
from empg.config import Job
from empg.train import Run

run = Run(Job.model_validate(json.load(open(sys.argv[1]))))
for _ in range(int(sys.argv[3])):
    run.advance()
state = run.state()
if run.fleet.leads:
    save_file({name: state[name] for name in state if name.startswith(("weight", "adam"))}, sys.argv[2])
run.close()
"""


def state(task, folder, size, steps):
    """Weights and Adam's moments after some steps in `size` processes."""
    folder.mkdir()
    (folder / "script.py").write_text(STATE)
    (folder / "job.json").write_text(json.dumps(task.model_dump(mode="json")))
    files = [str(folder / name) for name in ("script.py", "job.json", "state.safetensors")]
    assert launch_module.run([sys.executable, *files, str(steps)], size, folder) == 0
    return load_file(files[-1])


def test_sharded_weights_are_those_of_whole_ones(tmp_path):
    one = state(parts("none"), tmp_path / "one", 1, 1)
    whole, sharded = (state(parts(shard), tmp_path / shard, 2, 1) for shard in ("none", "full"))
    assert one.keys() == whole.keys() == sharded.keys() and len(one) == 4 * 30
    for name, array in one.items():
        for other in (whole, sharded):
            assert array.shape == other[name].shape
            if name.startswith("adam"):  # linear in the gradient
                assert np.allclose(array, other[name], rtol=1e-4, atol=1e-8), name
            else:  # Adam's first step has the size of the rate, whatever that of the gradient
                sure = abs(one[name.replace("weight", "adam.exp_avg", 1)]) > 1e-7
                assert np.allclose(array[sure], other[name][sure], atol=1e-6), name
    later = {shard: state(parts(shard), tmp_path / f"{shard}3", 2, 3) for shard in ("none", "full")}
    assert all(np.allclose(array, later["full"][name], atol=1e-6) for name, array in later["none"].items())


def test_two_processes_give_the_scores_of_one(tmp_path):
    launch(parts("none"), tmp_path / "two")
    train(parts("none"), tmp_path / "one")
    assert close(tmp_path / "one", tmp_path / "two")


def test_sharded_weights_give_the_scores_of_whole_ones_and_a_stopped_job_goes_on(tmp_path):
    launch(parts("none"), tmp_path / "whole")
    launch(parts("full"), tmp_path / "sharded")
    assert close(tmp_path / "whole", tmp_path / "sharded")
    process = launch(parts("full"), tmp_path / "stopped", wait=False)
    line = process.stderr.readline()
    while "12/12" not in line and not (match := re.search(r" ([1-9]\d*)/12 steps", line)):
        line = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    said = process.stderr.read()
    assert process.wait(timeout=60) == 85 and said.count("state saved") == 1, said
    assert match and list((tmp_path / "stopped/checkpoint").glob("*.safetensors"))
    launch(parts("full"), tmp_path / "stopped")
    assert (tmp_path / "stopped/scores.parquet").read_bytes() == (tmp_path / "sharded/scores.parquet").read_bytes()


def test_more_processes_than_prompts_are_refused(monkeypatch):
    monkeypatch.setattr("empg.train.Fleet", lambda: SimpleNamespace(size=5))
    with pytest.raises(InputError, match="processes: expected at most one for each of 4 prompts, found 5"):
        Run(job())


def test_one_process_cannot_shard():
    with pytest.raises(InputError, match=r"task\.shard: expected none, or several .* found full in one process"):
        Run(job(task_settings={"shard": "full"}))


def test_shares_are_whole_prompts_and_cover_all():
    rollout = SimpleNamespace(prompts=[[0]] * 5, samples=2)
    shares = []
    for rank in range(3):
        fleet = Fleet()
        fleet.size, fleet.rank = 3, rank
        shares.append(fleet.own([0, 1, 3, 5, 6, 7, 9], rollout))
    assert shares == [[0, 1], [3, 5], [6, 7, 9]]
