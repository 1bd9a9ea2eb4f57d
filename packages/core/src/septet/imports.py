"""Which source files a module runs: what the workflow reruns a job for is what its program imports."""

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from septet.errors import InputError

IMPORT = re.compile(r"^(?:from ([\w.]+) )?import (?:\(([^)]*)\)|(.+))", re.MULTILINE)
"""An import at the top of a file: ten times as fast as `ast`, and the workflow reads every module when it starts."""


def files_of(modules: Iterable[str], roots: Sequence[Path]) -> list[Path]:
    """The files of modules and of all that they import, as far as these lie below `roots`; sorted.

    Imports at the top of a file count, as they run with it. Those inside a function or below `if TYPE_CHECKING` do not:
    a verb imports so what another verb needs.

    Args:
        modules: dotted names.
        roots: folders that hold packages.

    Raises:
        InputError: one of `modules` is not below `roots`.
    """
    found: dict[str, Path] = {}
    open_ends, places = list(modules), tuple(roots)
    for name in open_ends:
        if _file(name, places) is None:
            raise InputError("packages", expected=f"the module {name}", found="none")
    while open_ends:
        name = open_ends.pop()
        for part in itertools.accumulate(name.split("."), "{}.{}".format):  # the packages that hold it run first
            if part not in found and (file := _file(part, places)) is not None:
                found[part] = file
                open_ends += _imported(file)
    return sorted(found.values())


@cache
def _file(name: str, roots: tuple[Path, ...]) -> Path | None:
    for root in roots:
        place = root.joinpath(*name.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


@cache
def _imported(file: Path) -> list[str]:
    """Names that a file imports at its top; what `from x import y` brings may be a module or not."""
    modules = []
    for package, several, names in IMPORT.findall(file.read_text(encoding="utf-8")):
        words = (part.partition("#")[0].split(" as ")[0].strip() for part in (several or names).split(","))
        modules += [f"{package}.{word}" if package else word for word in words if word]
        modules += [package] if package else []
    return modules
