# The helpers of all rules. Of our packages they import the configuration alone, which needs what Snakemake brings along.
import functools
import hashlib
import json
import os
import sys
from pathlib import Path

import yaml

# The checkout, as seen from the working directory: another workflow may use this one as a module.
HOUSE = Path(os.path.relpath(str(workflow.current_basedir))).parents[1]
JOB_FILES = ("scores.parquet", "timing.parquet", "run.json")
VERDICT_TABLES = ["csv", "md", "tex"]
NOT_IN_A_JOB = ("workflow_config.py", "imports.py", "__main__.py")  # of core: they plan jobs and show progress

# The checkout's own packages come before installed ones, which may be those of another checkout.
sys.path[:0] = [str(folder) for folder in sorted(HOUSE.resolve().glob("packages/*/src"))]

from septet.errors import InputError
from septet.files import is_source
from septet.imports import files_of
from septet.workflow_config import SCALES, Workflow, check_sources

RUN_SCALES = "|".join(SCALES)
ADOPTED = rf"published(-({RUN_SCALES}))?"  # the best evidence of each paper, and what there is at other scales

# Natively, `python` in a rule is the Python that runs Snakemake; a container has its own PATH.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# SLURM signals every process of a job before its time is up. The shell waits for the program it runs, which saves
# its state and ends; without the trap the shell dies first, and the job with it before the state is whole.
shell.prefix("set -euo pipefail; trap : TERM USR1 HUP; ")
# sbatch reads it from the environment; as a resource, a site's own defaults would drop it.
os.environ.setdefault("SBATCH_SIGNAL", "TERM@120")


def refusing(function):
    """`function`, with bad input as one line and exit code 2."""

    @functools.wraps(function)
    def refused(*arguments):
        try:
            return function(*arguments)
        except InputError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None

    return refused


def of_wildcards(function):
    """`function`, called with all but its last arguments: the rest come from Snakemake, the wildcards first."""
    return lambda *first: functools.partial(function, *first)


@refusing
def read_configuration():
    """The configuration: config/config.yaml, --configfile and --config, or what a module's user gives."""
    check_sources(workflow.config_settings.configfiles, workflow.config_settings.config_args or [])
    given = {**load("config/config.yaml"), **config}  # a module's user names only what differs
    chosen = Workflow(HOUSE, given)
    for paper in chosen.chosen:
        chosen.settings(paper, chosen.config.scale)  # a bad configuration is refused before anything runs
    if chosen.config.adopt is not None and not Path(chosen.config.adopt).is_dir():
        raise InputError("configuration: adopt (FROM=)", expected="a folder", found=chosen.config.adopt)
    if (other := chosen.config.replicate) is not None and not (Path(other) / "report/verdicts.json").is_file():
        found = "none" if Path(other).is_dir() else "no folder"
        raise InputError(f"{other}/report/verdicts.json", expected="verdicts (REPLICATE=)", found=found)
    if unknown := [name for name in chosen.config.images if name not in load("containers/images.yaml")]:
        raise InputError("configuration: images", expected=f"some of {', '.join(IMAGES)}", found=unknown[0])
    return chosen


def load(path):
    """One YAML file of the checkout."""
    return yaml.safe_load((HOUSE / path).read_text(encoding="utf-8")) or {}


IMAGES = load("containers/images.yaml")
SEPTET = read_configuration()
# What trains and prepares computes as on the processor that the configuration names; see septet.processor.
PYTHON = f"python -m septet.processor {SEPTET.config.processor} -- python"
SCALE = SEPTET.config.scale
PAPERS = SEPTET.chosen


def settings(paper, wildcards):
    """A paper's settings at the scale of a job."""
    return refusing(SEPTET.settings)(paper, wildcards.scale)


def choice(paper, wildcards, kind):
    """The settings of a job's method or task."""
    name = wildcards.method if kind == "methods" else wildcards.task
    return refusing(SEPTET.choice)(paper, wildcards.scale, kind, name)


