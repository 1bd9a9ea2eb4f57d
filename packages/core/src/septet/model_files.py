"""What a job trained, as files: `model/` beside the score table, with named arrays and a card that says what they are.

Both files carry their checksum, and the card that of the arrays. A package says what its arrays mean.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from septet.card import RunCard
from septet.errors import InputError
from septet.files import replacing_folder, sha256
from septet.reading import is_file
from septet.run import Run
from septet.sealed import PLACEHOLDER, read_sealed_json, seal, verify, write_json

FOLDER, ARRAYS, CARD = "model", "arrays.safetensors", "card.json"


def write_model(run: Run, card: RunCard, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write `model/` of a finished job.

    Args:
        run: the job; card: its run card.
        arrays: by name, floats as float32; without any, the model of an earlier run of the job is removed.
        about: further fields of the card, as JSON: what the axes of the arrays are, and scores.
    """
    if not arrays:
        shutil.rmtree(run.out / FOLDER, ignore_errors=True)
        return
    with replacing_folder(run.out / FOLDER, run.scratch) as folder:
        single = {
            name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in arrays.items()
        }
        known = {
            "paper": card.paper,
            "task": card.task,
            "seeds": card.seeds,
            "settings": card.methods,
            "data": card.data,
        }
        write_json(folder / CARD, {**known, **about, "run": card.id, "sha256": save_arrays(folder / ARRAYS, single)})


def read_model(path: Path, paper: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the card and the arrays of a model.

    Args:
        path: the folder of a job, or `model/` in it.
        paper: whose model it has to be.

    Raises:
        InputError: there is none, it is of another paper, or a file was changed or damaged.
    """
    folder = find(path)
    name = folder / CARD
    card = read_sealed_json(name, "a model card with its checksum")
    if not isinstance(card, dict) or card.get("paper") != paper:
        raise InputError(str(name), expected=f"a model of {paper}", found="another card")
    return card, load_arrays(folder / ARRAYS, card.get("sha256"), CARD)


def find(path: Path) -> Path:
    """The folder of a model: `path`, or `model/` in it. Raises InputError if there is none."""
    for folder in (path, path / FOLDER):
        if is_file(folder / CARD):
            return folder
    raise InputError(str(path), expected=f"a folder with {CARD}, or a job's folder with {FOLDER}/", found="none")


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write arrays by name to a safetensors file with its checksum, and return its SHA-256."""
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path, PLACEHOLDER)
    seal(path)
    path.chmod(0o644)  # safetensors lets only the owner read it
    return sha256(path)


def load_arrays(path: Path, digest: object, named_by: str) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote.

    Args:
        path: the file.
        digest: its SHA-256.
        named_by: the file that says so.

    Raises:
        InputError: it is missing, was changed, is damaged, or is another file.
    """
    verify(path, "arrays with their checksum")
    if sha256(path) != digest:
        raise InputError(str(path), expected=f"the arrays that {named_by} names", found="other arrays")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(str(path), expected="arrays of a model", found=str(error)) from None
