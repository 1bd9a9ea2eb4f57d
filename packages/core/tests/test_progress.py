"""Progress lines, and the progress of running jobs seen from outside."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from septet import progress
from septet.progress import Progress, describe, running


@pytest.mark.parametrize(
    ("done", "total", "rate", "line"),
    [
        (0, 5000, 0, "job  0/5,000 rounds  0 %  0 rounds/s  ? left"),
        (2500, 5000, 1250.0, "job  2,500/5,000 rounds  50 %  1,250 rounds/s  0:02 left"),
        (0, 5000, 1, "job  0/5,000 rounds  0 %  1 rounds/s  1:23:20 left"),
        (1, 60, 1, "job  1/60 rounds  2 %  1 rounds/s  0:59 left"),
        (5000, 5000, 10, "job  5,000/5,000 rounds  100 %  10 rounds/s  0:00 left"),
        (6000, 5000, 10, "job  6,000/5,000 rounds  120 %  10 rounds/s  0:00 left"),
        (0, 0, 0, "job  0/0 rounds  100 %  0 rounds/s  ? left"),
    ],
)
def test_a_line_by_hand(done, total, rate, line):
    assert describe({"label": "job", "done": done, "total": total, "unit": "rounds", "rate": rate}) == line


def test_what_a_step_measured_is_in_the_line_and_in_the_file(tmp_path, capsys):
    job = Progress("job", 4, "steps", tmp_path)
    job.update(4, {"reward": 0.25, "tokens_per_second": 1234.56, "kl": float("nan")})
    assert capsys.readouterr().err.splitlines()[-1].endswith("  0:00 left  reward 0.25  tokens per second 1235")
    state = json.loads((tmp_path / "progress.json").read_text())
    assert state["measured"] == {"reward": 0.25, "tokens_per_second": 1234.56}
    (line,) = running(tmp_path)
    assert "reward 0.25" in line
    for torn in ([1], {"reward": "high"}, "none"):
        (tmp_path / "progress.json").write_text(json.dumps({**state, "measured": torn}))
        assert running(tmp_path) == []


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=1000.0)
    fake = SimpleNamespace(monotonic=lambda: now.value, time=lambda: now.value)
    monkeypatch.setattr(progress, "time", fake)
    return now


def test_lines_come_every_two_seconds_and_at_the_end(clock, tmp_path, capsys):
    job = Progress("job", 1000, "rounds", tmp_path)
    for done in range(1, 1001):
        clock.value += 0.01
        job.update(done)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6  # at 0, 2, 4, 6, 8 and 10 seconds
    assert lines[0].startswith("job  0/1,000") and lines[-1].startswith("job  1,000/1,000 rounds  100 %  100 rounds/s")
    assert json.loads((tmp_path / "progress.json").read_text())["done"] == 1000
    job.finish()
    job.finish()
    assert not list(tmp_path.iterdir())


def test_a_resumed_job_counts_its_own_rate(clock, tmp_path, capsys):
    job = Progress("job", 1000, "rounds", tmp_path, done=900)
    clock.value += 10
    job.update(950)
    assert capsys.readouterr().err.splitlines()[-1] == "job  950/1,000 rounds  95 %  5 rounds/s  0:10 left"


def test_running_lists_jobs_below_a_folder_with_the_age_of_their_last_word(clock, tmp_path):
    for name in ("b", "a"):
        Progress(name, 10, "rounds", tmp_path / name / "checkpoint")
    clock.value += 65
    first, second = running(tmp_path)
    assert first.startswith("a  0/10") and first.endswith(f"(heard 1:05 ago, {tmp_path / 'a/checkpoint'})")
    assert second.startswith("b  0/10")
    assert running(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"label": "jo',
        b"\xff",
        b"{}",
        b"[]",
        b"null",
        b'{"label": "job", "done": "1"}',
    ],
)
def test_running_passes_over_what_is_torn_or_foreign(content, clock, tmp_path):
    Progress("whole", 10, "rounds", tmp_path / "whole")
    (tmp_path / "progress.json").write_bytes(content)
    (line,) = running(tmp_path)
    assert line.startswith("whole")


def test_status_of_a_folder(tmp_path):
    def status():
        command = [sys.executable, "-m", "septet", "status", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert status() == "no job is running\n"
    Progress("job", 10, "rounds", tmp_path / "deep")
    assert status().startswith("job  0/10 rounds")
