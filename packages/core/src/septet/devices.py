"""One GPU for each job of a machine that no scheduler shares out.

SEPTET_GPUS lists the devices that jobs may take, as CUDA_VISIBLE_DEVICES would: "0,1,2,3". A job holds the lock file of
its device while it lives; the kernel lets go of it however the job ends.
"""

import fcntl
import os
import platform
import time
from pathlib import Path
from typing import IO

from septet.cache import cache_root
from septet.errors import InputError, NotWritten
from septet.streams import log

_held: list[tuple[str, IO[bytes]]] = []  # this process's device, and its lock file, open until the end


def claim(poll: float = 0.5) -> str | None:
    """Wait for a free device of SEPTET_GPUS and make it this process's only one; call it before CUDA starts.

    Without SEPTET_GPUS, and in a process that a launcher has given its device (LOCAL_RANK), nothing happens.

    Args:
        poll: seconds between two looks at devices that are all taken.

    Returns:
        The device, or none if nothing was claimed. A second call gives the same one.

    Raises:
        InputError: SEPTET_GPUS names no device, one twice, or something that is no name of one.
        NotWritten: no cache folder takes the lock files.
    """
    listed = os.environ.get("SEPTET_GPUS")
    if listed is None or "LOCAL_RANK" in os.environ:
        return None
    if _held:
        return _held[0][0]
    devices = [name.strip() for name in listed.split(",")]
    if len(set(devices)) < len(devices) or not all(name.replace("-", "").isalnum() for name in devices):
        raise InputError("SEPTET_GPUS", expected="different devices, as in 0,1,2", found=listed)
    waited = False
    while not (free := next(filter(None, map(_take, devices)), None)):
        if not waited:
            log(f"waiting for one of the GPUs {listed}")
        waited = True
        time.sleep(poll)
    _held.append(free)
    os.environ["CUDA_VISIBLE_DEVICES"] = free[0]
    return free[0]


def _take(device: str) -> tuple[str, IO[bytes]] | None:
    """The device with its lock file, locked; none if another process has it."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"gpu-{device}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return device, file


def _folder() -> Path:
    """The lock files of this machine; the folder above it may be shared between machines."""
    root = cache_root()
    if root is None:
        raise NotWritten("SEPTET_CACHE: expected a folder for the lock files of GPUs, found none that takes a file")
    return root / "gpus" / platform.node()
