"""What a job leaves: folders that plain `transformers` loads, whole or not at all, the same after a resume."""

import errno
import json
import subprocess
import sys

import pytest
import torch
import yaml
from empg_helpers import job
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

from septet.card import RunCard
from septet.cli import stop_request
from septet.empg import train as training
from septet.empg.train import Trainer, train
from septet.errors import Interrupted, NotWritten
from septet.files import sha256
from septet.scores import read_scores

SETTINGS = {"steps": 8, "prompts": 16, "eval_every": 2, "eval_prompts": 20, "learning_rate": 2e-3}


def small(**more):
    return job("empg", "warm", seeds=more.pop("seeds", [3]), task_settings={**SETTINGS, **more.pop("task", {})}, **more)


def tree(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


PLAIN = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, prompts = sys.argv[1], json.loads(sys.argv[2])
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
asked = tokenizer(prompts, return_tensors="pt", padding=True)
replies = model.generate(**asked)[:, asked.input_ids.shape[1]:]
assert not any(name.partition(".")[0] == "septet" for name in sys.modules)
print(json.dumps(tokenizer.batch_decode(replies, skip_special_tokens=True)))
"""


def test_plain_transformers_in_another_process_gives_the_same_greedy_completions(tmp_path):
    train(small(), tmp_path)
    run = Trainer(small())
    asked = run.questions.test
    texts = {0: run.judge(asked, run.draw(asked, 1))[1]}
    for step in range(1, 9):
        run.advance()
        texts[step] = run.judge(asked, run.draw(asked, 1))[1]
    about = RunCard.read(tmp_path / "run.json").methods["empg"]["models"]
    prompts = json.dumps([problem.prompt for problem in asked])
    for kind, step in (("best", about["best"]["step"]), ("last", 8)):
        command = [sys.executable, "-c", PLAIN, str(tmp_path / "model" / kind), prompts]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == texts[step]
    assert texts[8] != texts[0]


def test_the_best_is_the_first_highest_evaluation_and_the_card_names_the_weights(tmp_path):
    train(small(), tmp_path)
    rows = read_scores(tmp_path / "scores.parquet").filter(metric="accuracy").sort("step")
    scores = {step: value for step, value in rows.select("step", "value").iter_rows() if step}
    highest = max(scores.values())
    card = RunCard.read(tmp_path / "run.json")
    models = card.methods["empg"]["models"]
    assert models["best"]["step"] == min(step for step, value in scores.items() if value == highest)
    assert models["last"]["step"] == 8 and models["last"]["score"] == pytest.approx(scores[8])
    for kind, about in models.items():
        assert about["sha256"] == sha256(tmp_path / "model" / kind / "model.safetensors") and about["seed"] == 3
        text = (tmp_path / "model" / kind / "README.md").read_text(encoding="utf-8")
        head = yaml.safe_load(text.split("---")[1])
        assert head["library_name"] == "transformers" and card.id in text and f"| {about['step']} of 8" in text
        made = json.loads((tmp_path / "model" / kind / "generation_config.json").read_text(encoding="utf-8"))
        assert made["eos_token_id"] == [18] and made["pad_token_id"] == 19 and made["max_new_tokens"] == 40
        config = json.loads((tmp_path / "model" / kind / "config.json").read_text(encoding="utf-8"))
        assert config["architectures"] == ["GPT2LMHeadModel"]


@pytest.mark.parametrize("stop_at", [1, 3, 7, 8])
def test_a_resumed_job_leaves_the_same_folders_and_a_stopped_one_none(tmp_path, monkeypatch, stop_at):
    train(small(), tmp_path / "whole")
    advance, steps = Trainer.advance, []

    def stopping(self):
        advance(self)
        steps.append(self.step)
        if len(steps) == stop_at:
            stop_request.signal = 15

    monkeypatch.setattr(Trainer, "advance", stopping)
    monkeypatch.setattr(stop_request, "signal", None)
    with pytest.raises(Interrupted):
        train(small(), tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "model").exists()
    stop_request.signal = None
    train(small(), tmp_path / "stopped")
    assert len(steps) == 8
    assert tree(tmp_path / "stopped" / "model") == tree(tmp_path / "whole" / "model")
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == [
        "model", "run.json", "scores.parquet", "timing.parquet",
    ]  # fmt: skip


def test_a_full_disk_leaves_the_earlier_model_and_the_next_attempt_writes_the_new_one(tmp_path, monkeypatch):
    train(small(), tmp_path)
    before = tree(tmp_path / "model")
    save, calls = GPT2LMHeadModel.save_pretrained, []

    def full(self, folder, **more):
        calls.append(folder)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, folder, **more)

    monkeypatch.setattr(GPT2LMHeadModel, "save_pretrained", full)
    other = small(seeds=[4])
    with pytest.raises(NotWritten, match="model: not written: No space left on device"):
        train(other, tmp_path)
    assert len(calls) == 2 and tree(tmp_path / "model") == before
    train(other, tmp_path)
    assert RunCard.read(tmp_path / "run.json").methods["empg"]["models"]["last"]["seed"] == 4
    assert tree(tmp_path / "model").keys() == before.keys() and tree(tmp_path / "model") != before


def test_which_seeds_are_kept(tmp_path):
    train(small(seeds=[3, 5]), tmp_path)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"best", "last"}
    first = tree(tmp_path / "model" / "last")
    train(small(seeds=[3, 5], keep_model="all"), tmp_path)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"seed-3", "seed-5"}
    weights = [tree(tmp_path / "model" / f"seed-{seed}" / "last")["model.safetensors"] for seed in (3, 5)]
    assert weights[0] == first["model.safetensors"] != weights[1]
    train(small(seeds=[3, 5], keep_model="none"), tmp_path)
    assert not (tmp_path / "model").exists()
    assert RunCard.read(tmp_path / "run.json").methods["empg"]["models"] == {}


def test_what_is_kept_is_what_was_evaluated(tmp_path, monkeypatch):
    seen = {}
    keep = training.keep

    def noting(trainer, scratch):
        seen[trainer.step] = {name: w.detach().clone() for name, w in trainer.policy.lm.named_parameters()}
        keep(trainer, scratch)

    monkeypatch.setattr(training, "keep", noting)
    train(small(), tmp_path)
    about = RunCard.read(tmp_path / "run.json").methods["empg"]["models"]
    for kind in ("best", "last"):
        found = load_file(tmp_path / "model" / kind / "model.safetensors")
        for name, weight in seen[about[kind]["step"]].items():
            assert torch.equal(found[name], weight), name


def test_a_laptop_run_keeps_less_than_200_megabytes(tmp_path):
    from septet.files import checkout
    from septet.workflow_config import Workflow

    train(small(), tmp_path)
    size = sum(map(len, tree(tmp_path / "model").values()))
    workflow, total = Workflow(checkout(), {}), 0
    for paper, one in (("empg", size), ("empgreal", 2 * 270_000_000)):
        for method, task in workflow.runs(paper, "laptop"):
            kept = workflow.training(paper, "laptop", method, task)
            total += one * {"none": 0, "first": 1, "all": len(kept["seeds"])}[kept["keep_model"]]
    assert size < total < 200_000_000
