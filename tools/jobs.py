"""Print the jobs of a run as JSON, as Snakemake itself resolves them: `python tools/jobs.py [snakemake options]`.

Snakemake's dry run prints text for people. This is its `--d3dag` with another printer: each job's rule, wildcards,
threads, resources, benchmark file, what it waits for, and for a training job the resolved configuration.
"""

import json
import sys
from pathlib import Path

from snakemake.cli import main
from snakemake.dag import DAG

from septet.config import validate
from septet.workflow_config import experiments, read_papers

PAPERS = read_papers(Path(__file__).parents[1])
ALL_THREADS = 100_000  # more than any rule asks for, so that this machine's cores do not cap what a cluster would give


def rows(graph):
    """One mapping per job of the run, done or not, in an order that depends on nothing but the run."""
    levels = [sorted(level, key=lambda job: (job.rule.name, str(job.wildcards))) for level in graph.toposorted()]
    numbers = {job: place for place, job in enumerate(job for level in levels for job in level)}
    return [row(graph, job, numbers) for job in numbers]


def row(graph, job, numbers):
    """What the plan needs to know of one job."""
    resources = {name: value for name, value in job.resources.items() if isinstance(value, int)}
    return {
        "rule": job.rule.name,
        "wildcards": dict(job.wildcards_dict),
        "threads": job.threads,
        "resources": {name: value for name, value in resources.items() if not name.startswith("_")},
        "benchmark": str(job.benchmark) if job.benchmark else None,
        "waits_for": sorted(numbers[other] for other in graph.dependencies[job]),
        "done": not graph.needrun(job),
        "config": configuration(job),
    }


def configuration(job):
    """The resolved configuration of a training job, with the defaults of the typed models; none for other jobs."""
    paper, _, verb = job.rule.name.partition("_")
    if verb != "train" or paper not in PAPERS:
        return None
    given = json.loads(job.params.job)
    method, task = job.wildcards.method, job.wildcards.task
    for name in ("method", "task"):
        del given[name]["name"]
    chosen = {name: given.pop(name) for name in ("method", "task")}
    for key in ("data_file", "weights_file"):
        given.pop(key, None)
    given |= {"methods": {method: chosen["method"]}, "tasks": {task: chosen["task"]}, "runs": {task: [method]}}
    model = experiments(PAPERS[paper])
    if "seeds_of" in model.model_fields:  # by default it names methods that are not in this one job
        given["seeds_of"] = {}
    whole = validate(model, given, job.rule.name).model_dump(mode="json")
    resolved = {key: value for key, value in whole.items() if key not in ("methods", "tasks", "runs", "seeds_of")}
    return {**resolved, "method": whole["methods"][method], "task": whole["tasks"][task]}


if __name__ == "__main__":
    DAG.d3dag = lambda graph, max_jobs=0: print(json.dumps(rows(graph)))
    main(["--cores", str(ALL_THREADS), "--d3dag", "--nolock", *sys.argv[1:]])
