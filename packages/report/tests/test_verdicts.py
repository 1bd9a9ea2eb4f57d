"""Every estimand and every verdict on tables made by hand, and how often chance alone is called a success."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from septet.card import RunCard
from septet.config import validate
from septet.errors import InputError
from septet.report import estimands, terminal
from septet.report.claims import Claim, ClaimsFile, Relation, read_claims
from septet.report.methods import ANY
from septet.report.tables import Paper
from septet.report.verdicts import band, judge_claim, line_text, outcome
from septet.scores import score_rows
from septet.seeding import stream

BASE = {
    "id": "c",
    "statement": "s",
    "source": "Table 1",
    "reported": "not recovered",
    "metric": "score",
    "direction": "higher",
    "tasks": ["t"],
    "estimand": {"kind": "advantage", "of": "a", "against": "b"},
    "relation": {"kind": "greater", "than": 0},
    "scales": ["laptop"],
}


def claim(**changes):
    return validate(Claim, {**BASE, **changes}, "claim")


def paper(make_card, scores, *, steps=(1,), data="simulated", metric="score", settings=None):
    """A paper from `{(method, task): values of shape (seeds,) or (seeds, steps)}`; one run per task."""
    frames, methods, seeds = [], {}, {}
    for (method, task), given_values in scores.items():
        values = np.asarray(given_values, dtype=float)
        values = values if values.ndim == 2 else values[:, None]
        frames.append(
            score_rows("dynts", method, task, seeds=range(len(values)), steps=steps, metrics={metric: values})
        )
        methods.setdefault(task, {})[method] = (settings or {}).get(method, {})
        seeds[task] = list(range(len(values)))
    cards: list[RunCard] = [
        make_card(f"run-{task}", task=task, methods=methods[task], seeds=seeds[task], data=data) for task in methods
    ]
    return Paper("dynts", pl.concat(frames), cards, "laptop")


def relation(**fields) -> Relation:
    return TypeAdapter(Relation).validate_python(fields)


def test_estimands_by_hand():
    x, y = np.array([[1.0, 2.0, 6.0]]), np.array([[0.0, 0.0, 3.0]])
    rivals = np.stack([y, y + 1.5])
    assert estimands.level(x, "mean", ANY).estimate == 3.0
    assert estimands.level(x, "iqm", ANY).estimate == pytest.approx(3.0)
    # mean 3 against means 1 and 2.5
    assert estimands.advantage(x, rivals, 1, "mean", ANY).estimate == 0.5
    assert estimands.advantage(x, rivals, -1, "mean", ANY).estimate == -2.0
    # (3 - 1) / 1 and (3 - 2.5) / 2.5: the smaller counts
    assert estimands.relative_advantage(x, rivals, 1, "mean", ANY).estimate == pytest.approx(0.2)
    assert estimands.ratio(x, y, "mean", ANY).estimate == 3.0
    # against y: 1 beats 0, 0; 2 beats 0, 0; 6 beats all: 7/9. Against y + 1.5: 2 beats two, 6 all: 5/9
    assert estimands.improvement(x, rivals, 1).estimate == pytest.approx(5 / 9)
    assert estimands.improvement(x, rivals, -1).estimate == pytest.approx(2 / 9)


class Known:
    """A quantity whose interval is given: lines outside it are refuted."""

    def __init__(self, low, high):
        self.low, self.high, self.estimate = low, high, (low + high) / 2

    def tails(self, line):
        return (0.001 if line < self.low else 0.9), (0.001 if line > self.high else 0.9)


@pytest.mark.parametrize(
    ("given_relation", "low", "high", "expected"),
    [
        ({"kind": "greater", "than": 0}, 0.1, 1.0, "reproduced"),
        ({"kind": "greater", "than": 0}, 0.0, 1.0, "undecided"),
        ({"kind": "greater", "than": 0}, -1.0, -0.1, "not reproduced"),
        ({"kind": "greater", "than": 0}, 0.0, 0.0, "undecided"),
        ({"kind": "greater", "than": 0, "tolerance": 0.5}, -0.4, 0.1, "reproduced"),
        ({"kind": "at_least", "than": 0}, 0.1, 0.1, "reproduced"),
        ({"kind": "at_least", "than": 1, "tolerance": 0.2}, 0.85, 0.9, "reproduced"),
        ({"kind": "at_least", "than": 1, "tolerance": 0.2}, 0.7, 0.9, "undecided"),
        ({"kind": "at_least", "than": 1, "tolerance": 0.2}, 0.6, 0.7, "not reproduced"),
        ({"kind": "less", "than": 0}, -1.0, -0.1, "reproduced"),
        ({"kind": "less", "than": 0}, -1.0, 0.1, "undecided"),
        ({"kind": "less", "than": 0}, 0.05, 0.1, "not reproduced"),
        ({"kind": "less", "than": 0, "tolerance": 0.5}, -1.0, 0.4, "reproduced"),
        ({"kind": "within", "center": 1, "tolerance": 0.5}, 0.6, 1.4, "reproduced"),
        ({"kind": "within", "center": 1, "tolerance": 0.5}, 0.4, 1.2, "undecided"),
        ({"kind": "within", "center": 1, "tolerance": 0.5}, 0.0, 2.0, "undecided"),
        ({"kind": "within", "center": 1, "tolerance": 0.5}, 1.6, 2.0, "not reproduced"),
        ({"kind": "within", "center": 1, "tolerance": 0.5}, -2.0, 0.4, "not reproduced"),
    ],
)
def test_outcome_of_an_interval(given_relation, low, high, expected):
    found, reason, p = outcome(relation(**given_relation), Known(low, high))
    assert found == expected
    assert p == (1.0 if expected == "undecided" else 0.002)
    assert line_text(relation(**given_relation)) in reason


def test_the_line_in_words():
    assert line_text(relation(kind="greater", than=0)) == "> 0"
    assert line_text(relation(kind="at_least", than=1, tolerance=0.25)) == "≥ 0.75"
    assert line_text(relation(kind="less", than=2, tolerance=0.5)) == "< 2.5"
    assert line_text(relation(kind="within", center=1, tolerance=0.1)) == "between 0.9 and 1.1"


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(-5, 5), st.floats(0, 2))
def test_the_verdict_flips_with_the_sign(low, width, than, tolerance):
    above, below = (
        relation(kind=kind, than=sign * than, tolerance=tolerance) for kind, sign in (("greater", 1), ("less", -1))
    )
    assert band(above)[0] == -band(below)[1]
    assert outcome(above, Known(low, low + width))[0] == outcome(below, Known(-(low + width), -low))[0]


def test_each_kind_on_a_table(make_card):
    lower = {"direction": "lower"}
    settings = {"a": {"rate": 0.1}, "b": {"rate": 0.001}}
    table = paper(
        make_card,
        {
            ("a", "t"): [1, 2, 3, 4, 5],
            ("b", "t"): [2, 4, 6, 8, 10],
            ("a", "u"): [9, 9, 9, 9, 9],
            ("b", "u"): [5, 4, 3, 2, 1],
        },
        settings=settings,
    )
    cases = [
        ({"estimand": {"kind": "level", "of": "a"}, "relation": {"kind": "within", "center": 3, "tolerance": 2}}, 3.0),
        ({"estimand": {"kind": "level", "of": ["a", "b"]}}, 4.5),
        ({"estimand": {"kind": "advantage", "of": "a", "against": "b"}, **lower}, 3.0),
        ({"estimand": {"kind": "relative_advantage", "of": "a", "against": "b"}, **lower}, 0.5),
        ({"estimand": {"kind": "ratio", "of": "b", "against": "a"}}, 2.0),
        # 2 beats 1 and ties with 2; 4 beats 1, 2, 3 and ties with 4; 6, 8 and 10 beat all five: 1.5 + 3.5 + 15 of 25
        ({"estimand": {"kind": "improvement", "of": "b", "against": "a"}}, 20 / 25),
        (
            {
                "estimand": {"kind": "shift_of_best", "family": ["a", "b"], "attribute": "rate"},
                "tasks": ["t", "u"],
                **lower,
            },
            2.0,
        ),
        (
            {
                "estimand": {"kind": "shift_of_best", "family": ["a", "b"], "attribute": "rate", "log": False},
                "tasks": ["u", "t"],
                **lower,
            },
            -0.099,
        ),
    ]
    for changes, expected in cases:
        verdict = judge_claim(claim(**changes), "dynts", table, "laptop")
        assert verdict.estimate == pytest.approx(expected), changes
        for end, sign in ((verdict.low, 1), (verdict.high, -1)):
            assert end is None or sign * end <= sign * expected + 1e-12, changes
        if changes["estimand"]["kind"] != "improvement":  # five seeds support no verdict on scores of any shape
            assert (verdict.verdict, verdict.p) == ("undecided", None), changes
    assert verdict.runs == ["run-t", "run-u"]
    assert verdict.seeds == 5


def twenty(*values):
    return np.resize(values, 20)


def test_verdicts_from_tables(make_card):
    better = {("a", "t"): twenty(2.0, 2.1, 2.2, 2.3, 2.4), ("b", "t"): twenty(1.0, 1.1)}
    worse = {("a", "t"): better["b", "t"], ("b", "t"): better["a", "t"]}
    level = {("a", "t"): twenty(0.0, 1.0), ("b", "t"): twenty(1.0, 0.0)}
    for scores, expected in ((better, "reproduced"), (worse, "not reproduced"), (level, "undecided")):
        verdict = judge_claim(claim(), "dynts", paper(make_card, scores), "laptop")
        assert verdict.verdict == expected
        assert (verdict.p <= 0.05) == (expected != "undecided")


def test_few_seeds_support_a_verdict_only_if_the_claim_says_why(make_card):
    few = {("a", "t"): [2.0, 2.1, 2.2, 2.3, 2.4, 2.5], ("b", "t"): [1.0, 1.1, 1.0, 1.1, 1.0, 1.1]}
    verdict = judge_claim(claim(), "dynts", paper(make_card, few), "laptop")
    assert (verdict.verdict, verdict.p, verdict.seeds_needed) == ("undecided", None, 20)
    assert "6 seeds support no verdict" in verdict.reason and "20 are needed" in verdict.reason
    # the card: 118.5 CPU seconds for six seeds of two methods, so 20 seeds take 395 s or 0.11 hours
    assert verdict.core_hours == pytest.approx(0.11)
    assert judge_claim(claim(regular="why"), "dynts", paper(make_card, few), "laptop").verdict == "reproduced"


def test_a_range_replaces_the_shape(make_card):
    """Six wins of six runs: Clopper and Pearson's lower end is 0.025^(1/6) = 0.541."""
    table = paper(make_card, {("a", "t"): [1.0] * 6, ("b", "t"): [0.0] * 6})
    level = {"estimand": {"kind": "level", "of": "a"}, "range": [0, 1]}
    for than, expected in ((0.53, "reproduced"), (0.55, "undecided")):
        verdict = judge_claim(claim(**level, relation={"kind": "greater", "than": than}), "dynts", table, "laptop")
        assert (verdict.verdict, verdict.low) == (expected, pytest.approx(0.025 ** (1 / 6), abs=1e-3))
    without = judge_claim(claim(estimand=level["estimand"], regular="why"), "dynts", table, "laptop")
    assert (without.verdict, without.low, without.p) == ("undecided", None, None)
    assert "says nothing of their spread" in without.reason
    with pytest.raises(InputError, match=r"claim c of dynts: range: expected scores from 0 to 0.5, found 1 to 1"):
        judge_claim(claim(**{**level, "range": [0, 0.5]}), "dynts", table, "laptop")


