"""Configuration, profiles and manifests agree with each other."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import verdict_table
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from snakemake.utils import update_config

from septet.config import validate
from septet.report.claims import read_claims
from septet.report.draw import figures_of
from septet.report.papers import vrda as figures
from septet.workflow_config import SCALES, Workflow, experiments, generated, read_papers

ROOT = Path(__file__).parents[1]
PAPERS = read_papers(ROOT)
PROFILES = ("local", "local-container", "local-gpu", "slurm")


def test_defaults_are_those_of_the_models():
    for path, text in generated(ROOT).items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)} differs from its model: run make config"


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("paper", PAPERS)
def test_each_scale_is_an_overlay_of_the_paper_s_schema(scale, paper):
    settings = yaml.safe_load((ROOT / f"config/papers/{paper}.yaml").read_text())
    update_config(settings, yaml.safe_load((ROOT / f"config/scale/{scale}.yaml").read_text())[paper])
    validate(experiments(PAPERS[paper]), settings, scale)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("paper", PAPERS)
def test_claims_name_methods_and_tasks_that_their_scales_run(paper, scale):
    settings = Workflow(ROOT, {}).settings(paper, scale)
    chosen = validate(experiments(PAPERS[paper]), settings, scale)
    for claim in read_claims(ROOT / f"config/claims/{paper}.yaml").claims:
        if scale not in claim.scales:
            continue
        for task in claim.tasks:
            for label in claim.methods:
                method = label.partition("/")[0]
                assert method in settings["runs"][task], f"{claim.id}: {label} on {task}"
                named = chosen.methods[method].model_copy(update={"name": method})
                made = named.labels() if hasattr(named, "labels") else [method]
                assert label in made, f"{claim.id}: {label}"


def test_figures_of_vrda_name_predictors_that_run():
    """A series without rows is left out of a figure without a word."""
    chosen = validate(
        experiments(PAPERS["vrda"]), yaml.safe_load((ROOT / "config/papers/vrda.yaml").read_text()), "vrda"
    )
    runs = {name: chosen.methods[name].model_copy(update={"name": name}) for name in chosen.runs["craft_small"]}
    made = {label for method in runs.values() for label in method.labels()}
    named = [series.label for table in (figures.SINGLE, figures.EVERY, figures.METHODS) for series in table]
    assert set(named) <= made
    assert {name for name in runs if not any(label.startswith(f"{name}/") for label in named)} == set()


@pytest.mark.parametrize("paper", PAPERS)
def test_scale_paper_judges_at_least_what_laptop_judges(paper):
    """The same claims, on no fewer seeds."""
    workflow = Workflow(ROOT, {})
    for claim in read_claims(ROOT / f"config/claims/{paper}.yaml").claims:
        if "laptop" not in claim.scales:
            continue
        assert "paper" in claim.scales, claim.id
        for task in claim.tasks:
            for method in {label.partition("/")[0] for label in claim.methods}:
                job = {scale: workflow.training(paper, scale, method, task) for scale in ("laptop", "paper")}
                seeds = {scale: len(one.get("seeds") or one["task"]["seeds"]) for scale, one in job.items()}
                assert seeds["paper"] >= seeds["laptop"], f"{claim.id}: {method} on {task}"


@pytest.mark.parametrize("paper", PAPERS)
def test_the_table_of_papers_names_the_figures_that_the_report_draws(paper):
    assert PAPERS[paper].figures == [figure.name for figure in figures_of(paper)]


@pytest.mark.parametrize(
    ("profile", "scale"),
    [(profile, scale) for profile in PROFILES for scale in SCALES if profile in ("local", "slurm") or scale == "paper"],
)
def test_every_scale_plans_under_every_profile(house, tmp_path, scale, profile):
    stub = tmp_path / "apptainer"  # a dry run with containers asks for the program's version
    stub.write_text("#!/bin/sh\necho apptainer version 1.4.5\n")
    stub.chmod(0o755)
    done = house.snakemake(
        "-n", "--quiet", "rules", "--profile", f"profiles/{profile}", "--config", f"scale={scale}",
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"^total +(\d+)", done.stdout, re.MULTILINE).group(1)) > 15


def test_the_snakefile_parses_in_under_a_second(house):
    """Listing the rules, less starting snakemake at all: processor time, medians of three."""

    def seconds(*arguments):
        code = f"""
import sys, time
from snakemake.cli import main
start = time.process_time()
try:
    main({list(arguments)!r})
except SystemExit:
    pass
