"""A cluster for the session, and folders in which snakemake runs jobs on it with the profile that users get."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Natively (a choice that no rule here has), and with the shorter waits of a file system that is not shared.
NATIVELY = ("--software-deployment-method", "env-modules")
QUICKLY = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "3")


@dataclass(frozen=True)
class Cluster:
    """The test cluster."""

    folder: Path
    port: int

    def do(self, *arguments: str) -> str:
        """Call tests/cluster/cluster."""
        options = ("--folder", str(self.folder), "--port", str(self.port))
        return run(sys.executable, str(HERE / "cluster"), *options, *arguments)

    def slurm(self, *command: str) -> str:
        """Run a program of SLURM: its output."""
        return run(*command, env=self.environment())

    def running(self, rule: str, folder: Path) -> list[str]:
        """Numbers of the SLURM jobs of a rule that were submitted from `folder` and run."""
        rows = [row.split("|") for row in self.slurm("squeue", "-h", "-t", "RUNNING", "-o", "%i|%k|%Z").splitlines()]
        return [job for job, comment, place in rows if comment.startswith(f"rule_{rule}") and place == str(folder)]

    def accounts(self, rule: str, folder: Path) -> list[list[str]]:
        """Number, state, memory asked for, and node of the SLURM jobs of a rule that were submitted from `folder`."""
        columns = "jobid,state,reqmem,nodelist,comment,workdir"
        rows = [row.split("|") for row in self.slurm("sacct", "-XPn", "-o", columns).splitlines()]
        return [row[:4] for row in rows if row[4].startswith(f"rule_{rule}") and row[5] == str(folder)]

    def environment(self, **more: str) -> dict[str, str]:
        """This process's environment, with the cluster's programs first."""
        path = os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **more}


@dataclass
class Run:
    """One call of snakemake on the cluster."""

    cluster: Cluster
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.time)

    def text(self) -> str:
        """What snakemake said so far."""
        return self.log.read_text()

    def end(self, seconds: float = 150) -> int:
        """Wait for its end: the exit code. A snakemake that hangs is killed and fails the test."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"snakemake did not end within {seconds:.0f} s:\n{self.text()[-3000:]}")

    def job(self, rule: str) -> str:
        """Number of the SLURM job of a rule, once it runs."""
        until(lambda: self.cluster.running(rule, self.folder), f"a running job of {rule}")
        return self.cluster.running(rule, self.folder)[0]

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition while snakemake runs."""
        until(lambda: condition() or self.process.poll() is not None, what)
        assert condition(), f"snakemake ended before {what}:\n{self.text()[-3000:]}"

    def beats(self) -> dict[str, list[tuple[str, int]]]:
        """Each steady job's signs of life, ``(SLURM job, beat)`` in the order in which they came."""
        found: dict[str, list[tuple[str, int]]] = {}
        path = self.folder / "beats.txt"
        for line in path.read_text().splitlines() if path.exists() else []:
            name, job, beat = line.split()
            found.setdefault(name, []).append((job, int(beat)))
        return found

    def attempts(self) -> dict[str, list[str]]:
        """The SLURM jobs of each steady job, in turn: one that shows again after another began is there twice."""
        return {
            name: [job for place, (job, _) in enumerate(seen) if place == 0 or seen[place - 1][0] != job]
            for name, seen in self.beats().items()
        }

    def never_two_at_once(self) -> None:
        """Check that no attempt shows a sign of life once the next has begun, and that the last one is whole."""
        for name, seen in self.beats().items():
            turns = self.attempts()[name]
            assert len(turns) == len(set(turns)), f"{name} ran twice at once: {turns}"
            last = [beat for job, beat in seen if job == turns[-1]]
            assert last == list(range(1, last[-1] + 1)), f"{name} missed a beat: {last}"

    def jobs(self, rule: str) -> list[list[str]]:
        """Number, state, memory asked for, and node of each SLURM job of a rule in this run."""
        return self.cluster.accounts(rule, self.folder)


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout.strip()


def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, need: Callable[[bool, str], None]) -> Iterator[Cluster]:
    """A cluster of its own for this session."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    there = all(shutil.which(name, path=path) for name in ("slurmctld", "slurmdbd", "munged", "mariadbd"))
    need(there, "SLURM (tools/install-slurm.sh)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = min(free.getsockname()[1], 65000)
    made = Cluster(tmp_path_factory.mktemp("cluster"), port)
    try:
        made.do("start")
        yield made
    finally:
        made.do("clean")


@pytest.fixture
def submit(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start snakemake with the toy workflow and a profile, in this test's folder."""
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    started: list[Run] = []

    def call(*arguments: str, profile: str = "slurm", **environment: str) -> Run:
        log = tmp_path / f"snakemake{len(started)}.log"
        command = [
            sys.executable, str(HERE / "often" / "snakemake"), "--snakefile", str(HERE / "Snakefile"),
            "--profile", f"profiles/{profile}", *NATIVELY, *QUICKLY, *arguments,
        ]  # fmt: skip
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=tmp_path, env=cluster.environment(**environment), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out,
            )  # fmt: skip
        started.append(Run(cluster, tmp_path, process, log))
        return started[-1]

    yield call
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    for line in cluster.slurm("squeue", "-h", "-o", "%i|%Z").splitlines():
        if line.partition("|")[2] == str(tmp_path):
            cluster.slurm("scancel", line.partition("|")[0])
