"""The checkout's own configuration, and the files that are made from the typed models."""

import importlib
from pathlib import Path
from typing import Literal

from septet.config import Settings, default_yaml, json_schema
from septet.files import write_text

EXPERIMENTS = {
    "dynts": "dynts.config.Experiments",
    "vrda": "vrda.config.Experiments",
    "walle": "learner.experiments.WallE",
    "svrpo": "svrpo.config.Experiments",
    "metaexplore": "metaexplore.config.Experiments",
    "vipg": "vipg.experiments.Experiments",
    "empg": "empg.experiments.Experiments",
    "learner": "learner.experiments.Validation",
    "empgreal": "empg.experiments.Real",
}
"""Id -> model of what the workflow runs: the papers, the validation of the learner against a peer, and empg on a real
language model."""
BESIDE = ("learner", "empgreal")
"""Ids that run only when they are named: they need what `make setup-dev` or `make models` installs."""


def experiments(paper: str) -> type[Settings]:
    """The model of a paper's experiments, imported from its package."""
    module, _, name = EXPERIMENTS[paper].rpartition(".")
    model: type[Settings] = getattr(importlib.import_module(module), name)
    return model


class House(Settings):
    """`config/config.yaml`: what to run, on which data."""

    scale: Literal["smoke", "laptop", "paper"] = "laptop"
    """smoke: every rule, for tests; laptop: every claim that two cores can judge; paper: the papers' protocols."""
    papers: list[str] = [paper for paper in EXPERIMENTS if paper not in BESIDE]
    """Papers to run and to put on the report page; `learner` (the validation) and `empgreal` run if named here."""
    data_dir: str | None = None
    """Folder of data sets; if null, the environment's SEPTET_DATA, and otherwise they are downloaded."""
    images: list[str] = ["light", "rl", "llm"]
    """Container images that `make containers` builds, of containers/images.yaml."""
    adopt: str | None = None
    """Folder that `snakemake figures` redraws from; if null, published/."""


def generated(root: Path) -> dict[Path, str]:
    """The files below `root` that are made from models: path -> text.

    These are the default configuration of the house and of each entry of `EXPERIMENTS`, and their JSON
    schemas, which the workflow checks without our packages.
    """
    files = {
        root / "config/config.yaml": default_yaml(House(), _header("the house", "septet.house.House")),
        root / "workflow/schemas/config.schema.json": json_schema(House, open_to=list(EXPERIMENTS)),
    }
    for paper, name in EXPERIMENTS.items():
        model = experiments(paper)
        files[root / f"config/papers/{paper}.yaml"] = default_yaml(model(), _header(paper, name))
        files[root / f"workflow/schemas/{paper}.schema.json"] = json_schema(model)
    return files


def write(root: Path) -> None:
    """Write all generated files."""
    for path, text in generated(root).items():
        write_text(path, text)


def _header(what: str, model: str) -> str:
    return f"Defaults of {what}, made from {model} by `make config`.\nOverride a key in config/scale/ or with --config."
