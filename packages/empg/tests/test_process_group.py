"""Two processes that share each batch do what one does."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from empg_helpers import job, llama, uniforms
from safetensors.numpy import load_file, save_file

from septet.empg import launch, shards, tiny
from septet.empg.config import Method
from septet.empg.policy import Masters, Policy
from septet.empg.process_group import Fleet
from septet.empg.sample import generate
from septet.empg.train import Trainer, train
from septet.empg.update import improve, lesson
from septet.errors import InputError
from septet.state import state_dict


def parts(shard):
    """PPO with a KL in the reward: critic, reference, statistics over all tokens; shares of unequal size."""
    settings = {"prompts": 5, "row_tokens": 20, "batch_tokens": 60, "shard": shard, "steps": 12}
    return job("ppo", "cold", seeds=[4, 5], method_settings={"kl_reward": 0.01}, task_settings=settings)


def bfloat16(shard):
    """A step of a model that computes in bfloat16; its float32 weights, whole."""
    fleet, policy = Fleet(), Policy(llama().to(torch.bfloat16))
    if shard == "full":
        shards.shard(policy, torch.device("cpu"), torch.bfloat16)
    masters, twin = Masters(policy), llama().to(torch.bfloat16)
    rollout = generate(twin, [[1, 2, 3], [4, 5, 6]], samples=4, limit=8, eos=18, pad=18, uniforms=uniforms(8, 8))
    reward = torch.tensor([1.0, 0, 0, 1, 0, 0, 1, 0])
    what = lesson(Method(), reward, rollout.log_pi, rollout.mask, samples=4, limit=8)
    settings = {"temperature": 1.0, "max_grad_norm": 1.0, "row_tokens": 1000, "batch_tokens": 10_000, "fleet": fleet}
    improve(policy, masters, torch.optim.SGD(masters.weights, lr=1.0), rollout, what, Method(), **settings)
    return {f"{name}.{shard}": shards.whole(like, weight.detach()).numpy() for name, like, weight in masters.each()}


def state_of(trainer):
    return {**trainer.state, **state_dict(trainer.history)}


def in_each_process(folder):
    """What `test_sharded_weights_are_those_of_whole_ones` runs twice at a time."""
    found = {}
    for shard in ("none", "full"):
        run = Trainer(parts(shard))
        for step in (1, 2, 3):
            run.advance()
            state = state_of(run)
            found |= {f"{shard}.{step}.{n}": a.copy() for n, a in state.items() if not n.endswith("seconds")}
    low = {**bfloat16("none"), **bfloat16("full")}
    if run.fleet.leads:
        save_file(found, folder / "state.safetensors")
        save_file(low, folder / "low.safetensors")
    train(parts("full"), folder / "out")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder with what two processes made."""
    folder = tmp_path_factory.mktemp("two")
    source = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_process_group"
    source += "; from pathlib import Path"
    source += f"; test_process_group.in_each_process(Path({str(folder)!r}))"
    assert launch.run([sys.executable, "-c", source], 2, folder) == 0
    return folder


def test_sharded_weights_are_those_of_whole_ones_and_of_one_process(two):
    """Adam's moments are linear in the gradient; its first step is as long as the rate even where that is rounding."""
    found, run = load_file(two / "state.safetensors"), Trainer(parts("none"))
    run.advance()
    one = state_of(run)
    assert sum(name.startswith("weight") for name in one) == 30
    for name, array in one.items():
        for shard in ("none", "full"):
            other = found.get(f"{shard}.1.{name}", array)
            assert array.shape == other.shape
            sure = np.ones_like(array, bool)
            if name.startswith("weight"):
                sure = abs(one[name.replace("weight", "adam.exp_avg", 1)]) > 1e-7
            # On AVX2 these small gradients are rounding in part, and Adam's step is as long as the rate all the same.
            near = 1e-3 if name.startswith("weight") else 1e-5
            assert np.allclose(array[sure], other[sure], rtol=1e-4, atol=near, equal_nan=True), name
    whole = {name: array for name, array in found.items() if name.startswith("none")}
    assert len(whole) > 3 * 4 * 30
    for name, array in whole.items():
        near = 1e-3 if "weight" in name else 1e-5
        assert np.allclose(array, found[name.replace("none", "full", 1)], atol=near, equal_nan=True), name


def test_sharded_bfloat16_trains_float32_weights(two):
    found = load_file(two / "low.safetensors")
    before = {name: weight.detach().to(torch.bfloat16).float().numpy() for name, weight in llama().named_parameters()}
    for name, array in before.items():
        whole, sharded = found[f"lm.{name}.none"], found[f"lm.{name}.full"]
        assert whole.dtype == sharded.dtype == np.float32 and abs(whole - array).max() > 1e-5
        assert np.allclose(whole, sharded, atol=0.01 * abs(whole - array).max()), name


def test_a_stopped_job_of_two_processes_goes_on(two, tmp_path):
    command = [sys.executable, "-m", "septet.empg.launch", "2", "train", "--config", "-", "--out", str(tmp_path)]
    text = json.dumps(parts("full").model_dump(mode="json"))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdin.write(text)
    process.stdin.close()
    while not (process.stderr.readline() == "" or (tmp_path / "checkpoint/progress.json").exists()):
        pass
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    said = process.stderr.read()
    assert process.wait(timeout=60) == 85 and said.count("state saved") == 1, said
    assert list((tmp_path / "checkpoint").glob("*.safetensors"))
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scores.parquet").read_bytes() == (two / "out/scores.parquet").read_bytes()
    for kind in ("best", "last"):
        weights = "model/" + kind + "/model.safetensors"
        assert (tmp_path / weights).read_bytes() == (two / "out" / weights).read_bytes()


def test_sharded_weights_are_saved_whole(two):
    made, base = load_file(two / "out/model/last/model.safetensors"), tiny.load(tiny.base_file("cold"))
    assert set(made) == {name for name, _ in base.named_parameters()}
    for name, weight in base.named_parameters():
        moved = abs(made[name] - weight.detach().numpy())
        assert made[name].dtype == np.float32 and 0 < moved.max() < 0.1, name


def test_more_processes_than_prompts_are_refused(monkeypatch):
    monkeypatch.setattr("septet.empg.train.Fleet", lambda: SimpleNamespace(size=5))
    with pytest.raises(InputError, match="processes: expected at most one for each of 4 prompts, found 5"):
        Trainer(job())


def test_one_process_cannot_shard():
    with pytest.raises(InputError, match=r"task\.shard: expected none, or several .* found full in one process"):
        Trainer(job(task_settings={"shard": "full"}))


def test_shares_are_whole_prompts_and_cover_all():
    rollout = SimpleNamespace(prompts=[[0]] * 5, samples=2)
    shares = []
    for rank in range(3):
        fleet = Fleet()
        fleet.size, fleet.rank = 3, rank
        shares.append(fleet.own([0, 1, 3, 5, 6, 7, 9], rollout))
    assert shares == [[0, 1], [3, 5], [6, 7, 9]]
