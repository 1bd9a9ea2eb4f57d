"""The verbs as the workflow calls them: exit codes, files, what they import, what the terminal shows."""

import json
import subprocess
import sys

import pytest

from septet.report.formatting import duration_text, estimate_text, number_text
from septet.report.terminal import show
from septet.report.verdicts import read_verdicts


def run(*arguments, stdin=None):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def call(verb, config, out):
    package = "septet.ops" if verb in ("publish", "track") else "septet.report"
    return run(package, verb, "--config", "-", "--out", out, stdin=json.dumps(config))


def test_from_runs_to_verdicts_and_back_from_published(demo, claims_files, tmp_path):
    runs = [str(path) for path in sorted((demo.parents[1] / "runs").iterdir())]
    claims = [str(path) for path in claims_files]
    results, published = tmp_path / "results", tmp_path / "published"
    steps = [
        ("evaluate", {"paper": "dynts", "scale": "laptop", "runs": runs}, results / "dynts"),
        ("judge", {"results": str(results), "claims": claims}, results),
        ("publish", {"results": str(results), "papers": ["dynts"]}, published),
        ("judge", {"results": str(published), "claims": claims}, tmp_path / "again"),
    ]
    for verb, config, out in steps:
        done = call(verb, config, out)
        assert (done.returncode, done.stderr) == (0, ""), verb
    before, after = (read_verdicts(folder / "verdicts.json") for folder in (results, tmp_path / "again"))
    for own, found in zip(before, after, strict=True):  # published scores are rounded
        assert (own.paper, own.claim, own.verdict) == (found.paper, found.claim, found.verdict)
        assert found.estimate == (own.estimate and pytest.approx(own.estimate, rel=1e-6))
    outcomes = {one.claim: one.verdict for one in read_verdicts(results / "verdicts.json")}
    assert outcomes == {
        "static_no_discount": "reproduced",
        "drift_discount": "reproduced",
        "discount_beats_ucb": "not reproduced",
        "shift": "reproduced",
        "close_call": "undecided",
        "hostile": "not judged at this scale",
        "sparser": "not judged at this scale",
    }
    shown = run("septet.report", "show", "--all", results)
    assert shown.returncode == 0
    assert "not judged at this scale: sparser" in shown.stdout
    assert "the papers': 2 reproduced, 1 not reproduced, 1 undecided, 2 not judged at this scale" in " ".join(
        shown.stdout.split()
    )
    assert "ours: 1 reproduced" in shown.stdout


@pytest.mark.parametrize("verb", ["publish", "track"])
def test_what_follows_a_run_takes_all_papers_there_are_or_says_what_to_run(demo, tmp_path, verb):
    done = call(verb, {"results": str(demo), "papers": []}, tmp_path / "all")
    assert done.returncode == 0 and (tmp_path / "all").is_dir(), done.stderr
    laptop = tmp_path / "laptop"
    for config, run_, found in (
        ({"results": str(laptop)}, "make reproduce SCALE=laptop", "any paper"),
        ({"results": str(laptop), "papers": ["vrda"]}, "make reproduce SCALE=laptop PAPERS=vrda", "vrda"),
        ({"results": str(demo), "papers": ["dynts", "svrpo"]}, "PAPERS=svrpo", "svrpo"),
    ):
        done = call(verb, config, tmp_path / "none")
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert run_ in done.stderr and done.stderr.endswith(f"found none of {found}\n")
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("verb", "config", "words"),
    [
        ("judge", {"results": "nowhere", "claims": []}, "results: expected a folder"),
        ("judge", {"results": ".", "claims": []}, "expected runs of one scale, found no paper"),
        ("judge", {"scale": "laptop", "results": ".", "claims": []}, "the unknown key scale"),
        ("evaluate", {"paper": "dynts", "scale": "laptop", "runs": ["nowhere"]}, "run.json"),
        ("evaluate", {"paper": "../etc", "scale": "laptop", "runs": []}, "paper"),
        ("evaluate", {"paper": "dynts", "runs": []}, "scale: expected a value"),
        ("draw", {"paper": "unknown", "results": {".": "nowhere"}}, "a paper with figures"),
        ("page", {"results": "nowhere", "claims": [], "verdicts": ["nowhere.json"]}, "nowhere.json"),
        ("publish", {"results": "nowhere", "papers": ["dynts"]}, "expected a finished run"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, verb, config, words):
    done = call(verb, config, tmp_path / "out")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_judging_loads_no_plotting_library():
    text = "import sys, septet.report.__main__; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert not {"altair", "vl_convert", "jinja2", "pandas", "torch"} & set(loaded)


def test_the_terminal_table_keeps_its_width(judged, tmp_path):
    verdicts = read_verdicts(judged / "verdicts.json")
    for width in (80, 100):
        lines = show(verdicts, width).splitlines()
        assert max(map(len, lines)) <= width
    missing = run("septet.report", "show", tmp_path / "nowhere")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


def test_numbers_show_what_the_interval_knows(judged):
    base = read_verdicts(judged / "verdicts.json")[0]
    for numbers, text in (
        ((46.22, 39.8, 52.4), "46 [40, 52] regret saved"),
        ((0.0514, 0.0491, 0.0533), "0.0514 [0.0491, 0.0533] regret saved"),
        ((-1234.5, -1300.0, -1200.0), "−1,234 [−1,300, −1,200] regret saved"),
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00] regret saved"),
        ((46.22, None, 52.4), "46.2 [−∞, 52.4] regret saved"),
        ((None, None, None), "–"),
    ):
        estimate, low, high = numbers
        assert estimate_text(base.model_copy(update={"estimate": estimate, "low": low, "high": high})) == text
    assert number_text(-0.001, 1) == "0.0"


@pytest.mark.parametrize(
    ("line", "numbers", "text"),
    [
        ("> 0", (13.4, -0.3, 27.1), "13.4 [−0.3, 27.1]"),  # 13 [0, 27] would hide why it is undecided
        ("≥ 0.9", (0.95, 0.8996, 1.0), "0.9500 [0.8996, 1.0000]"),
        ("< 6", (5.1, 4.2, 6.04), "5.10 [4.20, 6.04]"),
        ("between 0.9 and 1.1", (1.0, 0.97, 1.1003), "1.0000 [0.9700, 1.1003]"),
        ("> 0", (13.4, 0.0, 27.1), "13 [0, 27]"),  # an end on the line is on it
        ("> 0", (13.4, -3e-7, 27.1), "13.4000000 [−0.0000003, 27.1000000]"),
        ("> 1e-07", (0.5, 0.2, 0.8), "0.50 [0.20, 0.80]"),
    ],
)
def test_rounding_never_moves_an_end_onto_or_across_the_line(judged, line, numbers, text):
    estimate, low, high = numbers
    base = read_verdicts(judged / "verdicts.json")[0]
    changes = {"estimate": estimate, "low": low, "high": high, "line": line, "unit": ""}
    assert estimate_text(base.model_copy(update=changes)) == text


def test_durations_are_in_the_largest_unit():
    assert [duration_text(seconds) for seconds in (45, 720, 12_240)] == ["45 s", "12 min", "3.4 h"]
