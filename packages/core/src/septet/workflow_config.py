"""Configuration of the workflow: the table of papers, what to run, and a paper's settings at a scale.

The rules in `workflow/` and the packages read configuration with the same loader (`septet.reading`) and check it
against the same typed models, so that the workflow accepts what a package accepts. This module needs pydantic and
PyYAML alone, which Snakemake brings along.
"""

import copy
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from septet.config import Fault, Settings, default_yaml, parse, validate
from septet.errors import InputError
from septet.files import checkout, write_text
from septet.reading import parse_scalar, parse_yaml, read_mapping

Scale = Literal["smoke", "laptop", "overnight", "paper"]
SCALES: tuple[str, ...] = get_args(Scale)
NOT_OF_A_JOB = ("methods", "tasks", "runs", "seeds_of", "data_dir", "data_source")
"""Keys of a paper's settings that a training job does not get: it gets one method and one task."""


def _listed(value: object) -> object:
    """Names in one text, as `make PAPERS="dynts vrda"` gives them, as a list."""
    return re.split(r"[,\s]+", value.strip()) if isinstance(value, str) and value.strip() else value


class WorkflowConfig(Settings):
    """`config/config.yaml`: what to run, on which data."""

    scale: Scale = "laptop"
    """smoke: every rule, for tests; laptop: every method on small tasks; overnight: the papers' own tasks, as far as
    two cores get in a night; paper: the papers' protocols."""
    papers: Annotated[list[str] | None, BeforeValidator(_listed)] = None
    """Papers to run and to show on the report page; if null, all of workflow/papers.yaml that are not optional."""
    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA, and otherwise they are downloaded."""
    processor: Literal["portable", "compatible", "native"] = "portable"
    """portable: jobs use no instructions beyond AVX2, so that processors of one maker agree; compatible: Intel and AMD
    agree too, for a third more time where PyTorch multiplies matrices; native: all that the processor has."""
    images: list[str] = ["light", "rl", "llm"]
    """Container images that `make containers` builds, of containers/images.yaml."""
    adopt: str | None = None
    """Folder that `snakemake figures` redraws from; if null, published/."""
    replicate: str | None = None
    """Results of another machine, `results/<scale>` of the same scale, whose verdicts the page shows beside its own."""


class Cost(Settings):
    """What a job asks the machine for."""

    memory_mb: int = Field(gt=0)
    minutes: int = Field(gt=0)


class Training(Cost):
    """What training jobs ask for; tasks that differ have an entry of their own."""

    tasks: dict[str, Cost] = {}


class Preparation(Cost):
    """How a paper's data are prepared."""

    files: list[str] = Field(min_length=1)
    """Files that `prepare` makes, below the paper's results folder; may hold {task} or {data}."""
    keys: list[str] = []
    """Settings of the paper that `prepare` reads."""


class Paper(Settings):
    """One row of workflow/papers.yaml: all that the workflow knows of a paper."""

    experiments: str
    """The model of the paper's settings, as module and class."""
    program: str | None = None
    """The package that runs the jobs, if its name is not the paper's."""
    packages: list[str] = Field(min_length=1)
    """Folders of packages/ whose sources the jobs run: an edit there runs them again."""
    image: str
    """The container image of the jobs."""
    train: Training
    inputs: dict[str, str] = {}
    """The prepared files that a training job reads: key of the job -> file below the paper's results folder.

    A file may hold {task} and keys of the task, such as {data}; without such a key the task reads no such file."""
    prepare: Preparation | None = None
    figures: list[str] = Field(min_length=1)
    priority: int = 1
    """Of drawing the figures: a paper whose figures take long is drawn first, and all before verdicts."""
    work: str | None = None
    """What `make plan` scales recorded times by: module and function that give the work of one seed, in any unit, from
    a job's task and configuration. The first line of its docstring is the rule in words."""
    optional: bool = False
    """Runs only if `papers` names it: it needs more than `make setup` installs."""
    target: str | None = None
    """A second name of the paper's Snakemake target."""
    samplers: bool = False
    """Jobs are timed: they ask for a core for each sampler process and one for the learner."""
    in_order: bool = False
    """A task's methods start in the order of the configuration, which has the longest first."""


