"""Progress lines in a job's log, and the progress of running jobs seen from outside."""

import json
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from septet.errors import NotWritten
from septet.files import write_text
from septet.reading import is_folder, walk
from septet.streams import log

FILE = "progress.json"


class Progress:
    """Prints a line with rate and time left, and keeps the same in a file for `status`.

    Args:
        label: what runs, e.g. ``"dynts ts on tau1000"``.
        total: how many units there are.
        unit: what is counted.
        folder: where ``progress.json`` is kept while the job runs.
        done: units done before this start (a resumed job).
    """

    def __init__(self, label: str, total: int, unit: str, folder: Path, done: int = 0) -> None:
        self.label, self.total, self.unit, self.folder = label, total, unit, folder
        self._first = self._done = done
        self._start = time.monotonic()
        self._printed = -1e9
        self._measured: dict[str, float] = {}
        self._report()

    def update(self, done: int, measured: Mapping[str, float] | None = None) -> None:
        """Say that `done` units are done; printed at most every two seconds, and at the end.

        Args:
            measured: what the last unit measured, by name, such as its reward; non-finite values are left out.
        """
        self._done = done
        self._measured = {name: float(value) for name, value in (measured or {}).items() if math.isfinite(value)}
        if done >= self.total or time.monotonic() - self._printed >= 2.0:
            self._report()

    def finish(self) -> None:
        """Remove the file: nothing runs here any more."""
        with suppress(OSError):
            (self.folder / FILE).unlink()

    def _report(self) -> None:
        self._printed = time.monotonic()
        rate = (self._done - self._first) / max(self._printed - self._start, 1e-9)
        state = {"label": self.label, "done": self._done, "total": self.total, "unit": self.unit, "rate": rate}
        state |= {"pid": os.getpid(), "time": time.time(), "measured": self._measured}
        log(describe(state))
        with suppress(NotWritten):  # ignored: writing the scores reports a full disk
            write_text(self.folder / FILE, json.dumps(state))


def describe(state: dict[str, Any]) -> str:
    """One line: what, how far, how fast, how long still."""
    done, total, rate = state["done"], state["total"], state["rate"]
    left = _clock((total - done) / rate) if rate > 0 else "?"
    share = 100 * done / total if total else 100.0
    unit = state["unit"]
    measured = "".join(f"  {name.replace('_', ' ')} {value:.4g}" for name, value in state.get("measured", {}).items())
    return f"{state['label']}  {done:,}/{total:,} {unit}  {share:.0f} %  {rate:,.0f} {unit}/s  {left} left{measured}"


def running(folder: Path) -> list[str]:
    """One line for each job below `folder` that is at work, with the age of its last word."""
    lines = []
    for file in walk(folder) if is_folder(folder) else ():
        if file.name != FILE:
            continue
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
            line = f"{describe(state)}  (heard {_clock(time.time() - state['time'])} ago, {file.parent})"
        except PermissionError as error:
            line = f"{file}: {error.strerror}"
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # it ended while we looked, or is none of ours
        lines.append(line)
    return lines


def _clock(seconds: float) -> str:
    whole = int(max(seconds, 0))
    return (
        f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02d}"
    )
