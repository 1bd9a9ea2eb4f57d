"""The bench of vrda and the figure made of it agree on the names of rows."""

import json
import subprocess
import sys

import pytest

import septet.vrda.bench
from septet.bench import row
from septet.card import Stopwatch
from septet.config import Settings
from septet.errors import InputError
from septet.report.bench import draw_bench
from septet.sealed import read_sealed_json, write_json


@pytest.fixture
def bench_file(monkeypatch, tmp_path):
    monkeypatch.setattr(septet.vrda.bench, "_cost", lambda examples, columns, draws: 10.0 + columns**0.2)
    card = Stopwatch().card(
        paper="vrda",
        verb="bench",
        task="t",
        methods={"m": {}},
        seeds=[0],
        config=Settings(),
        packages=["septet"],
        libraries=[],
        steps=1,
    )
    rows = [row("other", 1.0, "s", "peer", 2.0), *septet.vrda.bench.growth(1_000_000)]
    file = tmp_path / "vrda.json"
    write_json(file, {"rows": rows, "card": card.model_dump(mode="json")})
    return file


def test_growth_is_drawn_from_the_rows_of_the_bench(bench_file, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "septet.report", "bench_figures", "--config", "-", "--out", str(tmp_path / "out")],
        input=json.dumps({"paper": "vrda", "file": str(bench_file)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        f"growth.{s}" for s in ("csv", "json", "md", "pdf", "png", "svg", "tex")
    }
    panels = json.loads((tmp_path / "out" / "growth.json").read_text())["panels"]
    drawn = [sorted(point["row"]["x"] for point in panel["points"]) for panel in panels]
    assert drawn == [[10, 30, 100, 300], [1e4, 1e5, 1e6, 1e7, 1e8]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data["rows"].clear(),
            "expected rows 'time per non-zero, N columns', found none of 0",
        ),
        (lambda data: data.pop("card"), "card"),
        (lambda data: data["rows"][0].pop("value"), "value"),
    ],
)
def test_a_bench_file_of_another_form_is_one_line(bench_file, tmp_path, change, message):
    data = read_sealed_json(bench_file, "a bench")
    change(data)
    write_json(bench_file, data)
    with pytest.raises(InputError, match=message) as error:
        draw_bench(bench_file, "vrda", tmp_path / "out")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="a paper with bench figures, found dynts"):
        draw_bench(bench_file, "dynts", tmp_path / "out")
    assert not (tmp_path / "out").exists()
