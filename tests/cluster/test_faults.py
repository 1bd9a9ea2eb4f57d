"""What goes wrong on a cluster, made to happen: a run goes on, does nothing twice at once, and loses nothing."""

import getpass
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("cluster")]
ROOT = Path(__file__).parents[2]


def test_memory_time_and_scancel(submit, cluster):
    """One run: a job that is killed for its memory, one that is told that its time is up, and one that is cancelled.

    The one that is told keeps its signal though a site sets the resources that SLURM's options come from.
    """
    run = submit(
        "--default-resources", "slurm_account=septet", "slurm_partition=cpu", "slurm_extra='--nice=1'",
        "--set-resources", "told:slurm_extra='--nice=2'",
        "--config", "beats=60", "--", "done/hungry.txt", "done/told.txt", "done/steady0.txt",
    )  # fmt: skip
    cluster.slurm("scontrol", "update", f"jobid={run.job('told')}", "TimeLimit=1")
    cancelled = run.job("steady")
    run.wait(run.beats, "a beat")
    cluster.slurm("scancel", cancelled)
    assert run.end() == 0, run.text()[-3000:]

    killed, done = run.jobs("hungry")
    assert (killed[2], done[2]) == ("400M", "800M")
    assert killed[1] in ("FAILED", "OUT_OF_MEMORY") and done[1] == "COMPLETED"
    assert (run.folder / "done/hungry.txt").read_text() == "800\n"

    stops = [int(stop) for stop in (run.folder / "done/told.txt").read_text().split()]
    assert len(stops) == 2 and 0 < stops[0] < 300 == stops[1], "the second attempt goes on where the first stopped"
    assert [row[1] for row in run.jobs("told")] == ["FAILED", "COMPLETED"], "it ended by itself, before SLURM killed it"

    assert [row[1].partition(" ")[0] for row in run.jobs("steady")] == ["CANCELLED", "COMPLETED"]
    assert len(run.attempts()["steady0"]) == 2
    run.never_two_at_once()


def test_a_node_goes_down(submit, cluster):
    """SLURM starts its jobs again, elsewhere."""
    run = submit("--config", "beats=60", "steady=2", "--", "done/after.txt")
    run.wait(lambda: len(run.beats()) == 2, "beats of both")
    node = cluster.slurm("squeue", "-h", "-j", run.job("steady"), "-o", "%N")
    try:
        cluster.do("down", node)
        assert run.end() == 0, run.text()[-3000:]
    finally:
        cluster.do("up", node)
    assert [row[1] for row in run.jobs("steady")] == ["COMPLETED", "COMPLETED"]
    assert sorted(map(len, run.attempts().values())) in ([1, 2], [2, 2])
    run.never_two_at_once()
    assert (run.folder / "done/after.txt").read_text() == "60\n60\n"


def test_a_job_is_preempted(submit, cluster):
    """PreemptMode=REQUEUE: the job waits, starts again, and the run ends as if nothing had been."""
    run = submit("--config", "beats=40", "--", "done/steady0.txt")
    run.wait(run.beats, "a beat")
    job = run.job("steady")
    urgent = "sbatch --parsable -D / -o /dev/null -p urgent -A septet -N 2 --exclusive --mem=0 --wrap".split()
    cluster.slurm(*urgent, "sleep 2")
    run.wait(lambda: cluster.slurm("squeue", "-h", "-j", job, "-o", "%T") == "PENDING", "the job in the queue again")
    assert run.end() == 0, run.text()[-3000:]
    assert [row[:2] for row in run.jobs("steady")] == [[job, "COMPLETED"]]
    assert len(run.attempts()["steady0"]) == 2
    run.never_two_at_once()


def test_what_the_cluster_would_refuse_is_said_before(cluster, tmp_path):
    """Limits of a partition and of an account, as SLURM's own programs tell them."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    command = [
        sys.executable, str(ROOT / "tools/preflight.py"), "--profile", "profiles/slurm", "--snakefile",
        str(ROOT / "tests/cluster/Snakefile"), "--software-deployment-method", "env-modules",
    ]  # fmt: skip

    def said(*arguments):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=cluster.environment(), capture_output=True, text=True
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("preflight: ")]
        assert done.returncode == (2 if lines else 0), done.stderr
        return [line.removeprefix("preflight: ") for line in lines]

    assert said("--", "done/after.txt") == []
    (late,) = said("--set-resources", "steady:slurm_partition=urgent", "--", "done/after.txt")
    assert late.startswith("steady: partition urgent gives 2 minutes, it asks for 5")
    user = getpass.getuser()
    try:
        cluster.slurm("sacctmgr", "-i", "modify", "user", user, "set", "maxsubmitjobs=4", "maxwall=3")
        full, short = said("--", "done/after.txt")
        assert full.startswith("account septet lets you have 4 jobs in the queue, the profile submits up to 100")
        assert ": account septet gives 3 minutes, it asks for 5" in short
    finally:
        cluster.slurm("sacctmgr", "-i", "modify", "user", user, "set", "maxsubmitjobs=-1", "maxwall=-1")


def test_the_controller_restarts(submit, cluster):
    """What runs goes on meanwhile; a submission that finds no controller is tried again."""
    run = submit("--config", "beats=40", "steady=3", "--", "done/after.txt")
    run.wait(lambda: len(run.beats()) == 3, "beats of all")
    cluster.do("control-down")
    time.sleep(12)  # long enough for the first queries to fail
    cluster.do("control-up")
    assert run.end() == 0, run.text()[-3000:]
    assert [row[1] for row in run.jobs("steady")] == ["COMPLETED"] * 3
    assert set(map(len, run.attempts().values())) == {1}
    run.never_two_at_once()


def test_status_queries_fail_for_a_while(submit, cluster, tmp_path):
    """Both status programs fail at once, over more than the plugin's five attempts; no job is forgotten."""
    flag = tmp_path / "outage"
    shims = tmp_path / "bin"
    shims.mkdir()
    for name in ("squeue", "sacct"):
        shim = shims / name
        shim.write_text(
            f'#!/bin/sh\n[ ! -e {flag} ] || {{ echo out >> {flag}; exit 1; }}\n{cluster.folder}/bin/{name} "$@"\n'
        )
        shim.chmod(0o755)
    path = f"{shims}:{cluster.environment()['PATH']}"
    run = submit("--config", "beats=40", "steady=2", "--", "done/after.txt", PATH=path)
    run.wait(lambda: len(run.beats()) == 2, "beats of both")
    flag.touch()
    run.wait(lambda: flag.read_text().count("out") >= 8, "eight failed queries")
    flag.unlink()
    assert run.end() == 0, run.text()[-3000:]
    assert set(map(len, run.attempts().values())) == {1}


