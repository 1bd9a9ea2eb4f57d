"""Fetch the models that a scale trains, at pinned revisions: jobs in containers have no network.

``python -m septet.empg.fetch config/scale/overnight.yaml .cache``: GGUF files into ``.cache/models``, models of the hub
into ``.cache/huggingface``, where transformers finds them, for the home of a job in a container is the work folder.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from septet.cli import program
from septet.empg.experiments import Experiments, Real
from septet.empg.gguf_files import FILES, fetch_gguf
from septet.errors import InputError
from septet.reading import read_mapping


def models_of(scale: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and settings of the model of each task that runs at a scale: the defaults, and what its file changes."""
    for paper, defaults in (("empg", Experiments), ("empgreal", Real)):
        made, given = defaults().model_dump(), read_mapping(scale).get(paper) or {}
        runs, tasks = ({**made[part], **(given.get(part) or {})} for part in ("runs", "tasks"))
        for name, methods in runs.items():
            if methods and name in tasks:
                model = tasks[name].get("model") or made["tasks"].get(name, {}).get("model") or {}
                yield f"{paper}.tasks.{name}.model", model


def pinned(scale: str) -> list[tuple[str, str]]:
    """Name and revision of each hub model of a scale's tasks, once.

    Raises:
        InputError: the file is missing or no configuration, or a model has no revision.
    """
    hub = [(key, model) for key, model in models_of(scale) if model.get("kind") == "hub"]
    for key, model in hub:
        if not model.get("revision"):
            raise InputError(f"{scale}: {key}.revision", expected="a commit", found="none")
    return list(dict.fromkeys((model["name"], model["revision"]) for _, model in hub))


def fetch(scale: str, cache: Path) -> list[Path]:
    """Fetch them into `cache`; what is there already is kept.

    Raises:
        InputError: see `pinned`; a file has another checksum.
        DataUnavailable: a GGUF file could not be had.
    """
    from huggingface_hub import snapshot_download  # slow to import, and needed here alone

    kinds = dict.fromkeys(model["kind"] for _, model in models_of(scale) if model.get("kind") in FILES)
    patterns = ["*.json", "*.safetensors", "*.txt", "*.jinja"]  # no pickled weights
    hub = cache / "huggingface/hub"
    return [fetch_gguf(kind, cache / "models") for kind in kinds] + [
        Path(snapshot_download(name, revision=revision, cache_dir=hub, allow_patterns=patterns))
        for name, revision in pinned(scale)
    ]


if __name__ == "__main__":
    program("empg", lambda: sys.stdout.writelines(f"{one}\n" for one in fetch(sys.argv[1], Path(sys.argv[2]))))
