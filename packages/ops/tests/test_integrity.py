"""What was changed behind the workflow's back is refused in one line, wherever it is read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from septet.card import RunCard
from septet.errors import InputError
from septet.ops.__main__ import Publish, Track, publish, track
from septet.ops.benchmarks import read as read_benchmarks
from septet.ops.compare import compare
from septet.ops.crate import write_crate
from septet.ops.trace import trace
from septet.report import figure_files, merge, published
from septet.report.__main__ import Draw, Judge, Page, draw, judge, page
from septet.report.bench import read_bench
from septet.report.planned import plan_and_fact
from septet.report.source import check
from septet.report.tables import read_paper
from septet.sealed import read_sealed_json, verify, write_json

ROOT = Path(__file__).parents[3]
FIGURE = "figures/dynts/regret_curves"


@pytest.fixture
def results(judged, drawn, tmp_path):
    """A copy of the demo's results."""
    return Path(shutil.copytree(judged, tmp_path / "laptop"))


def one_line(act, *words):
    with pytest.raises(InputError) as error:
        act()
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line
    return line


def change_a_digit(file):
    """Another digit in the first number that is a value, as an editor would make it."""
    text = file.read_text(encoding="utf-8")
    changed = re.sub(r"(?<=: )(-?\d*\.?)(\d)", lambda m: m[1] + str((int(m[2]) + 1) % 10), text, count=1)
    changed = changed if changed != text else re.sub(r"(?<=,)(\d)", lambda m: str((int(m[1]) + 1) % 10), text, count=1)
    assert changed != text
    file.write_text(changed, encoding="utf-8")


def readers(results, claims_files, out):
    """What reads run cards and tables, by name."""
    return {
        "judge": lambda: judge(Judge(results=results, claims=claims_files), out),
        "draw": lambda: draw(Draw(paper="dynts", results={".": results}), out),
        "page": lambda: page(Page(results=results, claims=claims_files, verdicts=[results / "verdicts.json"]), out),
        "publish": lambda: publish(Publish(results=results, papers=["dynts"]), out),
        "redraw": lambda: check(results, "dynts"),
        "crate": lambda: write_crate(results, ROOT, out),
        "track": lambda: track(Track(results=results, papers=["dynts"], sinks=["tensorboard"]), out),
        "compare": lambda: compare(results, results, ROOT / "config/claims"),
        "trace": lambda: trace("05c0ffee0000", results),
        "plan": lambda: read_benchmarks(results),
    }


@pytest.mark.parametrize(
    "reader", ["judge", "draw", "page", "publish", "redraw", "crate", "track", "compare", "trace", "plan"]
)
def test_a_changed_digit_in_the_merged_cards_is_seen(reader, results, claims_files, tmp_path, demo_papers):
    change_a_digit(results / "dynts/runs.json")
    one_line(
        readers(results, claims_files, tmp_path / "out")[reader], "dynts/runs.json", "another checksum", "run again"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["scores.parquet", "timing.parquet"])
@pytest.mark.parametrize("reader", ["judge", "draw", "publish", "redraw", "track", "compare", "trace", "plan"])
def test_a_table_of_other_runs_beside_the_merged_cards_is_seen(
    reader, name, results, claims_files, tmp_path, demo_papers, make_card, make_run
):
    run = make_run(tmp_path / "run", make_card("r1"), lambda method, card, steps: [[0.0] * len(steps)] * 3)
    shutil.copy(run / name, results / "dynts" / name)
    one_line(readers(results, claims_files, tmp_path / "out")[reader], name, "runs.json was written with", "SHA-256")
    assert not (tmp_path / "out").exists()


def test_a_table_of_another_root_seed_beside_the_card_is_not_merged(tmp_path, make_card, make_run):
    """The same paper, method, task and seeds: nothing but the digest tells them apart."""
    one = make_run(tmp_path / "1", make_card("r1"), lambda method, card, steps: [[1.0] * len(steps)] * 3)
    two = make_run(tmp_path / "2", make_card("r2"), lambda method, card, steps: [[2.0] * len(steps)] * 3)
    before = (one / "scores.parquet").read_bytes()
    for name, source in (("scores.parquet", two), ("timing.parquet", two), ("run.json", two)):
        kept = (one / name).read_bytes()
        strange = (source / name).read_bytes()
        if strange == kept:  # the same seconds
            continue
        (one / name).write_bytes(strange)
        act = lambda: merge.evaluate("dynts", "laptop", [one], tmp_path / "out")  # noqa: E731
        one_line(act, "run.json was written with", "run the job again")
        (one / name).write_bytes(kept)
    assert (one / "scores.parquet").read_bytes() == before
    merge.evaluate("dynts", "laptop", [one], tmp_path / "out")


