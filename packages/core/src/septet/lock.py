"""One run at a time in a folder."""

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from septet.errors import InputError

FILE = "lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; it is made if need be, and goes again if nothing was written to it.

    The lock is the operating system's (flock), so it ends with its process however that ends: there is no stale
    one. On a file system that knows no locks the run goes on without.

    Raises:
        InputError: another run is at work in the folder.
    """
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    descriptor = _locked(folder)
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


def _locked(folder: Path) -> int:
    file = folder / FILE
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
            raise InputError(where, expected=expected, found=holder) from None
        except OSError:
            pass  # a file system without locks
        if _same(file, descriptor):
            break
        os.close(descriptor)  # of a run that ended between our open and our lock
    os.truncate(descriptor, 0)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}, at work since {started}\n".encode(), 0)
    return descriptor


def _same(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
