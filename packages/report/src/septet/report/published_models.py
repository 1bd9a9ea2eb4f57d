"""The models of a paper's runs, small enough to publish.

Of a method's policies the one with the best score is published, with weights rounded to float16; of vrda's predictors
the sparse one with the best F, rounded too; of dynts' filters the first seed of the best schedule. Language models are
not published.
"""

import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.errors import InputError
from septet.files import replacing_folder
from septet.model_files import CARD, FOLDER, load_arrays, save_arrays
from septet.reading import is_file
from septet.sealed import read_sealed_json, write_json

MODELS = "models"
"""Folder of a published paper, with `<method>/<task>/` in it."""
LARGEST = 100_000
"""Bytes of the arrays of one model; a larger one is left out."""
SPARSE = 20_000
"""The same of a predictor of vrda."""
LIMIT = 3_000_000
"""Bytes of all models that the project publishes."""
ROUNDED = "float16"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class PublishedModel:
    """A model to publish."""

    place: str
    """`<method>/<task>`."""
    file: str
    card: dict[str, Any]
    """Without the digest of the arrays."""
    arrays: Arrays


def models_of(results: Path, paper: str, runs: Collection[str]) -> tuple[list[PublishedModel], list[str]]:
    """Read the models of a paper's runs, and take from each what is published.

    Args:
        results: the folder `results/<scale>`.
        runs: ids of the run cards; models of other runs are left out.

    Returns:
        The models, and the places of those that are too large.

    Raises:
        InputError: a model was changed or damaged.
    """
    found, large = [], []
    for path in sorted((results / paper / "runs").glob(f"*/*/{FOLDER}/{CARD}")):
        card = read_sealed_json(path, "a model card with its checksum")
        files = sorted(path.parent.glob("*.safetensors"))
        if not isinstance(card, dict) or len(files) != 1 or card.get("run") not in runs:
            continue
        arrays = load_arrays(files[0], card.pop("sha256", None), CARD)
        try:
            card, arrays = reduced(card, arrays)
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(str(path), expected="a card that fits its arrays", found=str(error)) from None
        place = "/".join(path.parts[-4:-2])
        if sum(array.nbytes for array in arrays.values()) > (SPARSE if "labels" in card else LARGEST):
            large.append(place)
        elif arrays:
            found.append(PublishedModel(place, files[0].name, card, arrays))
    return found, large


def reduced(card: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """What is published of a model, by the kind of its card; nothing of a kind that is not known."""
    for key, take in (("kinds", _policies), ("agents", _filter), ("labels", _predictor)):
        if key in card:
            return take(card, arrays)
    return {}, {}


def _policies(card: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Of each method the row with the best score; the best policies, or the last ones if no others were kept."""
    kind = "best" if "best" in card["kinds"] else "last"
    chosen, methods = card["kinds"][kind], card["methods"]
    scores = [-np.inf if score is None else score for score in chosen["scores"]]
    rows = [
        max((row for row, own in enumerate(methods) if own == method), key=scores.__getitem__)
        for method in dict.fromkeys(methods)
    ]
    kept: Arrays = {}
    for name, array in arrays.items():
        if "." not in name:  # bounds of actions
            kept[name] = array
        elif name.startswith(f"{kind}."):
            kept[name] = rounded(array[rows]) if name.endswith("weights") else array[rows]
    of_rows = {name: [values[row] for row in rows] for name, values in chosen.items()}
    own = {name: [card[name][row] for row in rows] for name in ("methods", "seeds")}
    return {**card, **own, "kinds": {kind: of_rows}, "rounded": ROUNDED}, kept


def _filter(card: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """The first seed of the schedule with the least regret over all seeds, or log loss where nothing is chosen."""
    scores, labels = card["scores"], list(card["agents"])
    metric = next((name for name in ("regret", "log_loss") if name in scores), None)
    best = int(np.argmin(np.mean(scores[metric], axis=1))) if metric else 0
    own = {name: {labels[best]: card[name][labels[best]]} for name in ("agents", "settings")}
    kept = {name: [values[best][:1]] for name, values in scores.items()}
    few = {name: array[best : best + 1, :1] for name, array in arrays.items()}
    return {**card, **own, "scores": kept, "seeds": card["seeds"][:1]}, few


def _predictor(card: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """The predictor with the best F of those that are sparse enough, or the sparsest."""
    sizes = [3 * arrays[f"values.{k}"].nbytes / 2 for k in range(len(card["labels"]))]  # int32 columns, float16 values
    small = [k for k, size in enumerate(sizes) if size <= SPARSE] or [int(np.argmin(sizes))]
    best = max(small, key=card["f"].__getitem__)
    kept = {"columns.0": arrays[f"columns.{best}"], "values.0": rounded(arrays[f"values.{best}"])}
    return {**card, "labels": [card["labels"][best]], "f": [card["f"][best]], "rounded": ROUNDED}, kept


def rounded(array: NDArray[Any]) -> NDArray[Any]:
    """An array as float16, or as it is if a number does not fit."""
    with np.errstate(over="ignore"):
        half = array.astype(ROUNDED)
    return half if np.isfinite(half).all() else array


def write_models(models: list[PublishedModel], folder: Path, keep: Collection[str] = ()) -> list[str]:
    """Put models into a published paper's folder, in the place of those that it has.

    Args:
        keep: ids of the runs whose models stay where `models` has none in their place.

    Returns:
        The paths of all files in `folder`.
    """
    there = folder / MODELS
    again = {there / model.place for model in models}
    cards = [path for path in sorted(there.glob(f"*/*/{CARD}")) if path.parent not in again]
    stay = [path.parent for path in cards if _run_of(path) in keep]
    if not models and not stay:
        shutil.rmtree(there, ignore_errors=True)
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".models-") as scratch,
        replacing_folder(there, Path(scratch)) as made,
    ):
        for place in stay:
            shutil.copytree(place, made / place.relative_to(there))
        for model in models:
            place = made / model.place
            place.mkdir(parents=True)
            digest = save_arrays(place / model.file, model.arrays)
            write_json(place / CARD, {**model.card, "sha256": digest}, indent=None)
    return sorted(path.relative_to(folder).as_posix() for path in there.glob("*/*/*"))


def _run_of(card: Path) -> str | None:
    """The run that a published model is of."""
    return read_sealed_json(card, "a model card with its checksum").get("run")


def size_of_models(published: Path) -> int:
    """Bytes of all models below a folder with published papers."""
    return sum(path.stat().st_size for path in published.glob(f"**/{MODELS}/*/*/*") if is_file(path))
