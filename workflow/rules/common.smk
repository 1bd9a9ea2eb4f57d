# The helpers of all rules. Nothing here imports our packages: parsing needs Snakemake alone.
import functools
import hashlib
import json
import os
import sys
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# The checkout, as seen from the working directory: another workflow may use this one as a module.
HOUSE = Path(os.path.relpath(str(workflow.current_basedir))).parents[1]
RUN_SCALES = "smoke|laptop|paper"
NOT_IN_A_JOB = ("house.py", "__main__.py")  # of core: they make configuration files and show progress
FIGURES = {}  # paper -> names of its figures, as its rules give them to `figure_files`
NOT_OF_A_JOB = ("methods", "tasks", "runs", "data_dir", "data_source")

# Natively, `python` in a rule is the Python that runs Snakemake; a container has its own PATH.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# SLURM signals every process of a job before its time is up. The shell waits for the program it runs, which saves
# its state and ends; without the trap the shell dies first, and the job with it before the state is whole.
shell.prefix("set -euo pipefail; trap : TERM USR1; ")


def checked(settings, schema, where):
    """`settings`, or one line that says which key breaks the schema."""
    validator = Draft202012Validator(json.loads((HOUSE / "workflow" / "schemas" / schema).read_text()))
    if error := best_match(validator.iter_errors(settings)):
        raise WorkflowError(f"configuration {where}{error.json_path.removeprefix('$')}: {error.message}")
    return settings


def load(path):
    """One YAML file of the checkout."""
    return yaml.safe_load((HOUSE / path).read_text()) or {}


for key, default in load("config/config.yaml").items():
    config.setdefault(key, default)  # a module's user names only what differs
checked(dict(config), "config.schema.json", "config")
SCALE = config["scale"]
PAPERS = config["papers"]