def test_all_rivals_must_be_beaten(make_card):
    rng = stream(0, "rivals")
    base = rng.standard_normal(20)
    table = paper(
        make_card,
        {
            ("a", "t"): base + 1.0,
            ("b", "t"): base + 0.1 * rng.standard_normal(20),
            ("c", "t"): rng.standard_normal(20) + 1,
        },
    )
    one, both = (
        judge_claim(claim(estimand={"kind": "advantage", "of": "a", "against": rivals}), "dynts", table, "laptop")
        for rivals in ("b", ["b", "c"])
    )
    assert (one.verdict, both.verdict) == ("reproduced", "undecided")
    alone = judge_claim(claim(estimand={"kind": "advantage", "of": "a", "against": "c"}), "dynts", table, "laptop")
    assert both.low == pytest.approx(min(one.low, alone.low), rel=1e-3)
    assert both.high > min(one.high, alone.high)  # Bonferroni


def test_a_number_of_the_paper_is_judged_too(make_card):
    table = paper(make_card, {("a", "t"): twenty(2.0, 2.1), ("b", "t"): twenty(1.0, 1.04)})
    for value, expected in ((1.03, "reproduced"), (2.0, "not reproduced"), (0.94, "undecided")):
        verdict = judge_claim(claim(number={"value": value}), "dynts", table, "laptop")
        assert (verdict.verdict, verdict.number_verdict) == ("reproduced", expected)
    assert verdict.number == "0.94 ± 10%"
    assert judge_claim(claim(), "dynts", table, "laptop").number == "direction only"


