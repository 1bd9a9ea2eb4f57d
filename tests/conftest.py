"""A checkout of its own for tests that run the workflow, and one smoke run of it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class House:
    """A copy of the checkout."""

    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        """This process's environment, with the copy's packages first and no data sets."""
        sources = os.pathsep.join(str(path) for path in sorted(self.folder.glob("packages/*/src")))
        return {**os.environ, "PYTHONPATH": sources, "SEPTET_DATA": "", **more}

    def snakemake(
        self, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run snakemake in the copy (or in `cwd`); both streams together in `stdout`."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=cwd or self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=600,
            check=False,
        )

    def planned(self, *config: str, **environment: str) -> set[str]:
        """What snakemake would run at scale `smoke` with more `config`: ``rule [paper | method/task]``."""
        return jobs(self.snakemake("-n", "--cores", "2", "--config", "scale=smoke", *config, **environment))


def jobs(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The jobs of a dry run."""
    assert done.returncode == 0, done.stdout[-3000:]
    if "Nothing to be done" in done.stdout:
        return set()
    names = set()
    for block in re.split(r"\n(?=(?:local)?rule )", done.stdout)[1:]:
        name = re.match(r"(?:local)?rule (\w+):", block)
        wildcards = dict(re.findall(r"(\w+)=([^,\s]+)", re.search(r"wildcards: (.*)", block).group(1))) if (
            "wildcards:" in block
        ) else {}  # fmt: skip
        job = f"{wildcards['method']}/{wildcards['task']}" if "method" in wildcards else wildcards.get("paper", "")
        names.add(f"{name.group(1)} {job}".strip())
    return names


def copy_checkout(target: Path) -> House:
    """The files of the checkout that git tracks or would track, in `target`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return House(target)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A copy of the checkout."""
    return copy_checkout(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def smoke(house: House) -> House:
    """A copy of the checkout with a finished run of scale `smoke`."""
    done = house.snakemake("--profile", "profiles/local", "--config", "scale=smoke")
    assert done.returncode == 0, done.stdout[-5000:]
    return house
