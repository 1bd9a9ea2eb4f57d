"""Which verdicts and numbers moved: made-up tables where the truth is known."""

import json
import shutil

import numpy as np
import pytest
import yaml
from scipy.stats import t as student

from septet.errors import InputError
from septet.ops.compare import compare, main
from septet.report import merge, published
from septet.scores import read_scores

from .conftest import build_card, demo_claims, write_run

SEEDS = list(range(12))
CLAIM = {
    "id": "better", "statement": "a beats b.", "source": "Table 1", "reported": "1", "metric": "regret",
    "direction": "lower", "tasks": ["static"], "estimand": {"kind": "advantage", "of": "a", "against": ["b"]},
    "relation": {"kind": "greater", "than": 0.0}, "unit": "regret", "scales": ["laptop"], "regular": "normal noise",
}  # fmt: skip


def results(folder, shift=0.0, noise=1.0, world=0, seeds=SEEDS, own=0.0, scale="laptop", run="a" * 12):
    """Paper dynts: methods a and b, regret around 10 and 15, with noise that seeds of one world share."""

    def value(method, card, steps):
        rng = [np.random.default_rng([world, seed, method == "a"]) for seed in card.seeds]
        base = 10.0 + shift if method == "a" else 15.0
        drawn = np.array([base + noise * r.standard_normal() + own * r.standard_normal() for r in rng])
        return drawn[:, None] * np.ones(len(steps))

    card = build_card(run, methods={"a": {}, "b": {}}, seeds=list(seeds))
    write_run(folder / "runs/x", card, value)
    merge.evaluate("dynts", scale, [folder / "runs/x"], folder / "dynts")
    return folder


@pytest.fixture
def claims(tmp_path):
    about = demo_claims()[0].paper.model_dump(mode="json")
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims/dynts.yaml").write_text(yaml.safe_dump({"paper": about, "claims": [CLAIM]}))
    return tmp_path / "claims"


def code(a, b, claims, *more):
    with pytest.raises(SystemExit) as stop:
        main([str(a), str(b), "--claims", str(claims), *more])
    return stop.value.code


def test_the_same_results_are_identical(tmp_path, claims, capsys):
    a = results(tmp_path / "a")
    shutil.copytree(a, tmp_path / "b")
    assert code(a, tmp_path / "b", claims) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "identical"
    assert code(a, a, claims) == 0


def test_published_scores_are_identical_to_those_they_were_rounded_from(tmp_path, claims):
    a = results(tmp_path / "a")
    published.publish(a, ["dynts"], tmp_path / "published")
    assert code(a, tmp_path / "published", claims) == code(tmp_path / "published", a, claims) == 0
    assert compare(a, tmp_path / "published", claims).identical == ["dynts"]
    b = results(tmp_path / "b", shift=1e-7)  # a digit that published scores do not have
    assert compare(b, tmp_path / "published", claims).identical == ["dynts"]
    b = results(tmp_path / "b", shift=0.1)
    assert compare(b, tmp_path / "published", claims).identical == []
    b = results(tmp_path / "b", shift=1e-12)  # rounds to the same: two runs are compared as they are
    assert compare(a, b, claims).identical == []


def test_published_is_identical_to_itself(capsys):
    assert code("published/laptop", "published/laptop", "config/claims") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "identical"


def test_other_seeds_of_the_same_truth_have_not_moved(tmp_path, claims):
    a, b = results(tmp_path / "a"), results(tmp_path / "b", world=1, seeds=range(100, 112))
    found = compare(a, b, claims)
    assert found.compared == 3 and found.identical == [] and found.moved == []
    assert code(a, b, claims) == 0


def test_a_shift_beyond_the_noise_moves_number_and_verdict(tmp_path, claims, capsys):
    a, b = results(tmp_path / "a"), results(tmp_path / "b", shift=10.0, world=1)
    assert code(a, b, claims, "--json", str(tmp_path / "c.json")) == 1
    out = capsys.readouterr().out
    assert "better  reproduced -> not reproduced" in out.splitlines()[0]
    rows = {one["name"]: one for one in json.loads((tmp_path / "c.json").read_text())["differences"]}
    score, claim = rows["a on static: regret"], rows["better"]
    assert score["moved"] and 8 < score["low"] < 10 < score["high"] < 12
    assert claim["moved"] and claim["low"] < -8 and claim["high"] < -6
    assert not rows["b on static: regret"]["moved"]