@refusing
def folders_of_runs(paper, scale):
    """The folder of each training job of a paper."""
    return [f"results/{scale}/{paper}/runs/{method}/{task}" for method, task in SEPTET.runs(paper, scale)]


@of_wildcards
def runs(file, wildcards):
    """Input function: `file` of every run of a paper at a scale."""
    return [f"{folder}/{file}" for folder in folders_of_runs(wildcards.paper, wildcards.scale)]


def collected(*papers):
    """The tables of papers that figures and verdicts are made from."""
    files = ("scores.parquet", "timing.parquet", "runs.json")
    return [f"results/{{scale}}/{paper}/{file}" for paper in papers for file in files]


@of_wildcards
def prepared(paper, wildcards):
    """Input function: the prepared files that a task's jobs read, by key of the job."""
    files = refusing(SEPTET.inputs)(paper, wildcards.scale, wildcards.task)
    return {key: f"results/{wildcards.scale}/{paper}/{file}" for key, file in files.items()}


@of_wildcards
def preparation(paper, wildcards):
    """Parameter function: the settings that `prepare` takes, and the task or the name of what it makes, as JSON."""
    every = settings(paper, wildcards)
    job = {key: every[key] for key in SEPTET.papers[paper].prepare.keys}
    if "task" in wildcards.keys():
        job["task"] = {"name": wildcards.task, **choice(paper, wildcards, "tasks")}
    if "data" in wildcards.keys():
        job["name"] = wildcards.data.partition(".")[0]
    return json.dumps(job)


@of_wildcards
def training(paper, wildcards):
    """Parameter function: the resolved configuration of one training job, as JSON.

    It depends on wildcards alone: Snakemake does not compare parameters that depend on inputs with those of the last
    run.
    """
    job = refusing(SEPTET.training)(paper, wildcards.scale, wildcards.method, wildcards.task)
    return json.dumps(job | prepared(paper)(wildcards))


@of_wildcards
def threads_of(paper, wildcards):
    """Threads function: those of the task or the paper; of timed jobs, a core for each sampler and the learner."""
    if SEPTET.papers[paper].samplers:
        method = choice(paper, wildcards, "methods")
        return 1 + max(1, *method.get("pools", [method.get("samplers", 1)]))
    return choice(paper, wildcards, "tasks").get("threads") or settings(paper, wildcards).get("threads", 1)


@of_wildcards
def memory_of(paper, wildcards, attempt):
    """Resource function: the memory of a task's jobs, more with every attempt."""
    return growing(cost(paper, wildcards).memory_mb)(wildcards, attempt)


@of_wildcards
def minutes_of(paper, wildcards):
    """Resource function: the run time of a task's jobs. It does not grow: the next attempt resumes the last one."""
    return cost(paper, wildcards).minutes


def cost(paper, wildcards):
    """What a task's training jobs ask for."""
    row = SEPTET.papers[paper].train
    return row.tasks.get(wildcards.task, row)


@of_wildcards
def gpus_of(paper, wildcards):
    """Resource function: GPUs of the task, none if it does not ask for any."""
    return choice(paper, wildcards, "tasks").get("gpus", 0)


@of_wildcards
def launcher(paper, program, wildcards):
    """Parameter function: what starts a job, a process for each GPU if there are several."""
    gpus = gpus_of(paper)(wildcards)
    return f"{PYTHON} -m septet.{program}" + (f".launch {gpus}" if gpus > 1 else "")


def sources(*packages):
    """The source files of packages that jobs run, and the lock."""
    files = []
    for folder in (HOUSE / "packages" / package / "src" for package in packages):
        for file in sorted(folder.rglob("*")):
            inside = file.relative_to(folder)
            if is_source(inside.as_posix()) and not in_no_job(inside) and file.is_file():
                files.append(str(file))
    return [*files, str(HOUSE / "requirements.lock")]