def typed(value):
    """`value` with the numbers that `--config` leaves as text inside a mapping or list read as numbers."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


@functools.cache
def settings(paper, scale):
    """A paper's configuration: its defaults, the scale's overlay, then what --config or a module says."""
    merged = load(f"config/papers/{paper}.yaml")
    update_config(merged, load(f"config/scale/{scale}.yaml").get(paper, {}))
    update_config(merged, typed(config.get(paper, {})))
    if config["data_dir"] and "data_dir" in merged:  # papers that read no data have no such key
        merged["data_dir"] = config["data_dir"]
    return checked(merged, f"{paper}.schema.json", paper)


for paper in PAPERS:
    settings(paper, SCALE)  # a bad configuration is refused before anything runs


def runs(file):
    """Input function: `file` of every run of a paper at a scale."""

    def of(wildcards):
        return [
            f"results/{wildcards.scale}/{wildcards.paper}/runs/{method}/{task}/{file}"
            for task, methods in settings(wildcards.paper, wildcards.scale)["runs"].items()
            for method in methods
        ]

    return of


def collected(*papers):
    """The tables of papers that figures and verdicts are made from."""
    files = ("scores.parquet", "timing.parquet", "runs.json")
    return [f"results/{{scale}}/{paper}/{file}" for paper in papers for file in files]


def prepared(paper):
    """Input function: the prepared data that a task needs, if it needs any."""

    def of(wildcards):
        data = settings(paper, wildcards.scale)["tasks"][wildcards.task].get("data")
        return [f"results/{wildcards.scale}/{paper}/data/{data}.parquet"] if data else []

    return of


def training(paper, data=()):
    """Parameter function: the resolved configuration of one training job, as JSON.

    It holds what this job uses and nothing else, so that changing a hyper-parameter reruns the jobs
    that use it and no other. It depends on wildcards alone: Snakemake does not compare parameters
    that depend on inputs with those of the last run.

    `data` is the pattern, or input function, of the prepared data; empty if the task is simulated.
    """

    def of(wildcards):
        every = settings(paper, wildcards.scale)
        job = {key: value for key, value in every.items() if key not in NOT_OF_A_JOB}
        job["method"] = {"name": wildcards.method, **every["methods"][wildcards.method]}
        job["task"] = {"name": wildcards.task, **every["tasks"][wildcards.task]}
        for file in data(wildcards) if callable(data) else expand(data, **wildcards):
            job["data_file"] = file
        return json.dumps(job)

    return of


def samplers_and_learner(paper):
    """Threads function: a core for each sampler process of a job, and one for the learner."""

    def of(wildcards):
        return 1 + max(1, settings(paper, wildcards.scale)["methods"][wildcards.method].get("samplers", 1))

    return of


def empg_data(paper):
    """Input function: the data set or model that a task of empg needs, if it needs any."""

    def of(wildcards):
        data = settings(paper, wildcards.scale)["tasks"][wildcards.task].get("data")
        return [f"results/{wildcards.scale}/{paper}/data/{data}"] if data else []

    return of


def empg_preparation(paper):
    """Parameter function: what `empg prepare` makes, as JSON."""

    def of(wildcards):
        every = settings(paper, wildcards.scale)
        return json.dumps({"name": wildcards.data.partition(".")[0], "data_dir": every["data_dir"]})

    return of


def threads_of_task(paper):
    """Threads function: those of the task."""

    def of(wildcards):
        return settings(paper, wildcards.scale)["tasks"][wildcards.task].get("threads", 1)

    return of


def gpus_of_task(paper):
    """Resource function: GPUs of the task, none if it does not ask for any."""

    def of(wildcards):
        return settings(paper, wildcards.scale)["tasks"][wildcards.task].get("gpus", 0)

    return of


def launcher(paper):
    """Parameter function: what starts a job of empg, a process for each GPU if there are several."""

    def of(wildcards):
        gpus = gpus_of_task(paper)(wildcards)
        return f"python -m empg.launch {gpus}" if gpus > 1 else "python -m empg"

    return of


def preparation(paper, *keys):
    """Parameter function: the keys that `prepare` takes, and the task if data are prepared per task, as JSON."""

    def of(wildcards):
        every = settings(paper, wildcards.scale)
        job = {key: every[key] for key in keys}
        if "task" in wildcards.keys():
            job["task"] = {"name": wildcards.task, **every["tasks"][wildcards.task]}
        return json.dumps(job)

    return of


def sources(*packages):
    """The source files of packages, and the lock."""
    folders = [HOUSE / "packages" / package / "src" for package in packages]
    files = sorted(str(file) for folder in folders for file in folder.rglob("*") if is_source(file))
    return [*files, str(HOUSE / "requirements.lock")]


@functools.cache
def digest_of(*packages):
    """The digest of `sources`: as a parameter, it makes a rule run again when the code changes.

    As inputs, the files would be looked at for every job at every turn of the scheduler, and by time instead of content.
    """
    files = [Path(file) for file in sources(*packages)]
    return short_digest(part for file in files for part in (str(file.relative_to(HOUSE)).encode(), file.read_bytes()))


def is_source(file):
    beside = file.parent.name == "septet" and file.name in NOT_IN_A_JOB
    beside = beside or file.stem.partition("_")[0] == "bench"
    return file.suffix in (".py", ".j2", ".css", ".js") and "__pycache__" not in file.parts and not beside


IMAGES = load("containers/images.yaml")
if unknown := set(config["images"]) - IMAGES.keys():
    raise WorkflowError(f"configuration config.images: expected some of {sorted(IMAGES)}, found {sorted(unknown)}")
IMAGE_FOLDER = str(HOUSE / "containers" / "images")


@functools.cache
def image(name):
    """Path of a container image; its name carries the digest of its recipe and of its part of the lock.

    Profiles with `--nv` get the CUDA variant, where an image has one.
    """
    variant = f"{name}-cuda"
    if variant in IMAGES and "--nv" in workflow.deployment_settings.apptainer_args.split():
        name = variant
    parts = [json.dumps(IMAGES[name], sort_keys=True).encode(), *(Path(file).read_bytes() for file in recipe(name))]
    return f"{IMAGE_FOLDER}/{name}-{short_digest(parts)}.sif"


def recipe(name):
    """The files that an image is made from."""
    files = [f"containers/{file}" for file in ("image.def", "bom.py", f"{name}.lock")]
    return [str(HOUSE / file) for file in [*files, *filter(None, [IMAGES[name].get("weights")])]]


def recipe_of_image(wildcards):
    """Input function: the files that an image is made from."""
    return recipe(wildcards.image.rpartition("-")[0])


def release_images(names):
    """Input function: images that hold the package sources too; their names carry the digest of these."""

    def of(wildcards):
        digest = short_digest(Path(file).read_bytes() for file in release_sources(wildcards))
        return [image(name).replace(".sif", f"-release-{digest}.sif") for name in names]

    return of


def release_sources(wildcards):
    """Input function: the sources of all packages, and the whole lock."""
    return sources(*(str(folder.parent.name) for folder in sorted(HOUSE.glob("packages/*/pyproject.toml"))))


def short_digest(parts):
    """The first 16 digits of the SHA-256 of bytes."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def images_in_use():
    """The images of the jobs to run, where software is deployed with Apptainer."""
    methods = {str(method) for method in workflow.deployment_settings.deployment_method}
    jobs = workflow.dag.needrun_jobs() if "apptainer" in methods else []
    return sorted({job.container_img_url for job in jobs if job.container_img_url})


