"""N-best lists as arrays: the file that `prepare` writes and `train` reads."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_matrix, vstack

from septet.arrays import fit, fit_all
from septet.errors import InputError
from septet.files import replacing
from septet.sealed import KEY, ZEROS, seal, verify
from septet.vrda.features import Described
from septet.vrda.kernels import Lists, first_best
from septet.vrda.needs import BRACKETS, LISTS, lists_fit

Array = NDArray[Any]


@dataclass(frozen=True)
class NBest:
    """The m lists of one split, N candidates in all.

    Attributes:
        starts: list i holds candidates ``starts[i]..starts[i + 1]``, best first-pass score first; shape ``(m + 1,)``.
        indptr, indices, data: one sparse row of counts per candidate; shapes ``(N + 1,)``, ``(nnz,)``, ``(nnz,)``.
        base: first-pass log probability, less that of the first candidate; unpenalised; shape ``(N,)``.
        match, guess: right and all brackets of each candidate, shape ``(N,)``. Of tags: right ones and words.
        gold: brackets of each gold tree, shape ``(m,)``. Of tags: words, so that F is accuracy.
        features: width of the feature space.
    """

    starts: Array
    indptr: Array
    indices: Array
    data: Array
    base: Array
    match: Array
    guess: Array
    gold: Array
    features: int

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together: compiled code goes where they lead."""
        width = fit("lists: features", "int 0", self.features)
        fit_all("lists", LISTS | BRACKETS, vars(self), {"n": width}, lists_fit)
        inside = np.ones(len(self.indices), dtype=bool)  # columns after the first of their row
        inside[self.indptr[:-1][np.diff(self.indptr) > 0]] = False
        if not (np.diff(self.indices, prepend=-1)[inside] > 0).all():
            raise InputError("lists: indices", expected="each column of a row once, in order", found="another order")
        if not np.isfinite(self.base).all():
            raise InputError("lists: base", expected="log probabilities", found="NaN or infinity")

    @property
    def quality(self) -> Array:
        """F of each candidate, shape ``(N,)``; 1 where gold and candidate both have no bracket."""
        total = self.guess + np.repeat(self.gold, np.diff(self.starts))
        return np.where(total > 0, 2.0 * self.match / np.maximum(total, 1), 1.0)

    @property
    def target(self) -> Array:
        """The candidate of highest F in each list, the first in order on ties; shape ``(m,)``."""
        return first_best(self.starts, self.quality)

    def f_score(self, chosen: Array) -> float:
        """F over all lists at once: 2 x right / (found + gold) of the chosen candidates, shape ``(m,)``."""
        return float(2.0 * self.match[chosen].sum() / (self.guess[chosen].sum() + self.gold.sum()))

    def rows(self) -> csr_matrix:
        """The feature rows as a matrix, candidates x features."""
        return csr_matrix((self.data, self.indices, self.indptr), shape=(len(self.base), self.features))

    def told(self) -> Lists:
        """What a learner is told of the lists."""
        return Lists(self.base, self.starts, self.data, self.indices, self.indptr, self.quality, self.target)


def assemble(described: Iterable[tuple[Described, Array]], number: Array) -> NBest:
    """Lists from described candidates and their log probabilities.

    Args:
        described: one per list, with the log probabilities of its candidates.
        number: column of each feature of the vocabulary, -1 for features to drop.
    """
    kept = list(described)
    blocks = []
    features = int(number.max(initial=-1)) + 1
    for one, _ in kept:
        columns = number[one.rows.indices]
        keep = np.flatnonzero(columns >= 0)
        ends = np.searchsorted(keep, one.rows.indptr)
        blocks.append(csr_matrix((one.rows.data[keep], columns[keep], ends), shape=(one.rows.shape[0], features)))
    sizes = [len(log_p) for _, log_p in kept]
    return NBest(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        *_rows(vstack(blocks, format="csr")),
        base=np.concatenate([log_p - log_p[0] for _, log_p in kept]),
        match=np.concatenate([one.match for one, _ in kept]).astype(np.int32),
        guess=np.concatenate([one.guess for one, _ in kept]).astype(np.int32),
        gold=np.array([one.gold for one, _ in kept], dtype=np.int32),
        features=features,
    )


def frequent(described: Iterable[Described], known: int, least: int) -> Array:
    """A column for each feature that varies in at least `least` lists, -1 for the others; shape ``(known,)``."""
    seen = np.zeros(known, dtype=np.int64)
    for one in described:
        seen[np.unique(one.rows.indices)] += 1
    keep = seen >= least
    return np.where(keep, np.cumsum(keep) - 1, -1)


def write_lists(path: Path, splits: dict[str, NBest], note: str) -> None:
    """Write splits to one safetensors file with its checksum, in one step; `note` says where they came from."""
    arrays = {
        f"{split}.{field.name}": np.atleast_1d(np.ascontiguousarray(getattr(lists, field.name)))
        for split, lists in splits.items()
        for field in fields(NBest)
    }
    with replacing(path) as temporary:
        # one entry for both: safetensors writes several in an order that differs from process to process
        save_file(arrays, temporary, metadata={KEY: f"{ZEROS} {note}"})
        seal(temporary)


MADE = "lists made by `python -m septet.vrda prepare`"
KINDS = dict.fromkeys(("starts", "indptr", "features"), "int64") | {
    **dict.fromkeys(("indices", "match", "guess", "gold"), "int32"),
    "data": "int16",
    "base": "float64",
}
"""Types of the arrays in a file."""


def read_lists(path: Path, split: str) -> NBest:
    """Read one split of a file that `prepare` wrote.

    Raises:
        InputError: the file is missing, changed, torn, or lacks the split.
    """
    verify(Path(path), MADE)
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(str(path), expected=MADE, found=str(error)) from None
    found = {name.removeprefix(f"{split}."): value for name, value in arrays.items() if name.startswith(f"{split}.")}
    if set(found) != {field.name for field in fields(NBest)}:
        raise InputError(str(path), expected=f"a split {split}", found=sorted({n.split(".")[0] for n in arrays}))
    for name, kind in KINDS.items():
        if found[name].dtype != kind:
            raise InputError(f"{path}: {split}", expected=MADE, found=f"{name} of {found[name].dtype}, not {kind}")
    features = found.pop("features")
    if features.shape != (1,) or found["starts"].shape < (2,):
        raise InputError(f"{path}: {split}", expected=MADE, found="no list, or no width")
    try:
        return NBest(**found, features=int(features[0]))
    except InputError as error:
        fault = str(error).removeprefix("lists: ")
        raise InputError(f"{path}: {split}", expected=MADE, found=fault) from None


def read_note(path: Path) -> str:
    """Where the lists of a file came from, as `write_lists` noted it; call after `read_lists`."""
    with safe_open(path, framework="numpy") as file:
        return str(file.metadata()[KEY]).partition(" ")[2]


def _rows(rows: csr_matrix) -> tuple[Array, Array, Array]:
    rows.sort_indices()
    return rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data.astype(np.int16)