class Workflow:
    """The checkout's table of papers and configuration.

    Args:
        root: the checkout.
        given: the workflow's configuration, as Snakemake merged it from files and the command line.

    Raises:
        InputError: a key, a paper or a value that does not fit.
    """

    def __init__(self, root: Path, given: Mapping[str, Any]) -> None:
        self.root = root
        self.papers = read_papers(root)
        own = {key: value for key, value in given.items() if key not in self.papers}
        self.overrides = {key: typed(value) for key, value in given.items() if key in self.papers}
        if unknown := [key for key in own if key not in WorkflowConfig.model_fields]:
            expected = f"one of the keys {', '.join([*WorkflowConfig.model_fields, *self.papers])}"
            raise InputError("configuration", expected=expected, found=f"the unknown key {unknown[0]}")
        for key, value in self.overrides.items():
            if not isinstance(value, dict):
                raise InputError(f"configuration: {key}", expected="a mapping of settings", found=value)
        self.config = validate(WorkflowConfig, own, "configuration")
        self.chosen = self._choose(self.config.papers)
        self._settings: dict[tuple[str, str], dict[str, Any]] = {}
        self._overlays: dict[str, dict[str, Any]] = {}

    def _choose(self, named: Sequence[str] | None) -> list[str]:
        if named is None:
            return [paper for paper, row in self.papers.items() if not row.optional]
        if not named or len(set(named)) < len(named):
            raise InputError("configuration: papers", expected="papers, each once", found=list(named))
        for paper in named:
            self.paper(paper)
        return list(named)

    def paper(self, name: str) -> Paper:
        """The row of a paper; InputError with the names there are if it has none."""
        if name not in self.papers:
            raise InputError("configuration: papers", expected=f"some of {', '.join(self.papers)}", found=name)
        return self.papers[name]

    def settings(self, paper: str, scale: str) -> dict[str, Any]:
        """A paper's settings: its defaults, the scale's overlay, then what the command line or a module says.

        Checked against the package's own model, once for each paper and scale.
        """
        if (paper, scale) not in self._settings:
            self._settings[paper, scale] = self._merge(paper, scale)
        return self._settings[paper, scale]

    def _merge(self, paper: str, scale: str) -> dict[str, Any]:
        model = experiments(self.paper(paper))
        files = [f"config/papers/{paper}.yaml", f"config/scale/{scale}.yaml"]
        if scale not in self._overlays:
            self._overlays[scale] = read_mapping(str(self.root / files[1]))
        defaults = read_mapping(str(self.root / files[0]))
        layers = {
            files[0]: defaults,
            files[1]: self._overlays[scale].get(paper) or {},
            "--config or --configfile": self.overrides.get(paper, {}),
        }
        if self.config.data_dir and "data_dir" in defaults:  # papers that read no data have no such key
            layers["--config data_dir"] = {"data_dir": self.config.data_dir}
        merged: dict[str, Any] = {}
        for layer in layers.values():
            merge(merged, layer)
        if isinstance(fault := parse(model, merged), Fault):
            source = max(reversed(layers), key=lambda name: _depth(layers[name], fault.location))
            raise fault.error(f"configuration of {paper} ({source})")
        return merged

    def runs(self, paper: str, scale: str) -> Iterator[tuple[str, str]]:
        """Method and task of each training job of a paper."""
        for task, methods in self.settings(paper, scale)["runs"].items():
            yield from ((method, task) for method in methods)

    def choice(self, paper: str, scale: str, kind: Literal["methods", "tasks"], name: str) -> dict[str, Any]:
        """The settings of a method or task; InputError with the names there are if a target names another."""
        there: dict[str, dict[str, Any]] = self.settings(paper, scale)[kind]
        if name not in there:
            raise InputError(f"{paper}: {kind}", expected=f"one of {', '.join(there)}", found=name)
        return there[name]

    def training(self, paper: str, scale: str, method: str, task: str) -> dict[str, Any]:
        """The configuration of one training job.

        It holds what this job uses and nothing else, so that changing a hyper-parameter reruns the jobs
        that use it and no other.
        """
        every = self.settings(paper, scale)
        job = {key: value for key, value in every.items() if key not in NOT_OF_A_JOB}
        job["method"] = {"name": method, **self.choice(paper, scale, "methods", method)}
        job["task"] = {"name": task, **self.choice(paper, scale, "tasks", task)}
        own = every.get("seeds_of", {})
        if chosen := own.get(f"{method}/{task}") or own.get(task):
            job["seeds"] = chosen
        return job

    def inputs(self, paper: str, scale: str, task: str) -> dict[str, str]:
        """The prepared files that a task's training jobs read, below the paper's results folder, by key of the job."""
        known = {**self.choice(paper, scale, "tasks", task), "task": task}
        return {
            key: pattern.format(**known)
            for key, pattern in self.papers[paper].inputs.items()
            if all(known.get(name) for name in re.findall(r"{(\w+)}", pattern))
        }

    @cached_property
    def package_folders(self) -> list[str]:
        """Folders of packages/, in order."""
        return sorted(file.parent.name for file in self.root.glob("packages/*/pyproject.toml"))