def test_a_verdict_that_crosses_its_line_is_no_move(tmp_path, claims, capsys):
    """a leads by 5 on both runs, with noise so large that one of them leaves it undecided."""
    a, b = results(tmp_path / "a", noise=1.0), results(tmp_path / "b", noise=20.0, world=1)
    assert code(a, b, claims, "--json", str(tmp_path / "c.json")) == 0
    out = capsys.readouterr().out
    assert "line   dynts       claim  better  reproduced -> undecided" in out and "(the numbers agree)" in out
    assert "0 numbers moved, 1 verdicts crossed their line with numbers that agree" in out
    (row,) = [one for one in json.loads((tmp_path / "c.json").read_text())["differences"] if one["crossed"]]
    assert (row["name"], row["moved"], row["low"] < 0 < row["high"]) == ("better", False, True)


def test_the_interval_is_the_paired_t_interval_for_all_comparisons_together(tmp_path, claims):
    a, b = results(tmp_path / "a"), results(tmp_path / "b", shift=0.5, own=0.3)
    found = {one.name: one for one in compare(a, b, claims).differences}["a on static: regret"]
    last = [
        read_scores(folder / "dynts/scores.parquet").filter(method="a", step=100).sort("seed")["value"].to_numpy()
        for folder in (a, b)
    ]
    difference = last[1] - last[0]
    half = student.ppf(1 - 0.05 / 2 / 3, len(SEEDS) - 1) * difference.std(ddof=1) / np.sqrt(len(SEEDS))
    assert (found.low, found.high) == pytest.approx((difference.mean() - half, difference.mean() + half))


def test_noise_that_the_seeds_share_cancels(tmp_path, claims):
    a = results(tmp_path / "a", noise=3.0)
    same, other = results(tmp_path / "b", shift=1.0, noise=3.0), results(tmp_path / "c", 1.0, 3.0, 1, range(50, 62))
    assert {one.name for one in compare(a, same, claims).moved} >= {"a on static: regret"}
    assert [one for one in compare(a, other, claims).moved if one.kind == "score"] == []


def test_less_than_the_tolerance_is_no_move(tmp_path, claims):
    a, b = results(tmp_path / "a"), results(tmp_path / "b", shift=0.05)
    assert compare(a, b, claims, tolerance=0.05).moved == []
    assert compare(a, b, claims, tolerance=0.0).moved != []


def test_a_method_that_is_gone_has_moved_and_a_paper_of_one_side_is_named(tmp_path, claims, capsys):
    a, b = results(tmp_path / "a"), tmp_path / "b"
    card = build_card("b" * 12, methods={"a": {}}, seeds=SEEDS)
    write_run(b / "runs/x", card, lambda method, card, steps: np.ones((len(card.seeds), len(steps))))
    merge.evaluate("dynts", "laptop", [b / "runs/x"], b / "dynts")
    (a / "other").mkdir()
    (a / "other/runs.json").write_text("{}")
    assert code(a, b, claims) == 1
    out = capsys.readouterr().out
    assert "b on static: regret  gone in B" in out and f"only in {a}: other" in out
    assert "reproduced -> not judged at this scale" in out


@pytest.mark.parametrize(
    "break_it, said",
    [
        (lambda a, b: shutil.rmtree(b), "expected a folder with one folder per paper"),
        (lambda a, b: shutil.rmtree(b / "dynts"), "expected a paper of"),
        (lambda a, b: (b / "dynts/scores.parquet").write_bytes(b"PAR1 no"), "expected a complete Parquet table"),
        (lambda a, b: (b / "dynts/runs.json").write_text("{"), "expected a JSON file of run cards"),
        (lambda a, b: results(b, scale="smoke"), "expected runs of scale laptop, found smoke"),
    ],
)
def test_bad_input_is_one_line(tmp_path, claims, capsys, break_it, said):
    a, b = results(tmp_path / "a"), results(tmp_path / "b", world=1)
    break_it(a, b)
    for more in (["--json", str(tmp_path / "c.json")], ["--tolerance", "-1"]):
        with pytest.raises(InputError) as error:
            main([str(a), str(b), "--claims", str(claims), *more])
        expected = "--tolerance: expected a number from 0 on" if "--tolerance" in more else said
        assert expected in str(error.value) and "\n" not in str(error.value) and not capsys.readouterr().out
    assert not (tmp_path / "c.json").exists()
