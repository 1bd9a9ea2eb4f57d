"""Assign one GPU to each job on a machine without a scheduler.

SEPTET_GPUS lists the devices that jobs may take, as CUDA_VISIBLE_DEVICES would: "0,1,2,3". A job holds the lock file of
its device; the kernel releases it when the job ends for any reason.
"""

import fcntl
import os
import platform
import time
from typing import IO

from septet.cache import cache_root
from septet.errors import InputError, NotWritten
from septet.streams import log

_held: list[tuple[str, IO[bytes]]] = []  # this process's device, and its lock file, open until the end


def claim(poll: float = 0.5) -> str | None:
    """Wait for a free device of SEPTET_GPUS and make it the only one of this process; call it before CUDA starts.

    Without SEPTET_GPUS, or if a launcher has assigned a device (LOCAL_RANK), do nothing.

    Args:
        poll: seconds between two checks while all devices are in use.

    Returns:
        The device, or None if nothing was claimed. A second call returns the same device.

    Raises:
        InputError: SEPTET_GPUS is empty, names a device twice, or has an invalid name.
        NotWritten: no cache folder is writable for the lock files.
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
    """Return the device with its locked lock file, or None if another process holds it."""
    if (root := cache_root()) is None:
        raise NotWritten("SEPTET_CACHE: expected a writable folder for the GPU lock files, found none")
    folder = root / "gpus" / platform.node()  # the cache may be shared between machines
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"gpu-{device}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return device, file
