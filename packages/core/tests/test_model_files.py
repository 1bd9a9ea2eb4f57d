"""Models as files: what was written is read, and nothing else is."""

import json

import numpy as np
import pytest

from septet.config import Settings
from septet.errors import InputError
from septet.model_files import read_model, write_model
from septet.run import Run
from septet.scores import score_rows


class Job(Settings):
    steps: int = 1


def train(out, arrays):
    with Run(out, Job(), paper="p", method="m", task="t", seeds=[0], packages=["septet"], libraries=[]) as run:
        for _ in run.loop(1, {"x": np.zeros(1)}):
            pass
        rows = score_rows(*run.key, seeds=[0], steps=[1], metrics={"f": [[0.5]]})
        run.write(
            [rows], methods={"m": {"k": 1}}, steps=1, beside=lambda card: write_model(run, card, arrays, {"n": 3})
        )
    return out


def test_arrays_and_card_come_back(tmp_path):
    out = train(tmp_path, {"w": np.array([0.1, 2.0]), "at": np.array([3, 4], np.int32)})
    for path in (out, out / "model"):
        card, arrays = read_model(path, "p")
        assert arrays["w"].tolist() == [np.float32(0.1), 2.0] and arrays["at"].tolist() == [3, 4]
    run = json.loads((out / "run.json").read_text())
    assert (card["n"], card["task"], card["seeds"], card["settings"]) == (3, "t", [0], {"m": {"k": 1}})
    assert card["run"] == run["id"]
    train(out, {})  # keeps nothing, and removes what is not of this run
    assert not (out / "model").exists()


def test_a_model_that_is_not_the_jobs_is_refused(tmp_path):
    out = train(tmp_path / "a", {"w": np.ones(3)})
    other = train(tmp_path / "b", {"w": np.zeros(3)})
    with pytest.raises(InputError, match="expected a model of q"):
        read_model(out, "q")
    with pytest.raises(InputError, match=r"expected a folder with card\.json"):
        read_model(tmp_path, "p")
    file = out / "model/arrays.safetensors"
    file.write_bytes((other / "model/arrays.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"expected the arrays that card\.json names, found other arrays"):
        read_model(out, "p")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match="another checksum"):
        read_model(out, "p")
