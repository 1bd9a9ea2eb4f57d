"""Fixtures of the tests, and the way to their helpers."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported one by one, without their folder


@pytest.fixture(params=["gpt2", "llama", "float32"])
def lm(request):
    """A random model with learned positions; one with rotary ones and grouped heads; that one with our attention."""
    from empg_helpers import gpt2, llama

    from septet.empg import attention

    model = {"gpt2": gpt2, "llama": llama, "float32": llama}[request.param]()
    if request.param == "float32":
        model.set_attn_implementation(attention.NAME)
    return model


@pytest.fixture
def letters(tmp_path, monkeypatch):
    """Settings of a user's own job on a small random model of letters, in the current folder."""
    from test_models import folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    reward = "def letters(completions, **_):\n    return [text.count('e') / 12 for text in completions]\n"
    (tmp_path / "letter_rewards.py").write_text(reward, encoding="utf-8")
    rows = "".join(json.dumps({"prompt": letter}) + "\n" for letter in "abcdefghij")
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    return {
        "method": {"name": "empg"}, "seeds": [1], "device": "cpu",
        "task": {
            "kind": "dataset", "name": "letters", "model": folder(tmp_path / "base", begins=False).model_dump(),
            "train": "rows.jsonl", "held_out": 4, "rewards": [{"function": "letter_rewards.letters"}], "steps": 8,
            "prompts": 6, "samples": 4, "max_completion_length": 12, "eval_every": 4, "learning_rate": 2e-2,
        },
    }  # fmt: skip
