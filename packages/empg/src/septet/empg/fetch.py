"""Fetch the hub's models that a scale trains, at their pinned revisions: jobs in containers have no network.

``python -m septet.empg.fetch config/scale/paper.yaml .cache/huggingface``; a job's home is the work folder, where
transformers
finds them.
"""

import sys
from pathlib import Path
from typing import Any

from septet.errors import EXIT_BAD_INPUT, InputError
from septet.reading import read_mapping


def pinned(scale: str) -> list[tuple[str, str]]:
    """Name and revision of each hub model of a scale's tasks, once.

    Raises:
        InputError: the file is missing or no configuration, or a model has no revision.
    """
    tasks: dict[str, Any] = (read_mapping(scale).get("empg") or {}).get("tasks") or {}
    found: dict[tuple[str, str], None] = {}
    for name, task in tasks.items():
        model = task.get("model") or {}
        if model.get("kind") != "hub":
            continue
        if not model.get("revision"):
            raise InputError(f"{scale}: septet.empg.tasks.{name}.model.revision", expected="a commit", found="none")
        found[model["name"], model["revision"]] = None
    return list(found)


def fetch(scale: str, cache: Path) -> list[Path]:
    """Fetch them into `cache`, laid out as transformers looks for them; what is there already is kept."""
    from huggingface_hub import snapshot_download  # slow to import, and needed here alone

    patterns = ["*.json", "*.safetensors", "*.txt", "*.jinja"]  # no pickled weights
    return [
        Path(snapshot_download(name, revision=revision, cache_dir=cache / "hub", allow_patterns=patterns))
        for name, revision in pinned(scale)
    ]


if __name__ == "__main__":
    try:
        for folder in fetch(sys.argv[1], Path(sys.argv[2])):
            print(folder)
    except InputError as error:
        print(f"empg: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
