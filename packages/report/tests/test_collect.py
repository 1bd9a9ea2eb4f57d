"""Merging, publishing and adopting results: what is copied, and what is refused with nothing written."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from septet.errors import InputError
from septet.scores import read_scores
from septet_report import collect, tables


def constant(method, card, steps):
    return np.ones((len(card.seeds), len(steps)))


def test_runs_are_merged_whatever_their_order(tmp_path, make_card, make_run):
    first = make_run(tmp_path / "1", make_card("r1", seeds=[0, 1]), constant)
    second = make_run(tmp_path / "2", make_card("r2", seeds=[2]), constant)
    collect.evaluate("dynts", [first, second], tmp_path / "a")
    collect.evaluate("dynts", [second, first], tmp_path / "b")
    for file in collect.FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    paper = tables.read_paper(tmp_path / "a")
    assert len(paper.scores) == 9
    assert [card.id for card in paper.cards] == ["r1", "r2"]


def test_what_does_not_fit_is_refused(tmp_path, make_card, make_run):
    good = make_run(tmp_path / "good", make_card("r1"), constant)
    same_scores = make_run(tmp_path / "same", make_card("r2"), constant)
    other = make_run(tmp_path / "other", make_card("r3", paper="vrda"), constant)
    lacks = {}
    for name, changes in (
        ("method", {"methods": {"a": {}, "b": {}}}),
        ("task", {"task": "drift"}),
        ("seed", {"seeds": [0, 1, 2, 3]}),
    ):
        lacks[name] = make_run(tmp_path / name, make_card("r4"), constant)
        make_card("r4", **changes).write(lacks[name] / "run.json")
    extra = make_run(tmp_path / "extra", make_card("r5", methods={"a": {}, "b": {}}), constant)
    make_card("r5").write(extra / "run.json")
    torn = make_run(tmp_path / "torn", make_card("r6"), constant)
    read_scores(torn / "scores.parquet")[1:].write_parquet(torn / "scores.parquet")
    cases = [
        ([], "at least one run folder"),
        ([good, good], "a second run r1"),
        ([good, same_scores], "scores that no other run holds"),
        ([good, other], "paper: expected dynts, found vrda"),
        ([lacks["method"]], "only in the run card: b"),
        ([lacks["task"]], "only in the run card: drift"),
        ([lacks["seed"]], "only in the run card: 3"),
        ([extra], "only in the score table: b"),
        ([torn], "every seed at every step"),
        ([tmp_path / "nowhere"], r"run\.json"),
    ]
    for runs, words in cases:
        with pytest.raises(InputError, match=words):
            collect.evaluate("dynts", runs, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_published_results_come_back_unchanged(tmp_path, demo):
    collect.publish(demo, ["dynts"], "laptop", tmp_path / "published")
    manifest = json.loads((tmp_path / "published" / "manifest.json").read_text())
    assert manifest["scale"] == "laptop"
    assert sorted(manifest["files"]) == ["dynts/runs.json", "dynts/scores.parquet"]
    for source in (tmp_path / "published", demo):  # with a manifest, and without one
        collect.adopt(source, "dynts", tmp_path / "adopted")
        for file in collect.FILES:
            assert (tmp_path / "adopted" / file).read_bytes() == (demo / "dynts" / file).read_bytes()


def test_results_that_changed_on_the_way_are_refused(tmp_path, demo):
    source = tmp_path / "published"
    collect.publish(demo, ["dynts"], "laptop", source)
    shutil.copytree(source / "dynts", source / "vrda")
    with pytest.raises(InputError, match="a file of the manifest"):
        collect.adopt(source, "vrda", tmp_path / "out")
    scores = read_scores(source / "dynts" / "scores.parquet").with_columns(pl.col("value") + 1)
    scores.write_parquet(source / "dynts" / "scores.parquet")
    with pytest.raises(InputError, match="expected SHA-256"):
        collect.adopt(source, "dynts", tmp_path / "out")
    (source / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match=r"manifest\.json: scale"):
        collect.adopt(source, "dynts", tmp_path / "out")
    (source / "dynts" / "runs.json").unlink()
    with pytest.raises(InputError, match=r"runs\.json: expected a file"):
        collect.adopt(source, "dynts", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_whole_papers_are_published_and_adopted(tmp_path, demo):
    with pytest.raises(InputError, match=r"vrda/scores\.parquet"):
        collect.publish(demo, ["dynts", "vrda"], "laptop", tmp_path / "published")
    assert not (tmp_path / "published").exists()
    shutil.copytree(demo / "dynts", tmp_path / "renamed" / "vrda")
    with pytest.raises(InputError, match="expected scores of vrda"):
        collect.adopt(tmp_path / "renamed", "vrda", tmp_path / "out")
    (tmp_path / "renamed" / "vrda" / "scores.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(InputError, match="a whole Parquet score table"):
        collect.adopt(tmp_path / "renamed", "vrda", tmp_path / "out")
