"""Files that are whole or absent, and digests of files."""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from septet.errors import InputError, NotWritten

SOURCE_SUFFIXES = set(
    ".conf .css .csv .html .j2 .js .json .npy .npz .parquet .py .safetensors .so .toml .txt .typed .yaml".split()
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path` in one step.

    The data reach the disk before the name does (fsync, rename, fsync of the folder), so a reader
    sees the old file or the new one and never a part. On an exception `path` is left as it was. While
    this process lives it holds a lock on the temporary file, by which `sweep` knows what a killed one left.

    Raises:
        NotWritten: the machine did not take the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _writing(path):
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


@contextmanager
def replacing_folder(path: Path, scratch: Path) -> Iterator[Path]:
    """Yield an empty folder in `scratch`; on success it takes the place of the folder `path`, all files at once.

    The files reach the disk first. What was at `path` is moved to `scratch`, whose owner removes it: killed in between,
    a job leaves the old folder, the new one or none, never a mixture.

    Args:
        path: the folder to make.
        scratch: a folder on the same file system that one process writes to.

    Raises:
        NotWritten: the machine did not take the files.
    """
    made, old = scratch / f"{path.name}.new", scratch / f"{path.name}.old"
    with _writing(path):
        for stale in (made, old):
            if stale.exists():
                shutil.rmtree(stale)
        made.mkdir(parents=True)
        yield made
        for folder, _, names in os.walk(made):
            for name in names:
                _flush_to_disk(Path(folder, name))
            _flush_to_disk(Path(folder))
        if path.is_dir() and not path.is_symlink():
            path.rename(old)
        made.rename(path)
        _flush_to_disk(path.parent)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into `NotWritten`."""
    try:
        yield
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
    """Lock an open file if nobody holds it; also false on a file system without lock support."""
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


def sha256_tree(files: Mapping[str, Traversable]) -> str:
    """Hexadecimal SHA-256 over the names (paths inside a folder) and contents of files."""
    total = hashlib.sha256()
    for name in sorted(files, key=lambda name: PurePosixPath(name).parts):
        total.update(f"{name}\0{hashlib.sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def checkout() -> Path | None:
    """The checkout that this package lies in, or the part of it that a container image holds; none where there is none.

    An image has packages/ and requirements.lock, and no workflow/.
    """
    return next((folder for folder in Path(__file__).parents if (folder / "requirements.lock").is_file()), None)


def is_source(name: str) -> bool:
    """Whether a file of a package, by its path inside, is one of its sources: code, or data that code reads.

    What editors, file managers and file systems leave next to them is not: ``.train.py.swp``, ``.#train.py``,
    ``train.py~``, ``train.py.orig``, ``.DS_Store``, ``.nfs0001``, anything in ``__pycache__`` or a hidden folder.
    """
    path = PurePosixPath(name)
    aside = any(part.startswith((".", "#")) or part == "__pycache__" for part in path.parts)
    return path.suffix in SOURCE_SUFFIXES and not aside


def source_digest(package: str) -> str:
    """SHA-256 over the names and contents of the sources of one import package, in a folder or in a zip.

    The package is not imported.

    Args:
        package: its import name; ``"septet"``, a namespace, stands for its own modules alone.

    Raises:
        ModuleNotFoundError: there is no such package.
        InputError: its sources are not there, as where only bytecode is shipped.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package}")
    below = spec.origin is not None
    folders = [_folder(Path(place)) for place in spec.submodule_search_locations]
    files = {name: file for folder in folders for name, file in _files_in(folder, below=below)}
    sources = {name: file for name, file in files.items() if is_source(name)}
    if not any(name.endswith(".py") for name in sources):
        place = ", ".join(spec.submodule_search_locations)
        raise InputError(place, expected=f"the sources of the package {package}, in a folder or a zip", found="none")
    return sha256_tree(sources)


def _folder(path: Path) -> Traversable:
    """A folder on disk, or the one inside a zip that `path` goes through."""
    if path.is_dir():
        return path
    archive = next(above for above in path.parents if above.is_file())
    return zipfile.Path(archive, f"{path.relative_to(archive).as_posix()}/")


def _files_in(folder: Traversable, above: str = "", *, below: bool = True) -> Iterator[tuple[str, Traversable]]:
    """Each file in a folder that may lie in a zip, and below it, by its path; links to folders are not followed."""
    for entry in folder.iterdir():
        if entry.is_file():
            yield above + entry.name, entry
        elif below and entry.is_dir() and not (isinstance(entry, Path) and entry.is_symlink()):
            yield from _files_in(entry, f"{above}{entry.name}/")


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
