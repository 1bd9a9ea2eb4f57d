"""`snakemake figure/PAPER/NAME`, and the commands that the report page gives for its points."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from septet.files import sha256
from septet.report.figure_files import read_figure
from septet.report.rerun import figure_command, rerun_command
from septet.report.tables import read_runs

ROOT = Path(__file__).parents[1]


def test_one_figure_comes_in_every_format(house):
    done = house.snakemake("--cores", "2", "figure/svrpo/returns")
    assert done.returncode == 0, done.stdout[-3000:]
    files = {path.name for path in (house.folder / "figure/svrpo/returns").iterdir() if not path.name.startswith(".")}
    assert files == {f"returns.{suffix}" for suffix in ("svg", "pdf", "png", "csv", "md", "tex", "json")}


def test_one_job_draws_the_figures_of_every_published_scale(house):
    drawn = "figures/empg/cost.json"
    config = ["--cores", "2", "--config", "papers=[empg]"]
    done = house.snakemake(*config, "--", f"results/published-laptop/{drawn}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert len(re.findall("Rule: empg_published_figures", done.stdout)) == 1
    for name, scale in (("published", "overnight"), ("published-laptop", "laptop")):
        table = house.folder / f"published/{scale}/empg/scores.parquet"
        assert read_figure(house.folder / "results" / name / drawn).source == sha256(table)


def test_an_unknown_figure_is_refused_with_the_names_there_are(house):
    done = house.snakemake("--cores", "1", "-n", "figure/vrda/nonsense")
    assert done.returncode == 2
    assert "figure/vrda: expected one of weights, " in done.stdout
    done = house.snakemake("--cores", "1", "-n", "figure/nobody/nonsense")
    assert done.returncode == 2
    assert "configuration: papers: expected some of dynts, vrda, walle, " in done.stdout


def _without_times(folder):
    (folder / "timing.parquet").unlink()


def _torn(folder):
    table = folder / "scores.parquet"
    table.write_bytes(table.read_bytes()[:3000])


def _no_json(folder):
    (folder / "runs.json").write_text('{"scale": "laptop"', encoding="utf-8")


def _edited(folder):
    cards = folder / "runs.json"
    cards.write_text(cards.read_text(encoding="utf-8").replace("laptop", "paper"), encoding="utf-8")


def _another_paper(folder):
    folder.rename(folder.with_name("vrda"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without_times, "walle/timing.parquet: expected a file of a finished run, found none"),
        (_torn, "walle/scores.parquet: expected the table that runs.json was written with, SHA-256 "),
        (_no_json, "walle/runs.json: expected a JSON file of run cards with its checksum, found Expecting ',' "),
        (_edited, "walle/runs.json: expected a JSON file of run cards with its checksum, found another checksum"),
        (_another_paper, "walle/scores.parquet: expected a file of a finished run, found none"),
        (shutil.rmtree, "walle/scores.parquet: expected a file of a finished run, found none"),
    ],
)
@pytest.mark.parametrize("target", ["figures", "figure/walle/shares"])
def test_a_source_that_is_not_whole_is_refused_before_anything_is_drawn(house, tmp_path, spoil, says, target):
    shutil.copytree(ROOT / "published/laptop/walle", tmp_path / "walle")
    spoil(tmp_path / "walle")
    done = house.snakemake("--cores", "1", "--config", f"adopt={tmp_path}", "papers=[walle]", "--", target)
    assert done.returncode == 2
    assert says in done.stdout.splitlines()[-1] and "Traceback" not in done.stdout, done.stdout[-3000:]
    assert not (house.folder / "results/published/walle").exists()


def test_a_source_without_a_paper_is_refused(house, tmp_path):
    done = house.snakemake("--cores", "1", "--config", f"adopt={tmp_path}", "--", "figures")
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith(f"{tmp_path} (FROM=): expected a folder of dynts or vrda or ")


def test_the_largest_scale_is_the_page_s_and_the_others_are_redrawn_next_to_it(house, tmp_path):
    for folder in ("laptop/walle", "overnight/walle", "laptop/dynts"):
        shutil.copytree(ROOT / "published" / folder, tmp_path / folder)
    done = house.snakemake("--cores", "1", "-n", "--config", f"adopt={tmp_path}", "--", "figures")
    assert done.returncode == 0, done.stdout[-2000:]
    taken = dict(re.findall(r"input: (\S+)/scores.parquet.*?output: (\S+)/scores.parquet", done.stdout, re.DOTALL))
    adopted = {f"{tmp_path}/overnight/walle": "walle", f"{tmp_path}/laptop/dynts": "dynts"}
    assert {source: target for source, target in taken.items() if source.startswith(str(tmp_path))} == {
        **{source: f"results/published/{name}" for source, name in adopted.items()},
        f"{tmp_path}/laptop/walle": "results/published-laptop/walle",
    }
    assert "results/published-laptop/report/index.html" in done.stdout


def test_every_published_file_is_in_the_manifest():
    scales = [path.parent for path in ROOT.glob("published/*/manifest.json")]
    assert scales
    for folder in scales:
        listed = json.loads((folder / "manifest.json").read_text())["files"]
        files = [path for path in folder.glob("*/**/*") if path.is_file()]
        assert listed == {str(file.relative_to(folder)): sha256(file) for file in files}


def test_the_command_that_the_page_prints_for_a_figure_works(house):
    for source in ("published", "published/"):  # the second is another folder to the command
        program, *words = shlex.split(figure_command("svrpo", "returns", source))
        assert program == ".venv/bin/snakemake"
        done = house.snakemake(*words[:-2], "-n", *words[-2:])
        assert done.returncode == 0, done.stdout[-2000:]


def test_every_published_run_has_a_command_that_the_workflow_knows(house):
    targets, cards = set(), 0
    for path in sorted(ROOT.glob("published/*/*/runs.json")):
        runs = read_runs(path)
        cards += len(runs.runs)
        for card in runs.runs:
            words = shlex.split(rerun_command(card, runs.scale))
            assert words[:4] == ["snakemake", "--profile", "profiles/local", "--config"], card.id
            targets.add(words[-1])
    assert len(targets) == cards > 100
    trained = 0
    for scale in {target.split("/")[1] for target in targets}:
        there = sorted(target for target in targets if target.startswith(f"results/{scale}/"))
        done = house.snakemake("--cores", "1", "-n", "--quiet", "rules", "--config", f"scale={scale}", "--", *there)
        assert done.returncode == 0, done.stdout[-3000:]
        listed = dict(re.findall(r"^(\w+_train) +(\d+)$", done.stdout, re.MULTILINE))  # the table is printed twice
        trained += sum(map(int, listed.values()))
    assert trained == cards
