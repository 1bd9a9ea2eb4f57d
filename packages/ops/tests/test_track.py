"""Tracking: what the files of W&B and TensorBoard hold, nothing added twice, and training that never notices."""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event
from wandb.proto.wandb_internal_pb2 import Record

from septet.errors import InputError
from septet.ops.live import Follower
from septet.ops.track import LEDGER, read_ledger, track
from septet.report import merge
from septet.scores import read_scores
from septet.sealed import write_json

from .conftest import build_card, write_run

KEY = "0f1e2d3c4b" * 4
SEEDS = [0, 1]
STEPS = (0, 50, 100)


def wandb_records(path):
    """The records of a .wandb file: LevelDB's log of protobuf messages after a header of seven bytes."""
    data, place, message = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        room = 32768 - place % 32768
        if room < 7:
            place += room
            continue
        checksum, length, kind = struct.unpack("<IHB", data[place : place + 7])
        part = data[place + 7 : place + 7 + length]
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        place, message = place + 7 + length, message + part
        if kind in (1, 4):  # whole, last
            yield Record.FromString(message)
            message = b""


def history(path):
    """Step -> metric -> value, as W&B would show them; and the run's own record."""
    points, run = {}, None
    for record in wandb_records(path):
        if record.WhichOneof("record_type") == "run":
            run = record.run
        if record.WhichOneof("record_type") == "history":
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            points.setdefault(row["_step"], {}).update({k: v for k, v in row.items() if not k.startswith("_")})
    return points, run


def events(folder):
    """Step -> metric -> value of the one event file of a folder."""
    (path,) = folder.iterdir()
    data, place, points = path.read_bytes(), 0, {}
    while place < len(data):
        (length,) = struct.unpack("<Q", data[place : place + 8])
        body = data[place + 12 : place + 12 + length]
        (checksum,) = struct.unpack("<I", data[place + 12 + length : place + 16 + length])
        found = crc32c(body)
        assert checksum == (((found >> 15) | (found << 17)) + 0xA282EAD8) & 0xFFFFFFFF
        event = Event.FromString(body)
        for value in event.summary.value:
            points.setdefault(event.step, {})[value.tag] = value.simple_value
        place += 16 + length
    return points


def make(folder, run="a" * 12, methods=("ts",), task="static", started="2026-02-03T10:00:00Z"):
    card = build_card(
        run, methods={name: {} for name in methods}, task=task, seeds=SEEDS, started=started,
        config={"method": {"name": "ts"}, "seeds": SEEDS},
    )  # fmt: skip

    def value(method, card, steps):
        return np.array([[math.sin(7 * s + step + len(method)) for step in steps] for s in card.seeds])

    write_run(folder / f"dynts/runs/ts/{task}", card, value, steps=STEPS)
    runs = sorted((folder / "dynts/runs").glob("*/*"))
    merge.evaluate("dynts", "laptop", runs, folder / "dynts")
    return folder


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    os.environ["WANDB_API_KEY"] = KEY
    folder = make(tmp_path_factory.mktemp("laptop"))
    make(folder, "b" * 12, ("ts/none", "ts/exp-0.9"), "drift")
    assert track(folder, ["dynts"], ["wandb", "tensorboard"], folder / "tracking") == {"wandb": 4, "tensorboard": 4}
    yield folder
    del os.environ["WANDB_API_KEY"]


def wandb_files(folder):
    return {path.name: path for path in (folder / "tracking/wandb").glob("offline-run-*/*.wandb")}


def test_wandb_s_files_hold_the_score_table(tracked):
    scores = read_scores(tracked / "dynts/scores.parquet")
    files = wandb_files(tracked)
    assert sorted(files) == [f"run-{run * 12}-{seed}.wandb" for run in "ab" for seed in SEEDS]
    count = 0
    for run, task in (("a", "static"), ("b", "drift")):
        for seed in SEEDS:
            points, about = history(files[f"run-{run * 12}-{seed}.wandb"])
            assert (about.run_group, about.job_type, about.project) == ("dynts/ts", task, "septet")
            config = {one.key: json.loads(one.value_json) for one in about.config.update}
            assert config["seed"] == seed and config["id"] == run * 12 and config["scale"] == "laptop"
            for row in scores.filter(task=task, seed=seed).iter_rows(named=True):
                name = row["metric"] if run == "a" else f"{row['method']}/{row['metric']}"
                assert points[row["step"]][name] == row["value"]  # W&B writes shortest decimals: not a bit is lost
                count += 1
    assert count == len(scores)


def test_tensorboard_s_files_hold_the_score_table(tracked):
    scores = read_scores(tracked / "dynts/scores.parquet")
    for seed in SEEDS:
        points = events(tracked / f"tracking/tensorboard/dynts/ts/static/seed{seed}")
        rows = scores.filter(task="static", seed=seed)
        assert len(rows) == sum(map(len, points.values())) == len(STEPS)
        for row in rows.iter_rows(named=True):
            assert points[row["step"]][row["metric"]] == np.float32(row["value"])  # its events are single precision


