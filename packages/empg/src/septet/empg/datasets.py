"""GSM8K and MATH: checked tables of problems, and the paper's prompts and filters (section 3)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from septet.data import Source, data_dir, locate
from septet.empg.config import Competition, Gsm8k, Preparation
from septet.empg.problems import Problem, Questions
from septet.empg.rows import json_lines
from septet.errors import InputError
from septet.parquet import read_table, write_table

_GSM8K = "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
_VERL = "https://raw.githubusercontent.com/tianbingsz/verl/8ba117708ecf8f88944fbc8f80d842d3af3b3bf3/data/"
_MATH = "https://raw.githubusercontent.com/TianHongZXY/rl-reasoning/c90ce5c4ba10fd948d64ee956d3b561f883de166/data/"
SOURCES = {
    "gsm8k": {
        "train": Source(
            name="gsm8k", file="gsm8k/train.jsonl", url=f"{_GSM8K}grade_school_math/data/train.jsonl",
            sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
            url_sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
        ),
        "test": Source(
            name="gsm8k", file="gsm8k/test.jsonl", url=f"{_GSM8K}grade_school_math/data/test.jsonl",
            sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            url_sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        ),
    },
    "math": {
        "train": Source(
            name="math", file="math/train_level3to5.jsonl.gz", url=f"{_VERL}simplelr_qwen_level3to5/train.parquet",
            sha256="c110877d16bf21d1465c77e4a24306dd468626ccff6c3485af3a46db66ca5f93",
            url_sha256="a6ce0b30da9d3be80b0bd8b2925c8707aec6f627af3628c5439241a3b22e7c13",
        ),
        "test": Source(
            name="math", file="math/test_500.jsonl.gz", url=f"{_VERL}simplelr_qwen_level3to5/test.parquet",
            sha256="482ece59dee91aa3b7159da4816ff2836e219e27f6e51ba5027668da50299872",
            url_sha256="127daa21c7ecf85aa9a04c9acf9e1420246d8b4f458885a00805d50994304b3a",
        ),
    },
    "math5": {
        "train": Source(
            name="math5", file="math/train_level5.jsonl", url=f"{_MATH}math/train.parquet",
            sha256="e4b62d919f26cc3a5d2de99a4d362f1ccc4bbf01ccbdf17660cd7d15892b92fa",
            url_sha256="193e73f43ed976b4ceec8015a92c7f55170bb061615437bd31ca6c2a28233c09",
        ),
        "test": Source(
            name="math5", file="math/test_level5.jsonl", url=f"{_MATH}math/test.parquet",
            sha256="9af94ad4bc6ffac350300e95e308bc9d746473fbe026faa561b724a9b94716c6",
            url_sha256="f6d8e5a1722faa042fbcbd74a4a56000aa01fc56e1ec2cdfd0d14d7fd4bac8f6",
        ),
    },
}  # fmt: skip
PROMPTS = {
    "gsm8k": '{} Let\'s think step by step and output the final answer after "####".',
    "math": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}\n"
    "Please reason step by step, and put your final answer within \\boxed{{}}.<|im_end|>\n<|im_start|>assistant\n",
}
"""The prompts of the author's runs; the doubled braces of MATH are literal, as there."""
CHAT_REQUEST = "Please reason step by step, and put your final answer within \\boxed{}."
"""The end of a user's turn that asks a problem of MATH."""
EXAMPLES = (
    (
        "A box holds 6 eggs. Mia buys 4 boxes and uses 5 eggs. How many eggs does she have left?",
        "She buys 4 * 6 = 24 eggs. She has 24 - 5 = 19 eggs left.\n#### 19",
    ),
    (
        "A bus ticket costs $3, and a train ticket costs twice as much. How many dollars do a bus ticket and two train "
        "tickets cost together?",
        "A train ticket costs 2 * 3 = 6 dollars. Two of them cost 2 * 6 = 12 dollars. Together that is 3 + 12 = 15 "
        "dollars.\n#### 15",
    ),
)
"""Worked examples for GSM8K, ours."""
SUFFIX = re.compile(r" Let's think step by step and output the final answer within \\boxed\{\}\.$")
COLUMNS = {"split": pl.String, "question": pl.String, "answer": pl.String, "level": pl.Int64}


