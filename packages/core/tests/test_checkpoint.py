"""Checkpoints: what is saved comes back whole, from the newest generation that is whole and ours."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from septet import checkpoint
from septet.checkpoint import Checkpoints

KINDS = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 complex64".split()


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "checkpoint", "job")


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
    store = Checkpoints(tmp_path_factory.mktemp("any"), "job")
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
    note.write_text(json.dumps({"job": "job", "step": 2, "sha256": checkpoint.sha256(tensors)}))


def foreign_job(note, tensors):
    note.write_text(json.dumps({**json.loads(note.read_text()), "job": "other"}))


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
    "torn note": text(b'{"job": "jo'),
    "empty note": text(b""),
    "note that is no text": text(b"\xff"),
    "note without keys": text(b"{}"),
    "note that is a list": text(b"[]"),
    "note that is null": text(b"null"),
    "note without step": text(b'{"job": "job", "sha256": ""}'),
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
    assert f"{2:012d}.safetensors passed over: " in line


def test_when_no_generation_is_whole_there_is_no_state(store, capsys):
    store.save(1, {"x": np.array([1])})
    break_tensors(None, store.folder / f"{1:012d}.safetensors")
    assert store.load() is None
    assert "checksum" in capsys.readouterr().err


def test_a_save_outlives_older_jobs_that_were_further_on(store):
    """A job of another configuration was stopped here at steps 900 and 1000; this one begins at 1."""
    other = Checkpoints(store.folder, "other")
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
    again = Checkpoints(store.folder, "job")
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
    with pytest.raises(OSError, match="No space"):
        store.save(2, {"x": np.array([2])})
    assert store.load()[0] == 1 and len(names(store)) == 2


def test_a_save_is_due_every_so_many_seconds(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    store = Checkpoints(store.folder, "job", every=60)
    due = []
    for now[0] in (0.0, 59.0, 60.0, 90.0, 149.0, 150.0):
        due.append(store.due())
        if now[0] == 90.0:
            store.save(1, {})
    assert due == [False, False, True, True, False, True]


def test_clear_removes_everything_and_may_be_called_twice(store):
    store.save(1, {"x": np.array([1])})
    store.clear()
    store.clear()
    assert not store.folder.exists()
