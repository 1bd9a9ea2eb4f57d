"""The lineage of a point, and what is said of one that there is not."""

import json
import shlex
import subprocess

import numpy as np
import pytest

from septet.errors import InputError
from septet.files import sha256, source_digest
from septet.ops.trace import command, main, trace
from septet.report import merge
from septet.report.compact_svg import Picture
from septet.report.figure_files import Drawn, Panel, Point, write_figure

from .conftest import build_card, write_run

RUN = "0123456789ab"


def both(value):
    return [("ts/exp-0.9", value), ("ts/none", value + 100)]


@pytest.fixture
def results(tmp_path):
    config = {"method": {"name": "ts"}, "task": {"name": "static"}, "seeds": [0, 1, 2], "note": "it's"}
    sources = {"septet": source_digest("septet"), "septet.dynts": "0" * 64}
    card = build_card(RUN, methods={"ts/none": {}, "ts/exp-0.9": {}}, config=config, sources=sources)

    def value(method, card, steps):
        return np.arange(9.0).reshape(3, 3) + (100 if method == "ts/none" else 0)

    folder = tmp_path / "laptop"
    write_run(folder / "dynts/runs/ts/static", card, value)
    merge.evaluate("dynts", "laptop", [folder / "dynts/runs/ts/static"], folder / "dynts")
    (folder / "figures/dynts").mkdir(parents=True)
    for name, run in (("regret_curves", RUN), ("memory", "f" * 12)):
        panel = Panel("", Picture(1.0, 1.0, ""), [Point(0.0, 0.0, {"run": run})], {})
        write_figure(folder / f"figures/dynts/{name}.json", Drawn(name, "", "", 0, [panel]))
    return folder


def links(name, results):
    found = {}
    for what, line in trace(name, results):
        found.setdefault(what, []).append(line)
    return found


def test_a_figure_s_point_leads_to_its_run_and_its_command(results):
    found = links("regret_curves/dynts/ts/none/static/1", results)
    assert found["row"] == ["ts/none, seed 1, step 100: regret = 105.0"]
    assert "it shows this run" in found["drawing"][0]
    assert sha256(results / "dynts/scores.parquet") in found["table"][0]
    assert found["run"][0].startswith(RUN) and str(results / "dynts/runs/ts/static/run.json") in found["run"][0]
    assert found["seed"] == ["1 of 0, 1, 2"] and found["data"] == ["simulated"]
    assert found["package"][0].endswith("the same as here") and found["package"][1].endswith("another one is here")
    assert "-- results/laptop/dynts/runs/ts/static/scores.parquet" in found["in the workflow"][0]
    assert "it does not show this run" in links("memory/dynts/ts/none/static/1", results)["drawing"][0]


@pytest.mark.parametrize(
    "name, rows",
    [
        (RUN, ["18 of the score table"]),
        (f"{RUN[:6]}/regret/2/50", [f"{m}, seed 2, step 50: regret = {v}" for m, v in both(7.0)]),
        (f"{RUN}/regret/0", [f"{m}, seed 0, step 100: regret = {v}" for m, v in both(2.0)]),
    ],
)  # fmt: skip
def test_a_run_card_s_id_leads_there_too(results, name, rows):
    found = links(name, results)
    assert found.get("row", found.get("rows")) == rows


def test_the_command_holds_the_configuration_of_that_seed_whatever_is_in_it(results):
    text = links(f"{RUN}/regret/2", results)["on its own"][0]
    program, _, rest = text.partition(" | ")
    printed = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["seeds"] == [2] and json.loads(printed)["note"] == "it's"
    assert shlex.split(rest) == "python -m septet.dynts train --config - --out regrown".split()
    assert "python -m septet.empg train" in command(build_card(RUN, paper="empgreal", config={"seeds": []}))


@pytest.mark.parametrize(
    "name, said",
    [
        ("zzz", "expected RUN[/METRIC[/SEED[/STEP]]] or FIGURE/PAPER/METHOD/TASK/SEED, found zzz"),
        ("ffffff", "found no run ffffff"),
        (f"{RUN}/cost", "metric: expected one of regret, found cost"),
        (f"{RUN}/regret/7", "seed: expected one of 0, 1, 2, found 7"),
        (f"{RUN}/regret/x", "seed: expected a whole number, found x"),
        (f"{RUN}/regret/1/51", "step: expected one of 0, 50, 100, found 51"),
        (f"{RUN}/regret/1/50/1", "expected RUN"),
        ("regret_curves/vrda/ts/none/static/1", "paper: expected one of dynts, found vrda"),
        ("nothing/dynts/ts/none/static/1", "figure: expected one of regret_curves"),
        ("regret_curves/dynts/ts/static/1", "method and task: expected one of ts/exp-0.9/static, ts/none/static"),
        ("regret_curves/dynts/ts/none/drift/1", "method and task: expected one of static, found ts/none/drift"),
        ("regret_curves/dynts/ts/none/static/9", "seed: expected one of 0, 1, 2, found 9"),
    ],
)
def test_an_unknown_point_is_one_clear_line(results, tmp_path, capsys, name, said):
    with pytest.raises(InputError) as error:
        main([str(results), str(tmp_path / "none"), name])
    assert said in str(error.value) and "\n" not in str(error.value) and not capsys.readouterr().out


def test_the_first_folder_that_knows_the_point_answers(results, tmp_path, capsys):
    main([str(tmp_path / "none"), str(results), RUN])
    assert capsys.readouterr().out.startswith(f"point            {RUN} in {results}\n")
    with pytest.raises(InputError, match="expected a folder with runs"):
        main([str(tmp_path / "none"), RUN])
