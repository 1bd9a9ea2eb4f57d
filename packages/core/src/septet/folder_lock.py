"""Allow one run at a time in a folder."""

import fcntl
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from septet.cli import stop_request
from septet.errors import InputError, Interrupted
from septet.streams import log

FILE = "lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process. It is created if needed, and removed if left empty.

    The operating system (flock) releases the lock when the process ends for any reason, so there are no stale locks.
    When a scheduler starts the next attempt of a job, the earlier one may still be running, as after a node failure;
    wait for it for SEPTET_LOCK_WAIT seconds (default 120). On a file system without lock support, continue without a
    lock.

    Raises:
        InputError: another run holds the lock and does not end in time.
        Interrupted: this run was asked to stop while it waited.
    """
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    descriptor = _locked(folder, patience())
    try:
        yield
    finally:
        if _same(folder / FILE, descriptor):
            (folder / FILE).unlink()
        os.close(descriptor)
        for part in made:
            try:
                part.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                break  # something was written to it


def patience() -> float:
    """Return the seconds to wait for another run. Raises InputError if SEPTET_LOCK_WAIT is not a number >= 0."""
    text = os.environ.get("SEPTET_LOCK_WAIT", "120")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError("SEPTET_LOCK_WAIT", expected="a number of seconds, at least 0", found=text)
    return seconds


def _locked(folder: Path, seconds: float) -> int:
    file, end, waited = folder / FILE, time.monotonic() + seconds, False
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the previous run has just ended and removed the folder
        except FileExistsError:
            if os.path.lexists(folder) and not folder.is_dir():
                raise
            continue  # it did so while `mkdir` looked whether this is a folder
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another run"
            os.close(descriptor)
            where, expected = str(folder.parent), "an output folder that is not locked by another run"
            if stop_request.signal is not None:
                raise Interrupted(f"stopped by signal {stop_request.signal} while waiting for {holder}") from None
            if (left := end - time.monotonic()) <= 0:
                raise InputError(where, expected=expected, found=holder) from None
            if not waited:
                log(f"{where}: waiting up to {left:.0f} s for {holder}")
            waited = True
            time.sleep(min(0.5, left))
            continue
        except OSError:
            pass  # a file system without lock support
        if _same(file, descriptor):
            break
        os.close(descriptor)  # the file of a run that ended between our open and our lock
    os.truncate(descriptor, 0)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    process = os.environ.get("SEPTET_PROCESS") or os.getpid()  # in a container, its id outside
    os.pwrite(descriptor, f"process {process} on {platform.node()}, running since {started}\n".encode(), 0)
    return descriptor


def _same(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