def as_listed(paper):
    """Priority function: a task's methods start in the order of the configuration, which has the longest first."""

    def of(wildcards):
        methods = settings(paper, wildcards.scale)["runs"][wildcards.task]
        return len(methods) - methods.index(wildcards.method)

    return of


def growing(base):
    """Resource function: more with every attempt."""

    def of(wildcards, attempt):
        return base * attempt

    return of


def by_task(table, otherwise):
    """Resource function: what `table` says of a task, more with every attempt."""

    def of(wildcards, attempt):
        return table.get(wildcards.task, otherwise) * attempt

    return of


def threads_of(paper):
    """Threads function: those that the paper's configuration gives a job."""

    def of(wildcards):
        return settings(paper, wildcards.scale)["threads"]

    return of


def figure_files(paper, names):
    """Output files of a paper's figures; the SVG ones appear in Snakemake's own report."""
    FIGURES[paper] = names
    files = []
    for name in names:
        stem = f"results/{{scale}}/figures/{paper}/{name}"
        svg = report(
            f"{stem}.svg",
            caption=f"../report/{paper}.rst",
            category=paper,
            labels={"figure": name.replace("_", " ")},
        )
        files += [svg, *(f"{stem}.{suffix}" for suffix in ("pdf", "png", "csv", "md", "tex", "json"))]
    return files


def claims(papers):
    """The claims files of papers."""
    return [str(HOUSE / "config" / "claims" / f"{paper}.yaml") for paper in papers]


def published(file):
    """Input function: `file` of a paper in the folder that figures are redrawn from."""

    def of(wildcards):
        return str(adopted_folder() / wildcards.paper / file)

    return of


def adopted_folder():
    """The folder that figures are redrawn from: published/, or one brought back from a cluster."""
    return Path(config["adopt"]) if config["adopt"] else HOUSE / "published"


def figures_of(papers):
    """The panels of all figures, for the page."""
    return [f"results/{{scale}}/figures/{paper}/{name}.json" for paper in papers for name in FIGURES[paper]]


def tables_of_figure(wildcards):
    """Input function of `figure`: the published tables it is drawn from; a name that no figure has is refused."""
    if wildcards.paper not in FIGURES:
        raise WorkflowError(f"figure/{wildcards.paper}: no such paper; there are {', '.join(FIGURES)}")
    if wildcards.name not in (known := FIGURES[wildcards.paper]):
        there = f"{wildcards.paper} has {', '.join(known)}"
        raise WorkflowError(f"figure/{wildcards.paper}/{wildcards.name}: no such figure; {there}")
    return expand(collected(wildcards.paper), scale="published")


def drawing_of_one(wildcards):
    """Parameter function of `figure`."""
    return json.dumps({"paper": wildcards.paper, "results": "results/published", "figure": wildcards.name})


def evaluation(wildcards, input):
    """Parameter function of `evaluate`: the run folders that make the paper's table."""
    folders = [str(Path(card).parent) for card in input.cards]
    return json.dumps({"paper": wildcards.paper, "scale": wildcards.scale, "runs": folders})


def drawing(paper):
    """Parameter function of `draw`."""

    def of(wildcards):
        return json.dumps({"paper": paper, "results": f"results/{wildcards.scale}"})

    return of


def judgement(wildcards, input):
    """Parameter function of `judge`, and of `page`, which takes the verdicts too."""
    job = {"results": f"results/{wildcards.scale}", "claims": [str(file) for file in input.claims]}
    if "verdicts" in input.keys():
        job["verdicts"] = [str(file) for file in input.verdicts]
    return json.dumps(job)


def adoption(wildcards):
    """Parameter function of `adopt`."""
    return json.dumps({"source": str(adopted_folder()), "paper": wildcards.paper})


def publication(wildcards):
    """Parameter function of `publish`."""
    return json.dumps({"results": f"results/{wildcards.scale}", "papers": PAPERS, "benchmarks": "benchmarks"})


def description(wildcards):
    """Parameter function of `crate`."""
    return json.dumps({"results": f"results/{wildcards.scale}", "house": str(HOUSE)})


def tracking(wildcards):
    """Parameter function of `track`."""
    return json.dumps({"results": f"results/{wildcards.scale}", "papers": PAPERS})
