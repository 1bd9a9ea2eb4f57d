"""The command line of every package: exit codes, one line for bad input, signals, and the output folder."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from septet.cli import StopRequest, Verb, check_writable, main, stop_request
from septet.config import Settings
from septet.errors import InputError, Interrupted
from septet.files import write_text


class Job(Settings):
    how: str = "well"


def act(config, out):
    """Do one thing.

    And no more.
    """
    if config.how == "bad":
        raise InputError("table.csv", expected="rows\nand columns", found="none")
    if config.how == "stopped":
        raise Interrupted("stopped by signal 15, state saved")
    if config.how == "broken":
        raise ZeroDivisionError("a fault of ours")
    write_text(out / "done.txt", config.how)


def bench(quick, file):
    """Measure."""
    write_text(file, str(quick))


@pytest.fixture(autouse=True)
def handlers():
    """Give the two signals back to the test process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    stop_request.signal = None


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["toy", *map(str, arguments)])
        monkeypatch.setitem(sys.modules, "toy_bench", SimpleNamespace(BENCH=bench))
        with pytest.raises(SystemExit) as end:
            main("toy", {"train": Verb(Job, act)}, "toy_bench")
        return end.value.code, capsys.readouterr().err.splitlines()

    return run


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("{}")
    return file


def test_a_done_job_is_0_and_its_folder_is_made(call, config, tmp_path):
    assert call("train", "--config", config, "--out", tmp_path / "new/out") == (0, [])
    assert (tmp_path / "new/out/done.txt").read_text() == "well"
    assert call("train", "--config", config, "--out", tmp_path / "new/out") == (0, [])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("how: bad", "toy: table.csv: expected rows and columns, found none"),
        ("hwo: well", "toy: {config}: expected one of the keys how, found the unknown key hwo"),
        ("how: [1]", "toy: {config}: how: expected a valid string, found [1]"),
        ("- 1", "toy: {config}: expected a mapping of keys to values, found [1]"),
        (None, "toy: {config}: expected a readable file, found No such file or directory"),
    ],
)
def test_bad_input_is_2_with_one_line_and_nothing_written(text, line, call, config, tmp_path):
    config.write_text(text) if text else config.unlink()
    before = sorted(tmp_path.rglob("*"))
    assert call("train", "--config", config, "--out", tmp_path / "out") == (2, [line.format(config=config)])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_stopped_job_is_85_and_says_how_to_go_on(call, config, tmp_path):
    config.write_text("how: stopped")
    code, lines = call("train", "--config", config, "--out", tmp_path / "out")
    assert code == 85
    assert lines == ["toy: stopped by signal 15, state saved; run the same command again to resume"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["train"],
        ["train", "--config", "x"],
        ["train", "--conf", "x", "--out", "y"],
        ["train", "--config", "x", "--out", "y", "--quick"],
        ["bench"],
    ],
)
def test_a_wrong_command_line_is_2(arguments, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, lines = call(*arguments)
    assert code == 2 and lines[-1].startswith("python -m septet.toy")
    assert not list(tmp_path.iterdir())


def test_bench_gets_its_arguments(call, tmp_path):
    assert call("bench", "--json", tmp_path / "a.json") == (0, [])
    assert call("bench", "--quick", "--json", tmp_path / "b.json") == (0, [])
    assert [(tmp_path / name).read_text() for name in ("a.json", "b.json")] == ["False", "True"]


def test_the_configuration_is_read_from_standard_input(call, tmp_path, monkeypatch):
    read, write = os.pipe()
    os.write(write, b"hwo: well")
    os.close(write)
    with os.fdopen(read) as text:
        monkeypatch.setattr(sys, "stdin", text)
        code, lines = call("train", "--config", "-", "--out", tmp_path / "out")
    assert code == 2 and lines[0].startswith("toy: standard input: expected one of the keys how")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_sets_the_stop_request_and_ends_nothing(number):
    request = StopRequest()
    request.listen()
    assert request.signal is None
    os.kill(os.getpid(), number)
    assert request.signal == number


TOY = """
import os, sys, time
from pathlib import Path
from septet.cli import Verb, main, stop_request
from septet.config import Settings
from septet.errors import Interrupted

class Job(Settings):
    how: str = "well"

def act(config, out):
    if config.how == "broken":
        raise ZeroDivisionError("a fault of ours")
    print("ready", flush=True)
    while config.how == "long":
        time.sleep(0.01)
        if stop_request.signal is not None:
            raise Interrupted(f"stopped by signal {stop_request.signal}")

if os.getuid() == 0:  # permissions do not bind root
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
main("toy", {"train": Verb(Job, act)})
"""


def command(config, out):
    return [sys.executable, "-c", TOY, "train", "--config", str(config), "--out", str(out)]


@pytest.fixture
def open_folder():
    """A folder that another user can read, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="septet-"))
    folder.chmod(0o755)
    (folder / "job.yaml").write_text("{}")
    yield folder
    for path in folder.iterdir():
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_fault_of_ours_is_1_with_its_traceback(open_folder):
    (open_folder / "job.yaml").write_text("how: broken")
    (open_folder / "out").mkdir()
    (open_folder / "out").chmod(0o777)
    done = subprocess.run(command(open_folder / "job.yaml", open_folder / "out"), capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and done.stderr.splitlines()[-1] == "ZeroDivisionError: a fault of ours"


def test_a_process_that_is_told_to_stop_ends_with_85(open_folder):
    (open_folder / "job.yaml").write_text("how: long")
    (open_folder / "out").mkdir()
    (open_folder / "out").chmod(0o777)
    line = command(open_folder / "job.yaml", open_folder / "out")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 85
    assert errors == "toy: stopped by signal 15; run the same command again to resume\n"


@pytest.mark.parametrize(
    ("mode", "out"),
    [
        (0o555, "locked"),
        (0o555, "locked/new/out"),
        (0o000, "locked"),
        (0o000, "locked/new/out"),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_one_line(mode, out, open_folder):
    (open_folder / "locked").mkdir()
    (open_folder / "locked").chmod(mode)
    done = subprocess.run(command(open_folder / "job.yaml", open_folder / out), capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"toy: --out {open_folder / out}: expected a writable folder, found ")
    assert done.stdout == ""


@pytest.mark.parametrize("below", ["file", "file/out", "file/deep/out"])
def test_a_folder_below_a_file_is_one_line(below, call, config, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, (line,) = call("train", "--config", config, "--out", tmp_path / below)
    assert code == 2
    assert line == f"toy: --out {tmp_path / below}: expected a folder, found the file {tmp_path / 'file'}"
    assert (tmp_path / "file").read_text() == "mine"


def test_looking_at_the_folder_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "a/b/c", Path("relative/deep"), Path()):
        check_writable(folder)
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_folder_can_have_is_one_line(tmp_path):
    with pytest.raises(InputError, match="--out"):
        check_writable(tmp_path / ("x" * 300))


def test_a_link_to_nowhere_is_one_line(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"--out .*link"):
        check_writable(tmp_path / "link")


def test_septet_itself_says_how_it_is_called():
    done = subprocess.run([sys.executable, "-m", "septet"], capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.startswith("usage: septet PACKAGE VERB ...")
    assert "dynts, empg" in done.stderr.splitlines()[-1]


def test_septet_runs_a_verb_of_a_package(tmp_path):
    command = [sys.executable, "-m", "septet", "dynts", "train", "--config", str(tmp_path / "no.yaml"), "--out", "run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("dynts: ") and len(done.stderr.splitlines()) == 1


def test_an_error_stays_one_readable_line_however_long_its_parts():
    line = str(InputError("a.json: " + "k" * 5000 + ".last", expected="text", found="x" * 5000))
    assert line.startswith("a.json: kkk") and ".last: expected text, found xxx" in line and len(line) < 600
    path = "/" + "/".join(["folder"] * 20) + "/file.yaml: seeds"
    assert str(InputError(path, expected="integers", found=1)) == f"{path}: expected integers, found 1"
