"""Standard streams that cannot be written: no reader, a full disk, a stream or terminal that is closed."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from septet.cli import stop_signals
from septet.streams import log

JOB = """
import os, sys, time
from pathlib import Path
from septet.cli import Verb, main, stop_request
from septet.config import Settings
from septet.errors import Interrupted
from septet.files import write_text
from septet.progress import Progress

class Job(Settings):
    units: int = 40

def train(job, out):
    progress = Progress("toy", job.units, "units", out)
    for done in range(1, job.units + 1):
        progress.update(done)
        progress._printed = -1e9  # a line each time
        print("a library's line on standard output")
        print("caf\\u00e9 \\u2264 \\ud800", file=sys.stderr)
        os.system("echo a child's line >&2")
        if done == 3: Path("started").touch()
        if job.units > 40: time.sleep(0.01)
        if stop_request.signal: raise Interrupted(f"stopped by signal {stop_request.signal}")
    progress.finish()
    write_text(out / "done", "all")

main("toy", {"train": Verb(Job, train)})
"""
SHOW = """
import sys
from septet.cli import program
from septet.errors import InputError

def main():
    for line in range(int(sys.argv[1])):
        print("line", line, "\\u2264 \\u00e9 \\ud800")
    if sys.argv[2:]: raise InputError("page", expected="one", found=sys.argv[2])

program("show", main)
"""
LATIN = {"LC_ALL": "en_US.ISO-8859-1", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def environment(**more):
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHONIO")} | more


@pytest.fixture
def shell(tmp_path):
    """Run a line of a shell in which $JOB and $SHOW are the programs above."""
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "show.py").write_text(SHOW)
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "long.json").write_text('{"units": 100000}')
    job = f"{sys.executable} job.py train --out out --config"

    def run(line, **more):
        names = {"JOB": f"{job} job.json", "SHOW": f"{sys.executable} show.py", **more}
        command = ["bash", "-c", f"set -o pipefail; {line}"]
        return subprocess.run(command, cwd=tmp_path, env=environment(**names), capture_output=True, timeout=120)

    run.folder = tmp_path
    return run


@pytest.mark.parametrize(
    "line",
    [
        "$JOB 2>&1 | head -1",
        "$JOB 2>/dev/full",
        "$JOB >/dev/full 2>&1",
        "$JOB 2>&-",
        "$JOB >&- 2>&-",
        "$JOB <&- >&- 2>&-",
        "$JOB | true",
    ],
)
def test_a_job_ends_well_whatever_becomes_of_its_log(shell, line):
    done = shell(line)
    assert done.returncode == 0, done.stderr[-2000:]
    assert b"Traceback" not in done.stderr
    assert (shell.folder / "out/done").read_text() == "all"


def test_what_can_be_written_is_utf_8_in_every_locale(shell):
    for names in ({}, LATIN, {"LC_ALL": "C", **{name: LATIN[name] for name in LATIN if name != "LC_ALL"}}):
        done = shell("$JOB", **names)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "café ≤ \\ud800\n".encode() in done.stderr
        shown = shell("$SHOW 1", **names)
        assert (shown.returncode, shown.stdout) == (0, "line 0 ≤ é \\ud800\n".encode())
    assert shell("$SHOW 1", PYTHONIOENCODING="latin-1").stdout == "line 0 \\u2264 é \\ud800\n".encode("latin-1")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$SHOW 3 | cat", 0, b""),
        ("$SHOW 100000 | head -1", 141, b""),
        ("$SHOW 1 | (exec <&-; sleep 1)", 141, b""),
        ("$SHOW 100000 >/dev/full", 4, b"show: standard output: No space left on device\n"),
        ("$SHOW 1 >/dev/full", 4, b"show: standard output: No space left on device\n"),
        ("$SHOW 1 >/dev/full 2>&1", 4, b""),
        ("$SHOW 1 >&-", 0, b""),
        ("$SHOW 1 x", 2, b"show: page: expected one, found x\n"),
        ("$SHOW 1 x 2>/dev/full", 2, b""),
    ],
)
def test_a_program_whose_output_cannot_be_written_ends_quietly(shell, line, code, said):
    done = shell(line)
    assert (done.returncode, done.stderr) == (code, said)


def start(shell, ignored=False, **streams):
    def child():
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    command = [sys.executable, "job.py", "train", "--config", "long.json", "--out", "out"]
    process = subprocess.Popen(command, cwd=shell.folder, env=environment(), preexec_fn=child, **streams)
    while not (shell.folder / "started").exists():
        time.sleep(0.02)
        assert process.poll() is None
    return process


def test_a_hang_up_is_answered_like_sigterm(shell):
    with start(shell, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        process.send_signal(signal.SIGHUP)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 85 and b"toy: stopped by signal 1; run the same command again" in said


def test_a_job_under_nohup_outlives_its_terminal(shell):
    master, slave = pty.openpty()
    with start(shell, ignored=True, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.close(master)
        process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 85


def test_the_hang_up_is_a_stop_signal_unless_it_is_ignored():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert signal.SIGHUP not in stop_signals()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert {signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT} == set(stop_signals())
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_line_for_a_stream_that_is_closed_or_missing_is_dropped(monkeypatch, tmp_path):
    closed = (tmp_path / "log").open("w")
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        log("a line")
