"""The memory of a process."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h


def keep_memory() -> None:
    """Let freed memory stay with the process: glibc gives large arrays back, and faults them in again each time."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        allocator.mallopt(_MMAP_MAX, 0)
