"""Save and restore a half-done job."""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from septet.files import replacing, sha256, write_text

Arrays = dict[str, NDArray[Any]]


class Checkpoints:
    """Two generations of a job's state in one folder, outside what the workflow manages.

    A generation is a safetensors file and a JSON file that holds the step, the job's id and the
    digest of the tensors. A torn or foreign generation is passed over with a message, and goes at
    the next save, however far it was.

    Args:
        folder: where the generations live; made at the first save.
        job: name of the job; state that another job left here is not taken.
        every: seconds between saves, at most a minute.
    """

    def __init__(self, folder: Path, job: str, every: float = 60.0) -> None:
        self.folder = folder
        self.job = job
        self.every = every
        self._saved = time.monotonic()
        self._whole: list[str] = []  # names of the generations that were loaded or saved here, oldest first

    def due(self) -> bool:
        """Whether the last save is `every` seconds ago."""
        return time.monotonic() - self._saved >= self.every

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Save the state after `step`; the older generation goes once the new one is whole."""
        name = f"{step:012d}"
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            save_file({key: np.asarray(value, order="C") for key, value in arrays.items()}, temporary)
            digest = sha256(temporary)
        note = {"job": self.job, "step": step, "sha256": digest}
        write_text(self.folder / f"{name}.json", json.dumps(note))
        self._whole = [*(old for old in self._whole if old != name), name][-2:]
        for old in self._generations():
            if old.stem not in self._whole:
                old.unlink()
                old.with_suffix(".safetensors").unlink(missing_ok=True)
        self._saved = time.monotonic()

    def load(self) -> tuple[int, Arrays] | None:
        """The newest whole state of this job as ``(step, arrays)``, or none."""
        for note in self._generations():
            tensors = note.with_suffix(".safetensors")
            try:
                found = json.loads(note.read_text(encoding="utf-8"))
                if found["job"] != self.job:
                    raise ValueError(f"it belongs to job {found['job']}, not {self.job}")
                if found["sha256"] != sha256(tensors):
                    raise ValueError("its checksum does not match")
                state = int(found["step"]), load_file(tensors)
            except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
                print(f"checkpoint {tensors} passed over: {error}", file=sys.stderr)
            else:
                self._whole = [note.stem]
                return state
        return None

    def clear(self) -> None:
        """Remove the folder; called when the job has written its outputs."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _generations(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"), reverse=True) if os.path.isdir(self.folder) else []
