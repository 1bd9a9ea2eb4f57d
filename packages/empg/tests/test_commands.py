"""`generate` and `evaluate`: any model folder, without training; wrong input is one line."""

import json
import shutil
import socket
import time

import pytest
import torch
from empg_helpers import job
from safetensors.torch import load_file, save_file
from test_models import folder
from transformers import AutoModelForCausalLM, AutoTokenizer

from septet.cli import program
from septet.empg import evaluate_command, generate_command
from septet.empg.train import Trainer, train
from septet.scores import read_scores

SETTINGS = {"steps": 4, "prompts": 16, "eval_every": 2, "eval_prompts": 40, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    train(job("empg", "warm", seeds=[3], task_settings=SETTINGS), out)
    return out


def said(capsys, command, *arguments):
    command.main([str(argument) for argument in arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys, command, *arguments):
    """Exit code and the one line of a command that fails."""
    capsys.readouterr()  # what was said while its input was made
    with pytest.raises(SystemExit) as ended:
        program("empg", lambda: command.main([str(argument) for argument in arguments]))
    streams = capsys.readouterr()
    (line,) = streams.err.splitlines()
    assert not streams.out and line.startswith("empg: ")
    return ended.value.code, line


def test_evaluate_finds_the_score_that_the_training_measured(trained, tmp_path, capsys):
    scores = read_scores(trained / "scores.parquet").filter(step=4)
    lines = tmp_path / "completions.jsonl"
    (found,) = said(capsys, evaluate_command, trained / "model/last", "--completions", lines)
    for name, metric in (("score", "accuracy"), ("length", "test_length")):
        assert found[name] == pytest.approx(scores.filter(metric=metric)["value"].item(), abs=1e-6)
    assert found["prompts"] == 40 and found["samples"] == 1
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    mean = sum(row["reward"] for row in rows) / 40
    assert mean == pytest.approx(found["score"])
    assert found["standard_error"] == pytest.approx((mean * (1 - mean) / 39) ** 0.5)  # of 0 and 1, n - 1
    asked = Trainer(job("empg", "warm", seeds=[3], task_settings=SETTINGS)).questions.test
    assert [row["prompt"] for row in rows] == [problem.prompt for problem in asked]


def test_evaluate_takes_another_models_folder_and_a_jobs_file(trained, tmp_path, capsys):
    config = tmp_path / "job.json"
    config.write_text(job("grpo", "warm", task_settings=SETTINGS).model_dump_json(), encoding="utf-8")
    sampled = ("--samples", 3, "--temperature", 1, "--eval-prompts", 7, "--limit", 12)
    (one,) = said(capsys, evaluate_command, trained / "model/best", "--job", config, *sampled)
    (again,) = said(capsys, evaluate_command, trained / "model/best", "--job", config, *sampled)
    (other,) = said(capsys, evaluate_command, trained / "model/best", "--job", config, *sampled, "--seed", 1)
    speeds = [run.pop("tokens_per_second") for run in (one, again)]
    assert min(speeds) > 0 and one == again and one["prompts"] == 7 and one["samples"] == 3
    assert (one["score"], one["length"]) != (other["score"], other["length"]) and one["length"] <= 12
    model = folder(tmp_path / "other").name  # not one of ours
    (found,) = said(capsys, evaluate_command, model, "--job", trained / "run.json", "--limit", 5)
    assert found["score"] == 0.0 and found["prompts"] == 40


def test_generate_gives_what_transformers_gives(tmp_path, capsys):
    model = folder(tmp_path / "model", begins=False)
    prompts = ["1+1", "abc", "zz"]
    table = tmp_path / "prompts.jsonl"
    table.write_text(json.dumps({"prompt": prompts[2]}) + "\n", encoding="utf-8")
    given = ["--prompt", prompts[0], "--prompt", prompts[1], "--prompts", table, "--limit", 9]
    found = said(capsys, generate_command, model.name, *given)
    assert [row["prompt"] for row in found] == prompts
    lm, inner = AutoModelForCausalLM.from_pretrained(model.name), AutoTokenizer.from_pretrained(model.name)
    for row, prompt in zip(found, prompts, strict=True):
        asked = inner(prompt, return_tensors="pt").input_ids
        reply = lm.generate(asked, max_new_tokens=9, do_sample=False, attention_mask=torch.ones_like(asked))
        new = reply[0, asked.shape[1] :]
        assert row["completion"] == inner.decode(new, skip_special_tokens=True) and row["tokens"] == len(new)
        assert row["finished"] == (int(new[-1]) in (2, 3))


def test_generate_puts_texts_into_the_chat_template(tmp_path, capsys):
    model = folder(tmp_path / "model")
    inner = AutoTokenizer.from_pretrained(model.name)
    inner.chat_template = "{% for m in messages %}{{ m.role[0] }}{{ m.content }}{% endfor %}!"
    inner.save_pretrained(model.name)
    table = tmp_path / "prompts.jsonl"
    turns = [{"role": "user", "content": "1+1"}]
    table.write_text(json.dumps({"prompt": turns}) + "\n", encoding="utf-8")
    plain = said(capsys, generate_command, model.name, "--prompt", "u1+1!", "--limit", 8)
    chat = said(capsys, generate_command, model.name, "--prompt", "1+1", "--chat", "--limit", 8)
    turned = said(capsys, generate_command, model.name, "--prompts", table, "--limit", 8)
    assert plain[0]["completion"] == chat[0]["completion"] == turned[0]["completion"]
    assert chat[0]["prompt"] == "1+1" and turned[0]["prompt"] == turns


PROMPT = ("--prompt", "1+1")
WRONG = {
    "no prompt": ([], "prompts: expected prompts, by --prompt or --prompts, found none"),
    "a word": ([*PROMPT, "--limit", "many"], "command line: limit: expected a valid integer"),
    "none": ([*PROMPT, "--limit", "0"], "command line: limit: expected greater than or equal to 1, found 0"),
    "greedy samples": ([*PROMPT, "--samples", "2"], "samples: expected 1 at temperature 0, found 2"),
    "a type": ([*PROMPT, "--dtype", "int4"], "command line: dtype: expected 'auto', 'float32' or 'bfloat16'"),
    "no file": (["--prompts", "none.jsonl"], "none.jsonl: expected a file of JSON lines, found No such file"),
    "empty": (["--prompt", ""], "--prompt: expected a text, or a list of turns with role and content, found nothing"),
    "no template": ([*PROMPT, "--chat"], "chat template: expected a template in the tokenizer, found none"),
    "too long": ([*PROMPT, "--limit", "64"], "limit: expected at most 64 tokens of prompt and completion together"),
}


@pytest.mark.parametrize("case", [*WRONG])
def test_wrong_options_are_one_line(case, tmp_path, capsys):
    model, (options, message) = folder(tmp_path / "model", begins=False), WRONG[case]
    code, line = refused(capsys, generate_command, model.name, *options)
    assert code == 2 and message in line


def no_network(*_, **__):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_wrong_model_is_one_line(tmp_path, capsys, trained, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the hub's client waits 23 s for each file
    for name in (tmp_path / "none", "a/b/c", "./here"):
        assert refused(capsys, generate_command, name, *PROMPT) == (
            2, f"empg: model {name}: expected a folder with config.json, a .gguf file, or a name on the hub, "
            "found no such folder",
        )  # fmt: skip
    code, line = refused(capsys, generate_command, "nobody/nothing-at-all", *PROMPT)
    assert code == 2 and "expected a folder, or an answer from the hub" in line
    torn = tmp_path / "torn"
    shutil.copytree(trained / "model/last", torn)
    weights = load_file(torn / "model.safetensors")
    less = {name: value for name, value in weights.items() if "h.1.mlp" not in name}
    save_file(less, torn / "model.safetensors", {"format": "pt"})
    code, line = refused(capsys, generate_command, torn, *PROMPT)
    assert code == 2 and "files without the weights transformer.h.1.mlp" in line
    (torn / "model.safetensors").write_bytes(b"nothing")
    assert refused(capsys, generate_command, torn, *PROMPT)[0] == 2


def test_evaluate_without_a_job_and_with_other_weights_is_one_line(tmp_path, capsys, trained):
    model = folder(tmp_path / "alone")
    code, line = refused(capsys, evaluate_command, model.name)
    assert code == 2 and "expected --job, a training job's configuration or run.json" in line
    changed = tmp_path / "changed"
    shutil.copytree(trained, changed)
    shutil.copy(changed / "model/best/config.json", changed / "model/last/config.json")
    weights = load_file(changed / "model/last/model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, changed / "model/last/model.safetensors")
    code, line = refused(capsys, evaluate_command, changed / "model/last")
    assert code == 2 and "expected the weights that" in line and "--job takes others" in line
    (tmp_path / "job.json").write_text('{"task": 3}', encoding="utf-8")
    code, line = refused(capsys, evaluate_command, trained / "model/last", "--job", tmp_path / "job.json")
    assert code == 2 and "job.json: method: expected a value, found nothing" in line
