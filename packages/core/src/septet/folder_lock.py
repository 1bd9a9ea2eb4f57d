"""One run at a time in a folder."""

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
    """Hold `folder` for this process; it is made if need be, and is removed if left empty.

    The lock is the operating system's (flock), so it ends with its process however that ends: there is no stale
    one. An earlier attempt at the job may still be at work when a scheduler starts the next, as after a node failure:
    it is waited for, SEPTET_LOCK_WAIT seconds (120 if not set). On a file system without lock support the run goes on
    without.

    Raises:
        InputError: another run is at work in the folder and does not end in time.
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
    """Seconds to wait for another run, from SEPTET_LOCK_WAIT; raises InputError if it is not a number from 0 on."""
    text = os.environ.get("SEPTET_LOCK_WAIT", "120")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError("SEPTET_LOCK_WAIT", expected="seconds from 0 on", found=text)
    return seconds


def _locked(folder: Path, seconds: float) -> int:
    file, end, waited = folder / FILE, time.monotonic() + seconds, False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the run before ended just now, and took the folder with it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another run"
            os.close(descriptor)
            where, expected = str(folder.parent), "an output folder that no other run is at work in"
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
            pass  # a file system without locks
        if _same(file, descriptor):
            break
        os.close(descriptor)  # of a run that ended between our open and our lock
    os.truncate(descriptor, 0)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    process = os.environ.get("SEPTET_PROCESS") or os.getpid()  # in a container, its number outside
    os.pwrite(descriptor, f"process {process} on {platform.node()}, at work since {started}\n".encode(), 0)
    return descriptor


def _same(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
