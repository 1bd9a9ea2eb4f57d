"""Files that are whole or absent, and digests of files."""

import fcntl
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from septet.errors import NotWritten


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes `path`'s place in one step.

    The data reach the disk before the name does (fsync, rename, fsync of the folder), so a reader
    sees the old file or the new one and never a part. On an exception `path` is left as it was. While
    this process lives it holds a lock on the temporary file, by which `sweep` knows what a killed one left.

    Raises:
        NotWritten: the machine did not take the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            _try_lock(descriptor)
            yield temporary
            if not temporary.stat().st_size:
                raise RuntimeError(f"nothing was written to {path}")
            _flush_to_disk(temporary)
            os.replace(temporary, path)
            _flush_to_disk(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(descriptor)
    except NotWritten:
        raise
    except Exception as error:
        if (reason := _of_the_system(error)) is None:
            raise
        raise NotWritten(f"{path}: not written: {reason}") from error


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in `folder`; those of living ones stay."""
    for temporary in folder.glob(".*.*.tmp"):
        try:
            descriptor = os.open(temporary, os.O_RDWR)
        except OSError:
            continue  # just renamed, or none of ours
        try:
            if _try_lock(descriptor):
                temporary.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _of_the_system(error: Exception) -> str | None:
    """What the operating system says; libraries in Rust hide it in the text of an exception of their own."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = re.search(r"os error (\d+)|Os \{ code: (\d+)", str(error))
    return os.strerror(int(number[1] or number[2])) if number else None


def _try_lock(descriptor: int) -> bool:
    """Lock an open file if nobody holds it; false too on a file system that knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(root: Path, files: Iterable[Path]) -> str:
    """Hexadecimal SHA-256 over the names (relative to `root`) and contents of `files`."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(f"{file.relative_to(root).as_posix()}\0{sha256(file)}\n".encode())
    return total.hexdigest()


def source_digest(package: str) -> str:
    """SHA-256 over the source files of one installed import package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no package {package}")
    root = Path(spec.origin).parent
    return sha256_tree(root, (file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts))


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
