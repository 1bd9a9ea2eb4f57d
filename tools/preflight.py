"""What would stop a run, before anything is submitted: `python tools/preflight.py --profile profiles/slurm [options]`.

Takes snakemake's options, and prints one line for each problem: links to nothing, SEPTET_DATA, images that do not run,
and what the SLURM cluster would refuse or keep pending for ever. Exit code 2 if there is one that is more than a note.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mounts
import slurm_limits
import yaml
from jobs import ALL_THREADS
from snakemake.cli import main as snakemake
from snakemake.dag import DAG

PATIENCE = 120  # seconds in which an image has to start


def problems(graph: DAG, profile: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The problems of the jobs of `graph` that are to run."""
    yield from of_folders(folder, environment.get("SEPTET_DATA"))
    settings = graph.workflow.deployment_settings
    if "apptainer" in {str(method) for method in settings.deployment_method}:
        images = sorted({job.container_img_url for job in graph.needrun_jobs() if job.container_img_url})
        yield from of_images(images, settings.apptainer_args, folder)
    if profile.get("executor") == "slurm":
        jobs = kinds(graph, 1 + profile.get("retries", 0))
        yield from slurm_limits.problems(jobs, profile, graph.workflow.resource_settings.nodes or float("inf"))


def kinds(graph: DAG, attempts: int) -> list[slurm_limits.Job]:
    """What the jobs that are to be submitted ask for, each kind once, in each of their attempts."""
    found = {}
    here = graph.workflow._localrules  # without an executor every job says that it is local
    for job in graph.needrun_jobs():
        for attempt in () if job.rule.norun or job.rule.name in here else range(1, attempts + 1):
            job.attempt = attempt
            words = {name: str(job.resources.get(name, "")) for name in ("slurm_partition", "slurm_account", "qos")}
            amounts = {name: value for name, value in job.resources.items() if isinstance(value, int)}
            one = slurm_limits.Job(
                rule=job.rule.name,
                threads=job.threads,
                memory_mb=amounts.get("mem_mb", 0),
                minutes=amounts.get("runtime", 0),
                gpus=amounts.get("gpu", 0),
                partition=words["slurm_partition"],
                account=words["slurm_account"],
                qos=words["qos"],
                attempt=attempt,
            )
            found[one] = None
    return list(found)


def of_folders(folder: Path, data: str | None) -> Iterator[str]:
    """Links of the work folder that lead nowhere, folders that cannot be written to, and SEPTET_DATA."""
    for name in mounts.WRITTEN:
        for target, place in mounts.links(folder / name, f"{folder}/{name}", mounts.DEEPEST, (str(folder),)):
            if not target.exists():
                yield f"{name}: a link in it leads to {place}, which does not exist"
        if (folder / name).exists() and not ((folder / name).is_dir() and os.access(folder / name, os.W_OK)):
            yield f"{name}: expected a writable folder"
    if data and not (Path(data).is_dir() and os.access(data, os.R_OK | os.X_OK)):
        yield f"SEPTET_DATA: expected a folder that can be read, found {data}"


def of_images(images: Sequence[str], arguments: str, folder: Path) -> Iterator[str]:
    """Images that are missing or that do not run `true` with the profile's arguments."""
    program = shutil.which("apptainer") or shutil.which("singularity")
    if program is None:
        yield "expected the program apptainer on this machine, found none: start the run on a node that has it"
        return
    if bad := [character for character in ":," if character in str(folder)]:
        yield f"{folder}: Apptainer takes no folder with a {' or '.join(bad)} in its name as home"
        return
    said = {}
    for image in images:
        if not Path(image).is_file():
            yield f"{image}: no such image: run make containers"
        elif refusal := runs(program, arguments, image):
            said.setdefault(refusal.replace(image, "the image"), image)
    for refusal, image in said.items():
        yield f"{image}: {refusal}"


def runs(program: str, arguments: str, image: str) -> str | None:
    """Run `true` in an image as a job would be; what was said, in a line, if that fails."""
    command = f"{program} exec --home {shlex.quote(str(Path.cwd()))} {arguments} {shlex.quote(image)} true"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    try:
        done = subprocess.run(
            ["bash", "-c", command], env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"`true` did not end in it within {PATIENCE} s"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
    return f"`true` fails in it: {next((line for line in lines if line.startswith('FATAL')), lines[-1])[:400]}"


def main(arguments: list[str]) -> int:
    """Let snakemake resolve the run, then look at it."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--profile", type=Path, required=True)
    folder = parser.parse_known_args(arguments)[0].profile
    profile = yaml.safe_load((folder / "profile.yaml").read_text(encoding="utf-8"))
    found = None

    def look(graph: DAG, max_jobs: int = 0) -> None:
        nonlocal found
        found = list(problems(graph, profile, Path.cwd(), os.environ))

    DAG.d3dag = look  # the jobs as snakemake itself resolves them, as in tools/jobs.py
    try:
        snakemake(["--cores", str(ALL_THREADS), "--d3dag", "--nolock", *arguments])
    except SystemExit as end:
        if found is None:  # a faulty configuration: snakemake said so
            return int(end.code or 2)
    for line in found or ():
        print(f"preflight: {line}", file=sys.stderr)
    return 2 if any(not line.startswith(slurm_limits.NOTE) for line in found or ()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
