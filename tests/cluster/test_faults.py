"""What goes wrong on a cluster, made to happen: a run goes on, does nothing twice at once, and loses nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("cluster")]
ROOT = Path(__file__).parents[2]


def test_memory_time_and_scancel(submit, cluster):
    """One run: a job that is killed for its memory, one that is told that its time is up, and one that is cancelled."""
    run = submit("--config", "beats=60", "--", "done/hungry.txt", "done/told.txt", "done/steady0.txt")
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
    run = submit("--config", "beats=60", "steady=2", "--", "done/after.txt")
    run.wait(lambda: len(run.beats()) == 2, "beats of both")
    node = cluster.slurm("squeue", "-h", "-j", run.job("steady"), "-o", "%N")
    try:
        cluster.do("down", node)
        assert run.end() == 0, run.text()[-3000:]
    finally:
        cluster.do("up", node)
    jobs = run.jobs("steady")
    lost = [job for job in jobs if job[1] == "NODE_FAIL"]
    assert lost and all(job[3] == node for job in lost)
    assert all(job[3] != node for job in jobs if job[1] == "COMPLETED" and int(job[0]) > int(lost[0][0]))
    assert sorted(map(len, run.attempts().values())) in ([1, 2], [2, 2])
    run.never_two_at_once()
    assert (run.folder / "done/after.txt").read_text() == "60\n60\n"


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
    elsewhere = cluster.slurm("sbatch", "--parsable", "-D", "/", "-o", "/dev/null", "--mem=50", "--wrap", "sleep 60")
    recover = [sys.executable, str(ROOT / "tools/recover.py")]
    subprocess.run(recover, cwd=tmp_path, env=cluster.environment(), check=True, timeout=60)
    queue = cluster.slurm("squeue", "-h", "-o", "%i").split()
    cluster.slurm("scancel", elsewhere)
    assert queue == [elsewhere], "jobs of another folder are left alone"
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
