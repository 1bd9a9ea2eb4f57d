"""What stops a run is said in a line each, before it starts; programs of SLURM and Apptainer are stand-ins here."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mounts
import preflight
import pytest
import slurm_limits as limits

ROOT = Path(__file__).parents[1]
PROFILE = {
    "executor": "slurm",
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 20,
    "slurm-requeue": True,
}
CONFIG = """\
Configuration data as of 2026-11-28T08:53:48
AccountingStorageEnforce = associations,limits
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = lab
MinJobAge               = 300 sec
PreemptMode             = OFF
"""
# partition, limit, state, MB, cores, GPUs; a line for each node
NODES = """\
cpu*|1-00:00:00|up|64000|32|(null)
cpu*|1-00:00:00|up|128000+|48|(null)
gpu|12:00:00|up|512000|64|gpu:a100:4(S:0-1),shard:8
short|30:00|up|64000|32|(null)
open|infinite|up|64000|32|gpu:2
broken|infinite|inact|64000|32|(null)
"""
ASSOCIATIONS = "septet|normal|1000|\nother|normal||\n"
SERVICES = "normal|||\nlong|||14-00:00:00\ntight|4|||\n"


JOB = limits.Job("dynts_train", 2, 4000, 60, 0, "cpu", "septet", "")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Write a stand-in for a program of SLURM: what it prints, and its exit code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def program(name, text="", code=0):
        (folder / f"{name}.txt").write_text(text)
        (folder / name).write_text(f"#!/bin/sh\n/bin/cat {folder}/{name}.txt {'>&2' if code else ''}\nexit {code}\n")
        (folder / name).chmod(0o755)

    for name, text in {"sbatch": "", "squeue": "", "sacct": "", "scontrol": CONFIG, "sinfo": NODES}.items():
        program(name, text)
    accounts = f'#!/bin/sh\n[ "$3" = assoc ] && printf "%b" "{ASSOCIATIONS}" || printf "%b" "{SERVICES}"\n'
    (folder / "sacctmgr").write_text(accounts)
    (folder / "sacctmgr").chmod(0o755)
    return program


def found(job=JOB, at_a_time=100, **profile):
    return limits.problems([job], {**PROFILE, **profile}, at_a_time)


def test_nothing_is_said_of_what_fits(cluster):
    assert found() == []
    assert found(replace(JOB, partition="open", gpus=2, minutes=99999)) == []
    assert found(replace(JOB, partition="gpu", gpus=4, threads=64, memory_mb=512000)) == []
    assert found(replace(JOB, memory_mb=128000, minutes=1440)) == [], "the largest node counts"
    assert found(replace(JOB, partition="", minutes=1440)) == [], "the default partition is cpu"
    assert found(replace(JOB, partition="short,cpu")) == [], "one of several will do"
    assert found(replace(JOB, account="Septet other")) == []
    assert found(replace(JOB, partition="", minutes=99999), **{"slurm-partition-config": "partitions.yaml"}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"partition": "short"}, "dynts_train: partition short gives 30 minutes, it asks for 60"),
        ({"minutes": 1441}, "dynts_train: partition cpu gives 1440 minutes, it asks for 1441"),
        ({"minutes": 1441, "partition": ""}, "dynts_train: the default partition gives 1440 minutes"),
        ({"minutes": 800, "partition": "short,gpu"}, "partition short gives 30 minutes"),
        ({"memory_mb": 128001}, "has nodes of 128000 MB, it asks for 128001"),
        ({"memory_mb": 128001, "attempt": 2}, "note: dynts_train in attempt 2: partition cpu has nodes of"),
        ({"threads": 49}, "has nodes of 48 cores, it asks for 49"),
        ({"partition": "gpu", "gpus": 5}, "has nodes of 4 GPUs, it asks for 5"),
        ({"partition": "cpu", "gpus": 1}, "has nodes of 0 GPUs, it asks for 1"),
        ({"partition": "CPU"}, "partition CPU does not exist; there are broken, cpu, gpu, open, short"),
        ({"partition": "broken"}, "partition broken is not up"),
        ({"account": "nobody"}, "slurm_account: expected one of yours (other, septet), found nobody"),
        ({"qos": "tight"}, "qos tight lets you have 4 jobs in the queue, the profile submits up to 100"),
        ({"qos": "long", "minutes": 20161, "partition": "open"}, "dynts_train: qos long gives 20160 minutes"),
    ],
)
def test_what_would_be_refused_or_pending_for_ever_is_one_line(cluster, change, expected):
    (line,) = found(replace(JOB, **change))
    assert expected in line and "\n" not in line


def test_more_jobs_than_an_account_may_have_in_the_queue(cluster):
    assert found(at_a_time=1000) == []
    (line,) = found(at_a_time=1001)
    assert "account septet lets you have 1000 jobs in the queue" in line and "jobs: 1000 in the profile" in line
    cluster("scontrol", CONFIG.replace("associations,limits", "associations"))
    assert found(at_a_time=1001) == [], "a limit that is not enforced"


@pytest.mark.parametrize(
    ("age", "accounts", "status", "remedy"),
    [
        ("300 sec", True, "squeue", None),
        ("240 sec", True, "squeue", None),
        ("0 sec", True, "squeue", None),  # never forgotten
        ("239 sec", True, "squeue", "set slurm-status-command: sacct"),
        ("60 sec", True, "squeue", "set slurm-status-command: sacct"),
        ("60 sec", False, "squeue", "ask for a longer one"),
        ("59 sec", True, "squeue", None),  # below three times 20 the plugin asks sacct by itself
        ("59 sec", False, "squeue", "keeps no accounts"),
        ("60 sec", True, "sacct", None),
        ("300 sec", False, "sacct", "keeps no accounts"),
    ],
)
def test_a_job_that_has_ended_is_remembered_until_the_plugin_looks(cluster, age, accounts, status, remedy):
    config = CONFIG.replace("300 sec", age)
    cluster("scontrol", config if accounts else config.replace("slurmdbd", "none"))
    said = found(replace(JOB, account=""), **{"slurm-status-command": status})
    assert len(said) == (remedy is not None) and all(remedy in line for line in said)


def test_preemption_needs_a_profile_that_requeues(cluster):
    cluster("scontrol", CONFIG.replace("= OFF", "= GANG,REQUEUE"))
    assert found() == []
    (line,) = found(**{"slurm-requeue": False})
    assert "slurm-requeue: true" in line


def test_a_cluster_that_does_not_answer_is_one_line(cluster, tmp_path):
    cluster("sinfo", "slurm_load_partitions: warning\nUnable to contact slurm controller\n", code=1)
    assert found() == ["SLURM: sinfo failed: Unable to contact slurm controller"]
    (tmp_path / "bin/sinfo").unlink()
    (line,) = found()
    assert "found no sinfo" in line


def test_a_cluster_without_accounts(cluster):
    cluster("scontrol", CONFIG.replace("slurmdbd", "none"))
    (line,) = found()
    assert "slurm_account: septet: this cluster has no accounts, drop the line" in line
    assert found(replace(JOB, account="")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 30), ("30:00", 30), ("2:00:00", 120), ("1-00:00:00", 1440), ("7-12", 10800), ("1:30", 1.5),
     ("infinite", float("inf")), ("UNLIMITED", float("inf")), ("", float("inf")), ("n/a", float("inf"))],
)  # fmt: skip
def test_time_limits(text, expected):
    assert limits.minutes(text) == expected


# Folders and images.


def folders(house, data=None):
    return list(preflight.of_folders(house, data))


def test_links_to_nothing_and_data_that_cannot_be_read(tmp_path):
    assert folders(tmp_path) == []
    (tmp_path / "data: a set").mkdir()
    assert folders(tmp_path, str(tmp_path / "data: a set")) == []
    (line,) = folders(tmp_path, str(tmp_path / "none"))
    assert line == f"SEPTET_DATA: expected a folder that can be read, found {tmp_path}/none"
    (tmp_path / "results").symlink_to("/scratch/none")
    (tmp_path / "logs/smoke").mkdir(parents=True)
    (tmp_path / "logs/smoke/dynts").symlink_to("../gone")
    (tmp_path / "benchmarks").touch()
    assert folders(tmp_path) == [
        "results: a link in it leads to /scratch/none, which does not exist",
        f"logs: a link in it leads to {tmp_path}/logs/gone, which does not exist",
        "benchmarks: expected a writable folder",
    ]


@pytest.fixture
def apptainer(tmp_path, monkeypatch):
    """A stand-in that notes its arguments, and fails for an image that is called bad."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "apptainer").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/called\n'
        'case "$*" in *bad*) echo "INFO: x" >&2; echo "FATAL:   a bad superblock" >&2; exit 255;; esac\n'
    )
    (folder / "apptainer").chmod(0o755)
    (folder / "bash").symlink_to("/bin/bash")
    monkeypatch.setenv("PATH", str(folder))
    for name in ("good", "bad"):
        (tmp_path / f"{name}.sif").touch()
    return tmp_path


