"""Functions compiled by numba, cached between processes by the digest of their package's sources.

Numba's own cache looks at the file of a function alone: edit a compiled function that another file
calls, and the caller goes on with the old one. Here the cache folder carries the digest of the whole
package, so an edit anywhere in it compiles anew. Needs numba, which core itself does not.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from septet.files import source_digest

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, reassociate: bool = False, nogil: bool = False) -> Callable[[Function], Function]:
    """Decorator: compile a function of arrays and numbers at its first call.

    Args:
        reassociate: let the compiler reorder sums, so that it can vectorise them. The same machine
            still gives the same bits; another kind of processor may differ in the last ones.
        nogil: let other Python threads run meanwhile.
    """

    def decorate(function: Function) -> Function:
        import numba

        config: Any = numba.config  # its attributes are made at run time
        before = config.CACHE_DIR
        config.CACHE_DIR = str(cache_folder(function.__module__.partition(".")[0]))
        try:
            options = {"contract", "reassoc"} if reassociate else False
            dispatcher: Any = numba.njit(cache=True, fastmath=options, nogil=nogil)(function)
        finally:
            config.CACHE_DIR = before
        return cast(Function, dispatcher)

    return decorate


@functools.cache
def cache_folder(package: str) -> Path:
    """Cache folder of a package: below SEPTET_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(os.environ.get("SEPTET_CACHE") or Path(home) / "septet")
    return root / "numba" / f"{package}-{source_digest(package)[:16]}"