def read_papers(root: Path) -> dict[str, Paper]:
    """The rows of workflow/papers.yaml: id -> what the workflow knows of the paper."""
    rows = read_mapping(str(root / "workflow/papers.yaml"))
    return {name: validate(Paper, row, f"workflow/papers.yaml: {name}") for name, row in rows.items()}


@cache
def papers_here() -> dict[str, Paper]:
    """The rows of the checkout that contains this package; none without workflow/."""
    here = checkout()
    return read_papers(here) if here and (here / "workflow").is_dir() else {}


def experiments(paper: Paper) -> type[Settings]:
    """The model of a paper's settings, imported from its package."""
    module, _, name = paper.experiments.rpartition(".")
    model: type[Settings] = getattr(importlib.import_module(module), name)
    return model


def check_sources(files: Sequence[Path], arguments: Sequence[str]) -> None:
    """Read again what Snakemake has read, with the loader of all configuration.

    Snakemake's own lets the last of two equal keys win.

    Args:
        files: files given by --configfile.
        arguments: entries given by --config, ``key=value``.
    """
    for file in files:
        read_mapping(str(file))
    for argument in arguments:
        key, _, value = argument.partition("=")
        if value.lstrip()[:1] in ("{", "["):
            parse_yaml(value, f"--config {key}")


def merge(target: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    """Lay `overlay` over `target`: mappings key by key, anything else as a whole."""
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def typed(value: Any) -> Any:
    """`value` with the numbers that `--config` leaves as text inside a mapping or list read as numbers."""
    if isinstance(value, Mapping):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return parse_scalar(value) if isinstance(value, str) else value


def _depth(layer: Mapping[str, Any], location: Sequence[str | int]) -> int:
    """How many keys of `location` a layer holds; a list is replaced as a whole, so it holds all below it."""
    here: Any = layer
    for depth, part in enumerate(location):
        if isinstance(here, list):
            return len(location)
        if not (isinstance(here, Mapping) and part in here):
            return depth
        here = here[part]
    return len(location)


def generated(root: Path) -> dict[Path, str]:
    """The files below `root` that are made from models: path -> text.

    These are the default configuration of the workflow and of each paper.
    """
    files = {root / "config/config.yaml": default_yaml(WorkflowConfig(), _header("the workflow", WorkflowConfig))}
    for paper, row in read_papers(root).items():
        model = experiments(row)
        files[root / f"config/papers/{paper}.yaml"] = default_yaml(model(), _header(paper, model))
    return files


def write(root: Path) -> None:
    """Write all generated files."""
    for path, text in generated(root).items():
        write_text(path, text)


def _header(what: str, model: type[Settings]) -> str:
    name = f"{model.__module__}.{model.__qualname__}"
    return f"Defaults of {what}, made from {name} by `make config`.\nOverride a key in config/scale/ or with --config."