def in_no_job(file):
    """Whether a source file of a package runs in no job: benches, costs, and of core what plans jobs and shows progress."""
    of_core = len(file.parts) == 2  # directly below septet/
    return file.stem.partition("_")[0] in ("bench", "cost") or (of_core and file.name in NOT_IN_A_JOB)


@functools.cache
def digest_of(*packages, image=None):
    """The digest of `sources` and of an image's part of the lock: as a parameter, it makes a rule run again if they change.

    As inputs, the files would be looked at for every job at every turn of the scheduler, and by time instead of content.
    """
    files = [Path(file) for file in sources(*packages)]
    if image is not None:
        files.append(HOUSE / "containers" / f"{image}.lock")
    return digest_of_files(files)


@functools.cache
def digest_of_modules(*modules):
    """The digest of what modules import, themselves included: a job of the report runs again if its own part changes."""
    inside = len(HOUSE.parts) + 3  # below packages/<name>/src
    files = [HOUSE / "requirements.lock"]
    files += [file for file in imported(*modules) if not in_no_job(Path(*file.parts[inside:]))]
    if any(module.endswith(".page") for module in modules):
        template = sorted((HOUSE / "packages/report/src").rglob("template/*"))
        files += [file for file in template if is_source(file.name)]
    return digest_of_files(files)


@refusing
@functools.cache
def imported(*modules):
    """The files of modules and of what they import of the checkout's packages."""
    return files_of(modules, sorted(HOUSE.glob("packages/*/src")))


def digest_of_files(files):
    """The digest of files, by their paths in the checkout and their contents."""
    return short_digest(part for file in files for part in content(file))


@functools.cache
def content(file):
    """The path of a file in the checkout, and what is in it."""
    return str(file.relative_to(HOUSE)).encode(), file.read_bytes()


IMAGE_FOLDER = str(HOUSE / "containers" / "images")


@functools.cache
def image_file(name):
    """Path of a container image; its name carries the digest of its recipe and of its part of the lock."""
    parts = [json.dumps(IMAGES[name], sort_keys=True).encode(), *(Path(file).read_bytes() for file in recipe(name))]
    return f"{IMAGE_FOLDER}/{name}-{short_digest(parts)}.sif"


@refusing
def image(name):
    """The container image of a rule's jobs; none where Snakemake cannot take its path and none is used.

    Profiles with `--nv` get the CUDA variant, where an image has one.
    """
    variant = f"{name}-cuda"
    if variant in IMAGES and "--nv" in workflow.deployment_settings.apptainer_args.split():
        name = variant
    if any(letter.isspace() for letter in IMAGE_FOLDER):
        if uses_containers():
            raise InputError("container images", expected="a checkout whose path has no spaces", found=IMAGE_FOLDER)
        return None
    return image_file(name)


def uses_containers():
    """Whether the jobs run in containers."""
    return "apptainer" in {str(method) for method in workflow.deployment_settings.deployment_method}


def recipe(name):
    """The files that an image is made from."""
    return [str(HOUSE / "containers" / file) for file in ("image.def", "bom.py", f"{name}.lock")]


def recipe_of_image(wildcards):
    """Input function: the files that an image is made from."""
    return recipe(wildcards.image.rpartition("-")[0])


@of_wildcards
def release_images(names, wildcards):
    """Input function: images that hold the package sources too; their names carry the digest of these."""
    digest = short_digest(Path(file).read_bytes() for file in release_sources(wildcards))
    return [image_file(name).replace(".sif", f"-release-{digest}.sif") for name in names]


def release_sources(wildcards):
    """Input function: the sources of all packages, and the whole lock."""
    return sources(*SEPTET.package_folders)


