"""After a killed snakemake: end what still runs for this work folder, so that nothing is done twice at once.

SLURM jobs are those that were submitted from this folder, on this machine processes of our packages in this folder.
Exit code 2 if a snakemake still works here: that one is to be stopped first, or left alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 600  # seconds; a node that does not answer keeps its jobs "completing"


def main(folder: Path) -> int:
    """Cancel, end and wait; then nothing of `folder` runs."""
    if alive := [pid for pid, command in processes(folder) if is_snakemake(command)]:
        print(f"recover: {folder}: expected no snakemake at work, found process {alive[0]}", file=sys.stderr)
        return 2
    return max(end("SLURM jobs", lambda: jobs(folder), cancel), end("processes", lambda: orphans(folder), stop))


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


def jobs(folder: Path) -> list[str]:
    """Our SLURM jobs that were submitted from `folder` and have not ended: pending, running or completing."""
    if not shutil.which("squeue"):
        return []
    for _ in range(10):  # a controller that restarts is away for some seconds
        done = subprocess.run(["squeue", "-h", "--me", "-o", "%A|%Z"], capture_output=True, text=True, encoding="utf-8")
        if done.returncode == 0:
            rows = [line.partition("|") for line in done.stdout.splitlines()]
            return sorted({job for job, _, place in rows if os.path.realpath(place) == os.path.realpath(folder)})
        time.sleep(3)
    sys.exit(f"recover: squeue does not answer: {done.stderr.strip()}")


def cancel(found: list[str]) -> None:
    """Cancel SLURM jobs; they are told first, and save their state."""
    subprocess.run(["scancel", *found], check=True)


def orphans(folder: Path) -> list[str]:
    """Processes of this folder's jobs on this machine, left by a local run."""
    return [str(pid) for pid, command in processes(folder) if "--config - --out" in " ".join(command)]


def stop(found: list[str]) -> None:
    """SIGTERM: they save their state."""
    for pid in found:
        os.kill(int(pid), signal.SIGTERM)


def processes(folder: Path) -> list[tuple[int, list[str]]]:
    """Process number and command of this user's living processes whose working folder is `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):  # empty where there is no /proc
        try:
            here = (process / "cwd").samefile(folder)
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if here and command != [""] and int(process.name) != os.getpid():  # a zombie has no command
            found.append((int(process.name), command))
    return found


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
