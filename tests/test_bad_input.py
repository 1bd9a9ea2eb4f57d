"""Bad input to real commands, from one end to the other: one line, exit code 2, nothing written."""

import json
import subprocess
import sys

import polars as pl
import pytest

from septet.dynts.config import Experiments, Job

EXPERIMENTS = Experiments()


def job(method="ts", task="static", **settings):
    made = Job(
        method=EXPERIMENTS.methods[method].model_copy(update={"name": method}),
        task=EXPERIMENTS.tasks[task].model_copy(update={"name": task}),
        seeds=[0, 1],
        horizon=40,
        points=5,
        **settings,
    )
    return made.model_dump(mode="json")


def changed(change):
    settings = job()
    change(settings)
    return settings


CASES = {
    "unknown key": (changed(lambda s: s.update(horizn=3)), "unknown key horizn"),
    "unknown key inside": (changed(lambda s: s["method"].update(gamma=0.9)), "found the unknown key gamma"),
    "wrong type": (changed(lambda s: s.update(horizon="long")), "horizon: expected a valid integer"),
    "missing key": (changed(lambda s: s.pop("method")), "method: expected a value, found nothing"),
    "no seed": (changed(lambda s: s.update(seeds=[])), "seeds: expected"),
    "a seed twice": (changed(lambda s: s.update(seeds=[1, 1])), "seeds: expected different seeds"),
    "a negative seed": (changed(lambda s: s.update(seeds=[-1])), "seeds: expected different seeds"),
    "out of range": (changed(lambda s: s["method"].update(epsilon=1.5)), "method.epsilon: expected"),
    "unknown schedule": (changed(lambda s: s["method"].update(schedules=["exp-2"])), "method.schedules: expected"),
    "unknown task": (changed(lambda s: s["task"].update(kind="maze")), "task.kind: expected"),
    "no data file": (changed(lambda s: s.update(task={"kind": "tracking", "name": "t"})), "expected data_file"),
    "a filter that does not fit": (changed(lambda s: s["method"].update(filter="diagonal")), "shared weights only"),
    "not a mapping": ([1, 2], "expected a mapping"),
}


def run(package, verb, config, out, **options):
    return subprocess.run(
        [sys.executable, "-m", f"septet.{package}", verb, "--config", str(config), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def written(folder, settings):
    """A configuration file."""
    (folder / "job.json").write_text(json.dumps(settings))
    return folder / "job.json"


def refused(done, says, *untouched):
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert says in done.stderr
    assert "expected" in done.stderr and "found" in done.stderr
    for path in untouched:
        assert not path.exists()


@pytest.mark.parametrize("name", CASES)
def test_a_bad_configuration(name, tmp_path):
    settings, says = CASES[name]
    config = written(tmp_path, settings)
    done = run("dynts", "train", config, tmp_path / "out")
    refused(done, says, tmp_path / "out")
    assert str(config) in done.stderr


def test_a_wrong_checksum(tmp_path):
    file = tmp_path / "data/upworthy-exploratory/upworthy-exploratory-packages.csv.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    config = written(tmp_path, {"data_dir": str(tmp_path / "data")})
    refused(run("dynts", "prepare", config, tmp_path / "out"), "SHA-256", tmp_path / "out")


def test_a_truncated_table(tmp_path):
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"x": list(range(1000))}).write_parquet(whole)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(whole.read_bytes()[:-50])
    config = written(tmp_path, job("tracker", "headlines", data_file=str(torn)))
    refused(run("dynts", "train", config, tmp_path / "out"), str(torn), tmp_path / "out")


def test_a_truncated_score_table(tmp_path):
    config = written(tmp_path, job())
    folder = tmp_path / "run"
    assert run("dynts", "train", config, folder).returncode == 0
    table = folder / "scores.parquet"
    table.write_bytes(table.read_bytes()[:-50])
    settings = tmp_path / "evaluate.json"
    settings.write_text(json.dumps({"paper": "dynts", "scale": "smoke", "runs": [str(folder)]}))
    refused(run("report", "evaluate", settings, tmp_path / "out"), str(table), tmp_path / "out")
