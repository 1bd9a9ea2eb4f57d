"""Whole-or-nothing writes under exceptions and kills, and digests of trees."""

import compileall
import errno
import hashlib
import importlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.errors import InputError, NotWritten
from septet.files import is_source, replacing, replacing_folder, sha256, sha256_tree, source_digest, write_text


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


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_is_replaced_whole_and_one_that_fails_leaves_the_old(tmp_path):
    made, scratch = tmp_path / "made", tmp_path / "scratch"
    for name in ("first", "second"):
        with replacing_folder(made, scratch) as folder:
            (folder / "below").mkdir()
            (folder / "below" / name).write_text(name)
            assert names(made) == ([] if name == "first" else ["below", "below/first"])
        assert names(made) == ["below", f"below/{name}"]
    with pytest.raises(KeyError), replacing_folder(made, scratch) as folder:
        (folder / "third").write_text("half")
        raise KeyError
    assert names(made) == ["below", "below/second"]
    with pytest.raises(NotWritten, match="made: not written: No space"), replacing_folder(made, scratch) as folder:
        assert names(folder) == []  # what the attempt before left is gone
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(made) == ["below", "below/second"]


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


def tree(folder, files):
    return sha256_tree({file.relative_to(folder).as_posix(): file for file in files})


@settings(max_examples=40, deadline=None)
@given(one=TREES, other=TREES)
def test_the_digest_of_a_tree_tells_trees_apart_wherever_they_lie(one, other, tmp_path_factory):
    here, there = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    files = grow(here, one)
    digest = tree(here, files)
    assert (digest == tree(there, grow(there, other))) == (one == other)
    assert digest == tree(here, reversed(files))


def test_a_file_that_moves_its_bytes_to_its_neighbour_changes_the_digest(tmp_path):
    ab = tree(tmp_path, grow(tmp_path, {"x/a": b"1", "x/b": b"23"}))
    assert ab != tree(tmp_path, grow(tmp_path, {"x/a": b"12", "x/b": b"3"}))
    assert ab != tree(tmp_path, grow(tmp_path, {"x/a": b"1", "x/c": b"23"}))


ROOT = Path(__file__).parents[3]
LITTER = [
    ".train.py.swp", ".DS_Store", ".nfs000000000012", "._train.py", ".#train.py", "#train.py#", "train.py~",
    "train.py.orig", "train.py.rej", "train.py.bak", "4913", "Thumbs.db", "train.pyc", "train.cpython-311.pyc.1234",
    "__pycache__/train.py", ".ipynb_checkpoints/train.py", ".mypy_cache/3.11/train.json", "inner/.hidden.py",
]  # fmt: skip


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with data in a folder of its own, importable."""
    folder = tmp_path / "tree/digested"
    grow(folder, {"__init__.py": b"", "train.py": b"x = 1\n", "inner/page.css": b"a", "bases/warm.safetensors": b"w"})
    monkeypatch.syspath_prepend(str(tmp_path / "tree"))
    return folder


def fresh(package="digested"):
    importlib.invalidate_caches()
    return source_digest(package)


def test_the_digest_is_that_of_names_and_contents_worked_out_by_hand(package):
    lines = {"__init__.py": b"", "bases/warm.safetensors": b"w", "inner/page.css": b"a", "train.py": b"x = 1\n"}
    text = "".join(f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in lines.items())
    assert fresh() == hashlib.sha256(text.encode()).hexdigest()
    assert "digested" not in sys.modules


def test_what_others_leave_in_a_package_does_not_change_its_digest(package):
    before = fresh()
    grow(package, dict.fromkeys(LITTER, b"litter"))
    (package / ".#inner.py").symlink_to("someone@somewhere.1234")  # emacs locks a file by a link to nothing
    (package / "around").symlink_to(package, target_is_directory=True)
    assert fresh() == before


@pytest.mark.parametrize("name", ["train.py", "new.py", "inner/page.css", "bases/warm.safetensors", "inner/data.json"])
def test_code_and_data_of_a_package_change_its_digest(package, name):
    before = fresh()
    (package / name).write_bytes(b"other")
    assert fresh() != before


def test_every_tracked_file_of_our_packages_is_a_source():
    """A new kind of data would otherwise not count."""
    listed = subprocess.run(
        ["git", "ls-files", "packages/*/src/*"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = listed.stdout.split()
    assert len(names) > 200 and [name for name in names if not is_source(name)] == []


def test_a_package_in_a_zip_has_the_digest_of_its_folder(package, tmp_path, monkeypatch):
    before = fresh()
    grow(package, dict.fromkeys(LITTER, b"litter"))
    shutil.make_archive(str(tmp_path / "app"), "zip", package.parent)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "app.zip")])
    assert fresh() == before
    (package / "train.py").write_text("x = 2\n")
    shutil.make_archive(str(tmp_path / "app2"), "zip", package.parent)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "app2.zip")])
    assert fresh() != before


def test_a_package_without_sources_is_an_error(package, tmp_path, monkeypatch):
    compileall.compile_dir(str(package), quiet=1, legacy=True)
    for file in package.rglob("*.py"):
        file.unlink()
    with pytest.raises(InputError, match="expected the sources of the package digested"):
        fresh()
    shutil.make_archive(str(tmp_path / "app"), "zip", package.parent)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "app.zip")])
    with pytest.raises(InputError, match="expected the sources of the package digested"):
        fresh()
    with pytest.raises(ModuleNotFoundError):
        fresh("no_such_package")
