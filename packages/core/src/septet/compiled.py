"""Functions compiled by numba, cached between processes by the digest of their package's sources.

Numba's own cache looks at the file of a function alone: edit a compiled function that another file
calls, and the caller keeps using the old one. Here the cache folder carries the digest of the whole
package, so an edit anywhere in it compiles again. Needs numba, which core itself does not.
"""

import functools
import hashlib
import importlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from septet.cache import cache_root
from septet.errors import InputError
from septet.files import source_digest

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(
    *, reassociate: bool = False, nogil: bool = False, uses: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Decorator: compile a function of arrays and numbers at its first call.

    A cache that cannot be written or read costs time, never the call.

    Args:
        reassociate: let the compiler reorder sums, so that it can vectorise them. The same machine
            still gives the same bits; another kind of processor may differ in the last ones.
        nogil: let other Python threads run meanwhile.
        uses: our other packages whose compiled functions it calls: an edit there compiles it again too.
    """

    def decorate(function: Function) -> Function:
        import numba

        options = {"pipeline_class": _reassociating()} if reassociate else {}
        dispatcher: Any = numba.njit(nogil=nogil, **options)(function)
        folder = cache_folder(_package(function.__module__), *uses)
        if folder is not None:
            dispatcher._cache = _cache(function, folder)
        return cast(Function, dispatcher)

    return decorate


@functools.cache
def _reassociating() -> Any:
    """Numba's compiler, with fast-math for the function itself and not for those of numba that it calls.

    Numba's option `fastmath` reaches them too, and compiles each of them once: the first caller in a process would
    decide for all, so that a function's machine code would depend on what was compiled before it.
    """
    compiler: Any = importlib.import_module("numba.core.compiler")
    rewrite: Any = importlib.import_module("numba.core.fastmathpass").rewrite_module
    flags: Any = importlib.import_module("numba.core.cpu_options").FastMathOptions({"contract", "reassoc"})

    class Reassociating(compiler.Compiler):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            target = self.state.targetctx  # this function's; those of what it calls are copies
            finish = target.post_lowering

            def post_lowering(module: Any, library: Any) -> None:
                if library is self.state.library:
                    rewrite(module, flags)
                finish(module, library)

            target.post_lowering = post_lowering

    return Reassociating


def _package(module: str) -> str:
    """The import package of a module: ``septet.dynts`` of ``septet.dynts.filter``, ``septet`` of ``septet.seeding``."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "septet" and len(parts) > 2 else parts[0]


@functools.cache
def cache_folder(package: str, *uses: str) -> Path | None:
    """Cache folder of a package that calls others'; none if no folder takes a file, or a package has no sources."""
    if (root := cache_root()) is None:
        return None
    try:
        digests = [source_digest(name)[:16] for name in (package, *uses)]
    except InputError:
        return None
    return root / "numba" / "-".join([package, *digests])


class _Locator:
    """Where numba finds the cache of one function; its own locators want a source file, which a zip has not."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._folder = folder / function.__module__
        self._line = function.__code__.co_firstlineno

    def from_function(self, function: object, file: str) -> "_Locator":
        return self

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return ""  # the folder's name has the digest

    def get_disambiguator(self) -> str:
        return str(self._line)


def _cache(function: Callable[..., Any], folder: Path) -> Any:
    """Numba's cache of a function in `folder`, to which no file can do harm: damaged ones are compiled again."""
    caching: Any = importlib.import_module("numba.core.caching")

    class Where(caching.CompileResultCacheImpl):  # type: ignore[misc]
        _locator_classes = [_Locator(function, folder)]

    class Checked(caching.IndexDataCacheFile):  # type: ignore[misc]
        """Data files begin with their SHA-256: machine code with a flipped bit would run."""

        def _save_data(self, name: str, data: object) -> None:
            content: bytes = self._dump(data)
            with self._open_for_write(self._data_path(name)) as file:
                file.write(hashlib.sha256(content).digest() + content)

        def _load_data(self, name: str) -> object:
            content = Path(self._data_path(name)).read_bytes()
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ValueError(f"{name} is damaged")
            return pickle.loads(content[32:])

    class Cache(caching.FunctionCache):  # type: ignore[misc]
        _impl_class = Where

        def __init__(self) -> None:
            super().__init__(function)
            self._cache_file = Checked(self._cache_path, self._impl.filename_base, "")

        def load_overload(self, signature: object, context: object) -> object:
            try:
                return super().load_overload(signature, context)
            except Exception:  # unpickling damage raises anything
                with suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, signature: object, data: object) -> None:
            with suppress(OSError):  # the disk is full, or the folder has become read-only
                super().save_overload(signature, data)

    return Cache()