def images(folder, *names, arguments=""):
    return list(preflight.of_images([str(folder / f"{name}.sif") for name in names], arguments, folder))


def test_each_image_runs_true_with_the_profile_s_arguments(apptainer, monkeypatch):
    monkeypatch.setenv("SEPTET_DATA", "/a: b")
    assert images(apptainer, "good", arguments='--x ${SEPTET_DATA:+--mount "$SEPTET_DATA"}') == []
    called = (apptainer / "called").read_text().splitlines()
    assert called == ["exec", "--home", str(Path.cwd()), "--x", "--mount", "/a: b", f"{apptainer}/good.sif", "true"]
    bad, missing = sorted(images(apptainer, "bad", "good", "missing"))
    assert bad == f"{apptainer}/bad.sif: `true` fails in it: FATAL:   a bad superblock"
    assert missing == f"{apptainer}/missing.sif: no such image: run make containers"


def test_a_machine_without_apptainer_and_a_folder_that_it_cannot_take(apptainer, monkeypatch):
    (line,) = preflight.of_images(["x.sif"], "", Path("/there/a:b"))
    assert "no folder with a : in its name" in line
    (apptainer / "bin/apptainer").unlink()
    (line,) = images(apptainer, "good")
    assert "expected the program apptainer" in line


def test_the_jobs_are_snakemake_s_own(cluster, tmp_path):
    """One rule for which the partition is too short, one that runs on this machine, and one that is done."""
    (tmp_path / "Snakefile").write_text(
        "localrules: all\nrule all:\n    input: 'b'\nrule done:\n    output: 'a'\n    shell: 'x'\n"
        "rule late:\n    input: 'a'\n    output: 'b'\n    threads: 3\n"
        "    resources: runtime=31, mem_mb=lambda wildcards, attempt: 50000 * attempt\n    shell: 'x'\n"
    )
    (tmp_path / "a").touch()
    (tmp_path / "profile.yaml").write_text(
        "executor: slurm\njobs: 9\nretries: 2\nslurm-requeue: true\n"
        "default-resources: {slurm_partition: short, slurm_account: septet, runtime: 1000}\n"
    )
    command = [sys.executable, str(ROOT / "tools/preflight.py"), "--profile", str(tmp_path)]

    def said(*arguments):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("preflight:")]

    again = "preflight: note: late in attempt 2: partition short has nodes of 64000 MB, it asks for 100000"
    code, (late,) = said()
    assert code == 2 and "late: partition short gives 30 minutes, it asks for 31" in late
    code, (note,) = said("--set-resources", "late:runtime=30", "--", "b")
    assert code == 0 and note.startswith(again)
    assert said("--set-resources", "late:runtime=30", "late:mem_mb=64000") == (0, [])
    assert said("nonsense") == (1, []), "snakemake says what is wrong"