def short_digest(parts):
    """The first 16 digits of the SHA-256 of bytes."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def images_in_use():
    """The images of the jobs to run, where software is deployed with Apptainer."""
    jobs = workflow.dag.needrun_jobs() if uses_containers() else []
    return sorted({job.container_img_url for job in jobs if job.container_img_url})


@of_wildcards
def as_listed(paper, wildcards):
    """Priority function: a task's methods start in the order of the configuration, which has the longest first."""
    methods = settings(paper, wildcards)["runs"][wildcards.task]
    return len(methods) - methods.index(wildcards.method) if wildcards.method in methods else 0


@of_wildcards
def growing(base, wildcards, attempt):
    """Resource function: more with every attempt."""
    return base * min(attempt, 3)


def figure_files(paper):
    """The files of a paper's figures."""
    suffixes = ("svg", "pdf", "png", "csv", "md", "tex", "json")
    stems = [f"results/{{scale}}/figures/{paper}/{name}" for name in SEPTET.papers[paper].figures]
    return [f"{stem}.{suffix}" for stem in stems for suffix in suffixes]


def reported(paper, file):
    """A figure's file as output of its rule: the SVG ones appear in Snakemake's own report."""
    if not file.endswith(".svg"):
        return file
    labels = {"figure": Path(file).stem.replace("_", " ")}
    return report(file, caption=f"../report/{paper}.rst", category=paper, labels=labels)


def claims(papers):
    """The claims files of papers."""
    return [str(HOUSE / "config" / "claims" / f"{paper}.yaml") for paper in papers]


@of_wildcards
@refusing
def published(file, wildcards):
    """Input function: `file` of a paper in the folder that figures are redrawn from, if that is whole."""
    source = source_of(wildcards.paper, wildcards.scale)
    check_whole(str(source), wildcards.paper)
    return str(source / wildcards.paper / file)


def adopted_folder():
    """The folder that figures are redrawn from: published/, or one brought back from a cluster."""
    return Path(SEPTET.config.adopt) if SEPTET.config.adopt else HOUSE / "published"


@functools.cache
def evidence_on(paper):
    """The adopted runs of a paper: `published` -> the folder of the best evidence, `published-laptop` -> another one."""
    from septet.report.source import evidence

    (best, folder), *others = evidence(adopted_folder(), paper).items() or [("", adopted_folder())]
    return {"published": folder, **{f"published-{scale}": other for scale, other in others}}


def source_of(paper, scale):
    """The folder that a paper's runs of `published` or `published-<scale>` are adopted from."""
    return evidence_on(paper)[scale]


def adopted_scales():
    """`published`, and `published-<scale>` for each scale at which a paper has more evidence than the best."""
    return list(dict.fromkeys(["published", *(scale for paper in PAPERS for scale in evidence_on(paper))]))


@refusing
def papers_at(scale):
    """The papers of the page: those that are run, or, if none is named, those that the published folder has."""
    if not scale.startswith("published"):
        return PAPERS
    named = SEPTET.config.papers is not None and scale == "published"
    there = [p for p in PAPERS if scale in evidence_on(p) and (named or (source_of(p, scale) / p).is_dir())]
    if not there:
        raise InputError(f"{adopted_folder()} (FROM=)", expected=f"a folder of {' or '.join(PAPERS)}", found="none")
    return there


@functools.cache  # once for the three files
def check_whole(source, paper):
    """Refuse a folder whose files are missing, changed or torn before anything is drawn from it."""
    from septet.report.source import check

    check(Path(source), paper)


def files_of_papers(papers, scale):
    """Every file that the work on papers leaves at a scale: what is missing of them is made again."""
    runs_of = (lambda paper, scale: []) if scale.startswith("published") else folders_of_runs
    made = [
        file
        for paper in papers
        for file in (
            *(f"{run}/{file}" for run in runs_of(paper, scale) for file in JOB_FILES),
            *collected(paper),
            *(f"results/{{scale}}/{paper}/verdicts.{suffix}" for suffix in ("json", *VERDICT_TABLES)),
            *figure_files(paper),
        )
    ]
    return expand(made, scale=scale)