def test_a_changed_digit_in_a_run_card_is_seen(tmp_path, make_card, make_run):
    run = make_run(tmp_path / "1", make_card("r1"), lambda method, card, steps: [[1.0] * len(steps)] * 3)
    change_a_digit(run / "run.json")
    one_line(lambda: merge.evaluate("dynts", "laptop", [run], tmp_path / "out"), "run.json", "another checksum")
    one_line(lambda: RunCard.read(run / "run.json"), "another checksum")
    assert not (tmp_path / "out").exists()


def test_a_card_without_the_digests_of_its_tables_is_not_merged(tmp_path, make_card, make_run):
    run = make_run(tmp_path / "1", make_card("r1"), lambda method, card, steps: [[1.0] * len(steps)] * 3)
    card = read_sealed_json(run / "run.json", "a card")
    for tables in ({}, {"scores.parquet": card["tables"]["scores.parquet"]}):
        write_json(run / "run.json", {**card, "tables": tables})
        one_line(lambda: merge.evaluate("dynts", "laptop", [run], tmp_path / "out"), "missing")
    for key in ("tables", "methods", "seeds"):
        write_json(run / "run.json", {name: value for name, value in card.items() if name != key})
        one_line(lambda: merge.evaluate("dynts", "laptop", [run], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def show(results):
    done = subprocess.run([sys.executable, "-m", "septet.report", "show", str(results)], capture_output=True, text=True)
    return done.returncode, done.stderr


def test_changed_verdicts_are_seen_by_page_and_terminal(results, claims_files, tmp_path):
    change_a_digit(results / "verdicts.json")
    one_line(readers(results, claims_files, tmp_path / "out")["page"], "verdicts.json", "another checksum")
    code, error = show(results)
    assert code == 2 and error.count("\n") == 1 and "another checksum" in error


@pytest.mark.parametrize("suffix", ["json", "csv", "svg", "md", "tex"])
def test_changed_data_of_a_figure_are_seen(suffix, results, claims_files, tmp_path):
    file = results / f"{FIGURE}.{suffix}"
    text = file.read_text(encoding="utf-8")
    place = [match.start() for match in re.finditer(r"\d", text)][-20]
    file.write_text(f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}", encoding="utf-8")
    act = readers(results, claims_files, tmp_path / "out")["page"]
    one_line(act, f"{FIGURE}.{suffix}", "run again")
    assert not (tmp_path / "out").exists()
    file.unlink()
    if suffix != "json":
        act()  # what is gone is drawn again by the workflow; the page does not need it


def test_a_figure_of_another_name_or_table_is_seen(results, claims_files, tmp_path, make_card, make_run):
    act = readers(results, claims_files, tmp_path / "out")["page"]
    figure = results / f"{FIGURE}.json"
    kept = figure.read_bytes()
    shutil.copy(results / "figures/dynts/final_regret.json", figure)
    one_line(act, "expected the figure regret_curves, found final_regret")
    figure.write_bytes(kept)
    write_json(figure, {**read_sealed_json(figure, "a figure"), "source": "0" * 64})
    one_line(act, "expected a figure of the score table", "found 000000000000", "run again")
    figure.write_bytes(kept)
    (results / "figures/vrda").mkdir()
    shutil.copy(figure, results / "figures/vrda/regret_curves.json")
    one_line(act, "figures/vrda/regret_curves.json", "score table none")
    shutil.rmtree(results / "figures/vrda")
    act()


def test_figures_name_the_table_that_they_show_and_their_files(drawn, demo):
    table = read_sealed_json(demo / "dynts/runs.json", "cards")["tables"]["scores.parquet"]
    files = sorted(drawn.glob("*.json"))
    assert files
    for file in files:
        figure = figure_files.read_figure(file)
        assert figure.source == table and sorted(figure.files) == ["csv", "md", "svg", "tex"]


def test_the_folder_of_another_paper_or_scale_is_seen(results, claims_files, tmp_path, demo_papers):
    swapped = tmp_path / "smoke"
    shutil.copytree(results, swapped)
    for act in readers(swapped, claims_files, tmp_path / "out").values():
        one_line(act, "runs.json: scale: expected smoke", "found laptop")
    code, error = show(swapped)
    assert code == 2 and "expected smoke" in error
    (results / "dynts").rename(results / "vrda")
    for name in ("judge", "page", "crate", "compare", "trace", "plan"):
        one_line(readers(results, claims_files, tmp_path / "out")[name], "expected runs of vrda", "one of dynts")
    assert not (tmp_path / "out").exists()


def test_verdicts_of_other_claims_runs_or_scales_are_seen(results, claims_files, tmp_path):
    act = readers(results, claims_files, tmp_path / "out")["page"]
    rows = read_sealed_json(results / "verdicts.json", "verdicts")
    judged = next(row for row in rows if row["runs"])

    def with_row(**changes):
        write_json(results / "verdicts.json", [row | (changes if row is judged else {}) for row in rows])

    for name, other in (
        ("statement", "Another one."),
        ("line", "> 7"),
        ("reported", "1"),
        ("unit", "s"),
        ("ours", True),
    ):
        with_row(**{name: other})
        one_line(act, f"{judged['claim']}.{name}", "as the claim is now", "judge again")
    with_row(runs=["fffffffffff0"])
    one_line(act, f"{judged['claim']}.runs", "found fffffffffff0")
    assert show(results)[0] == 2
    with_row(scale="paper")
    one_line(act, f"{judged['claim']}.scale: expected laptop, found paper")
    with_row()
    act()
    claims = tmp_path / "claims"
    shutil.copytree(claims_files[0].parent, claims)
    for file in claims.iterdir():  # the claims have changed since
        text = yaml.safe_load(file.read_text())
        for claim in text["claims"]:
            claim["statement"] += " Much."
        file.write_text(yaml.safe_dump(text))
    changed = Page(results=results, claims=sorted(claims.iterdir()), verdicts=[results / "verdicts.json"])
    one_line(lambda: page(changed, tmp_path / "new"), "statement", "as the claim is now")


def test_the_verdicts_of_another_paper_are_seen_in_the_terminal(results, claims_files, tmp_path):
    judge(Judge(results=results, claims=claims_files), results / "dynts")  # of both papers
    code, error = show(results / "dynts")
    assert code == 2 and error.count("\n") == 1 and "expected verdicts of dynts, found some of vrda" in error
    judge(Judge(results=results, claims=claims_files[:1]), results / "dynts")
    assert show(results / "dynts") == (0, "")


def test_a_changed_manifest_plan_bench_or_benchmark_is_seen(results, tmp_path):
    published.publish(results, ["dynts"], tmp_path / "published")
    file = tmp_path / "published/manifest.json"
    file.write_text(file.read_text().replace('"dynts/scores', '"vrda/scores'))
    one_line(lambda: check(tmp_path / "published", "dynts"), "manifest.json", "checksum")
    one_line(lambda: published.publish(results, ["dynts"], tmp_path / "published"), "manifest.json", "checksum")
    for name, read in (
        ("bench/dynts.json", read_bench),
        ("laptop/benchmarks.json", lambda path: read_benchmarks(path.parent)),
    ):
        copy = tmp_path / "copy" / Path(name).name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "published" / name, copy)
        read(copy)
        change_a_digit(copy)
        one_line(lambda read=read, copy=copy: read(copy), copy.name, "another checksum")
    write_json(results / "plan.json", {"scale": "laptop", "jobs": 1})
    change_a_digit(results / "plan.json")
    one_line(lambda: plan_and_fact(results), "plan.json", "another checksum")


PUBLISHED = [file for file in (ROOT / "published").rglob("*") if file.is_file() and file.name != "timed.json"]


def test_published_is_whole():
    """Sealed again with `python -m septet seal` where it was changed on purpose; timed.json is written by hand."""
    assert len(PUBLISHED) > 30
    for file in PUBLISHED:
        verify(file, "a published file")
    for runs in (ROOT / "published").glob("*/*/runs.json"):
        assert read_paper(runs.parent).id == runs.parent.name
