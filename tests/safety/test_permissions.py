"""Data and results that may not be read (a colleague's umask 077): one line and exit code 2, whoever reads them."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from septet.card import RunCard
from septet.dynts.upworthy import UPWORTHY
from septet.empg import datasets
from septet.report import merge, published
from septet.scores import score_rows, write_scores, write_timing

ROOT = Path(__file__).parents[2]
PRCTL_DROP, DAC_OVERRIDE, DAC_READ_SEARCH = 24, 1, 2
RUN = "a" * 12
CARD = {
    "id": RUN, "paper": "dynts", "verb": "train", "task": "static", "methods": {"ts": {}}, "seeds": [0, 1],
    "config": {"method": {"name": "ts"}, "task": {"name": "static"}}, "data": "simulated", "sources": {}, "lock": None,
    "image": None, "versions": {}, "host": {}, "started": "2026-01-01T00:00:00Z", "wall_seconds": 1.0,
    "cpu_seconds": 1.0, "peak_memory_mb": 1.0, "steps": 1, "steps_per_second": 1.0,
}  # fmt: skip

SCRIPT = """
import contextlib, io, json, os, runpy, sys, warnings
warnings.simplefilter("ignore", RuntimeWarning)  # of runpy: one module imports another
for folder, module, arguments, given in json.load(open(sys.argv[1])):
    os.chdir(folder)
    sys.argv[:] = [module, *arguments]
    sys.stdin = io.TextIOWrapper(io.BytesIO(json.dumps(given).encode()))
    out, error, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
        except BaseException as end:
            code, _ = repr(end), error.write(repr(end))
    print(json.dumps([code or 0, out.getvalue(), error.getvalue()]), file=sys.__stdout__)
"""
"""Runs commands one after the other: to start a Python for each takes longer than all of them."""


def without_roots_rights():
    """Let the child read what its owner may read, as everyone else does; tests may run as root, who reads anything."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (DAC_OVERRIDE, DAC_READ_SEARCH) if os.geteuid() == 0 else ():
        if libc.prctl(PRCTL_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "cannot give up root's right to read any file")