def test_what_cannot_be_judged_says_why(make_card):
    good = {("a", "t"): [2.0, 2.1, 2.2, 2.3, 2.4], ("b", "t"): [1.0, 1.1, 1.0, 1.1, 1.0]}
    four = {key: values[:4] for key, values in good.items()}
    zero = {("a", "t"): [1.0, 1.0, 1.0, 1.0, 1.0], ("b", "t"): [0.0, 0.0, 0.0, 0.0, 0.0]}
    ratio = {"estimand": {"kind": "ratio", "of": "a", "against": "b"}}
    cases = [
        (claim(), paper(make_card, good), "smoke", "judged only at scale laptop"),
        (claim(), None, "laptop", "there are no results of this paper"),
        (claim(tasks=["elsewhere"]), paper(make_card, good), "laptop", "no score of a on elsewhere and 1 more"),
        (claim(metric="loss"), paper(make_card, good), "laptop", "no loss of a on t and 1 more"),
        (claim(step=7), paper(make_card, good), "laptop", "5 seeds are needed at one step, 0 are shared"),
        (claim(), paper(make_card, four), "laptop", "5 seeds are needed at one step, 4 are shared"),
        (claim(data="real"), paper(make_card, good, data="generated by f"), "laptop", "needs the real data"),
        (claim(**ratio), paper(make_card, zero), "laptop", "divides by zero"),
    ]
    for asked, table, scale, reason in cases:
        verdict = judge_claim(asked, "dynts", table, scale)
        assert verdict.verdict == "not judged at this scale"
        assert reason in verdict.reason
        assert (verdict.estimate, verdict.low, verdict.high, verdict.seeds, verdict.runs) == (None, None, None, 0, [])


