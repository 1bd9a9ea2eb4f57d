"""Merging and publishing results, and checking published ones: what is refused, with nothing written."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.card import RunCard
from septet.errors import InputError
from septet.files import sha256
from septet.model_files import ARRAYS, save_arrays
from septet.model_files import CARD as MODEL_CARD
from septet.report import merge, published, tables
from septet.report.__main__ import Judge, judge
from septet.report.source import FILES, check
from septet.report.verdicts import read_verdicts
from septet.scores import read_scores, write_scores
from septet.sealed import read_sealed_json, write_json


def constant(method, card, steps):
    return np.ones((len(card.seeds), len(steps)))


def test_runs_are_merged_whatever_their_order(tmp_path, make_card, make_run):
    first = make_run(tmp_path / "1", make_card("r1", seeds=[0, 1]), constant)
    second = make_run(tmp_path / "2", make_card("r2", seeds=[2]), constant)
    merge.evaluate("dynts", "laptop", [first, second], tmp_path / "a")
    merge.evaluate("dynts", "laptop", [second, first], tmp_path / "b")
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    paper = tables.read_paper(tmp_path / "a")
    assert len(paper.scores) == 9
    assert [card.id for card in paper.cards] == ["r1", "r2"]
    assert paper.scale == "laptop"
    stored = read_sealed_json(tmp_path / "a" / "runs.json", "run cards")
    assert sorted(stored) == ["runs", "scale", "tables"]
    assert stored["tables"] == {name: sha256(tmp_path / "a" / name) for name in ("scores.parquet", "timing.parquet")}
    assert (stored["scale"], [run["id"] for run in stored["runs"]]) == ("laptop", ["r1", "r2"])


def add_metric(run, seeds, steps):
    """A metric `recall`, 0.5 at each of the pairs of `seeds` and `steps`, beside what a run of method a holds."""
    every = read_scores(run / "scores.parquet")
    pairs = pl.DataFrame({"seed": seeds, "step": steps}, schema={name: every.schema[name] for name in ("seed", "step")})
    recall = every.join(pairs, on=["seed", "step"]).with_columns(metric=pl.lit("recall"), value=pl.lit(0.5))
    assert len(recall) == len(pairs)
    write_scores(run / "scores.parquet", [every, recall])
    RunCard.read(run / "run.json").write(run / "run.json")
    return run


def test_a_metric_may_stand_for_some_of_the_seeds(tmp_path, make_card, make_run):
    run = add_metric(make_run(tmp_path / "run", make_card("r1"), constant), [0, 0, 2, 2], [0, 100, 0, 100])
    merge.evaluate("dynts", "laptop", [run], tmp_path / "out")
    paper = tables.read_paper(tmp_path / "out")
    assert paper.cards[0].seeds == [0, 1, 2]
    assert len(paper.scores) == 3 * 3 + 2 * 2
    assert tables.curves(paper, "recall", resamples=10)["seeds"].to_list() == [2, 2]
    assert tables.curves(paper, "regret", resamples=10)["seeds"].to_list() == [3, 3, 3]


def test_a_seed_may_begin_later_than_another(tmp_path, make_card, make_run):
    """Seed 0 has values at 0, 50, 100 and seed 2 at 100 alone: the curve of their mean is the point at 100."""
    run = add_metric(make_run(tmp_path / "run", make_card("r1"), constant), [0, 0, 0, 2], [0, 50, 100, 100])
    merge.evaluate("dynts", "laptop", [run], tmp_path / "out")
    paper = tables.read_paper(tmp_path / "out")
    assert len(paper.scores) == 3 * 3 + 4
    curve = tables.curves(paper, "recall", resamples=10)
    assert curve.select("step", "seeds", "mean").rows() == [(100, 2, 0.5)]


@pytest.mark.parametrize(
    ("seeds", "steps", "found"),
    [
        ([0, 0, 2], [0, 100, 0], r"2 values of seed 2 from 0 on\), found 1"),
        ([0, 0, 2, 2, 2], [0, 100, 0, 50, 100], r"3 values of seed 0 from 0 on\), found 2"),
        # as many values for each seed, and yet at other steps
        ([0, 0, 2, 2], [0, 50, 50, 100], r"3 values of seed 0 from 0 on\), found 2"),
    ],
)
def test_a_curve_that_has_begun_has_no_gap(tmp_path, make_card, make_run, seeds, steps, found):
    run = add_metric(make_run(tmp_path / "run", make_card("r1"), constant), seeds, steps)
    with pytest.raises(InputError, match=rf"recall of a: expected every seed at every step .*\({found} values"):
        merge.evaluate("dynts", "laptop", [run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
    write_scores(torn / "scores.parquet", [read_scores(torn / "scores.parquet")[:-1]])
    make_card("r6").write(torn / "run.json")
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
            merge.evaluate("dynts", "laptop", runs, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_published_results_are_whole(tmp_path, demo):
    published.publish(demo, ["dynts"], tmp_path / "published")
    manifest = json.loads((tmp_path / "published" / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["dynts/runs.json", "dynts/scores.parquet", "dynts/timing.parquet"]
    for source in (tmp_path / "published", demo):  # with a manifest, and without one
        check(source, "dynts")


def test_published_scores_have_six_digits_and_times_stay(tmp_path, demo):
    published.publish(demo, ["dynts"], tmp_path)
    own, found = (tables.read_paper(folder / "dynts") for folder in (demo, tmp_path))
    key = own.scores.columns[:-1]
    assert found.scores.select(key).equals(own.scores.select(key))
    assert found.timing.equals(own.timing)
    assert found.cards == own.cards
    assert found.scores.equals(published.rounded(own.scores))
    assert not found.scores.equals(own.scores)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**20), 2**20).map(float), min_size=1))
def test_a_published_value_is_within_a_millionth(values):
    own, found = np.array(values), published.rounded(pl.DataFrame({"value": values}))["value"].to_numpy()
    whole = (own == np.round(own)) & (np.abs(own) <= 2**20)
    assert (found[whole] == own[whole]).all()
    small = np.abs(own) < np.finfo(np.float32).tiny  # there single precision has fewer digits
    error = np.abs(found - own)
    assert (error[~small] <= 8.5 * 2.0**-23 * np.abs(own[~small])).all()
    assert (error[small] <= 8.5 * float(np.finfo(np.float32).smallest_subnormal)).all()
    again = published.rounded(pl.DataFrame({"value": found}))["value"].to_numpy()
    assert (again == found).all()


def test_a_table_that_was_rounded_twice_is_the_one_it_is_from():
    values = np.random.default_rng(0).normal(size=10_000)
    mantissa, exponent = np.frexp(values)
    before = np.ldexp(np.round(mantissa * 2.0**22), exponent - 22)  # rounded to two digits more at first
    own, twice = (pl.DataFrame({"step": range(10_000), "value": each}) for each in (values, before))
    once, twice = published.rounded(own), published.rounded(twice)
    assert not once.equals(twice)
    assert published.same_as_published(own, twice) and published.same_as_published(twice, own)
    other = own.with_columns(value=pl.Series(values * (1 + 1e-5)))
    assert not published.same_as_published(other, twice)
    assert not published.same_as_published(own.with_columns(step=-1), twice)


def test_jobs_are_added_to_published_ones(tmp_path, make_card, make_run):
    """A scale that is published in pieces: jobs that were not run again stay, with their models."""

    def results(name, runs):
        made = []
        for card, value in runs:
            values = np.full((3, 3), value)
            made.append(make_run(tmp_path / name / "runs" / card.id, card, lambda *_, values=values: values))
            model = tmp_path / name / "laptop/dynts/runs" / card.task / card.id / "model"
            model.mkdir(parents=True)
            digest = save_arrays(model / ARRAYS, {"best.weights": np.ones((1, 2))})
            kinds = {"best": {"scores": [1.0]}}
            about = {"run": card.id, "methods": [*card.methods], "seeds": [0], "kinds": kinds, "sha256": digest}
            write_json(model / MODEL_CARD, about)
        merge.evaluate("dynts", "laptop", made, tmp_path / name / "laptop/dynts")
        return tmp_path / name / "laptop"

    first = results("first", [(make_card("r1"), 1.0), (make_card("r2", methods={"b": {}}), 2.0)])
    later = results("later", [(make_card("r3"), 3.0), (make_card("r4", task="drift"), 4.0)])
    out = tmp_path / "published"
    for source in (first, later):
        published.publish(source, ["dynts"], out, add=True)
    found = tables.read_paper(out / "dynts")
    assert [card.id for card in found.cards] == ["r4", "r2", "r3"]
    values = found.scores.group_by("task", "method").agg(pl.col("value").unique().item()).sort(pl.all())
    assert values.rows() == [("drift", "a", 4.0), ("static", "a", 3.0), ("static", "b", 2.0)]
    assert len(found.timing) == 3
    check(out, "dynts")
    models = {
        path.parts[-2]: json.loads(path.read_text())["run"] for path in out.glob(f"dynts/models/*/*/{MODEL_CARD}")
    }
    assert models == {"r2": "r2", "r3": "r3", "r4": "r4"}
    listed = set(read_sealed_json(out / "manifest.json", "a manifest")["files"])
    assert listed == {path.relative_to(out).as_posix() for path in out.glob("dynts/**/*.*") if path.is_file()}
    published.publish(later, ["dynts"], out)  # without `add` the paper is what the results are
    assert [card.id for card in tables.read_paper(out / "dynts").cards] == ["r4", "r3"]
    assert len([*out.glob("dynts/models/*/*")]) == 2


def test_publishing_some_papers_keeps_the_others_whatever_their_scale(tmp_path, demo):
    published.publish(demo, ["dynts"], tmp_path)
    file = tmp_path / "manifest.json"
    own = dict(read_sealed_json(file, "a manifest")["files"])
    write_json(file, {"files": {**own, "vrda/runs.json": "ab" * 32, "dynts/old.parquet": "cd" * 32}})
    published.publish(demo, ["dynts"], tmp_path)
    assert read_sealed_json(file, "a manifest") == {"files": {**own, "vrda/runs.json": "ab" * 32}}


def test_results_that_changed_on_the_way_are_refused(tmp_path, demo):
    source = tmp_path / "published"
    published.publish(demo, ["dynts"], source)
    shutil.copytree(source / "dynts", source / "vrda")
    with pytest.raises(InputError, match="a file of the manifest"):
        check(source, "vrda")
    scores = read_scores(source / "dynts" / "scores.parquet").with_columns(pl.col("value") + 1)
    write_scores(source / "dynts" / "scores.parquet", [scores])
    with pytest.raises(InputError, match="expected SHA-256"):
        check(source, "dynts")
    write_json(source / "manifest.json", {})
    with pytest.raises(InputError, match=r"manifest\.json: files"):
        check(source, "dynts")
    (source / "dynts" / "runs.json").unlink()
    with pytest.raises(InputError, match=r"runs\.json: expected a file"):
        check(source, "dynts")


def test_only_whole_papers_are_published(tmp_path, demo):
    with pytest.raises(InputError, match=r"vrda/runs\.json"):
        published.publish(demo, ["dynts", "vrda"], tmp_path / "published")
    assert not (tmp_path / "published").exists()
    shutil.copytree(demo / "dynts", tmp_path / "renamed" / "vrda")
    with pytest.raises(InputError, match="expected runs of vrda, found one of dynts"):
        check(tmp_path / "renamed", "vrda")
    shutil.copytree(demo / "dynts", tmp_path / "torn" / "dynts")
    (tmp_path / "torn" / "dynts" / "scores.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(InputError, match="the table that runs"):
        check(tmp_path / "torn", "dynts")


def test_one_scale_is_the_scale_that_all_share(tmp_path, demo):
    laptop = tables.read_paper(demo / "dynts")
    paper = tables.Paper("vrda", laptop.scores, laptop.cards, "paper")
    assert tables.one_scale([laptop]) == "laptop"
    assert tables.one_scale([paper, paper]) == "paper"
    with pytest.raises(InputError, match="expected runs of one scale, found laptop, paper"):
        tables.one_scale([paper, laptop, paper])
    with pytest.raises(InputError, match="expected runs of one scale, found no paper"):
        tables.one_scale([])


def test_a_mixture_of_scales_is_neither_judged_nor_published(tmp_path, demo, claims_files, make_card, make_run):
    mixed = tmp_path / "mixed"
    shutil.copytree(demo / "dynts", mixed / "dynts")
    run = make_run(tmp_path / "run", make_card("r1", paper="vrda"), constant)
    merge.evaluate("vrda", "paper", [run], mixed / "vrda")
    out = tmp_path / "out"
    with pytest.raises(InputError, match="found laptop, paper"):
        judge(Judge(results=mixed, claims=claims_files), out)
    with pytest.raises(InputError, match="found laptop, paper"):
        published.publish(mixed, ["dynts", "vrda"], out)
    with pytest.raises(InputError, match="found no paper"):
        judge(Judge(results=tmp_path / "run", claims=claims_files), out)
    with pytest.raises(InputError, match="found no paper"):
        published.publish(mixed, [], out)
    assert not out.exists()
    # either alone passes, at its own scale
    published.publish(mixed, ["vrda"], out)
    assert sorted(json.loads((out / "manifest.json").read_text())["files"])[0] == "vrda/runs.json"


def test_the_scale_of_the_verdicts_is_that_of_the_runs(tmp_path, demo, claims_files):
    folder = tmp_path / "any_name"
    shutil.copytree(demo / "dynts", folder / "dynts")
    path = folder / "dynts" / "runs.json"
    write_json(path, {**read_sealed_json(path, "run cards"), "scale": "smoke"})
    judge(Judge(results=folder, claims=claims_files), tmp_path / "out")
    found = read_verdicts(tmp_path / "out" / "verdicts.json")
    assert {verdict.scale for verdict in found} == {"smoke"}
    assert all(verdict.reason.startswith("judged only at scale") for verdict in found)
