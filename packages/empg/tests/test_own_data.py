"""A user's own task: the example of the README, rows, prompts, rewards."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from empg_helpers import EXPERIMENTS
from test_models import folder
from transformers import AutoTokenizer

from septet.config import validate
from septet.empg import own_data, tasks
from septet.empg.config import Dataset, Job, Reward
from septet.empg.problems import Problem
from septet.empg.rewards import Rewards
from septet.empg.train import Trainer
from septet.errors import InputError
from septet.scores import read_scores

README = Path(__file__).parents[1] / "README.md"
ROWS = [{"prompt": f"{a}+{b}+1=", "answer": str((a + b + 1) % 10), "weight": a} for a in range(4) for b in range(5)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("own_rewards")]:
        del sys.modules[name]


def write(name="rows.jsonl", rows=ROWS):
    if name.endswith(".parquet"):
        pl.DataFrame(rows).write_parquet(name)
    else:
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def task(**more):
    settings = {
        "name": "own", "kind": "dataset", "model": {"kind": "tiny", "base": "warm"}, "train": "rows.jsonl",
        "held_out": 5, "rewards": [{"function": "own_rewards.right"}], "steps": 2, "prompts": 4, "eval_every": 1,
        "max_completion_length": 12,
    }  # fmt: skip
    return validate(Dataset, {**settings, **more}, "task")


def job(**more):
    return Job(method=EXPERIMENTS.methods["empg"].model_copy(update={"name": "empg"}), task=task(**more), seeds=[1])


def rewards(text):
    Path("own_rewards.py").write_text(text, encoding="utf-8")


RIGHT = "def right(completions, answer, **_):\n    return [float(a in c) for c, a in zip(completions, answer)]\n"


def test_the_example_of_the_readme(tmp_path):
    text = README.read_text(encoding="utf-8").split("## Train on your own data")[1].split("\n## ")[0]
    for name, content in re.findall(r"^`(\S+)`[^\n]*\n\n```\w+\n(.*?)```", text, re.DOTALL | re.MULTILINE):
        Path(name).write_text(content, encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"make_rows.py", "my_rewards.py", "job.yaml"}
    commands = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].splitlines()
    assert len(commands) == 4
    printed = [
        subprocess.run([sys.executable, *shlex.split(line)[1:]], capture_output=True, text=True, check=True)
        for line in commands
    ]
    assert "reward of right" in printed[1].stderr and "tokens per second" in printed[1].stderr
    score, completion = json.loads(printed[2].stdout), json.loads(printed[3].stdout)
    scores = read_scores(Path("out/scores.parquet")).filter(metric="accuracy").sort("step")["value"].to_list()
    assert score["prompts"] == 100 and score["score"] == pytest.approx(max(scores[1:]), abs=1e-6)
    assert max(scores[1:]) > scores[0] + 0.1  # it learns
    assert completion["prompt"] == "3+4+5=" and completion["finished"] and "7,2" in completion["completion"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_rows_are_split_once_and_for_all(name):
    write(name)
    found = own_data.questions(task(train=name), 7)
    assert len(found.train) == 15 and len(found.test) == 5
    assert sorted(one.prompt for one in found.train + found.test) == sorted(row["prompt"] for row in ROWS)
    assert [one.row for one in found.test] == [row for row in ROWS if row["prompt"] in {t.prompt for t in found.test}]
    again, other = own_data.questions(task(train=name), 7), own_data.questions(task(train=name), 8)
    assert again == found and other.test != found.test
    write("test.jsonl", ROWS[:3])
    apart = own_data.questions(task(train=name, test="test.jsonl"), 7)
    assert len(apart.train) == 20 and [one.prompt for one in apart.test] == [row["prompt"] for row in ROWS[:3]]
    assert apart.origin != found.origin


def test_prompts_are_templates_texts_or_chats():
    write(rows=[{"q": "Two?", "n": 2, "prompt": [{"role": "user", "content": "Hi"}]}] * 6)
    own = own_data.questions(task(prompt="Q: {{ q }}\n{% if n > 1 %}{{ n }}{% endif %}\n"), 0).train[0]
    assert own.prompt == "Q: Two?\n2\n" and own.chat == ()
    own = own_data.questions(task(prompt="{{ q }}", chat=True, system="Be brief."), 0).train[0]
    turns = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Two?"})
    assert own.chat == turns
    assert own_data.questions(task(), 0).train[0].chat == ({"role": "user", "content": "Hi"},)


def test_a_chat_is_written_by_the_tokenizers_template(tmp_path):
    model = folder(tmp_path / "model")
    inner = AutoTokenizer.from_pretrained(tmp_path / "model")
    inner.chat_template = "<bos>{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[reply]"
    inner.save_pretrained(tmp_path / "model")
    write(rows=[{"q": "1+1", "answer": "2"}] * 8)
    rewards("seen = []\ndef right(prompts, completions, **_):\n    seen.append((prompts[0], completions[0]))\n"
            "    return [0.5] * len(prompts)\n")  # fmt: skip
    run = Trainer(job(model=model.model_dump(), prompt="{{ q }}", chat=True))
    assert run.questions.train[0].prompt == run.questions.test[0].prompt == "<bos>[user]1+1[reply]"
    assert run.tokenizer.encode(run.questions.train[0].prompt)[:2] == [1, run.tokenizer.encode("[")[1]]
    run.advance()
    (prompt, completion), *_ = sys.modules["own_rewards"].seen
    assert prompt == [{"role": "user", "content": "1+1"}] and completion[0]["role"] == "assistant"
    inner.chat_template = None
    with pytest.raises(InputError, match="chat template: expected a template in the tokenizer, found none"):
        (tmp_path / "model" / "chat_template.jinja").unlink()
        Trainer(job(model=model.model_dump(), prompt="{{ q }}", chat=True))


def test_rewards_are_called_as_trl_calls_them_and_added_by_weight():
    rewards(
        "def one(prompts, completions, completion_ids, answer, trainer_state, log_extra, log_metric, **columns):\n"
        "    assert columns == {'weight': [3, 4]}\n"
        "    log_metric('x', 1.0)\n"
        "    return [len(ids) + float(a == c) for ids, a, c in zip(completion_ids, answer, completions)]\n"
        "def two(prompts, **_):\n"
        "    return [None, 10]\n"
    )
    asked = [Problem("p", "7", row={"prompt": "p", "answer": "7", "weight": w}) for w in (3, 4)]
    grade = Rewards([Reward(function="own_rewards.one"), Reward(function="own_rewards.two", weight=-0.5)])
    assert grade(["7", "8"], asked, [True, True], [[5, 6], [5]]) == [3.0, 1.0 - 5.0]
    assert grade.means == {"reward_of_one": 2.0, "reward_of_two": 10.0}


BAD = {
    "return [1.0]": "expected a list of 2 finite numbers or None, one for each completion, found 1 values",
    "return [1.0, float('nan')]": "expected a list of 2 finite numbers .* found nan",
    "return [1.0, 'a']": "expected a list of 2 finite numbers .* could not convert string",
    "return 3.0": "expected a list of 2 finite numbers .* not iterable",
    "return [1.0, None]": "task.rewards: expected a number from one function at least .* the prompt p",
}


@pytest.mark.parametrize("body", [*BAD])
def test_a_reward_that_returns_something_else_is_one_line(body):
    rewards(f"def bad(**_):\n    {body}\n")
    with pytest.raises(InputError, match=BAD[body]):
        Rewards([Reward(function="own_rewards.bad")])(["a", "b"], [Problem("p", "")] * 2, [True] * 2)


def test_an_error_inside_a_reward_keeps_its_traceback_and_names_it():
    rewards("def bad(**_):\n    return 1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        Rewards([Reward(function="own_rewards.bad")])(["a"], [Problem("p", "")], [True])
    assert caught.value.__notes__ == ["raised by the reward own_rewards.bad"]


def test_another_reward_or_other_rows_are_another_job():
    write()
    rewards(RIGHT)
    first = tasks.load(job())[0].origin
    sys.modules.pop("own_rewards")
    rewards(RIGHT + "\n")
    second = tasks.load(job())[0].origin
    write(rows=ROWS[:-1])
    assert len({first, second, tasks.load(job())[0].origin}) == 3


WRONG = {
    "no file": ({"train": "none.jsonl"}, "none.jsonl: expected a file of JSON lines, found"),
    "another kind": (
        {"train": "rows.csv"},
        "rows.csv: expected a file of rows, .jsonl, .jsonl.gz, .parquet, found .csv",
    ),
    "too few": ({"held_out": 20}, "rows.jsonl: expected more than 20 rows.* found 20"),
    "no column": ({"prompt": "{{ question }}"}, "row 1: prompt: expected columns for {{ question }}, found 'question'"),
    "no template": ({"prompt": "{{ prompt"}, "task.prompt: expected a Jinja template"),
    "no module": ({"rewards": [{"function": "nowhere.right"}]}, "reward nowhere.right: expected the dotted name"),
    "no function": ({"rewards": [{"function": "own_rewards.wrong"}]}, "reward own_rewards.wrong: expected the dotted"),
    "no name": ({"rewards": [{"function": "right"}]}, "reward right: expected the dotted name"),
    "asynchronous": ({"rewards": [{"function": "own_rewards.later"}]}, "expected a function, not asynchronous"),
    "a chat": ({"chat": True}, "expected a text, for the tiny model has no chat template"),
}


@pytest.mark.parametrize("case", [*WRONG])
def test_a_task_that_does_not_fit_is_one_line_with_exit_code_2(case, tmp_path):
    write()
    rewards(RIGHT + "async def later(**_):\n    return []\n")
    changes, message = WRONG[case]
    with pytest.raises(InputError, match=re.escape(message).replace(r"\.\*", ".*")):
        Trainer(job(**changes))


def test_a_torn_line_and_no_rewards_end_the_command(tmp_path):
    rewards(RIGHT)
    Path("rows.jsonl").write_text('{"prompt": "1+1+1="}\n{"prompt"\n', encoding="utf-8")
    config = Path("job.json")
    for settings, expected in (
        (job().model_dump(mode="json"), "rows.jsonl:2: expected a JSON object"),
        ({**job().model_dump(mode="json"), "task": {**task().model_dump(mode="json"), "rewards": []}}, "task.rewards"),
    ):
        config.write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "septet.empg", "train", "--config", "job.json", "--out", "out"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and expected in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_reward_may_be_negative_everywhere():
    write()
    rewards("def right(completions, **_):\n    return [-1.0 - len(text) / 100 for text in completions]\n")
    run = Trainer(job())
    run.evaluate()
    run.advance()
    assert run.history.arrays["step.reward"][0, 0] < -1 and run.history.arrays["step.trained"][0, 0] > 0


def test_a_hub_model_learns_from_rows_too(letters):
    """Any model: a random Llama with letters as tokens; the reward is the share of one letter."""
    run = Trainer(validate(Job, {**letters, "task": {**letters["task"], "steps": 16, "learning_rate": 1e-2}}, "job"))
    for _ in range(16):
        run.advance()
    earned = run.history.arrays["step.reward"][0]
    assert earned[-3:].mean() > earned[:3].mean() + 0.05
