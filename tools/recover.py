"""After a killed snakemake: end what still runs for this work folder, so that nothing is done twice at once.

    python tools/recover.py [--profile profiles/NAME]

SLURM jobs are those that snakemake submitted from this folder, by their names; on this machine, processes of our
packages in this folder. Exit code 2 if a snakemake still works here: stop that one first, or leave it alone; 1 if
something did not end, or if the profile is of a cluster whose queue does not answer.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

PATIENCE = 600  # seconds; a node that does not answer keeps its jobs "completing"
OUTAGE = 30  # seconds in which a controller that restarts may be away
NAMED = re.compile(r"septet_[0-9a-f-]{36}")  # slurm-jobname-prefix and the run's number
JOB = ["--config", "-", "--out"]  # how rules call our packages


class Unanswered(Exception):
    """The queue could not be asked."""


def main(folder: Path, profile: Path) -> int:
    """Cancel, end and wait; then nothing of `folder` runs."""
    if alive := [pid for pid, _, command in processes(folder) if is_snakemake(command)]:
        print(f"recover: {folder}: expected no running snakemake, found process {alive[0]}", file=sys.stderr)
        return 2
    return max(end_jobs(folder, on_a_cluster(profile)), end("processes", lambda: orphans(folder), stop))


def on_a_cluster(profile: Path) -> bool:
    """Whether the runs of a profile are submitted to SLURM."""
    try:
        return yaml.safe_load((profile / "profile.yaml").read_text(encoding="utf-8")).get("executor") == "slurm"
    except OSError:
        sys.exit(f"recover: --profile: expected a folder with a profile.yaml, found {profile}")


def is_snakemake(command: list[str]) -> bool:
    """Whether this is a snakemake that runs a workflow, and not the one inside a job."""
    named = any(Path(word).name == "snakemake" for word in command)
    return named and "--mode" not in command and "slurm-jobstep" not in command


def end(what: str, left: Callable[[], list[str]], act: Callable[[list[str]], None]) -> int:
    """Tell all that is left to end, and wait until it has."""
    if not (found := left()):
        return 0
    print(f"recover: ending {what} {' '.join(found)}", file=sys.stderr)
    act(found)
    deadline = time.monotonic() + PATIENCE
    while still := left():
        if time.monotonic() > deadline:
            print(f"recover: {what} {' '.join(still)} did not end within {PATIENCE} s", file=sys.stderr)
            return 1
        time.sleep(1)
    return 0


def end_jobs(folder: Path, cluster: bool) -> int:
    """End the SLURM jobs of `folder`. A queue that does not answer matters only where jobs were submitted to it."""
    if not cluster and not shutil.which("squeue"):
        return 0
    try:
        ours, others = jobs(folder, OUTAGE if cluster else 0)
        if others:
            print(f"recover: not ours, left alone: SLURM jobs {', '.join(others)}", file=sys.stderr)
        return end("SLURM jobs", lambda: jobs(folder, OUTAGE)[0], cancel) if ours else 0
    except Unanswered as error:
        then = "its jobs may still run" if cluster else "only processes of this machine are looked for"
        print(f"recover: squeue does not answer, {then}: {error}", file=sys.stderr)
        return int(cluster)


def jobs(folder: Path, patience: float) -> tuple[list[str], list[str]]:
    """This user's SLURM jobs from `folder` that have not ended: those that snakemake submitted, and others by name.

    The job that this very process runs in is in neither list.
    """
    deadline = time.monotonic() + patience
    while (found := queue()).returncode != 0:
        if time.monotonic() >= deadline:
            raise Unanswered((found.stderr.strip().splitlines() or ["it said nothing"])[-1])
        time.sleep(3)
    here = os.environ.get("SLURM_JOB_ID")
    ours, others = set(), set()
    for line in found.stdout.splitlines():
        job, _, rest = line.partition("|")
        name, _, place = rest.partition("|")
        if job == here or os.path.realpath(place) != os.path.realpath(folder):
            continue
        if NAMED.fullmatch(name):
            ours.add(job)
        else:
            others.add(f"{job} ({name})")
    return sorted(ours), sorted(others)


def queue() -> subprocess.CompletedProcess[str]:
    """Number, name and folder of this user's SLURM jobs that are pending, running or completing."""
    command = ["squeue", "-h", "--me", "-o", "%A|%j|%Z"]
    try:
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def cancel(found: list[str]) -> None:
    """Cancel SLURM jobs; they are told first, and save their state. One that has just ended is no error."""
    subprocess.run(["scancel", *found], check=False)


def orphans(folder: Path) -> list[str]:
    """This user's processes of this folder's jobs on this machine, left by a local run."""
    return [
        str(pid)
        for pid, owner, command in processes(folder)
        if owner == os.getuid() and any(command[place : place + len(JOB)] == JOB for place in range(len(command)))
    ]


def stop(found: list[str]) -> None:
    """SIGTERM: they save their state; one that is suspended has to go on for that."""
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
            os.kill(int(pid), signal.SIGCONT)


def processes(folder: Path) -> list[tuple[int, int, list[str]]]:
    """Number, owner and command of the living processes in `folder`, of those that this user may look at."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):  # empty where there is no /proc
        try:
            here, owner = (process / "cwd").samefile(folder), process.stat().st_uid
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if here and command != [""] and int(process.name) != os.getpid():  # a zombie has no command
            found.append((int(process.name), owner, command))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", type=Path, default=Path(__file__).parents[1] / "profiles/local")
    sys.exit(main(Path.cwd(), parser.parse_args().profile))