def test_a_second_call_adds_nothing_and_a_new_run_only_itself(tracked, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (tracked / "tracking").rglob("*.wandb")}
    assert track(tracked, ["dynts"], ["wandb", "tensorboard"], tracked / "tracking") == {"wandb": 0, "tensorboard": 0}
    assert {path: path.stat().st_mtime_ns for path in (tracked / "tracking").rglob("*.wandb")} == before


def test_no_key_is_written_anywhere(tracked):
    for path in tracked.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_call_that_was_killed_is_taken_up_where_it_stopped(tmp_path):
    folder, out = make(tmp_path), tmp_path / "tracking"
    stale = out / f"wandb/offline-run-20260101_000000-{'a' * 12}-1"
    stale.mkdir(parents=True)
    (stale / f"run-{'a' * 12}-1.wandb").write_bytes(b"half")
    assert track(folder, ["dynts"], ["wandb"], out) == {"wandb": 2}
    assert not stale.exists() and len(wandb_files(folder)) == 2
    ledger = read_ledger(out)
    del ledger["wandb"][f"{'a' * 12}-0"]
    write_json(out / LEDGER, ledger)
    assert track(folder, ["dynts"], ["wandb"], out) == {"wandb": 1} and len(wandb_files(folder)) == 2


def test_a_torn_ledger_or_missing_results_are_refused(tmp_path):
    folder = make(tmp_path)
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking/ledger.json").write_text("[")
    with pytest.raises(InputError, match="expected a ledger"):
        track(folder, ["dynts"], ["wandb"], tmp_path / "tracking")
    with pytest.raises(InputError, match="vrda"):
        track(folder, ["vrda"], ["wandb"], tmp_path / "other")


def test_live_mode_passes_on_progress_and_then_the_scores(tmp_path):
    work, out = tmp_path / "dynts/runs/ts/static", tmp_path / "tracking"
    (work / "checkpoint").mkdir(parents=True)
    state = {"label": "dynts ts", "total": 10, "unit": "rounds", "rate": 2.0, "pid": 1}
    follower = Follower(tmp_path, out)
    for done in (2, 6):
        now = {"done": done, "time": float(done), "measured": {"reward": done / 8}}
        (work / "checkpoint/progress.json").write_text(json.dumps({**state, **now}))
        assert follower.look() == follower.look() == 1  # a second look at the same word adds nothing
    (work / "checkpoint/progress.json").write_text(
        '{"done": 7, "lab'
    )  # torn: it is passed over, the job is still there
    follower.look()
    (work / "checkpoint/progress.json").unlink()
    make(tmp_path)
    assert follower.look() == 0
    follower.close()
    (live,) = (path for path in out.rglob("*.wandb") if "-live-" in path.name)
    rows = history(live)[0].values()
    assert [(row["done"], row["reward"]) for row in rows] == [(2, 0.25), (6, 0.75)]
    assert set(read_ledger(out)["wandb"]) == {f"{'a' * 12}-{seed}" for seed in SEEDS}
    assert track(tmp_path, ["dynts"], ["wandb"], out) == {"wandb": 0}


TRAINING = """
import sys, time
from pathlib import Path
from septet.progress import Progress
folder = Path(sys.argv[1])
progress = Progress("training", 40, "steps", folder / "checkpoint")
total = 0.0
for step in range(40):
    total += step ** 0.5
    progress._printed = -1e9
    progress.update(step + 1)
    while step == 20 and not (folder.parent / "go").exists():
        time.sleep(0.02)
progress.finish()
(folder / "result").write_text(repr(total))
print("wandb" in sys.modules, "septet.ops" in sys.modules)
"""


def test_training_does_not_notice_when_the_follower_is_killed(tmp_path):
    def start(folder):
        folder.mkdir(parents=True)
        return subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    alone = start(tmp_path / "alone/run")
    followed = start(tmp_path / "followed/run")
    live = subprocess.Popen(
        [sys.executable, "-m", "septet.ops", "live", str(tmp_path / "followed"), "--every", "0.05"],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120  # the follower may be slow to start: the two wait for it half-way
    while not list((tmp_path / "followed/tracking").rglob("*.wandb")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert followed.poll() is None and list((tmp_path / "followed/tracking").rglob("*.wandb"))
    live.send_signal(signal.SIGKILL)
    live.wait()
    for name in ("alone", "followed"):
        (tmp_path / name / "go").touch()
    assert [process.communicate(timeout=60)[0].strip() for process in (alone, followed)] == ["False False"] * 2
    assert alone.returncode == followed.returncode == 0
    assert (tmp_path / "alone/run/result").read_bytes() == (tmp_path / "followed/run/result").read_bytes()
