"""Checkpoints: what is saved comes back whole, from the newest generation that is whole and ours."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from septet import checkpoint
from septet.checkpoint import Checkpoints, identity
from septet.cli import stop_request
from septet.errors import InputError, Interrupted, NoState, NotFinite, NotWritten

JOB = {"settings": "a", "sources of septet": "b", "lock": "c"}
KINDS = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 complex64".split()


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "checkpoint", JOB)


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array_comes_back_as_it_was(kind, store):
    values = np.arange(12).astype(kind).reshape(3, 4)
    arrays = {"plain": values, "turned": values.T, "backwards": values[:, ::-2], "none": values[:0]}
    store.save(3, arrays)
    step, found = store.load()
    assert step == 3 and found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_single_number_keeps_its_shape(store):
    store.save(1, {"count": np.array(3.5)})
    assert store.load()[1]["count"].shape == ()


ARRAYS = st.sampled_from(KINDS).flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(max_dims=3, min_side=0)))


@settings(max_examples=40, deadline=None)
@given(step=st.integers(0, 10**12), arrays=st.dictionaries(st.text(min_size=1, max_size=5), ARRAYS, max_size=3))
def test_any_state_comes_back_to_the_bit(step, arrays, tmp_path_factory):
    arrays.pop("__metadata__", None)
    store = Checkpoints(tmp_path_factory.mktemp("any"), JOB)
    store.save(step, arrays)
    found_step, found = store.load()
    assert found_step == step and found.keys() == arrays.keys()
    assert all(found[name].shape == array.shape for name, array in arrays.items())
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())


def test_two_generations_are_kept_and_the_newest_is_loaded(store):
    for step in (9, 10, 100):  # in the order of numbers, not of letters
        store.save(step, {"x": np.array([step])})
    assert names(store) == [f"{step:012d}.{end}" for step in (10, 100) for end in ("json", "safetensors")]
    assert store.load()[0] == 100


def test_nothing_there_is_no_state_and_makes_no_folder(store, capsys):
    assert store.load() is None and not store.folder.exists()
    store.folder.mkdir()
    (store.folder / "progress.json").write_text("{}")
    assert store.load() is None
    assert capsys.readouterr().err == ""


def break_tensors(note, tensors):
    tensors.write_bytes(tensors.read_bytes()[:-1])


def flip_a_bit(note, tensors):
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)


def lose_tensors(note, tensors):
    tensors.unlink()


def foreign_tensors(note, tensors):
    tensors.write_bytes(b"something else")
    sealed(note, job=JOB, step=2, sha256=checkpoint.sha256(tensors))


def sealed(note, **content):
    note.write_text(json.dumps({**content, "seal": checkpoint._digest(content)}))


def foreign_job(note, tensors):
    sealed(note, job={**JOB, "lock": "other"}, step=2, sha256=checkpoint.sha256(tensors))


def another_step(note, tensors):
    note.write_text(json.dumps({**json.loads(note.read_text()), "step": 3}))


def text(content):
    def write(note, tensors):
        note.write_bytes(content)

    return write


DAMAGES = {
    "torn tensors": break_tensors,
    "one wrong bit": flip_a_bit,
    "no tensors": lose_tensors,
    "tensors of another form": foreign_tensors,
    "another job's": foreign_job,
    "another step": another_step,
    "torn note": text(b'{"job": "jo'),
    "empty note": text(b""),
    "note that is no text": text(b"\xff"),
    "note without keys": text(b"{}"),
    "note that is a list": text(b"[]"),
    "note that is null": text(b"null"),
    "note without step": lambda note, tensors: sealed(note, job=JOB, sha256=checkpoint.sha256(tensors)),
    "job that is a text": lambda note, tensors: sealed(note, job="job", step=2, sha256=""),
    "note without end": text(b"[" * 100_000),
}


@pytest.mark.parametrize(
    "damage",
    DAMAGES.values(),
    ids=DAMAGES,
)
def test_a_damaged_or_foreign_generation_is_passed_over_with_a_message(damage, store, capsys):
    store.save(1, {"x": np.array([1])})
    store.save(2, {"x": np.array([2])})
    newest = store.folder / f"{2:012d}.json"
    damage(newest, newest.with_suffix(".safetensors"))
    step, arrays = store.load()
    assert step == 1 and arrays["x"] == [1]
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{2:012d}.safetensors skipped: " in line


def test_when_no_generation_is_whole_there_is_no_state(store, capsys):
    store.save(1, {"x": np.array([1])})
    break_tensors(None, store.folder / f"{1:012d}.safetensors")
    assert store.load() is None
    assert "checksum" in capsys.readouterr().err


def test_a_save_outlives_older_jobs_that_were_further_on(store):
    """A job of another configuration was stopped here at steps 900 and 1000; this one begins at 1."""
    other = Checkpoints(store.folder, {**JOB, "settings": "other"})
    other.save(900, {"x": np.array([9])})
    other.save(1000, {"x": np.array([10])})
    assert store.load() is None
    store.save(1, {"x": np.array([1])})
    assert store.load() is not None and store.load()[0] == 1
    store.save(2, {"x": np.array([2])})
    assert names(store) == [f"{step:012d}.{end}" for step in (1, 2) for end in ("json", "safetensors")]


def test_a_damaged_generation_takes_no_place_of_a_whole_one(store):
    store.save(5, {"x": np.array([5])})
    store.save(6, {"x": np.array([6])})
    break_tensors(None, store.folder / f"{6:012d}.safetensors")
    again = Checkpoints(store.folder, JOB)
    assert again.load()[0] == 5
    again.save(7, {"x": np.array([7])})
    break_tensors(None, store.folder / f"{7:012d}.safetensors")
    assert again.load()[0] == 5


def test_a_failed_save_leaves_the_older_state(store, monkeypatch):
    store.save(1, {"x": np.array([1])})

    def torn(arrays, target):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", torn)
    with pytest.raises(NotWritten, match=r"000000000002\.safetensors: not written: No space"):
        store.save(2, {"x": np.array([2])})
    assert store.load()[0] == 1 and len(names(store)) == 2


def test_a_save_is_due_every_so_many_seconds(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    store = Checkpoints(store.folder, JOB)
    due = []
    for now[0] in (0.0, 59.0, 60.0, 90.0, 149.0, 150.0):
        due.append(store.due())
        if now[0] == 90.0:
            store.keep(1, dict)
    assert due == [False, False, True, True, False, True]


def test_saving_takes_at_most_a_fiftieth_of_the_time(store, monkeypatch):
    """A job that could save at every step, with a state that takes 10 s to gather and to write, for three hours."""
    now, saving = [0.0], [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    store = Checkpoints(store.folder, JOB)

    def state():
        now[0] += 10.0
        saving[0] += 10.0
        return {}

    starts = []
    while now[0] < 3 * 3600:
        now[0] += 1.0
        if store.due():
            starts.append(now[0])
            store.safe_point(int(now[0]), state, "")
    assert starts[:3] == [60.0, 560.0, 1060.0]  # 490 s after the end of the one before
    assert saving[0] <= 0.02 * now[0] + 10.0  # the first one finds out what it takes
    monkeypatch.setenv("SEPTET_SAVE_EVERY", "5")
    own = Checkpoints(store.folder, JOB)
    own.keep(1, state)
    assert own.interval == 5.0


def test_what_reading_a_state_took_is_what_saving_it_is_expected_to_take(store, monkeypatch):
    now = [0.0]
    store.save(1, {"x": np.array([1])})
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint, "load_file", lambda _: now.__setitem__(0, 20.0) or {})
    again = Checkpoints(store.folder, JOB)
    assert again.interval == 60.0 and again.load() == (1, {}) and again.interval == pytest.approx(980.0)


def test_the_seconds_between_saves_are_the_machine_s(store, monkeypatch):
    assert store.every is None and store.interval == 60
    monkeypatch.setenv("SEPTET_SAVE_EVERY", "0.5")
    assert Checkpoints(store.folder, JOB).every == 0.5
    monkeypatch.setenv("SEPTET_SAVE_EVERY", "soon")
    with pytest.raises(InputError, match="SEPTET_SAVE_EVERY: expected seconds, found soon"):
        Checkpoints(store.folder, JOB)


def test_a_job_s_identity_says_what_differs(store, capsys):
    first = identity({"seeds": [0]}, ["septet"], "simulated")
    assert first == identity({"seeds": [0]}, ["septet"], "simulated")
    with pytest.raises(Interrupted), Checkpoints(store.folder, first) as one:
        one.safe_point(1, lambda: {"x": np.array([1])}, "step 1", lambda _: True)
    second = identity({"seeds": [1]}, ["septet"], "real")
    with Checkpoints(store.folder, second) as other:
        assert other.load() is None
    assert "it was written by a job with other data, settings\n" in capsys.readouterr().err


def test_a_safe_point_saves_when_due_or_told_to_stop(store, monkeypatch):
    asked = []

    def state():
        asked.append(1)
        return {"x": np.array([1])}

    with pytest.raises(Interrupted, match="stopped by signal 15 at step 3, state saved"), store:
        store.safe_point(1, state, "step 1")
        assert not asked
        store.every = 0.0
        store.safe_point(2, state, "step 2")
        assert len(asked) == 1 and store.load()[0] == 2
        monkeypatch.setattr(stop_request, "signal", 15)
        store.safe_point(3, state, "step 3")
    assert store.load()[0] == 3


def test_a_job_whose_environment_has_no_state_says_that_it_cannot_resume(store):
    def state():
        raise NoState("task", expected="walle's", found="another's")

    store.every = 0.0
    with pytest.raises(Interrupted, match="cannot resume: task: expected"), store:
        store.safe_point(1, state, "step 1")
        store.safe_point(1, state, "step 1", lambda _: True)
    assert not store.folder.exists()


def test_the_last_good_state_is_named_when_a_number_is_none(store):
    with pytest.raises(NotFinite) as caught, store:
        raise NotFinite("step 1: loss")
    assert caught.value.__notes__ == ["last good checkpoint: none yet"]
    with pytest.raises(NotFinite) as caught, store:
        store.save(4, {"x": np.array([1])})
        raise NotFinite("step 5: loss")
    assert caught.value.__notes__ == [f"last good checkpoint: {store.folder}/000000000004.safetensors"]


def test_two_runs_in_one_folder_are_refused(store, monkeypatch):
    monkeypatch.setenv("SEPTET_LOCK_WAIT", "0")
    with store:
        store.save(1, {"x": np.array([1])})
        with (
            pytest.raises(InputError, match=rf"not locked by another run, found process {os.getpid()} on "),
            Checkpoints(store.folder, JOB),
        ):
            pass
        assert store.load() is not None
    assert not store.folder.exists()


HOLD = """
import sys, time
from pathlib import Path
from septet.folder_lock import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_an_earlier_attempt_that_is_still_at_work_is_waited_for(store, monkeypatch, capsys):
    command = [sys.executable, "-c", HOLD, store.folder, "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as earlier:
        assert earlier.stdout.readline() == "held\n"
        with store:
            store.save(1, {"x": np.array([1])})
        assert earlier.wait() == 0
    assert f"waiting up to 120 s for process {earlier.pid} on " in capsys.readouterr().err
    monkeypatch.setenv("SEPTET_LOCK_WAIT", "0.3")
    with subprocess.Popen([*command[:-1], "30"], stdout=subprocess.PIPE, text=True) as earlier:
        earlier.stdout.readline()
        start = time.monotonic()
        with pytest.raises(InputError, match=f"found process {earlier.pid} on "), store:
            pass
        assert 0.3 <= time.monotonic() - start < 10
        earlier.kill()


def test_a_signal_ends_the_wait(store, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", HOLD, store.folder, "30"], stdout=subprocess.PIPE) as earlier:
        earlier.stdout.readline()
        monkeypatch.setattr(stop_request, "signal", None)
        threading.Timer(0.3, setattr, (stop_request, "signal", 15)).start()
        with pytest.raises(Interrupted, match=f"stopped by signal 15 while waiting for process {earlier.pid}"), store:
            pass
        earlier.kill()


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", ""])
def test_a_wait_that_is_no_number_is_refused(store, text, monkeypatch):
    monkeypatch.setenv("SEPTET_LOCK_WAIT", text)
    with pytest.raises(InputError, match="SEPTET_LOCK_WAIT: expected a number of seconds, at least 0"), store:
        pass
    assert not store.folder.exists()


def test_a_refused_job_leaves_no_folder(tmp_path):
    with pytest.raises(InputError), Checkpoints(tmp_path / "new/out/checkpoint", JOB):
        raise InputError("data", expected="some", found="none")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(InputError), Checkpoints(tmp_path / "old/checkpoint", JOB):
        raise InputError("data", expected="some", found="none")
    assert list((tmp_path / "old").iterdir()) == []


def test_what_killed_processes_left_is_swept_up(tmp_path):
    folder = tmp_path / "out/checkpoint"
    folder.mkdir(parents=True)
    for name in (folder / ".000000000004.safetensors.77.tmp", folder.parent / ".scores.parquet.77.tmp"):
        name.write_bytes(b"half")
    with pytest.raises(KeyError), Checkpoints(folder, JOB):
        assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["out", "checkpoint", "lock"]
        raise KeyError
