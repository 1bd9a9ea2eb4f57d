"""Which models of the hub are fetched for a scale, and where to; the hub itself is played."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from septet.empg.fetch import fetch, pinned
from septet.errors import InputError

ROOT = Path(__file__).parents[3]


def test_the_paper_s_four_models_at_their_commits():
    found = dict(pinned(str(ROOT / "config/scale/paper.yaml")))
    assert sorted(found) == [
        "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-14B-Instruct", "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-Math-7B"
    ]  # fmt: skip
    assert all(len(revision) == 40 for revision in found.values())


def test_a_scale_without_hub_models_fetches_nothing():
    assert pinned(str(ROOT / "config/scale/laptop.yaml")) == []


def test_a_model_without_a_commit_is_one_line(tmp_path):
    file = tmp_path / "scale.yaml"
    file.write_text("empg: {tasks: {big: {model: {kind: hub, name: a/b}}}}")
    with pytest.raises(InputError, match=r"empg\.tasks\.big\.model\.revision: expected a commit, found none"):
        pinned(str(file))


def test_models_come_by_commit_without_pickled_weights(tmp_path, monkeypatch):
    file, asked = tmp_path / "scale.yaml", []
    one = "{model: {kind: hub, name: a/b, revision: c0ffee}}"
    file.write_text(f"empg: {{tasks: {{big: {one}, again: {one}, own: {{model: {{kind: tiny}}}}}}}}")

    def download(name, *, revision, cache_dir, allow_patterns):
        asked.append((name, revision, cache_dir, allow_patterns))
        return str(cache_dir / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=download))
    assert fetch(str(file), tmp_path / "cache") == [tmp_path / "cache/hub/a/b"]
    [(name, revision, folder, patterns)] = asked
    assert (name, revision, folder) == ("a/b", "c0ffee", tmp_path / "cache/hub")
    assert not any(pattern.endswith((".bin", ".pt", "*")) for pattern in patterns)