def test_real_data_are_judged(make_card):
    good = {("a", "t"): [2.0, 2.1, 2.2, 2.3, 2.4], ("b", "t"): [1.0, 1.1, 1.0, 1.1, 1.0]}
    table = paper(make_card, good, data="upworthy 0a1b")
    assert judge_claim(claim(data="real", regular="why"), "dynts", table, "laptop").verdict == "reproduced"


def test_the_step_and_the_area_that_are_read(make_card):
    curve = np.tile([0.0, 1.0, 4.0], (5, 1))
    table = paper(make_card, {("a", "t"): curve, ("b", "t"): 0 * curve}, steps=(0, 10, 20))
    for changes, expected in (({"step": 10}, 1.0), ({}, 4.0), ({"metric": "auc(score)"}, 1.5)):
        assert judge_claim(claim(**changes), "dynts", table, "laptop").estimate == expected
    # b stops early: the last step that both share is read
    short = table.scores.filter((pl.col("method") == "a") | (pl.col("step") < 20))
    assert judge_claim(claim(), "dynts", Paper("dynts", short, table.cards, "laptop"), "laptop").estimate == 1.0


def test_only_shared_seeds_count(make_card):
    table = paper(make_card, {("a", "t"): [1.0, 2.0, 3.0, 4.0, 5.0, 99.0], ("b", "t"): [0.0, 0.0, 0.0, 0.0, 0.0]})
    verdict = judge_claim(claim(), "dynts", table, "laptop")
    assert (verdict.estimate, verdict.seeds) == (3.0, 5)


def test_the_same_results_give_the_same_verdict(make_card):
    rng = stream(0, "same")
    table = paper(make_card, {("a", "t"): rng.standard_normal(6), ("b", "t"): rng.standard_normal(6)})
    assert judge_claim(claim(), "dynts", table, "laptop") == judge_claim(claim(), "dynts", table, "laptop")


def test_a_setting_that_no_card_holds_is_bad_input(make_card):
    scores = {(m, t): [1.0, 2.0, 3.0, 4.0, 5.0] for m in "ab" for t in "tu"}
    table = paper(make_card, scores, settings={"a": {"rate": 0.0}})
    estimand = {"kind": "shift_of_best", "family": ["a", "b"], "attribute": "rate"}
    with pytest.raises(InputError, match=r"a\.rate: expected a positive number"):
        judge_claim(claim(estimand=estimand, tasks=["t", "u"]), "dynts", table, "laptop")
    with pytest.raises(InputError, match=r"b\.rate: expected a number, found none"):
        judge_claim(claim(estimand={**estimand, "log": False}, tasks=["t", "u"]), "dynts", table, "laptop")


