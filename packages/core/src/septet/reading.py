"""Files and folders from outside: one line if they cannot be read; YAML and JSON safe, each key once, of sane size."""

import contextlib
import errno
import json
import math
import re
import stat
import sys
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from septet.errors import InputError, NotWritten

LIMIT = 10_000_000
"""Bytes of a configuration; no experiment needs a hundredth of it."""
LIMIT_JSON = 1_000_000_000
"""Bytes of a JSON file that a run wrote."""
NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What neither a file name nor a table can hold: NUL, and half of a surrogate pair."""
BROKEN = (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError)
"""What a parser may raise; of values too: 2013-99-99, !!bool x."""


@contextlib.contextmanager
def readable(path: Path, expected: str = "a readable file") -> Iterator[None]:
    """Turn what the operating system says while `path` is read into one line.

    Raises:
        InputError: the file or folder is missing, may not be read, or the disk fails.
    """
    try:
        yield
    except NotWritten:
        raise
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else path
        raise InputError(str(where), expected=expected, found=error.strerror or str(error)) from None


def is_file(path: Path) -> bool:
    """Whether there is such a file. Raises InputError if a folder above it may not be entered."""
    with readable(path):
        return path.is_file()


def is_folder(path: Path) -> bool:
    """Whether there is such a folder. Raises InputError if a folder above it may not be entered."""
    with readable(path, "a readable folder"):
        return path.is_dir()


def entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted by name. Raises InputError if there is no such folder or it may not be read."""
    with readable(folder, "a readable folder"):
        return sorted(folder.iterdir())


def walk(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; symbolic links are followed, and no folder is visited twice.

    Where a folder can be reached both directly and through a link, its files are listed below the folder itself.

    Raises:
        InputError: the folder, or one below it, is missing or may not be read.
    """
    files: list[Path] = []
    links: list[Path] = []
    seen: set[tuple[int, int]] = set()
    left = [folder]
    while left or links:
        here = left.pop() if left else links.pop(0)
        with readable(here, "a readable folder"):
            try:
                status = here.stat()
                known = (status.st_dev, status.st_ino) in seen
                seen.add((status.st_dev, status.st_ino))
                found = [] if known else sorted(here.iterdir())
            except FileNotFoundError:
                if here == folder:
                    raise
                continue  # a job that ended took it away
            for path in found:
                try:
                    kind = path.stat().st_mode
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ELOOP):
                        continue  # gone by now, or a link that leads nowhere
                    raise
                if stat.S_ISDIR(kind):
                    (links if path.is_symlink() else left).append(path)
                elif stat.S_ISREG(kind):
                    files.append(path)
    return sorted(files)


class Once(yaml.SafeLoader):
    """Safe YAML with unique keys and without merges.

    The plain loader lets the last of two equal keys win without a word, and a few nested merges fill the memory.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As `SafeLoader` does, after a look at the keys."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "a merge", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} again", key.start_mark)
            if name is not None:
                seen.add(name)
        return super().construct_mapping(node, deep)


class Quoting(yaml.SafeDumper):
    """Safe YAML that `Once` reads back: text that looks like a number is quoted."""


for _side in (Once, Quoting):
    _side.add_implicit_resolver(  # 1e-4 is a number, as in YAML 1.2 and JSON; YAML 1.1 wants a dot
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+"),
        list("-+.0123456789"),
    )


def read_mapping(source: str) -> dict[str, Any]:
    """Read one YAML or JSON mapping from a file, or from standard input if `source` is ``-``.

    Raises:
        InputError: the file is missing, is not text or not YAML, or does not hold a mapping.
    """
    where = "standard input" if source == "-" else source
    data = _read(source, where, LIMIT, "YAML or JSON", _yaml)
    if not isinstance(data, dict):
        raise InputError(where, expected="a mapping of keys to values", found=data)
    return data


def read_json(path: Path, expected: str) -> Any:
    """Read one JSON file.

    Args:
        expected: what the file ought to be, for the message.

    Raises:
        InputError: the file is missing, is not text or not JSON, repeats a key, or holds NaN or an infinite number.
    """
    return _read(str(path), str(path), LIMIT_JSON, expected, parse_json)


def parse_json(text: str) -> Any:
    """Parse JSON text; ValueError (or RecursionError) if it is not JSON or `read_json` would reject it."""
    return json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_finite)


def parse_yaml(text: str, where: str) -> Any:
    """Read one value in YAML from `text`.

    Raises:
        InputError: `text` is not YAML, or repeats a key.
    """
    return _parse(_yaml, text, where, "YAML")


def parse_scalar(text: str) -> Any:
    """The number, truth value or null that `text` is in YAML; any other text as it is."""
    loader: Any = Once("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    kinds = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null")}
    return _yaml(text) if tag in kinds else text


def _yaml(text: str) -> Any:
    loader = Once(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _read(source: str, where: str, limit: int, expected: str, parse: Callable[[str], Any]) -> Any:
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise InputError(where, expected=f"at most {limit:,} bytes", found="more")
        text = content.decode("utf-8")
    except OSError as error:
        raise InputError(where, expected="a readable file", found=error.strerror or str(error)) from None
    except (ValueError, AttributeError) as error:  # of a name with NUL and a closed standard input too
        raise InputError(where, expected="UTF-8 text", found=getattr(error, "reason", str(error))) from None
    return _parse(parse, text, where, expected)


def _parse(parse: Callable[[str], Any], text: str, where: str, expected: str) -> Any:
    try:
        data = parse(text)
    except BROKEN as error:
        said = str(error).replace(' in "<unicode string>",', " at")
        raise InputError(where, expected=expected, found=said) from None
    left, seen = [data], set[int]()
    while left:
        value = left.pop()
        if isinstance(value, str):
            if NO_TEXT.search(value):
                raise InputError(where, expected="text without NUL and lone surrogates", found=ascii(value))
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))  # YAML's aliases may make a ring, or a tree of a billion leaves
            left.extend(value)
            left.extend(value.values() if isinstance(value, dict) else ())
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)} again")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text}, which is not a JSON number")
    return value
