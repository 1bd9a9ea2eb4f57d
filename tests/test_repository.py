"""GitHub's workflows cannot run here: they are held to GitHub's schemas, and to the commands of the Makefile."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
TARGETS = set(re.findall(r"^([a-z_-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def steps(path):
    """(job, step) of each step of a workflow."""
    for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
        yield from ((job, step) for step in job["steps"])


def commands(path):
    """The shell commands of a workflow, once for each value of a matrix."""
    for job, step in steps(path):
        ((key, values),) = job.get("strategy", {}).get("matrix", {"none": [""]}).items()
        for value in values if "run" in step else []:
            yield from step["run"].replace("${{ matrix.%s }}" % key, value).splitlines()  # noqa: UP031


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
    ],
)
def test_files_for_github_fit_their_schemas(schema, files):
    found = sorted(ROOT.glob(files))
    assert found
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *found]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_workflow_that_does_not_fit_is_found(tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8").replace("runs-on", "runs_on"))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", wrong]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_commands_that_exist(path):
    for line in commands(path):
        for target in re.findall(r"\bmake ([a-z_-]+)", line):
            assert target in TARGETS, line
        for file in re.findall(r"(?:^|\s)((?:\.ci|tools)/[\w./-]+)", line):
            assert (ROOT / file).is_file(), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_ask_for_few_rights_and_end(path):
    """Rights are listed, each job has a time limit, and actions are GitHub's own, at a fixed major version."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"]
    assert all(job["timeout-minutes"] <= 360 for job in workflow["jobs"].values())
    for _, step in steps(path):
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/any@v1")), step


def test_the_newest_changes_are_of_the_version_and_dated_as_it_is_cited():
    version, date = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).groups()
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (version, date) == (cited["version"], str(cited["date-released"]))
    (command,) = (line for line in commands(ROOT / ".github/workflows/release.yml") if "CHANGELOG" in line)
    command = command.replace("> notes.md", "")
    notes = subprocess.run(
        ["bash", "-ec", command], cwd=ROOT, env={"PATH": "/usr/bin:/bin", "GITHUB_REF_NAME": f"v{version}"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "**Results.**" in notes and "## " not in notes


def test_badges_are_of_workflows():
    """GitHub resolves such links from the page of a file, /OWNER/NAME/blob/main/: no address is needed."""
    badges = re.findall(r"\[!\[\w+\]\((\S+)/badge\.svg\)\]\((\S+)\)", (ROOT / "README.md").read_text())
    assert len(badges) == 3
    for image, link in badges:
        assert image == link
        assert link.removeprefix("../../actions/workflows/") in {path.name for path in WORKFLOWS}


def test_ci_is_what_ci_runs():
    assert any(".ci/run" in line for line in commands(ROOT / ".github/workflows/ci.yml"))
    (matrix,) = re.findall(r"matrix: \{python: (\[.*?\])\}", (ROOT / ".github/workflows/ci.yml").read_text())
    for file in ROOT.glob("packages/*/pyproject.toml"):
        assert f'requires-python = ">={yaml.safe_load(matrix)[0]}"' in file.read_text(encoding="utf-8")


def test_pre_commit_runs_tools_of_the_environment():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    checks = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in repository["hooks"]:
        tool = hook["entry"].split()[0]
        assert (ROOT / tool).exists() or not (ROOT / ".venv").exists()
        name = tool.removeprefix(".venv/bin/")
        assert f"$(BIN)/{name}" in checks or name == "check-jsonschema", f"`make check` does not run {name}"
