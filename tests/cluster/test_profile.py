"""The SLURM profiles hold the settings that keep clear of the plugin's faults; profiles/README.md says why."""

import importlib.util
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
    """sacct's `CANCELLED by 0` counts as running forever, and array tasks take the state of the last one."""
    assert settings["slurm-status-command"] == "squeue"
    assert 3 * settings["slurm-init-seconds-before-status-checks"] <= 240, "above MinJobAge it takes sacct"


def test_attempts_are_counted_by_the_profile_alone(settings):
    """`retries:` in a rule would try again inside the old allocation, with the new numbers on paper only."""
    assert settings["retries"] >= 5, "attempts have equal time: as much in all as 1 + 2 + 3 times"
    for rules in (ROOT / "workflow").rglob("*"):
        if rules.suffix == ".smk" or rules.name == "Snakefile":
            assert not re.search(r"^\s*retries\s*:", rules.read_text(), re.MULTILINE), rules.name


def test_what_slurm_takes_from_a_node_it_starts_again(settings):
    """With --no-requeue it cancels a preempted job, and the plugin takes PREEMPTED for running."""
    assert settings["slurm-requeue"] and "slurm-no-requeue" not in settings


def test_the_longest_wait_between_two_looks_is_the_plugin_s():
    """tools/slurm_limits.py holds MinJobAge against it."""
    spec = importlib.util.find_spec("snakemake_executor_plugin_slurm")
    source = Path(spec.origin).read_text(encoding="utf-8")
    (seconds,) = set(re.findall(r"max_sleep_time = (\d+)", source))
    limits = (ROOT / "tools/slurm_limits.py").read_text(encoding="utf-8")
    assert f"LONGEST_POLL = {seconds} " in limits


def test_no_job_arrays(settings):
    """With fewer slots than ready jobs the plugin drops array tasks without a word, and the run hangs."""
    assert "slurm-array-jobs" not in settings


def test_jobs_are_told_before_their_time_is_up(settings):
    """sbatch reads it from the environment: a resource is dropped where a site sets resources of its own."""
    rules = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    seconds = re.search(r'os\.environ\.setdefault\("SBATCH_SIGNAL", "TERM@(\d+)"\)', rules)
    assert int(seconds[1]) >= 60 and "trap : TERM USR1 HUP" in rules
    assert "slurm_extra" not in settings["default-resources"]


def test_the_jobs_of_a_group_are_a_paper_s(settings):
    """The group's name is all that its log folder and its comment in the queue say."""
    assert settings["groups"] == ["evaluate=tables_{paper}", "judge=tables_{paper}"]


def test_recover_knows_the_names_of_jobs(settings):
    recover = (ROOT / "tools/recover.py").read_text(encoding="utf-8")
    assert f'NAMED = re.compile(r"{settings["slurm-jobname-prefix"]}_[0-9a-f-]{{36}}")' in recover


def test_failures_are_shown(settings):
    assert not {"rules", "all"} & set(settings["quiet"]), "that would hide refused submissions too"


def test_containers_are_hardened_alike():
    here = profile("local-container")["apptainer-args"].split()
    assert profile("slurm")["apptainer-args"].split() == here
    on_gpus = profile("slurm-gpu")["apptainer-args"].split()
    assert [word for word in on_gpus if "CUDA_VISIBLE_DEVICES" not in word] == ["--nv", *here]
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
    table = readme[readme.index("## Adapt the SLURM profiles") :].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == SITE
