"""Standard output and error of a program: UTF-8 in every locale, and a log line that cannot be written ends no job.

The reader of a pipe goes away, a terminal is closed, the disk of a log is full, a stream is closed from the start: for
a job these cost lines of its log and nothing else. For a program whose output is what it is run for they end it.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any

GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # nobody reads this any more; a full disk may have room again


class NotPrinted(OSError):
    """Standard output takes no more; its errno says why."""


def prepare(*, output: bool) -> None:
    """Replace this process's standard streams; those that a test or a notebook has put in their place stay.

    Args:
        output: whether standard output is what the program is run for. A failed write then raises NotPrinted; otherwise
            the line is lost.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file to be opened would get the number, and what libraries print
            os.dup2(_devnull(), descriptor)
    if sys.stdout is sys.__stdout__ or sys.stdout is None:
        sys.stdout = _stream(1, strict=output)
    if sys.stderr is sys.__stderr__ or sys.stderr is None:
        sys.stderr = _stream(2, strict=False)


def log(line: str) -> None:
    """Print a line to standard error, if it can be written."""
    with suppress(OSError, ValueError):  # a closed stream raises ValueError
        if sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)


def _stream(descriptor: int, *, strict: bool) -> io.TextIOWrapper:
    old = sys.__stdout__ if descriptor == 1 else sys.__stderr__
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(descriptor, strict)),
        encoding=old.encoding if old is not None and os.environ.get("PYTHONIOENCODING") else "utf-8",
        errors="backslashreplace",
        line_buffering=not strict or os.isatty(descriptor),
    )


class _Descriptor(io.RawIOBase):
    """Writes to a descriptor that it does not own, and drops what it does not take, the first time with NotPrinted."""

    def __init__(self, descriptor: int, strict: bool) -> None:
        self._descriptor, self._strict = descriptor, strict
        self.name = f"<descriptor {descriptor}>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            if error.errno in GONE:  # for libraries and child processes too
                with suppress(OSError):
                    os.dup2(_devnull(), self._descriptor)
            if self._strict:
                self._strict = False
                raise NotPrinted(error.errno, error.strerror) from error
            return size


def _devnull() -> int:
    return os.open(os.devnull, os.O_RDWR)
