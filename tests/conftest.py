"""A checkout of its own for tests that run the workflow, and one smoke run of it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from septet.files import sha256

ROOT = Path(__file__).parents[1]
RUNS = (
    "walle/runs/n1/half_cheetah",
    "svrpo/runs/svrpo/cart_pole",
    "metaexplore/runs/meta/navigation",
    "vipg/runs/v_ppo/cart_pole",
    "empg/runs/empg/warm",
    "dynts/runs/ts/tau200",
    "vrda/runs/vrda_hinge/craft_small",
)
SMALL = (*(f"results/smoke/{run}/scores.parquet" for run in RUNS), "results/smoke/walle/verdicts.json")


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
        """Run snakemake in the copy (or in `cwd`); both streams together in `stdout`. Dry runs share a loaded one."""
        if "-n" in arguments:
            return dry_run([*arguments], cwd or self.folder, self.environment(**environment))
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=cwd or self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=1200,
            check=False,
        )

    def run_small(self, profile: str, **environment: str) -> None:
        """Run one small job of each package, and a judgement, under a profile."""
        done = self.snakemake(
            "--profile", f"profiles/{profile}", "--config", "scale=smoke", "--", *SMALL, **environment
        )
        assert done.returncode == 0, done.stdout[-5000:]

    def plans_small(self, profile: str) -> str:
        """What snakemake says that it would run of `run_small`'s jobs."""
        return self.snakemake("-n", "--profile", f"profiles/{profile}", "--config", "scale=smoke", "--", *SMALL).stdout

    def small_digests(self) -> dict[str, str]:
        """SHA-256 of what `run_small` made: score tables and verdicts, which are the same wherever they are made."""
        return {name: sha256(self.folder / name) for name in SMALL}

    def small_cards(self) -> list[dict[str, Any]]:
        """The run cards of what `run_small` made."""
        return [json.loads((self.folder / f"results/smoke/{run}/run.json").read_text()) for run in RUNS]

    def planned(self, *config: str, **environment: str) -> set[str]:
        """What snakemake would run at scale `smoke` with more `config`: ``rule [paper | method/task]``."""
        return jobs(self.snakemake("-n", "--cores", "2", "--config", "scale=smoke", *config, **environment))


@cache
def planner() -> subprocess.Popen[str]:
    """A snakemake that is loaded and waits for orders; it ends with this process."""
    command = [sys.executable, str(Path(__file__).with_name("servers") / "planner.py")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def dry_run(arguments: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What ``python -m snakemake`` says with some arguments, among them ``-n``."""
    server = planner()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        log = Path(folder) / "log"
        order = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "log": str(log)}
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        _, code = (int(server.stdout.readline()) for _ in range(2))  # after its pid
        return subprocess.CompletedProcess(arguments, code, log.read_text())


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
    """A copy of the checkout with a finished run of scale `smoke`; the jobs run the checkout's own compiled code."""
    sources = house.environment()["PYTHONPATH"].replace(str(house.folder), str(ROOT))
    done = house.snakemake("--profile", "profiles/local", "--config", "scale=smoke", PYTHONPATH=sources)
    assert done.returncode == 0, done.stdout[-5000:]
    return house


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A copy of the checkout with a small job of each package, run natively."""
    made = copy_checkout(tmp_path_factory.mktemp("native"))
    made.run_small("local")
    return made


@pytest.fixture(scope="session")
def images(need: Callable[[bool, str], None]) -> Path:
    """The folder of container images, all built."""
    need(shutil.which("apptainer") is not None, "Apptainer (tools/install-apptainer.sh)")
    folder = ROOT / "containers/images"
    for name in ("light", "rl", "llm"):
        need(any(folder.glob(f"{name}-*.sif")), f"the image {name} (make containers)")
    return folder


@pytest.fixture(scope="module")
def boxes(house: House, images: Path) -> House:
    """A copy of the checkout that has the images."""
    folder = house.folder / "containers/images"
    folder.mkdir()
    for file in (*images.glob("*.sif"), *images.glob("*.cdx.json")):
        (folder / file.name).symlink_to(file)
    return house
