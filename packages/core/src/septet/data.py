"""Find, check and download data sets, which are never part of the repository."""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from septet.config import Settings
from septet.errors import DataUnavailable, InputError
from septet.files import replacing, sha256
from septet.reading import is_file, readable


class Source(Settings):
    """One file of a data set: its path below `data_dir`, and its public address."""

    name: str
    file: str
    """Path below `data_dir`."""
    sha256: str
    url: str
    """Pinned public address; the file there may be of another format than `file`."""
    url_sha256: str


def data_dir(configured: str | None) -> Path | None:
    """Return the folder of data sets: the configuration key `data_dir`, else the environment's SEPTET_DATA."""
    chosen = configured or os.environ.get("SEPTET_DATA")
    return Path(chosen) if chosen else None


def locate(source: Source, folder: Path | None, downloads: Path, timeout: float = 30.0) -> Path:
    """Return the checked file of `source`: from `folder` if one is given, otherwise downloaded once.

    Raises:
        InputError: `folder` is given but lacks the file, or a checksum is wrong.
        DataUnavailable: no `folder` was given and the public address did not answer.
    """
    if folder is not None:
        local = folder / source.file
        if not is_file(local):
            raise InputError(f"data_dir {folder}", expected=f"the file {source.file}", found="no such file")
        _check(local, source.sha256)
        return local
    copy = downloads / source.url.rsplit("/", 1)[-1]
    if not is_file(copy):
        with replacing(copy) as temporary:
            _download(source, temporary, timeout)
            _check(temporary, source.url_sha256, shown=source.url)
    _check(copy, source.url_sha256)
    return copy


def _download(source: Source, target: Path, timeout: float) -> None:
    try:
        with urllib.request.urlopen(source.url, timeout=timeout) as reply, target.open("wb") as file:
            while block := reply.read(1 << 20):
                file.write(block)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise DataUnavailable(
            f"data set {source.name}",
            expected=f"SEPTET_DATA, or an answer from {source.url}",
            found=str(error),
        ) from None


def _check(file: Path, expected: str, shown: str | None = None) -> None:
    with readable(file):
        found = sha256(file)
    if found != expected:
        raise InputError(shown or str(file), expected=f"SHA-256 {expected}", found=found)
