"""Several processes with the manners of one; and what a job must say of its model and of its GPUs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from empg_helpers import EXPERIMENTS, job
from pydantic import ValidationError

from septet.empg.config import Hub, Job
from septet.empg.launch import main
from septet.empg.vllm_engine import surroundings
from septet.workflow_config import Workflow

ROOT = Path(__file__).parents[3]


def launch(*arguments, text=""):
    return subprocess.run(
        [sys.executable, "-m", "septet.empg.launch", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_bad_input_is_said_once(tmp_path):
    settings = job().model_dump(mode="json")
    settings["task"]["prompts"] = 0
    done = launch("2", "train", "--config", "-", "--out", str(tmp_path / "out"), text=json.dumps(settings))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "prompts" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


FAULTY = """
import os, sys, time
if os.environ["RANK"] == "1":
    sys.exit("the second is ill")
time.sleep(60)
"""


def test_one_that_fails_ends_all_and_is_heard(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("septet.empg.launch.GRACE", 0.5)
    from septet.empg.launch import run

    assert run([sys.executable, "-c", FAULTY], 2, tmp_path) == 1
    assert "the second is ill" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["2"], ["none", "train"], ["0", "train"]])
def test_usage(arguments, capsys):
    assert main(arguments) == 2 and "usage" in capsys.readouterr().err


@pytest.mark.parametrize("revision", ["main", "v1.0", "8faed76", "8FAED761D45A263340A0528343F099C05C9A4323", None, ""])
def test_a_model_of_the_hub_needs_a_commit(revision):
    with pytest.raises(ValidationError, match="revision"):
        Hub(kind="hub", name="Qwen/Qwen2.5-1.5B", revision=revision)


def test_folders_need_none():
    assert Hub(kind="hub", name="/models/qwen").revision is None
    assert Hub(kind="hub", name="Qwen/Qwen2.5-7B", revision="d" * 40).revision == "d" * 40


def test_a_vllm_server_sees_its_process_s_gpu_and_no_launch():
    launched = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_PORT": "1", "HOME": "/h"}
    assert surroundings(launched) == {"HOME": "/h", "CUDA_VISIBLE_DEVICES": "1"}
    assert surroundings({**launched, "CUDA_VISIBLE_DEVICES": "4,6"})["CUDA_VISIBLE_DEVICES"] == "6"
    assert surroundings({"HOME": "/h", "CUDA_VISIBLE_DEVICES": "2"}) == {"HOME": "/h", "CUDA_VISIBLE_DEVICES": "2"}


def of_scale_paper(method, task):
    """A job of scale paper, resolved as the workflow does."""
    return Job.model_validate(
        Workflow(ROOT, {}).training("empg", "paper", method, task) | {"data_file": "data.parquet"}
    )


@pytest.mark.parametrize(
    ("control", "twin", "task"),
    [("grpo_kl_loss", "grpo", "gsm8k_qwenmath7"), ("grpo_kl_loss", "grpo_kl", "cold")],
)
def test_the_control_of_the_kl_in_the_reward_differs_in_nothing_else(control, twin, task):
    one, other = (of_scale_paper(name, task).method.model_dump() for name in (control, twin))
    differ = {key for key in one if one[key] != other[key]}
    assert differ == {"name", "kl_reward"} and one["kl_reward"] == 0 and other["kl_reward"] == 0.01
    assert one["entropy"] == other["entropy"] and one["kl_loss"] == other["kl_loss"] > 0


def test_laptop_tasks_ask_for_no_gpu():
    assert {task.gpus for task in EXPERIMENTS.tasks.values()} == {0}


def test_the_jobs_of_scale_paper_are_pinned_and_can_be_shared_out():
    own = [(method, task) for method, task in Workflow(ROOT, {}).runs("empg", "paper") if "qwen" in task]
    for method, task in own:
        made = of_scale_paper(method, task)
        assert len(made.task.model.revision) == 40
        assert made.task.gpus == 1 or (made.task.shard == "full" and made.task.prompts >= made.task.gpus)
    assert len(own) == 17
