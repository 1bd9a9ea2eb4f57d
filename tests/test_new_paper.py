"""`make new-paper` and docs/add-a-paper.md: a skeleton in a copied checkout passes the checks and runs to a verdict."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ID = "ogd"


def made(house, name):
    command = [sys.executable, "tools/new_paper.py", name]
    return subprocess.run(
        command, cwd=house.folder, env=house.environment(), capture_output=True, text=True, check=False
    )


def contents(house):
    names = (path.relative_to(house.folder) for path in house.folder.rglob("*") if path.is_file())
    kept = (name for name in names if not {"__pycache__", ".ruff_cache", ".snakemake"} & {*name.parts})
    return {name.as_posix(): (house.folder / name).read_bytes() for name in kept}


@pytest.fixture(scope="module")
def extended(house):
    """A copy of the checkout with another paper, and what it was before."""
    before = contents(house)
    done = made(house, ID)
    assert done.returncode == 0, done.stderr
    return house, before


def ran(house, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=house.folder, env=house.environment(), capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize(
    "name", ["", "Abc", "a_b", "x9", "class", "json", "numpy", "dynts", "all", "figures", "../x", ID]
)
def test_a_bad_id_is_one_line_and_writes_nothing(extended, name):
    house, _ = extended
    before = contents(house)
    done = made(house, name)
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch(r"ID: expected .*, found .*\n", done.stderr)
    assert contents(house) == before


def test_it_adds_files_of_its_own_and_few_lines_elsewhere(extended):
    house, before = extended
    after = contents(house)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {
        "config/scale/laptop.yaml", "config/scale/overnight.yaml", "config/scale/paper.yaml", "config/scale/smoke.yaml",
        "pixi.toml", "pyproject.toml", "workflow/papers.yaml",
    }  # fmt: skip
    page = (house.folder / "docs/add-a-paper.md").read_text()
    for name in {*changed, *(after.keys() - before.keys())}:
        shown = name.replace(ID, "<id>").replace("<id>/src/<id>", "<id>")
        assert Path(shown).name in page or any(f"`{parent}/`" in page for parent in Path(shown).parents), name


def test_it_passes_the_checks(extended):
    house, _ = extended
    ran(house, "ruff", "check", ".")
    ran(house, "ruff", "format", "--check", ".")


@pytest.mark.nightly
def test_it_passes_the_type_check(extended):
    house, _ = extended
    ran(house, "mypy")


def test_it_passes_its_own_tests_and_those_of_the_house(extended):
    house, _ = extended
    ran(house, "pytest", "-q", "-p", "no:cacheprovider", f"packages/{ID}", "packages/report/tests/papers")
    names = f"{ID} or models or commands"
    ran(
        house,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        names,
        "tests/test_configuration.py",
        "tests/test_packages.py",
    )


def test_it_is_measured_planned_and_traced_from_its_row_alone(extended):
    house, before = extended
    code = """
import json, sys
from pathlib import Path
sys.path.insert(0, "tools")
import bench
from septet.ops import scaling, trace
config = {"method": {}, "task": {"dimension": 7}, "rounds": 5, "seeds": [0, 1, 2]}
work = scaling.work(sys.argv[1], "t", config)
print(json.dumps([bench.benches(Path()), work, scaling.in_words(sys.argv[1]), trace.program_of(sys.argv[1])]))
"""
    done = subprocess.run([sys.executable, "-c", code, ID], cwd=house.folder, env=house.environment(), text=True,
                          capture_output=True, check=True)  # fmt: skip
    benches, work, words, program = json.loads(done.stdout)
    published = {Path(name).stem for name in before if name.startswith("published/bench/")}
    assert benches == {name: f"septet.{name}" for name in (*published, ID)} and "core" not in benches
    assert (work, words, program) == (5 * 7 * 3, "rounds x dimension x seeds", ID)
    ran(house, f"septet.{ID}", "bench", "--quick", "--json", "bench.json")
    (measured,) = json.loads((house.folder / "bench.json").read_text())["rows"]
    assert measured["ratio"] > 1


def test_it_runs_to_a_verdict_and_reruns_no_other_paper(extended):
    house, _ = extended
    done = house.snakemake("--profile", "profiles/local", "--config", "scale=smoke", f"papers=[{ID}]", "--", ID)
    assert done.returncode == 0, done.stdout[-3000:]
    (verdict,) = json.loads((house.folder / f"results/smoke/{ID}/verdicts.json").read_text())
    assert verdict["verdict"] == "reproduced" and verdict["low"] > 0
    for suffix in ("svg", "pdf", "png"):
        assert (house.folder / f"results/smoke/figures/{ID}/error.{suffix}").stat().st_size > 1000
    assert not (house.folder / "results/smoke/dynts").exists()
