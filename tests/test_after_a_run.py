"""The plan against Snakemake's own dry run, and the lineage of a point against the bytes that it promises."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from septet.files import sha256
from septet.ops.trace import trace
from septet.report import merge


def planned_jobs(house, *arguments):
    done = subprocess.run(
        [sys.executable, "tools/jobs.py", "--profile", "profiles/local", *arguments],
        cwd=house.folder, env=house.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("scale", ["smoke", "paper"])
def test_the_jobs_of_the_plan_are_those_of_a_dry_run(house, scale):
    dry = house.snakemake("-n", "--quiet", "rules", "--cores", "2", "--config", f"scale={scale}")
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", dry.stdout, re.MULTILINE)}
    total = counts.pop("total")
    jobs = planned_jobs(house, "--config", f"scale={scale}")
    assert Counter(job["rule"] for job in jobs) == counts and len(jobs) == total
    assert all(before < place for place, job in enumerate(jobs) for before in job["waits_for"])
    for job in jobs:
        if job["rule"].endswith("_train"):
            assert job["config"]["method"] and job["config"]["task"] and job["resources"]["mem_mb"] > 0
    last = next(job for job in jobs if job["rule"] == "page")
    assert {jobs[place]["rule"] for place in last["waits_for"]} >= {"judge", "evaluate", "dynts_figures"}
    threads = {job["wildcards"]["method"]: job["threads"] for job in jobs if job["rule"] == "walle_train"}
    # the largest of its pools, and the learner: what the rule asks for, however many cores this machine has
    assert threads["alternating"] == {"smoke": 3, "paper": 21}[scale]


def test_the_plan_s_configuration_is_the_resolved_one(house):
    chosen = ["--config", "scale=smoke", "papers=[dynts]", 'dynts={"horizon": 77}']
    job = next(job for job in planned_jobs(house, *chosen) if job["rule"] == "dynts_train")
    assert job["config"]["horizon"] == 77 and job["config"]["method"]["clock"] in ("round", "pull")


def test_the_command_that_trace_prints_regrows_the_score_table(house, tmp_path):
    environment = house.environment()
    config = {"method": {"name": "ts", "schedules": ["none", "exp-0.99"]}, "horizon": 100, "seeds": [3, 5]}
    config["task"] = {"name": "static", "kind": "simulation"}
    run = tmp_path / "smoke/dynts/runs/ts/static"
    done = subprocess.run(
        [sys.executable, "-m", "septet.dynts", "train", "--config", "-", "--out", str(run)],
        input=json.dumps(config), env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    merge.evaluate("dynts", "smoke", [run], tmp_path / "smoke/dynts")
    point = json.loads((run / "run.json").read_text())["id"]
    links = dict(trace(point, tmp_path / "smoke"))
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{environment['PATH']}"  # noqa: PTH120
    regrown = subprocess.run(
        links["on its own"], shell=True, cwd=tmp_path, env={**environment, "PATH": path}, capture_output=True
    )
    assert regrown.returncode == 0, regrown.stderr
    assert sha256(tmp_path / "regrown/scores.parquet") == sha256(run / "scores.parquet")
    assert json.loads((tmp_path / "regrown/run.json").read_text())["id"] == point
