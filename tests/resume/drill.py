"""Preemption drill: kill training jobs at random moments, start them again, compare the score tables byte for byte.

``python tests/resume/drill.py [--runs N] [--methods "a;b"] [--seed K] [--processes]`` prints a table.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from trainings import MORE, TRAININGS, Training

STARTER = Path(__file__).parents[1] / "servers/starter.py"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL)
STOPPED = 85
OPERATIONS = 60
"""A save in a job's folder is about ten operations on the disk; kills in a save come before one of so many."""


@dataclass
class Result:
    """What became of one method's runs."""

    name: str
    seconds: float = 0.0
    runs: int = 0
    equal: int = 0
    resumed: int = 0
    """Starts that went on from a state."""
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Starter:
    """Starts the verb `train` of a package: from a process that has imported it, or as its command."""

    def __init__(self, package: str, processes: bool) -> None:
        self.package, self.processes = f"septet.{package}", processes
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SEPTET_SAVE_EVERY": "0"}
        self.server = None
        self.environment = environment
        if not processes:
            self.server = subprocess.Popen(
                [sys.executable, str(STARTER), self.package],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )  # fmt: skip

    def start(self, config: Path, out: Path, log: Path, die_at: int | None = None) -> int:
        """Start the job; its pid."""
        if self.server is None:
            order = {"config": str(config), "out": str(out), "log": str(log), "die_at": die_at}
            code = f"import sys; sys.path.insert(0, {str(STARTER.parent)!r}); import starter; "
            code += f"starter.run({self.package!r}, {order})"
            command = [sys.executable, "-m", self.package, "train", "--config", str(config), "--out", str(out)]
            with log.open("a") as file:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", code] if die_at else command, stderr=file, stdout=file, env=self.environment
                )
            return self.process.pid
        order = {"config": str(config), "out": str(out), "log": str(log), "die_at": die_at}
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def wait(self) -> int:
        """The exit code of the job that was started last; negative for a signal."""
        if self.server is None:
            return self.process.wait()
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())

    def close(self) -> None:
        """End."""
        if self.server is not None:
            assert self.server.stdin is not None
            self.server.stdin.close()
            self.server.wait()


def drill(name: str, training: Training, runs: int, seed: int, processes: bool) -> Result:
    """`runs` runs of a job, each killed once or more and started until it is done."""
    result, random = Result(name), np.random.default_rng([seed, *name.encode()])
    with tempfile.TemporaryDirectory(prefix="drill-") as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        config = folder / "job.json"
        config.write_text(json.dumps(training.configuration(folder)))
        starter = Starter(training.package, processes)
        stack.callback(starter.close)
        whole = folder / "whole"
        last, begun = 0, time.monotonic()
        pid = starter.start(config, whole, folder / "whole.log")
        while not gone(pid):
            last = max(last, newest(whole))
            time.sleep(0.005)
        code = starter.wait()
        if code != 0:
            said = (folder / "whole.log").read_text()[-500:]
            result.faults.append(f"the uninterrupted run ended with {code}: {said}")
            return result
        result.seconds = time.monotonic() - begun
        table = (whole / "scores.parquet").read_bytes()
        kinds = ["save", *SIGNALS]
        for run in range(runs):
            out, log = folder / f"run{run}", folder / f"run{run}.log"
            first = kinds[(run + seed) % len(kinds)]
            later = [kinds[k] for k in random.integers(len(kinds), size=random.integers(3))] if run % 2 else []
            for kind in (first, *later):
                killed(result, starter, (config, out, log), kind, random, last)
                file = out / "scores.parquet"  # a kill may come after it, before the card or the end
                if file.exists() and file.read_bytes() != table:
                    result.faults.append(f"run {run}: a score table that is not whole")
            starter.start(config, out, log)
            code = starter.wait()
            result.runs += 1
            text = log.read_text()
            result.resumed += sum("  0 %  " not in line for line in first_lines(text))
            if code == 0 and (out / "scores.parquet").read_bytes() == table and not (out / "checkpoint").exists():
                result.equal += 1
            else:
                result.faults.append(f"run {run} ended with {code}: {text[-800:]}")
    return result


def first_lines(text: str) -> list[str]:
    """The first progress line of each start but the first: they say where it went on."""
    lines = [line for line in text.splitlines() if " left" in line]
    return [line for line in lines[1:] if "  ? left" in line]


def killed(
    result: Result, starter: Starter, job: tuple[Path, Path, Path], kind: object, random: np.random.Generator, last: int
) -> None:
    """Start the job and kill it: in a save, or a moment after a random step, at most `last`, is saved."""
    if kind == "save":
        starter.start(*job, die_at=int(random.integers(1, OPERATIONS)))
        if starter.wait() == -signal.SIGKILL:
            result.kills["in a save"] += 1
        return
    target = int(random.integers(min(newest(job[1]) + 1, last), last + 1))
    pid = starter.start(*job)
    while not gone(pid) and newest(job[1]) < target:
        time.sleep(0.002)
    time.sleep(float(random.uniform(0.0, 0.02)))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, kind)
    code = starter.wait()
    if code == STOPPED or code == -kind:
        result.kills[signal.Signals(kind).name] += 1
    elif code != 0:
        result.faults.append(f"{signal.Signals(kind).name} ended a run with {code}")


def newest(out: Path) -> int:
    """The step of the newest state in a job's folder, 0 if there is none."""
    with contextlib.suppress(OSError):
        names = [path.name[:12] for path in (out / "checkpoint").iterdir()]
        return max((int(name) for name in names if name.isdecimal()), default=0)
    return 0


def gone(pid: int) -> bool:
    """Whether a process has ended, or waits to be asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    names = [*(number.name for number in SIGNALS), "in a save"]
    lines = [f"| job | seconds | runs | {' | '.join(names)} | went on from a state | equal |"]
    lines.append("|---" * (len(names) + 5) + "|")
    for one in results:
        kills = " | ".join(str(one.kills[name]) for name in names)
        lines.append(f"| {one.name} | {one.seconds:.1f} | {one.runs} | {kills} | {one.resumed} | {one.equal} |")
    total = Counter[str]()
    for one in results:
        total += one.kills
    sums = [sum(getattr(one, name) for one in results) for name in ("runs", "resumed", "equal")]
    lines.append(f"| all | | {sums[0]} | {' | '.join(str(total[name]) for name in names)} | {sums[1]} | {sums[2]} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; 1 if a run was not equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each method")
    parser.add_argument("--methods", default="", help="names, semicolon between; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", action="store_true", help="start the very commands, not forks")
    arguments = parser.parse_args()
    every = {**TRAININGS, **MORE}
    chosen = [name.strip() for name in arguments.methods.split(";") if name.strip()] or list(every)
    results = []
    for name in chosen:
        results.append(drill(name, every[name], arguments.runs, arguments.seed, arguments.processes))
        print(f"{name}: {results[-1].equal} of {results[-1].runs} equal", file=sys.stderr)
        for fault in results[-1].faults:
            print(fault, file=sys.stderr)
    print(table(results))
    return int(any(one.equal < one.runs or one.faults for one in results))


if __name__ == "__main__":
    sys.exit(main())