def test_the_accounts_are_away(submit, cluster):
    """Without slurmdbd the queue still tells how jobs end."""
    cluster.do("accounting-down")
    try:
        run = submit("--default-resources", "slurm_partition=cpu", "mem_mb=300", "runtime=5", "--", "done/steady0.txt")
        assert run.end() == 0, run.text()[-3000:]
    finally:
        cluster.do("accounting-up")


def test_two_jobs_have_a_gpu_each(submit):
    partition = ("--set-resources", "gpu:slurm_partition=gpu")
    run = submit(*partition, "--", "done/gpu0.txt", "done/gpu1.txt", profile="slurm-gpu")
    assert run.end() == 0, run.text()[-3000:]
    assert sorted((run.folder / f"done/gpu{i}.txt").read_text() for i in (0, 1)) == ["0\n", "1\n"]
    assert {row[3] for row in run.jobs("gpu")} == {"node3"}


def test_snakemake_is_killed(submit, cluster, tmp_path):
    """`make recover`: what still runs for this folder is cancelled, and what had ended is kept."""
    first = submit("--jobs", "2", "--config", "beats=60", "steady=3", "--", "done/after.txt")
    first.wait(lambda: list(tmp_path.glob("done/*.txt")) and len(first.beats()) == 3, "an end and a third start")
    first.process.kill()
    first.process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("done/*.txt")}
    recover = f"{sys.executable} {ROOT}/tools/recover.py --profile {ROOT}/profiles/slurm"
    ours = "sbatch --parsable -o /dev/null --mem=200".split()
    notebook = cluster.slurm(*ours, "-D", str(tmp_path), "-J", "jupyter", "--wrap", "sleep 60")
    elsewhere = cluster.slurm(*ours, "-D", "/", "--wrap", "sleep 60")
    script = f"{recover} 2> recovered.txt; echo $? > rc.txt; sleep 60"
    inside = cluster.slurm(*ours, "-D", str(tmp_path), "--wrap", script)
    deadline = time.monotonic() + 60
    while not (tmp_path / "rc.txt").exists():
        assert time.monotonic() < deadline, "recover did not end"
        time.sleep(0.5)
    assert (tmp_path / "rc.txt").read_text() == "0\n", (tmp_path / "recovered.txt").read_text()
    queue = cluster.slurm("squeue", "-h", "-o", "%i").split()
    cluster.slurm("scancel", elsewhere, notebook, inside)
    assert sorted(queue) == sorted([elsewhere, notebook, inside]), "recover ends no job but ours, nor its own"
    arguments = ("--config", "beats=60", "steady=3", "--", "done/after.txt")
    assert submit("--unlock", *arguments).end() == 0
    second = submit(*arguments)
    assert second.end() == 0, second.text()[-3000:]
    assert {name: (tmp_path / "done" / name).stat().st_mtime_ns for name in kept} == kept
    turns = second.attempts()
    assert sorted(turns) == ["steady0", "steady1", "steady2"]
    assert all(len(turns[name.removesuffix(".txt")]) == 1 for name in kept), "what had ended is not done again"
    second.never_two_at_once()
    assert (tmp_path / "done/after.txt").read_text() == "60\n" * 3


def test_recovery_leaves_a_living_snakemake_alone(submit, cluster, tmp_path):
    run = submit("--config", "beats=5", "--", "done/steady0.txt")
    run.wait(run.beats, "a beat")
    recover = [sys.executable, str(ROOT / "tools/recover.py")]
    refused = subprocess.run(recover, cwd=tmp_path, env=cluster.environment(), capture_output=True, text=True)
    assert refused.returncode == 2 and str(run.process.pid) in refused.stderr
    assert run.end() == 0 and len(run.attempts()["steady0"]) == 1
