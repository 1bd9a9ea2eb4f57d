"""What goes wrong on a cluster, made to happen: a run goes on, does nothing twice at once, and loses nothing."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import need  # noqa: F401  (the root conftest is importable: fail early if not)

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]


def beats(folder: Path) -> dict[str, list[tuple[str, int]]]:
    """Each steady job's beats, ``(SLURM job, beat)`` in the order in which they came."""
    found: dict[str, list[tuple[str, int]]] = {}
    path = folder / "beats.txt"
    for line in path.read_text().splitlines() if path.exists() else []:
        name, job, beat = line.split()
        found.setdefault(name, []).append((job, int(beat)))
    return found


def never_two_at_once(folder: Path) -> None:
    """Once an attempt has begun, no earlier attempt of the same job shows a sign of life; the last one is whole."""
    for name, seen in beats(folder).items():
        order = [job for position, (job, _) in enumerate(seen) if position == 0 or seen[position - 1][0] != job]
        assert len(order) == len(set(order)), f"{name}: attempts ran at once: {order}"
        last = [beat for job, beat in seen if job == order[-1]]
        assert last == list(range(1, last[-1] + 1))


def attempts(folder: Path, name: str) -> int:
    return len({job for job, _ in beats(folder)[name]})


def test_memory_time_and_scancel(submit, cluster):
    """One run: a job that is killed for its memory, one that is told that its time is up, and one that is cancelled."""
    run = submit("--config", "beats=60", "--", "done/hungry.txt", "done/told.txt", "done/steady0.txt")
    told = run.job("told")
    cluster.slurm("scontrol", "update", f"jobid={told}", "TimeLimit=1")
    cancelled = run.job("steady")
    until_beats(run.folder)
    cluster.slurm("scancel", cancelled)
    assert run.end() == 0, run.text()[-3000:]

    (first, state, memory, _), (_, again, more, _) = run.jobs("hungry")
    assert (memory, more, again) == ("400M", "800M", "COMPLETED") and state in ("FAILED", "OUT_OF_MEMORY")
    assert (run.folder / "done/hungry.txt").read_text() == "800\n"

    stops = [int(stop) for stop in (run.folder / "done/told.txt").read_text().split()]
    assert len(stops) == 2 and 0 < stops[0] < 300 == stops[1], "the second attempt goes on where the first stopped"
    assert [row[1] for row in run.jobs("told")] == ["FAILED", "COMPLETED"], "it ended by itself, before SLURM killed it"

    assert [row[1].partition(" ")[0] for row in run.jobs("steady")] == ["CANCELLED", "COMPLETED"]
    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in run.text()
    never_two_at_once(run.folder)


def until_beats(folder, count=1):
    from cluster_tests import until

    until(lambda: sum(map(len, beats(folder).values())) >= count, "a beat")
