"""How long the plan of a run takes: ``python tests/scaling/dag.py [MULTIPLE ...]`` prints jobs and seconds.

Seeds are inside a job, so more seeds make no more jobs; tasks do. MULTIPLE copies of every task of scale `paper`,
each with the methods that run on it, stand in for claims of many jobs.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from septet.workflow_config import Workflow

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plan:
    """A dry run: how many jobs, how long it took, how much memory."""

    multiple: int
    jobs: int
    seconds: float
    cpu_seconds: float
    megabytes: float


def copies(multiple: int, workflow: Workflow) -> dict[str, Any]:
    """Configuration with `multiple` of each task that runs at scale `paper`."""
    found: dict[str, Any] = {"scale": "paper"}
    for paper in workflow.chosen:
        every = workflow.settings(paper, "paper")
        tasks, runs = {}, {}
        for task, methods in every["runs"].items():
            for copy in range(1, multiple) if methods else []:
                tasks[f"{task}_c{copy}"], runs[f"{task}_c{copy}"] = every["tasks"][task], methods
        found[paper] = {"tasks": tasks, "runs": runs}
    return found


def plan(multiple: int, root: Path = ROOT) -> Plan:
    """Plan scale `paper` with `multiple` copies of every task."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "copies.json"
        file.write_text(json.dumps(copies(multiple, Workflow(root, {}))))
        command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--cores", "2", "--nolock",
                   "--configfile", str(file), "--directory", folder]  # fmt: skip
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
    said = done.stdout + done.stderr
    total = re.search(r"^total\s+(\d+)", said, flags=re.M)
    if done.returncode or total is None:
        raise RuntimeError(said[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Plan(multiple, int(total[1]), seconds, used, after.ru_maxrss / 1024)


def main() -> None:
    """Print a line for each multiple."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("multiples", nargs="*", type=int, default=[1, 4, 16])
    print("| copies of each task | jobs | seconds | CPU seconds | memory, MB |\n|---|---|---|---|---|")
    for multiple in parser.parse_args().multiples:
        one = plan(multiple)
        took = f"{one.seconds:.1f} | {one.cpu_seconds:.1f}"
        print(f"| {one.multiple} | {one.jobs:,} | {took} | {one.megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
