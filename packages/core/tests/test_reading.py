"""Folders from outside: links are followed, loops end, and what may not be read is one line."""

import os
import subprocess
import sys

import pytest

from septet.errors import InputError, NotWritten
from septet.progress import running
from septet.reading import entries, is_file, is_folder, readable, walk

STATE = '{"label":"ts on static","done":5,"total":10,"unit":"rounds","rate":1.0,"pid":1,"time":1795827769.0}'


def names(folder):
    return [file.relative_to(folder).as_posix() for file in walk(folder)]


def make(folder, *files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("x")


def test_links_to_folders_and_files_are_followed(tmp_path):
    make(tmp_path / "scratch", "a/b/1", "2")
    make(tmp_path / "results", "laptop/3")
    (tmp_path / "results/smoke").symlink_to("../scratch")
    (tmp_path / "results/laptop/4").symlink_to(tmp_path / "scratch/2")
    (tmp_path / "results/broken").symlink_to("nowhere")
    expected = ["laptop/3", "laptop/4", "smoke/2", "smoke/a/b/1"]
    assert names(tmp_path / "results") == expected
    (tmp_path / "link").symlink_to("results")
    assert names(tmp_path / "link") == expected


def test_a_loop_of_links_ends_and_a_folder_is_listed_under_its_own_name(tmp_path):
    make(tmp_path, "r/b/1", "r/c/2")
    (tmp_path / "r/a").symlink_to("b")  # sorts before what it leads to
    (tmp_path / "r/b/up").symlink_to("../..")
    (tmp_path / "r/c/self").symlink_to(".")
    (tmp_path / "r/c/root").symlink_to(tmp_path / "r")
    (tmp_path / "r/d").symlink_to("d")
    assert names(tmp_path / "r") == ["b/1", "c/2"]
    many = tmp_path / "many"
    make(many, *(f"{n}/{n}" for n in range(12)))
    for n in range(12):
        for m in range(12):
            (many / str(n) / f"to{m}").symlink_to(many / str(m))  # as many ways through it as 12!
    assert names(many) == sorted(f"{n}/{n}" for n in range(12))


def test_what_is_no_folder_is_one_line(tmp_path):
    make(tmp_path, "file")
    for read in (walk, entries):
        for name in ("nowhere", "file"):
            with pytest.raises(InputError, match=f"{name}: expected a readable folder") as error:
                list(read(tmp_path / name))
            assert "\n" not in str(error.value)
    assert is_file(tmp_path / "file") and not is_file(tmp_path) and not is_file(tmp_path / "file/x")
    assert is_folder(tmp_path) and not is_folder(tmp_path / "nowhere")
    assert [path.name for path in entries(tmp_path)] == ["file"]


def test_what_was_not_written_is_not_taken_for_something_unreadable(tmp_path):
    with pytest.raises(NotWritten), readable(tmp_path):
        raise NotWritten("full")
    with pytest.raises(InputError, match="expected a note, found Is a directory"), readable(tmp_path / "x", "a note"):
        tmp_path.read_bytes()


@pytest.mark.parametrize("linked", ["results/smoke", "results/smoke/dynts", "results"])
def test_status_finds_jobs_through_links(linked, tmp_path):
    place = "results/smoke/dynts/runs/ts/static/checkpoint"
    (tmp_path / linked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "scratch").mkdir()
    (tmp_path / linked).symlink_to(tmp_path / "scratch")
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "progress.json").write_text(STATE)
    (tmp_path / "results/smoke/dynts/loop").symlink_to(tmp_path / "results")
    (line,) = running(tmp_path / "results")
    assert line.startswith("ts on static  5/10 rounds") and "checkpoint" in line
    done = subprocess.run(
        [sys.executable, "-m", "septet", "status", str(tmp_path / "results")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stdout.startswith("ts on static")
    assert running(tmp_path / "nowhere") == []


def test_a_fifo_in_a_folder_does_not_hang_it(tmp_path):
    os.mkfifo(tmp_path / "progress.json")
    assert names(tmp_path) == [] and running(tmp_path) == []