def files_of_page(scale):
    """Every file of the papers of a page, and the page."""
    page = [f"results/{scale}/report/{file}" for file in ("index.html", "verdicts.json")]
    return [*files_of_papers(papers_at(scale), scale), *page]


def tables_of_page(wildcards):
    """Input function: the tables of a page's papers."""
    return expand(collected(*papers_at(wildcards.scale)), scale=wildcards.scale)


def verdicts_of_page(wildcards):
    """Input function: the verdicts of a page's papers."""
    return [f"results/{wildcards.scale}/{paper}/verdicts.json" for paper in papers_at(wildcards.scale)]


def others_of_page(wildcards):
    """Input function: the verdicts at other scales than the best one, for the page of the published runs."""
    scales = adopted_scales() if wildcards.scale == "published" else []
    return [f"results/{one}/{paper}/verdicts.json" for one in scales[1:] for paper in papers_at(one)]


def figures_of_page(wildcards):
    """Input function: the panels of a page's figures."""
    files = [file for paper in papers_at(wildcards.scale) for file in figure_files(paper) if file.endswith(".json")]
    return expand(files, scale=wildcards.scale)


def claims_of_page(wildcards):
    """Input function: the claims of a page's papers."""
    return claims(papers_at(wildcards.scale))


def films_of_page(wildcards):
    """Input function: the films next to a page, as far as `make videos` made any; a change makes the page again."""
    return sorted(str(path) for path in Path(f"results/{wildcards.scale}/report/videos").glob("*/*.json"))


@refusing
def tables_of_figure(wildcards):
    """Input function of `figure`: the published tables it is drawn from; a name that no figure has is refused."""
    figures = SEPTET.paper(wildcards.paper).figures
    if wildcards.name not in figures:
        raise InputError(f"figure/{wildcards.paper}", expected=f"one of {', '.join(figures)}", found=wildcards.name)
    return expand(collected(wildcards.paper), scale="published")


def sources_of_figure(wildcards):
    """Parameter function of `figure`: the digest of what draws the paper's figures."""
    return digest_of_modules("septet.report.draw", f"septet.report.papers.{wildcards.paper}")


def drawing_of_one(wildcards):
    """Parameter function of `figure`."""
    return json.dumps({"paper": wildcards.paper, "results": {".": "results/published"}, "figure": wildcards.name})


def evaluation(wildcards, input):
    """Parameter function of `evaluate`: the run folders that make the paper's table."""
    folders = [str(Path(card).parent) for card in input.cards]
    return json.dumps({"paper": wildcards.paper, "scale": wildcards.scale, "runs": folders})


@of_wildcards
def drawing(paper, scales, wildcards):
    """Parameter function of a paper's figures at some scales, below `results`."""
    scales = expand(scales, **wildcards)
    return json.dumps({"paper": paper, "results": {f"{one}/figures/{paper}": f"results/{one}" for one in scales}})


def judgement(wildcards, input):
    """Parameter function of `judge`, and of `page`, which takes the verdicts too."""
    job = {"results": f"results/{wildcards.scale}", "claims": [str(file) for file in input.claims]}
    if "verdicts" in input.keys():
        job["verdicts"] = [str(file) for file in input.verdicts]
        job["others"] = [str(file) for file in input.others]
        if wildcards.scale.startswith("published"):
            job["source"] = str(adopted_folder() / wildcards.scale.removeprefix("published").removeprefix("-"))
        if input.replicate:
            job["replicate"] = str(input.replicate)
    return json.dumps(job)


def replicate():
    """The verdicts on another run of the jobs, made elsewhere, if there is one."""
    folder = SEPTET.config.replicate
    return [] if folder is None else [str(Path(folder) / "report/verdicts.json")]


def description(wildcards):
    """Parameter function of `crate`."""
    return json.dumps({"results": f"results/{wildcards.scale}", "checkout": str(HOUSE)})