def prompt(kind: str, question: str) -> str:
    """The prompt of a question of `gsm8k` or `math`; no format string, for questions hold braces too."""
    before, after = PROMPTS[kind].split("{}", 1)
    return f"{before}{question}{after}"


def prepare(config: Preparation, out: Path) -> None:
    """Write OUT/<name>.parquet: the problems of a data set, checked, with an answer each.

    Raises:
        InputError: a file is missing or is not the pinned one.
    """
    rows = []
    for split, source in SOURCES[config.name].items():
        file = locate(source, data_dir(config.data_dir), out / "downloads")
        rows += [(split, *problem) for problem in _problems(file, level5=config.name == "math5")]
    table = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    table = table.filter(pl.col("answer") != "")  # two problems of MATH have an empty one
    write_table(table, out / f"{config.name}.parquet")


def gold_of(answer: str) -> str:
    """The gold answer of a worked GSM8K solution: what stands after `####`, without commas."""
    return answer.rpartition("####")[2].strip().replace(",", "")


def _problems(file: Path, *, level5: bool) -> Iterator[tuple[str, str, int]]:
    """Question, gold answer and level of each row, whichever of the two formats the file has.

    The level of a GSM8K problem is the number of calculations that its solution marks.
    """
    if file.suffix == ".parquet":
        return _public(file, level5)
    return json_lines(file, "a problem with its answer", _problem)


def _problem(row: dict[str, Any]) -> tuple[str, str, int]:
    if "problem" in row:
        question, answer, level = row["problem"], row["answer"], int(str(row["level"])[-1])
    else:
        question, answer, level = row["question"], gold_of(row["answer"]), row["answer"].count("<<")
    if not (isinstance(question, str) and isinstance(answer, str)):
        raise TypeError("question and answer are texts")
    return question, answer, level


def _public(file: Path, level5: bool) -> Iterator[tuple[str, str, int]]:
    """The rows of the public parquet files, whose prompts carry a template."""
    for row in pl.read_parquet(file).iter_rows(named=True):
        truth, level = row["reward_model"]["ground_truth"], int(str(row["level"])[-1])
        if isinstance(truth, dict):
            if not level5 or level == 5:
                yield SUFFIX.sub("", row["prompt"][0]["content"]), truth["target"], level
        else:
            yield row["extra_info"]["question"], truth, level


def questions(task: Gsm8k | Competition, file: Path) -> Questions:
    """The problems of a prepared table with the task's prompt, without those that it drops (section 3).

    Raises:
        InputError: the file is missing or is no such table.
    """
    table = read_table(file, "the output of prepare")
    if dict(table.schema) != COLUMNS:
        raise InputError(str(file), expected=f"columns {', '.join(COLUMNS)}", found=", ".join(table.columns))
    if table.null_count().sum_horizontal().sum() or not table["split"].is_in(["train", "test"]).all():
        raise InputError(str(file), expected="rows of train and test without gaps", found="others")
    most = task.calculations if isinstance(task, Gsm8k) else None
    shots = task.shots if isinstance(task, Gsm8k) else 0
    before = [turn for example in EXAMPLES[:shots] for turn in _turns(prompt("gsm8k", example[0]), example[1])]
    parts: dict[str, list[Problem]] = {"train": [], "test": []}
    for split, question, answer, level in table.iter_rows():
        published = prompt(task.kind, question)
        if len(published) > task.prompt_characters or (most is not None and level > most):
            continue
        asked = published if isinstance(task, Gsm8k) else f"{question}\n{CHAT_REQUEST}"
        chat = (*before, *_turns(asked))
        parts[split].append(Problem("", answer, chat=chat) if task.chat else Problem(published, answer))
    return Questions(parts["train"], parts["test"], f"{file.stem}: {len(parts['train'])} / {len(parts['test'])}")


def _turns(*texts: str) -> list[dict[str, str]]:
    """Texts as the turns of a chat: the user's, the assistant's, and so on."""
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=False)]
