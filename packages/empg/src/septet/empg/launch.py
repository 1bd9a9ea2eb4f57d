"""`python -m septet.empg.launch N VERB --config - --out DIR`: N processes of one job on this machine, one GPU each.

What `torchrun` does, with the manners of a single process: the configuration may come on standard input, a signal goes
on to all, bad input is said once, and the exit code is that of the job (2: bad input, 85: stopped, state saved).
`torchrun` and `accelerate launch` start the same processes, over several machines too.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from septet.cli import stop_signals
from septet.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED

GRACE = 30.0
"""Seconds that the others get to end by themselves once one has failed: they may wait for it for ever."""


def main(arguments: list[str]) -> int:
    """Run the job; its exit code."""
    if len(arguments) < 2 or not arguments[0].isdecimal() or int(arguments[0]) < 1:
        print("usage: python -m septet.empg.launch PROCESSES VERB --config FILE --out DIR", file=sys.stderr)
        return EXIT_BAD_INPUT
    count, job = int(arguments[0]), arguments[1:]
    with tempfile.TemporaryDirectory(prefix="empg-launch-") as name:
        folder = Path(name)
        if "-" in job:
            (folder / "job").write_text(sys.stdin.read(), encoding="utf-8")
            job = [str(folder / "job") if argument == "-" else argument for argument in job]
        return run([sys.executable, "-m", "septet.empg", *job], count, folder)


def run(command: list[str], count: int, folder: Path) -> int:
    """Run `count` processes of a command; the exit code of the first that failed, or 0.

    What rank 0 says goes to standard error. What another rank says is shown if it failed first, unless rank 0 said the
    same: bad input and a stop hold for all.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = []
    for rank in range(count):
        environment = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with (folder / str(rank)).open("wb") as said:
            processes.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=said if rank else None)
            )
    before = {number: signal.signal(number, lambda number, _: tell(processes, number)) for number in stop_signals()}
    failed = watch(processes)
    for number, handler in before.items():
        signal.signal(number, handler)
    if failed is None:
        return 0
    code = processes[failed].returncode
    if failed and not (code in (EXIT_BAD_INPUT, EXIT_INTERRUPTED) and processes[0].returncode == code):
        sys.stderr.write((folder / str(failed)).read_text(encoding="utf-8", errors="replace"))
    return code


def watch(processes: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all; the rank of the first that failed, or none. The others are killed if they do not end soon."""
    failed: int | None = None
    end = float("inf")
    while True:
        codes = [process.poll() for process in processes]
        if failed is None and any(codes):
            failed, end = next(rank for rank, code in enumerate(codes) if code), time.monotonic() + GRACE
        if None not in codes:
            return failed
        if time.monotonic() > end:
            tell(processes, signal.SIGKILL)
        time.sleep(0.05)


def tell(processes: list[subprocess.Popen[bytes]], number: int) -> None:
    """Send a signal to those that still run."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
