"""The run card: its id, its round trip, and what is not in it."""

import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from septet import card as module
from septet import files
from septet.card import RunCard, Stopwatch, lock_digest, waited_seconds
from septet.config import Settings
from septet.errors import InputError
from septet.files import sha256, source_digest
from septet.workflow_config import papers_here


class Toy(Settings):
    width: float = 1.0
    names: dict[str, int] = {}


def card(config=None, **changes):
    given = {
        "paper": "p",
        "verb": "train",
        "task": "t",
        "methods": {"m": {"width": 1.0}},
        "seeds": [0, 1],
        "packages": ["septet"],
        "libraries": ["numpy"],
        "steps": 100,
    }
    return Stopwatch().card(config=config or Toy(), **{**given, **changes})


def test_the_same_job_has_the_same_id_whatever_the_clock_and_the_folder(monkeypatch, tmp_path):
    first = card()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APPTAINER_NAME", "image.sif")
    again = card(steps=7)
    assert first.id == again.id and len(first.id) == 12
    assert (first.image, again.image) == (None, "image.sif")
    one, other = Toy(names={"a": 1, "b": 2}), Toy(names={"b": 2, "a": 1})
    assert card(one).id == card(other).id


@pytest.fixture(autouse=True)
def no_image(monkeypatch):
    monkeypatch.delenv("APPTAINER_NAME", raising=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": Toy(width=2.0)},
        {"config": Toy(names={"a": 1})},
        {"paper": "q"},
        {"verb": "prepare"},
        {"data": "upworthy 1234"},
        {"packages": ["septet", "yaml"]},
    ],
)
def test_another_job_has_another_id(changes):
    assert card(**changes).id != card().id


def test_another_lock_gives_another_id(monkeypatch):
    before = card().id
    monkeypatch.setattr(module, "lock_digest", lambda: "other")
    assert card().id != before


def test_a_card_is_read_as_it_was_written(tmp_path):
    written = card(data="upworthy ü")
    written.write(tmp_path / "run.json")
    assert RunCard.read(tmp_path / "run.json") == written
    assert Toy.model_validate(written.config) == Toy()
    assert written.versions.keys() == {"python", "numpy"} and written.sources == {"septet": source_digest("septet")}
    assert written.wall_seconds >= 0 and written.cpu_seconds > 0 and written.peak_memory_mb > 10


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"id": 3}',
        "half",
        "extra",
        b"[" * 100_000,
    ],
)
def test_a_torn_or_foreign_card_is_one_line(text, tmp_path):
    file = tmp_path / "run.json"
    card().write(file)
    whole = file.read_bytes()
    if text is None:
        file.unlink()
    elif text == "half":
        file.write_bytes(whole[: len(whole) // 2])
    elif text == "extra":
        file.write_text(json.dumps({**json.loads(whole), "extra": 1}))
    else:
        file.write_bytes(text)
    with pytest.raises(InputError) as error:
        RunCard.read(file)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_no_secret_of_the_environment_is_in_a_card(tmp_path, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SEPTET_DATA", "HTTPS_PROXY", "USER"):
        monkeypatch.setenv(name, f"secret-of-{name}")
    card().write(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text()
    assert "secret-of" not in text
    assert not any(name in text for name in ("AWS_SECRET", "GITHUB_TOKEN", "HTTPS_PROXY"))


def test_the_digest_of_sources_follows_an_edit_and_no_cache(tmp_path, monkeypatch):
    package = tmp_path / "edited_toy"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_digest("edited_toy")
    (package / "__pycache__/inner.cpython.pyc").write_bytes(b"cache")
    assert source_digest("edited_toy") == before
    (package / "inner.py").write_text("x = 2\n")
    assert source_digest("edited_toy") != before
    with pytest.raises(ModuleNotFoundError, match="no_such_toy"):
        source_digest("no_such_toy")


def test_the_lock_is_that_of_the_checkout(tmp_path, monkeypatch):
    assert lock_digest() is None or len(lock_digest()) == 64
    monkeypatch.setattr(files, "__file__", os.fspath(tmp_path / "a/b/c/d/e.py"))
    assert lock_digest() is None and papers_here.__wrapped__() == {}
    (tmp_path / "a/packages").mkdir(parents=True)  # what an image holds: no workflow/
    (tmp_path / "a/requirements.lock").write_text("numpy==1\n")
    assert lock_digest() == sha256(tmp_path / "a/requirements.lock") and papers_here.__wrapped__() == {}


def test_a_card_names_the_commit_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    def git(*arguments):
        name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", "-C", tmp_path, *name, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.setattr(module, "checkout", lambda: tmp_path)
    module.commit.cache_clear()
    assert module.commit() is None  # no repository
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git("init", "-q")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    module.commit.cache_clear()
    assert module.commit() == git("rev-parse", "HEAD")[:12]
    (tmp_path / "file").write_text("two", encoding="utf-8")
    module.commit.cache_clear()
    assert module.commit() == git("rev-parse", "HEAD")[:12] + "+"
    module.commit.cache_clear()


def test_the_card_says_how_contended_the_processors_were(monkeypatch):
    waited = iter([100.0, 103.0])
    monkeypatch.setattr("septet.card.waited_seconds", lambda: next(waited))
    monkeypatch.setattr("septet.card.time.monotonic", iter([0.0, 4.0]).__next__)
    assert Stopwatch().contention == 0.75


def test_a_resumed_job_counts_what_all_its_starts_took(monkeypatch):
    """Ten seconds with 4 s of processor time, a day's pause, five more seconds with 2 s."""
    clock, waited, used = [0.0], [100.0], [0.0]
    monkeypatch.setattr("septet.card.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("septet.card.time.time", lambda: 1_000_000.0 + clock[0])
    monkeypatch.setattr("septet.card.waited_seconds", lambda: waited[0])
    monkeypatch.setattr("septet.card.resource.getrusage", lambda who: SimpleNamespace(
        ru_utime=used[0] / 2, ru_stime=0.0, ru_maxrss=1024
    ))  # fmt: skip
    first = Stopwatch()
    clock[0], waited[0], used[0] = 10.0, 103.0, 4.0
    saved = first.state
    clock[0], waited[0], used[0] = 86_410.0, 500.0, 0.0
    second = Stopwatch()
    second.state = saved
    clock[0], waited[0], used[0] = 86_415.0, 501.5, 2.0
    monkeypatch.setattr(f"{__name__}.Stopwatch", lambda: second)
    found = card()
    assert (found.wall_seconds, found.cpu_seconds, found.paused_seconds) == (15.0, 6.0, 86_400.0)
    assert (found.started, found.contention) == ("1970-01-12T13:46:40Z", 0.3)
    assert found.steps_per_second == round(100 / 15, 1)


def test_a_system_without_pressure_information_has_no_contention(monkeypatch):
    def missing(self, **_):
        raise FileNotFoundError(self)

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert waited_seconds() is None and Stopwatch().contention is None
