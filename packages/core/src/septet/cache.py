"""A folder for caches that can be written to, wherever this process runs."""

import functools
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache_root() -> Path | None:
    """The first of these folders that takes a file; none if none does.

    SEPTET_CACHE; ``septet`` in XDG_CACHE_HOME, or else in ``~/.cache``; a private folder of this user in the temporary
    directory. A service account or a container may have no home at all, or one that is read-only or full.
    """
    return next((folder for folder in _candidates() if _takes_a_file(folder)), None)


def _candidates() -> Iterator[Path]:
    if named := os.environ.get("SEPTET_CACHE"):
        yield Path(named)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache")  # noqa: PTH111
    if home.is_absolute():  # "~" stays where neither HOME nor the user's entry says more; Path.expanduser raises
        yield home / "septet"
    if (private := _private()) is not None:
        yield private


def _private() -> Path | None:
    """A folder in the temporary directory that this user alone can enter; none if somebody else has taken its name."""
    try:
        folder = Path(tempfile.gettempdir()) / f"septet-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return folder if ours else None


@functools.cache
def _takes_a_file(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            return file.write(bytes(4096)) == 4096  # an empty file fits on a full disk
    except OSError:
        return False
