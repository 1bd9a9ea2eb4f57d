"""For the tests of packages: does `checkpointed` name all that a job's objects must keep?"""

import sys
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from septet.config import Settings
from septet.state import equal, has_state_property, is_tensor

PLAIN = str | bytes | bool | int | float | complex | np.generic | Settings | None


def forgotten(trained: object, resumed: object, scratch: Collection[str] = ()) -> set[str]:
    """Paths of the attributes, declared or not, in which a resumed object differs from the one that it resumes.

    Train an object, load its state into a second one that was built from the same job, and compare the two: what is
    found is a name missing in `checkpointed`, or scratch.

    Args:
        trained: the object whose state was saved, as it was then; resumed: the one that the state was loaded into.
        scratch: names of attributes that the next iteration writes before it reads them.
    """
    found = _differences(trained, resumed, "", set())
    return {path for path in found if not set(path.split(".")) & set(scratch)}


def _differences(one: Any, other: Any, path: str, seen: set[int]) -> Iterator[str]:
    if one is other or id(one) in seen:
        return
    if type(one) is not type(other):
        yield path
    elif isinstance(one, PLAIN):
        if one != other and not (one != one and other != other):
            yield path
    elif isinstance(one, np.ndarray) or is_tensor(one):
        if not equal(*(np.asarray(x.detach().cpu() if is_tensor(x) else x) for x in (one, other))):
            yield path
    else:
        seen.add(id(one))
        first, second = _parts(one), _parts(other)
        for name in sorted(first.keys() | second.keys(), key=str):
            below = f"{path}.{name}" if path else str(name)
            if name in first and name in second:
                yield from _differences(first[name], second[name], below, seen)
            else:
                yield below


def _parts(node: Any) -> dict[Any, Any]:
    if isinstance(node, dict):
        return node
    if isinstance(node, list | tuple):
        return dict(enumerate(node))
    if isinstance(node, np.random.Generator):
        return dict(node.bit_generator.state)
    if has_state_property(node):
        return dict(node.state)
    if type(node).__module__.partition(".")[0] in sys.stdlib_module_names:
        return {}  # functions, threads, locks, weak references
    return dict(getattr(node, "__dict__", {}))