print("took", time.process_time() - start)
"""
        taken = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=house.folder, env=house.environment(), capture_output=True, text=True
            )  # fmt: skip
            taken.append(float(done.stdout.rsplit("took", 1)[1]))
        return sorted(taken)[1]

    (house.folder / "Empty").write_text("rule a:\n    shell: 'true'\n")
    assert seconds("--list") - seconds("--list", "-s", "Empty") < 1.0


def locked(file):
    lines = (ROOT / file).read_text().splitlines()
    return dict(re.sub(r"\[.*\]", "", line).split("==") for line in lines if "==" in line)


def test_direct_pins_are_those_of_the_locks():
    for asked, lock in (("requirements.in", "requirements.lock"), ("requirements-dev.in", "requirements-dev.lock")):
        names = {name.lower().replace("_", "-"): version for name, version in locked(lock).items()}
        for name, version in locked(asked).items():
            assert names[name.lower().replace("_", "-")] == version


def test_the_locks_install_on_every_python_that_the_readme_names():
    for name in (*locked("requirements.lock"), *locked("requirements-dev.lock")):
        asked = importlib.metadata.metadata(name)["Requires-Python"] or ""
        assert SpecifierSet(asked).contains("3.11.0"), f"{name} asks for Python {asked}"


def test_pixi_has_the_pins_of_the_locks_and_the_commands_of_the_makefile():
    manifest = tomllib.loads((ROOT / "pixi.toml").read_text())
    # the tables that pixi's manifest knows, https://pixi.sh/latest/reference/pixi_manifest
    assert set(manifest) <= {
        "workspace", "dependencies", "pypi-dependencies", "feature", "environments", "tasks", "activation", "target",
        "pypi-options", "system-requirements", "host-dependencies", "build-dependencies", "package",
    }  # fmt: skip
    assert set(manifest["workspace"]) <= {"name", "version", "description", "channels", "platforms", "license"}
    assert {"name", "channels", "platforms"} <= set(manifest["workspace"])
    for table, lock in ((manifest, "requirements.lock"), (manifest["feature"]["dev"], "requirements-dev.lock")):
        pins = {name: version for name, version in table["pypi-dependencies"].items() if isinstance(version, str)}
        assert pins == {name: f"=={version}" for name, version in locked(lock).items()}
    editable = {table["path"] for table in manifest["pypi-dependencies"].values() if isinstance(table, dict)}
    assert editable == {f"packages/{path.parent.name}" for path in ROOT.glob("packages/*/pyproject.toml")}
    tasks = {**manifest["tasks"], **manifest["feature"]["dev"]["tasks"]}
    for name, task in tasks.items():
        assert commands_of_make(name)[-len(commands_of(task)) :] == commands_of(task), name


def commands_of(task):
    text = task["cmd"] if isinstance(task, dict) else task
    return text.split(" && ")


def commands_of_make(target):
    done = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True,
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PROFILE")},
    )  # fmt: skip
    return [line.replace(".venv/bin/", "") for line in done.stdout.splitlines()]


def test_the_lock_of_a_run_needs_nothing_of_the_lock_of_the_tests():
    """A reader's set-up has requirements.lock alone; here the tests' packages would hide a gap."""
    names = {canonicalize_name(name) for name in locked("requirements.lock")}
    for name in names:
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in names, f"{name} needs {line}"


def test_the_set_up_is_whole():
    subprocess.run([sys.executable, "-m", "pip", "check"], check=True, capture_output=True)


def test_the_catalog_finds_what_it_asks_for():
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert {"mandatory-flags", "software-stack-deployment", "report"} <= set(catalog["usage"])
    assert (ROOT / "workflow/Snakefile").is_file() and (ROOT / "config/README.md").is_file()


def test_no_machine_path_or_package_index_in_tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    suspicious = re.compile(r"/(?:work|root|home)/|/simple/|files\.pythonhosted|pypi\.org/")
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix in (".parquet", ".png", ".safetensors") or path == Path(__file__) or not path.is_file():
            continue
        match = suspicious.search(path.read_text(encoding="utf-8"))
        assert match is None, f"{name}: {match.group(0)}"


def test_the_pages_have_the_verdicts_of_the_published_run():
    for path, text in verdict_table.pages(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python tools/verdict_table.py"
        assert "<!-- claims of" in text or path == ROOT / "README.md", f"{path}: expected the markers of its claims"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert verdict_table.table(ROOT) in text and len(text.splitlines()) < 170
