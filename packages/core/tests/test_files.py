"""Whole-or-nothing writes under exceptions and kills, and digests of trees."""

import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.files import replacing, sha256, sha256_tree, write_text


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "new/folder/a.txt"
    for text in ("old", "new ü\n"):
        write_text(file, text)
        assert file.read_text(encoding="utf-8") == text
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_no_temporary_one(error, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(error), replacing(file) as temporary:
        assert temporary.parent == tmp_path  # a rename across file systems would be no single step
        temporary.write_text("ne")
        assert file.read_text() == "old"
        raise error
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_body_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError, match="nothing was written"), replacing(file):
        pass
    assert file.read_text() == "old"


HALF = """
import sys, time
from pathlib import Path
from septet.files import replacing
with replacing(Path(sys.argv[1])) as temporary, temporary.open("w") as file:
    file.write("half"); file.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("old", ["old", None])
def test_a_killed_process_leaves_the_old_file_whole(old, tmp_path):
    file = tmp_path / "a.txt"
    if old:
        file.write_text(old)
    process = subprocess.Popen([sys.executable, "-c", HALF, str(file)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert (file.read_text() if file.exists() else None) == old
    write_text(file, "new")  # what the dead process left is in nobody's way
    assert file.read_text() == "new"


def test_the_digest_of_a_file_is_the_well_known_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


TREES = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "ab", "a b", "é"]), min_size=1, max_size=2).map("/".join),
    st.binary(max_size=3),
    max_size=4,
).filter(lambda tree: not any(other.startswith(name + "/") for name in tree for other in tree))


def grow(folder, tree):
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [folder / name for name in tree]


@settings(max_examples=40, deadline=None)
@given(one=TREES, other=TREES)
def test_the_digest_of_a_tree_tells_trees_apart_wherever_they_lie(one, other, tmp_path_factory):
    here, there = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    files = grow(here, one)
    digest = sha256_tree(here, files)
    assert (digest == sha256_tree(there, grow(there, other))) == (one == other)
    assert digest == sha256_tree(here, reversed(files))


def test_a_file_that_moves_its_bytes_to_its_neighbour_changes_the_digest(tmp_path):
    ab = sha256_tree(tmp_path, grow(tmp_path, {"x/a": b"1", "x/b": b"23"}))
    assert ab != sha256_tree(tmp_path, grow(tmp_path, {"x/a": b"12", "x/b": b"3"}))
    assert ab != sha256_tree(tmp_path, grow(tmp_path, {"x/a": b"1", "x/c": b"23"}))
