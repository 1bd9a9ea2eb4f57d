"""Data readers: a hand-written table in either format, and the paper's counts on the real files."""

import gzip
import json
import re

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from septet.empg import datasets, problems
from septet.empg.behaviours import behaviours
from septet.empg.config import Competition, Gsm8k, Preparation
from septet.empg.tokens import CharTokenizer
from septet.errors import InputError
from septet.parquet import write_table
from septet.seeding import stream


def task(kind, **settings):
    """A task that reads a prepared table."""
    made = {"gsm8k": Gsm8k, "math": Competition}[kind]
    return made(kind=kind, model={"kind": "hub", "name": "."}, **settings)


ROWS = [
    {"question": "Two and {two}?", "answer": "2+2=<<2+2=4>>4\n#### 4"},
    {"question": "A thousand?", "answer": "#### 1,000"},
    {"question": "x" * 600, "answer": "#### 1"},
    {"question": "y" * 600, "answer": "1+1=<<1+1=2>>2, 2+2=<<2+2=4>>4\n#### 4"},
]


def test_gsm8k_rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    assert [row[1] for row in datasets._problems(file, level5=False)] == ["4", "1000", "1", "4"]
    rows = [("train", *row) for row in datasets._problems(file, level5=False)]
    write_table(pl.DataFrame(rows, schema=datasets.COLUMNS, orient="row"), tmp_path / "gsm8k.parquet")
    found = datasets.questions(task("gsm8k"), tmp_path / "gsm8k.parquet")
    assert [one.answer for one in found.train] == ["4", "1000"]
    assert found.train[0].prompt.startswith("Two and {two}? Let's think")
    short = datasets.questions(task("gsm8k", calculations=1, prompt_characters=10**6), tmp_path / "gsm8k.parquet")
    assert [one.answer for one in short.train] == ["4", "1000", "1"]
    chats = datasets.questions(task("gsm8k", chat=True), tmp_path / "gsm8k.parquet").train
    assert [one.chat for one in chats] == [({"role": "user", "content": one.prompt},) for one in found.train]
    shown = datasets.questions(task("gsm8k", chat=True, shots=2), tmp_path / "gsm8k.parquet").train
    for alone, one in zip(chats, shown, strict=True):
        *before, last = one.chat
        assert last == alone.chat[0]
        assert [turn["role"] for turn in before] == ["user", "assistant"] * 2
        for (question, answer), asked, said in zip(datasets.EXAMPLES, before[::2], before[1::2], strict=True):
            assert asked["content"] == datasets.prompt("gsm8k", question) and said["content"] == answer
            steps = re.findall(r"([\d+*-][\d +*-]*) = (\d+)", answer)
            assert steps and all(eval(sum_) == int(value) for sum_, value in steps)
            assert answer.endswith(f"#### {steps[-1][1]}")
    with pytest.raises(ValidationError, match="chat, for a task with shots"):
        task("gsm8k", shots=1)


def test_math_rows(tmp_path):
    file = tmp_path / "rows.jsonl.gz"
    with gzip.open(file, "wt") as out:
        out.write(json.dumps({"problem": "p", "answer": "\\frac12", "level": "Level 5"}) + "\n")
    assert list(datasets._problems(file, level5=False)) == [("p", "\\frac12", 5)]
    assert "\\boxed{{}}" in datasets.prompt("math", "p")
    write_table(pl.DataFrame([("train", "p", "1", 5)], datasets.COLUMNS, orient="row"), tmp_path / "math.parquet")
    (one,) = datasets.questions(task("math", chat=True), tmp_path / "math.parquet").train
    assert one.chat[0]["content"] == "p\nPlease reason step by step, and put your final answer within \\boxed{}."


def test_no_table_is_one_line(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="expected the output of prepare"):
        datasets.questions(task("gsm8k"), tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("name", "kind", "characters", "train", "test"),
    [
        ("gsm8k", "gsm8k", 512, 7230, 1265),
        ("math", "math", 1024, 8358, 496),  # 8,360 in the paper: two have no answer
        ("math5", "math", 10**6, 2302, 1324),
    ],
)
def test_the_paper_s_counts(name, kind, characters, train, test, real_data, tmp_path):
    datasets.prepare(Preparation(name=name, data_dir=str(real_data)), tmp_path)
    found = datasets.questions(task(kind, prompt_characters=characters), tmp_path / f"{name}.parquet")
    assert (len(found.train), len(found.test)) == (train, test)


@pytest.mark.parametrize("make", [problems.chains, problems.step_problems, problems.chat_sums])
def test_generated_problems_are_right_and_held_out(make):
    found = make(7)
    assert found.train == make(7).train and found.train != make(8).train
    assert not {p.prompt for p in found.train} & {p.prompt for p in found.test}
    for one in found.train[:50]:
        if make is problems.chat_sums:
            assert str(eval(one.prompt.rpartition("What is ")[2].partition("?")[0])) == one.answer
        else:
            assert str(eval(one.prompt[:-1]) % 10) == one.answer


def test_a_pair_of_digits_is_in_one_part():
    found = problems.chat_sums(3, shots=2)
    questions = [[p.prompt.rpartition("What is ")[2] for p in part] for part in (found.train, found.test)]
    sides = [{frozenset(c for c in text if c.isdigit()) for text in part} for part in questions]
    assert not sides[0] & sides[1] and not {frozenset("25"), frozenset("23")} & sides[1]
    assert all(p.prompt.count("<|im_start|>user") == 3 for p in found.train)


def test_demonstrations_are_wrong_as_often_as_they_say():
    draw = stream(0, "test")
    chains, tokens = problems.chains(0).train, CharTokenizer()
    texts = [problems.demonstrate_chain(one, draw, "warm") for one in chains for _ in range(5)]
    right = [
        problems.grade_terminated(t[:-1], p.answer, True) for t, p in zip(texts, np.repeat(chains, 5), strict=True)
    ]
    assert np.mean(right) == pytest.approx(0.35 * 0.73, abs=0.03)
    assert all(tokens.decode(tokens.encode(text)) == text[:-1] for text in texts)
    steps = problems.step_problems(0).train[:200]
    for one in steps:
        text = problems.demonstrate_steps(one, draw, wrong=0.0, fillers=False)
        assert text == ";".join(problems.step_answer(one.prompt)) + f";#{one.answer}."


HAND_CHECKED = [
    ("1. Add 3 and 4.\n2. Double it.\n3. Subtract 1.", {"decomposition"}),
    ("Step 1: x\nStep 2: y", set()),
    ("Let me verify: 3 * 4 = 12, so it holds.", {"verification"}),
    ("We check that 5 divides 10.", {"verification"}),
    ("Wait, that is not valid. Try another value.", {"backtracking"}),
    ("I made a mistake, so let's re-evaluate.", {"backtracking"}),
    ("```python\nprint(3)\n```", {"code"}),
    ("The waiter paid by cheque.", set()),
    ("The answer is 7.", set()),
]


@pytest.mark.parametrize(("text", "expected"), HAND_CHECKED)
def test_behaviours_by_hand(text, expected):
    assert {name for name, there in behaviours(text).items() if there} == expected
