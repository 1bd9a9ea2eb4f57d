"""Arrays in memory that several processes share, without a name that could be left behind."""

import fcntl
import math
import mmap
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from septet.sampler.rollout import Array

Layout = Mapping[str, tuple[tuple[int, ...], str]]
ALIGN = 64  # bytes of a cache line: arrays of different writers share none


class SharedArrays:
    """Arrays of zeros in one file that exists in memory alone and goes with the last process that holds it.

    Pages come into being when they are written, so an array may be larger than what is used of it. Another
    process gets the file's descriptor, and the layout, and sees the same memory.

    Args:
        layout: shape and type of each array.
        descriptor: of the file, if another process made it.
    """

    def __init__(self, layout: Layout, descriptor: int | None = None) -> None:
        offsets, size = {}, 0
        for name, (shape, kind) in layout.items():
            offsets[name] = size
            size += -(-math.prod(shape) * np.dtype(kind).itemsize // ALIGN) * ALIGN
        if descriptor is None:
            descriptor = _file()
            os.ftruncate(descriptor, max(size, 1))
        self.layout, self.descriptor = dict(layout), descriptor
        memory = mmap.mmap(descriptor, max(size, 1))  # freed with the last array that looks into it
        self.arrays: dict[str, Array] = {
            name: np.ndarray(shape, kind, buffer=memory, offset=offsets[name]) for name, (shape, kind) in layout.items()
        }

    def __getitem__(self, name: str) -> Array:
        """One of the arrays."""
        return self.arrays[name]

    @contextmanager
    def locked(self, patience: float, exclusive: bool = False) -> Iterator[None]:
        """Hold the file's lock, which the system takes back from a process that dies.

        Raises:
            TimeoutError: another process did not let go of it.
        """
        until = time.monotonic() + patience
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        while True:
            try:
                fcntl.lockf(self.descriptor, kind | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > until:
                    raise TimeoutError("a process keeps the lock on the weights") from None
                time.sleep(0.0005)
        try:
            yield
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file here; arrays stay good as long as someone holds them."""
        os.close(self.descriptor)


def _file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("walle")
    with tempfile.TemporaryFile() as file:  # has no name either
        return os.dup(file.fileno())
