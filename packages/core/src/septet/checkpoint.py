"""Save and restore a half-done job."""

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
"""What reading a file of another form may raise."""
EVERY = "SEPTET_SAVE_EVERY"
"""Environment variable: seconds between saves, where a minute is not right (a slow file system, or a test)."""


class Checkpoints:
    """Two generations of a job's state in one folder, outside what the workflow manages.

    A generation is a safetensors file and a JSON file with the step, the job, the digest of the tensors and the
    digest of all this. A torn or foreign generation is passed over with a message, and goes at the next save, however
    far it was.

    Used as a context it holds the output folder for this process, and sweeps up what killed ones left half-written.
    At its end the job is done and the folder goes; on an exception the state stays.

    Args:
        folder: where the generations live; made when the context begins.
        job: what the state belongs to, see `identity`; state of another job is not taken.
        writes: false in the processes of a fleet that only read.
    """

    def __init__(self, folder: Path, job: Mapping[str, str], writes: bool = True) -> None:
        self.folder = folder
        self.job = dict(job)
        self.writes = writes
        self.every = _seconds_between_saves()
        self._saved = time.monotonic()
        self._whole: list[str] = []  # names of the generations that were loaded or saved here, oldest first
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Hold the folder. Raises InputError if another run is at work in it."""
        if self.writes:
            self._held.enter_context(alone(self.folder))
            for folder in (self.folder, self.folder.parent):
                sweep(folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Clear the folder if the job is done, and name the last good state if it went wrong."""
        if self.writes:
            (self.folder / progress.FILE).unlink(missing_ok=True)
            if error is None:
                self.clear()
        if isinstance(error, NotFinite | NotWritten):
            kept = str(self.folder / f"{self._whole[-1]}.safetensors") if self._whole else "none, no save was due yet"
            error.add_note(f"last good checkpoint: {kept}")
        self._held.close()

    def due(self) -> bool:
        """Whether the last save is `every` seconds ago."""
        return time.monotonic() - self._saved >= self.every

    def safe_point(
        self,
        step: int,
        state: Callable[[], Mapping[str, NDArray[Any]]],
        where: str,
        any_process: Callable[[bool], bool] = bool,
    ) -> None:
        """Between two steps of a training loop: save if it is time, and end if the job was told to.

        Args:
            step: steps done.
            state: gives the state to save; asked for only when it is needed.
            where: how far the job is, for the message.
            any_process: whether something holds in any process of the job, so that all save and end together.

        Raises:
            Interrupted: the job was told to stop.
        """
        stop = any_process(stop_request.signal is not None)
        if not stop and not any_process(self.writes and self.due()):
            return
        kept = self.keep(step, state)
        if stop:
            raise Interrupted(f"stopped by signal {stop_request.signal} at {where}, {kept}")

    def keep(self, step: int, state: Callable[[], Mapping[str, NDArray[Any]]]) -> str:
        """Save and return the status: environments of others may have no state to save."""
        try:
            arrays = state()  # in all processes: they put sharded arrays together
        except NoState as error:
            self._saved = time.monotonic()
            return f"cannot resume: {error}"
        if self.writes:
            self.save(step, arrays)
        return "state saved"

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Save the state after `step`; the older generation goes once the new one is whole."""
        name = f"{step:012d}"
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            save_file({key: np.asarray(value, order="C") for key, value in arrays.items()}, temporary)
            digest = sha256(temporary)
        note = {"job": self.job, "step": step, "sha256": digest}
        write_text(self.folder / f"{name}.json", json.dumps({**note, "seal": _seal(note)}))
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
                if found.pop("seal") != _seal(found):
                    raise ValueError("its note does not match its seal")
                if found["job"] != self.job:
                    raise ValueError(f"it was left by {self._difference(found['job'])}")
                if found["sha256"] != sha256(tensors):
                    raise ValueError("its checksum does not match")
                state = int(found["step"]), load_file(tensors)
            except TORN as error:
                log(f"checkpoint {tensors} passed over: {error}")
            else:
                self._whole = [note.stem]
                return state
        return None

    def clear(self) -> None:
        """Remove the folder; called when the job has written its outputs."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _difference(self, other: Mapping[str, str]) -> str:
        names = sorted(name for name in {*self.job, *other} if self.job.get(name) != other.get(name))
        return f"a job with other {', '.join(names)}"

    def _generations(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"), reverse=True) if os.path.isdir(self.folder) else []


def identity(settings: Mapping[str, Any], packages: Sequence[str], data: str = "") -> dict[str, str]:
    """What a job's state belongs to, as digests: state that something else left is not taken.

    Args:
        settings: the resolved configuration.
        packages: our import packages that the state depends on.
        data: where the data came from.
    """
    return {
        "settings": _digest(settings),
        **{f"sources of {name}": source_digest(name)[:16] for name in packages},
        "lock": (lock_digest() or "")[:16],
        "data": _digest(data),
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


_seal = _digest


def _seconds_between_saves() -> float:
    text = os.environ.get(EVERY, "60")
    try:
        return min(max(float(text), 0.0), 3600.0)
    except ValueError:
        raise InputError(f"environment {EVERY}", expected="seconds", found=text) from None