# Mounts.


def mounted(folder, data=None):
    """Place in the container -> (path outside, whether it can be written to), beside the sources and the lock."""
    made = mounts.mounts(folder, data)[2:]
    return {
        place.removeprefix("destination="): (source.removeprefix("source="), last != "ro")
        for _, source, place, last in made
    }


def test_links_of_the_work_folder_are_mounted_where_the_container_looks_for_them(tmp_path):
    house, scratch = tmp_path / "house", tmp_path / "scratch"
    for folder in (house, scratch / "results/smoke", scratch / "dynts", scratch / "logs", scratch / "sets"):
        folder.mkdir(parents=True)
    assert mounted(house) == {}
    (house / "results").symlink_to("../scratch/results")
    (scratch / "results/smoke/dynts").symlink_to(scratch / "dynts")
    (house / "logs").symlink_to(tmp_path / "logs")
    (tmp_path / "logs").symlink_to(scratch / "logs")  # a link to a link
    (house / "data").symlink_to(scratch / "sets")
    (house / "benchmarks").symlink_to("/nowhere")
    (house / "up").symlink_to("..")
    (house / "results/loop").symlink_to(house)
    (house / "published").symlink_to("results")  # inside: seen already
    assert mounted(house) == {
        f"{scratch}/results": (f"{scratch}/results", True),
        f"{scratch}/dynts": (f"{scratch}/dynts", True),
        f"{tmp_path}/logs": (f"{scratch}/logs", True),
        f"{scratch}/sets": (f"{scratch}/sets", False),
    }


def test_data_sets_are_mounted_and_what_they_link_to(tmp_path):
    house, data = tmp_path / "house", tmp_path / "a, b: c=1"
    for folder in (house, data / "craft", tmp_path / "other"):
        folder.mkdir(parents=True)
    (tmp_path / "other/x.csv").touch()
    (data / "craft/x.csv").symlink_to(tmp_path / "other/x.csv")
    (data / "craft/y.csv").symlink_to("../../other/x.csv")
    assert mounted(house, str(data)) == {
        "/septet/data": (str(data), False),
        f"{tmp_path}/other/x.csv": (f"{tmp_path}/other/x.csv", False),
        "/septet/other/x.csv": (f"{tmp_path}/other/x.csv", False),
    }


def test_the_lines_are_csv_with_equal_numbers_of_fields(tmp_path):
    """Apptainer reads them with a strict reader."""
    house, data = tmp_path / "house", tmp_path / 'a, "b" é'
    house.mkdir(), data.mkdir(), (tmp_path / "scratch").mkdir()
    (house / "results").symlink_to(tmp_path / "scratch")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/mounts.py")], cwd=house, capture_output=True, check=True,
        env={**os.environ, "SEPTET_DATA": str(data), "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.stdout.decode().splitlines() == [
        f"type=bind,source={house}/packages,destination=/septet/packages,ro",
        f"type=bind,source={house}/requirements.lock,destination=/septet/requirements.lock,ro",
        f'type=bind,"source={tmp_path}/a, ""b"" é",destination=/septet/data,ro',
        f"type=bind,source={tmp_path}/scratch,destination={tmp_path}/scratch,type=bind",
    ]