def run(commands, folder):
    """Exit code, output and error output of each of ``(working folder, module, arguments, standard input)``."""
    (folder / "commands.json").write_text(json.dumps(commands))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "commands.json")],
        preexec_fn=without_roots_rights, capture_output=True, text=True, cwd=folder,
        env={**os.environ, "SEPTET_DATA": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(commands)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Results with one paper, published too; and what is measured of its jobs."""
    folder = tmp_path_factory.mktemp("whole")
    run_folder = folder / "laptop/dynts/runs/ts/static"
    rows = score_rows("dynts", "ts", "static", seeds=[0, 1], steps=[1, 2], metrics={"regret": [[1, 2], [3, 4]]})
    write_scores(run_folder / "scores.parquet", [rows])
    write_timing(run_folder / "timing.parquet", [rows.rename({"metric": "phase", "value": "seconds"})])
    RunCard.model_validate(CARD).write(run_folder / "run.json")
    merge.evaluate("dynts", "laptop", [run_folder], folder / "laptop/dynts")
    published.publish(folder / "laptop", ["dynts"], folder / "published")
    (folder / "claims").mkdir()
    shutil.copy(ROOT / "config/claims/dynts.yaml", folder / "claims")
    from septet.report.__main__ import Judge, judge

    claims = [folder / "claims/dynts.yaml"]
    judge(Judge(results=folder / "laptop", claims=claims), folder / "laptop/dynts")
    judge(Judge(results=folder / "laptop", claims=claims), folder / "laptop/report")
    (folder / "benchmarks/laptop/dynts").mkdir(parents=True)
    (folder / "benchmarks/laptop/dynts/judge.jsonl").write_text('{"s": 1.0}\n')
    (run_folder / "checkpoint").mkdir()
    (run_folder / "checkpoint/progress.json").write_text("{}")
    return folder


def readers():
    """What reads a results folder, in a folder like `whole`."""
    results, claims = "laptop", ["claims/dynts.yaml"]
    merged = {"paper": "dynts", "scale": "laptop", "runs": ["laptop/dynts/runs/ts/static"]}

    def verb(name, given, package="septet.report"):
        return [package, [name, "--config", "-", "--out", f"out-{name}"], given]

    return {
        "evaluate": verb("evaluate", merged),
        "judge": verb("judge", {"results": results, "claims": claims}),
        "draw": verb("draw", {"paper": "dynts", "results": {".": results}}),
        "page": verb("page", {"results": results, "claims": claims, "verdicts": ["laptop/dynts/verdicts.json"]}),
        "publish": verb("publish", {"results": results, "papers": ["dynts"], "benchmarks": "benchmarks"}, "septet.ops"),
        "crate": verb("crate", {"results": results, "checkout": str(ROOT)}, "septet.ops"),
        "track": verb("track", {"results": results, "papers": ["dynts"], "sinks": ["tensorboard"]}, "septet.ops"),
        "show": ["septet.report", ["show", results], None],
        "show a paper": ["septet.report", ["show", "laptop/dynts"], None],
        "compare": ["septet.ops", ["compare", results, "published", "--claims", "claims"], None],
        "trace": ["septet.ops", ["trace", results, f"{RUN}/regret"], None],
        "status": ["septet", ["status", results], None],
        "seal": ["septet", ["seal", "laptop/dynts/scores.parquet"], None],
    }


ANY = ("judge", "draw", "page", "publish", "crate", "track", "compare", "trace", "seal")
CASES = {
    "laptop": ("evaluate", *ANY, "show", "show a paper", "status"),
    "laptop/dynts": ("evaluate", *ANY, "show", "show a paper", "status"),
    "laptop/dynts/runs.json": (*ANY, "show"),
    "laptop/dynts/scores.parquet": ("judge", "draw", "publish", "crate", "track", "compare", "trace", "seal"),
    "laptop/dynts/timing.parquet": ("judge", "draw", "publish", "crate", "track", "compare", "trace"),
    "laptop/dynts/verdicts.json": ("page", "crate", "show a paper"),
    "laptop/dynts/runs/ts/static/run.json": ("evaluate", "crate"),
    "laptop/dynts/runs/ts/static/scores.parquet": ("evaluate", "crate"),
    "laptop/dynts/runs/ts": ("evaluate", "crate", "status"),
    "laptop/report": ("crate", "show", "status"),
    "laptop/report/verdicts.json": ("crate", "show"),
    "published": ("compare",),
    "published/dynts": ("compare",),
    "published/dynts/timing.parquet": ("compare",),
    "claims": ("judge", "page", "compare"),
    "claims/dynts.yaml": ("judge", "page", "compare"),
    "benchmarks/laptop": ("publish",),
    "benchmarks/laptop/dynts": ("publish",),
    "benchmarks/laptop/dynts/judge.jsonl": ("publish",),
}  # fmt: skip


def refused(cases, folder):
    """Each case is a command and the path, below its working folder, that it may not read."""
    shut = [Path(command[0]) / path for command, path in cases]
    modes = [path.stat().st_mode for path in shut]
    for path in shut:
        path.chmod(0)
    try:
        found = run([command for command, _ in cases], folder)
    finally:
        for path, mode in zip(shut, modes, strict=True):
            path.chmod(mode)
    for ((where, module, arguments, _), path), (code, out, error) in zip(cases, found, strict=True):
        about = f"{module} {' '.join(arguments)} with {path} closed: {code} {out} {error}"
        assert code == 2, about
        assert error.count("\n") == 1 and "Permission denied" in error and out == "", about
        assert not list(Path(where).glob("out-*")), about


def test_every_reader_of_results_says_in_one_line_what_may_not_be_read(whole, tmp_path):
    cases, known = [], readers()
    for path, names in CASES.items():
        for name in names:
            folder = tmp_path / str(len(cases))
            shutil.copytree(whole, folder)
            cases.append(([str(folder), *known[name]], path))
    refused(cases, tmp_path)


def data_readers():
    """What prepares data or trains on prepared ones, and the file that it reads first."""

    def prepare(package, given):
        return [
            f"septet.{package}",
            ["prepare", "--config", "-", "--out", f"out-{package}"],
            {**given, "data_dir": "data"},
        ]

    ewt = {"task": {"name": "ewt", "treebank": "ewt", "from_scratch": True}, "data_source": "real"}
    craft = {"task": {"name": "craft"}, "data_source": "real"}
    bandit = {"method": {"name": "ts", "schedules": ["none"]}, "task": {"name": "b", "kind": "headline_bandit"}}
    return [
        (prepare("dynts", {"data_source": "real"}), UPWORTHY.file),
        (prepare("dynts", {"data_source": "auto"}), UPWORTHY.file),
        (prepare("empg", {"name": "gsm8k"}), datasets.SOURCES["gsm8k"]["train"].file),
        (prepare("vrda", ewt), "ud-english-ewt/en_ewt-ud-train.conllu.gz"),
        (prepare("vrda", craft), "craft-50best/train.jsonl.gz"),
        (
            [
                "septet.dynts",
                ["train", "--config", "-", "--out", "out-train"],
                {**bandit, "data_file": "data/x.parquet"},
            ],
            "x.parquet",
        ),
    ]


def test_data_that_may_not_be_read_are_one_line(tmp_path):
    cases = []
    for command, file in data_readers():
        for depth in range(len(Path(file).parts) + 1):  # the folder, those below it, the file
            folder = tmp_path / str(len(cases))
            (folder / "data" / file).parent.mkdir(parents=True)
            (folder / "data" / file).write_bytes(b"x")
            cases.append(([str(folder), *command], Path("data", *Path(file).parts[:depth])))
    refused(cases, tmp_path)