def test_a_claim_about_time_counts_iterations(make_card, make_times):
    def judged(iterations):
        """n2 collects in half the time of n1; the first iteration is ten times slower, for n2 alone."""
        cards = [make_card(f"run{n}", task="t", methods={f"n{n}": {}}, seeds=[0]) for n in (1, 2)]
        ones = [1.0 + 0.0001 * (-1) ** step for step in range(iterations)]
        timing = pl.concat(
            [make_times(cards[0], {"collect": ones}), make_times(cards[1], {"collect": [5.0, *ones[:-1]]})]
        )
        timing = timing.with_columns(seconds=pl.col("seconds") / pl.when(pl.col("method") == "n2").then(2).otherwise(1))
        scores = paper(make_card, {("n1", "t"): [0.0], ("n2", "t"): [0.0]}).scores
        estimand = {"kind": "ratio", "of": "n1", "against": "n2"}
        asked = claim(metric="seconds(collect)", direction="lower", estimand=estimand)
        asked = asked.model_copy(update={"relation": relation(kind="within", center=2.0, tolerance=0.05)})
        return judge_claim(asked, "dynts", Paper("dynts", scores, cards, "laptop", timing), "laptop")

    verdict = judged(101)
    assert (verdict.verdict, verdict.seeds, verdict.runs) == ("reproduced", 100, ["run1", "run2"])
    assert verdict.estimate == pytest.approx(2.0, abs=1e-5)
    assert "5 iterations are needed, 4 are shared" in judged(5).reason


def test_a_busy_machine_judges_no_time(make_card, make_times):
    def judged(wall, contention=None, **more):
        changes = {"task": "t", "seeds": [0], "wall_seconds": wall, "cpu_seconds": 10.0, "contention": contention}
        cards = [make_card(f"run{n}", methods={f"n{n}": {}}, **changes) for n in (1, 2)]
        timing = pl.concat([make_times(card, {"collect": [1.0] * 30}) for card in cards])
        scores = paper(make_card, {("n1", "t"): [0.0], ("n2", "t"): [0.0]}).scores
        estimand = {"kind": "ratio", "of": "n1", "against": "n2"}
        asked = claim(metric="seconds(collect)", direction="lower", estimand=estimand, **more)
        return judge_claim(asked, "dynts", Paper("dynts", scores, cards, "laptop", timing), "laptop")

    busy = judged(15.1)
    assert (busy.verdict, busy.replicates) == ("not judged at this scale", "iterations")
    assert "the machine was busy: run run1 took 15.1 s" in busy.reason
    assert judged(15.0).estimate == 1.0  # one and a half times as much is the bound
    assert judged(99.0, 0.9, waits="the simulator waits").estimate == 1.0
    assert judged(10.0, 0.5).estimate == 1.0
    assert "in 51% of the time of run run1 a process waited" in judged(10.0, 0.51).reason


def test_a_claim_is_judged_on_what_is_least_like_the_paper():
    kinds = {"t": "the paper's task", "u": "a stand-in"}
    about = {"id": "x", "title": "T", "authors": "A", "year": 2020, "url": "https://example.org", "method": "M"}

    def file(*tasks):
        asked = claim(tasks=list(tasks)).model_dump()
        return validate(ClaimsFile, {"paper": about, "tasks": kinds, "claims": [asked]}, "x")

    assert file("t", "u").ground(file("t", "u").claims[0]) == "a stand-in"
    with pytest.raises(InputError, match="see u"):
        file("t")


def test_each_finding_stands_in_its_package_s_readme():
    root = Path(__file__).parents[3]
    found = [read_claims(path).paper for path in sorted((root / "config/claims").glob("*.yaml"))]
    findings = {about.id: about.finding for about in found if about.finding}
    assert len(findings) >= 5
    for name, finding in findings.items():
        assert finding in (root / "packages" / name / "README.md").read_text("utf-8"), name


def test_the_terminal_counts_the_paper_s_claims_and_ours_apart(make_card):
    scores = paper(make_card, {("a", "t"): twenty(2.0, 2.1), ("b", "t"): twenty(1.0, 1.04)})
    one = judge_claim(claim(), "dynts", scores, "laptop")
    ours = judge_claim(claim(source="Ours (a control)"), "dynts", scores, "laptop")
    lines = terminal.table([one, one, ours], colour=False).splitlines()
    assert lines[1].split() == ["dynts", "2", "+", "1", *["0", "+", "0"] * 3]
    assert terminal.show([one, ours], 100).count("(ours)") == 1
