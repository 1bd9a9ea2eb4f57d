"""Save and restore an unfinished job."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from septet import progress
from septet.card import lock_digest
from septet.cli import stop_request
from septet.errors import InputError, Interrupted, NoState, NotFinite, NotWritten
from septet.files import replacing, sha256, source_digest, sweep, write_text
from septet.folder_lock import alone
from septet.streams import log

Arrays = dict[str, NDArray[Any]]
TORN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError)
"""Exceptions that reading a malformed file may raise."""
EVERY = "SEPTET_SAVE_EVERY"
"""Environment variable: seconds between saves, in place of `LEAST` and `SHARE` (a slow file system, or a test)."""
LEAST = 60.0
"""Seconds between saves at least."""
SHARE = 0.02
"""Most of the time that saving takes: the next save waits longer if the last one was slow."""


class Checkpoints:
    """Two generations of a job's state in one folder, which the workflow does not manage.

    A generation is a safetensors file and a JSON file with the step, the job, the digest of the tensors and a
    checksum of this metadata. A generation that is damaged or belongs to another job is skipped with a message and
    removed at the next save, whatever its step.

    As a context manager it locks the output folder for this process and removes partial files of killed ones. The
    folder is removed at the end, because the job is done; on an exception the state stays.

    Args:
        folder: folder of the generations; created on entering the context.
        job: identity of the job, see `identity`; the state of another job is not loaded.
        writes: false in processes of a process group that only read.
    """

    def __init__(self, folder: Path, job: Mapping[str, str], writes: bool = True) -> None:
        self.folder = folder
        self.job = dict(job)
        self.writes = writes
        self.every = _seconds_between_saves()
        self._saved = time.monotonic()
        self._cost = 0.0
        self._whole: list[str] = []  # names of the generations that were loaded or saved here, oldest first
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Lock the folder. Raises InputError if it is locked by another run."""
        if self.writes:
            self._held.enter_context(alone(self.folder))
            for folder in (self.folder, self.folder.parent):
                sweep(folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the folder if the job is done; on a failure add the last good checkpoint to the message."""
        if self.writes:
            (self.folder / progress.FILE).unlink(missing_ok=True)
            if error is None:
                shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, NotFinite | NotWritten):
            kept = str(self.folder / f"{self._whole[-1]}.safetensors") if self._whole else "none yet"
            error.add_note(f"last good checkpoint: {kept}")
        self._held.close()

    @property
    def interval(self) -> float:
        """Seconds from the end of one save to the next: `every`, or, so that saving takes at most 2 % of the time, 49
        times as long as the last save took; before the first one, as reading the checkpoint took.
        """
        if self.every is not None:
            return self.every
        return max(LEAST, self._cost * (1 - SHARE) / SHARE)

    def due(self) -> bool:
        """Return whether the last save is at least `interval` seconds ago."""
        return time.monotonic() - self._saved >= self.interval

    def safe_point(
        self,
        step: int,
        state: Callable[[], Mapping[str, NDArray[Any]]],
        where: str,
        any_process: Callable[[bool], bool] = bool,
    ) -> None:
        """Save if a save is due, and stop if the job was asked to; called between two steps of a training loop.

        Args:
            step: steps done.
            state: returns the state to save; called only if needed.
            where: progress of the job, for the message.
            any_process: whether a condition holds in any process of the job, so that all save and stop together.

        Raises:
            Interrupted: the job was asked to stop.
        """
        stop = any_process(stop_request.signal is not None)
        if not stop and not any_process(self.writes and self.due()):
            return
        kept = self.keep(step, state)
        if stop:
            raise Interrupted(f"stopped by signal {stop_request.signal} at {where}, {kept}")

    def keep(self, step: int, state: Callable[[], Mapping[str, NDArray[Any]]]) -> str:
        """Save and return the status; third-party environments may have no state to save."""
        start, status = time.monotonic(), "state saved"
        try:
            arrays = state()  # in all processes: they gather sharded arrays
            if self.writes:
                self.save(step, arrays)
        except NoState as error:
            status = f"cannot resume: {error}"
        self._saved = time.monotonic()
        self._cost = self._saved - start
        return status

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write the state after `step`; remove the oldest generation once the new one is complete."""
        name = f"{step:012d}"
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            save_file({key: np.asarray(value, order="C") for key, value in arrays.items()}, temporary)
            digest = sha256(temporary)
        note = {"job": self.job, "step": step, "sha256": digest}
        write_text(self.folder / f"{name}.json", json.dumps({**note, "seal": _digest(note)}))
        self._whole = [*(old for old in self._whole if old != name), name][-2:]
        for old in self._generations():
            if old.stem not in self._whole:
                old.unlink()
                old.with_suffix(".safetensors").unlink(missing_ok=True)

    def load(self) -> tuple[int, Arrays] | None:
        """Return the newest valid state of this job as ``(step, arrays)``, or None."""
        start = time.monotonic()
        for note in self._generations():
            tensors = note.with_suffix(".safetensors")
            try:
                found = json.loads(note.read_text(encoding="utf-8"))
                if found.pop("seal") != _digest(found):
                    raise ValueError("its metadata do not match their checksum")
                other = found["job"]
                if changed := sorted(name for name in {*self.job, *other} if self.job.get(name) != other.get(name)):
                    raise ValueError(f"it was written by a job with other {', '.join(changed)}")
                if found["sha256"] != sha256(tensors):
                    raise ValueError("its checksum does not match")
                state = int(found["step"]), load_file(tensors)
            except TORN as error:
                log(f"checkpoint {tensors} skipped: {error}")
            else:
                self._whole = [note.stem]
                self._cost = time.monotonic() - start
                return state
        return None

    def _generations(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"), reverse=True)


def identity(settings: Mapping[str, Any], packages: Sequence[str], data: str = "") -> dict[str, str]:
    """Return digests that identify a job; the state of another job is not loaded.

    Args:
        settings: the resolved configuration.
        packages: our import packages that the state depends on.
        data: origin of the data.
    """
    return {
        "settings": _digest(settings),
        **{f"sources of {name}": source_digest(name)[:16] for name in packages},
        "lock": (lock_digest() or "")[:16],
        "data": _digest(data),
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _seconds_between_saves() -> float | None:
    text = os.environ.get(EVERY)
    if text is None:
        return None
    try:
        return min(max(float(text), 0.0), 3600.0)
    except ValueError:
        raise InputError(f"environment {EVERY}", expected="seconds", found=text) from None
