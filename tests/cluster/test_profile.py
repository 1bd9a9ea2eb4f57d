"""The SLURM profiles hold the settings that keep clear of the plugin's faults; profiles/README.md says why."""

import re
from pathlib import Path

import pytest
import yaml

from septet.workflow_config import read_papers

ROOT = Path(__file__).parents[2]
SITE = {"slurm_account", "slurm_partition", "jobs"}


def text(name):
    return (ROOT / f"profiles/{name}/profile.yaml").read_text()


def profile(name):
    return yaml.safe_load(text(name))


@pytest.fixture(params=["slurm", "slurm-gpu"])
def settings(request):
    return profile(request.param)


def test_an_outage_of_the_status_query_loses_no_job(settings):
    seconds = settings["slurm-status-attempts"] / settings["max-status-checks-per-second"]
    assert seconds >= 180, "attempts over less time than a controller's restart: then the plugin forgets its jobs"


def test_states_come_from_squeue(settings):
    """sacct's `CANCELLED by 0` counts as running for ever, and array tasks take the state of the last one."""
    assert settings["slurm-status-command"] == "squeue"
    assert 3 * settings["slurm-init-seconds-before-status-checks"] <= 300, "above SLURM's MinJobAge it takes sacct"


def test_attempts_are_counted_by_the_profile_alone(settings):
    """`retries:` in a rule would try again inside the old allocation, with the new numbers on paper only."""
    assert settings["retries"] >= 2
    assert settings["slurm-no-requeue"] and "slurm-requeue" not in settings
    for rules in (ROOT / "workflow").rglob("*"):
        if rules.suffix == ".smk" or rules.name == "Snakefile":
            assert not re.search(r"^\s*retries\s*:", rules.read_text(), re.MULTILINE), rules.name


def test_no_job_arrays(settings):
    """With fewer slots than ready jobs the plugin drops array tasks without a word, and the run hangs."""
    assert "slurm-array-jobs" not in settings


def test_jobs_are_told_before_their_time_is_up(settings):
    extra = settings["default-resources"]["slurm_extra"].strip("'")
    assert int(re.fullmatch(r"--signal=TERM@(\d+)", extra).group(1)) >= 60
    assert "trap : TERM USR1" in (ROOT / "workflow/rules/common.smk").read_text()


def test_failures_are_shown(settings):
    assert not {"rules", "all"} & set(settings["quiet"]), "that would hide refused submissions too"


def test_containers_are_hardened_alike():
    here = profile("local-container")["apptainer-args"].split()
    assert profile("slurm")["apptainer-args"].split() == here
    assert profile("slurm-gpu")["apptainer-args"].split() == ["--nv", *here]
    assert "--containall" in here and "--no-privs" in here


def test_the_gpu_profile_differs_in_the_gpu_alone():
    plain, gpu = profile("slurm"), profile("slurm-gpu")
    rules = gpu.pop("set-resources")
    assert {name: set(table) for name, table in rules.items()} == {name: {"slurm_partition"} for name in rules}
    for name in rules:
        paper = name.removesuffix("_train")
        assert paper in read_papers(ROOT)
    plain.pop("apptainer-args"), gpu.pop("apptainer-args")
    assert plain == gpu


def test_every_line_is_explained(settings):
    readme = (ROOT / "profiles/README.md").read_text()
    for key in [*settings, *settings["default-resources"]]:
        assert f"`{key}`" in readme, key


def test_a_site_changes_three_keys():
    readme = (ROOT / "profiles/README.md").read_text()
    table = readme[readme.index("## A site") :].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == SITE
