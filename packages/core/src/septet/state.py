"""The state of an unfinished job as named arrays, the content of a checkpoint.

A class lists the attributes that are its state::

    class Agent:
        checkpointed = ("networks", "updates")

`state_dict` collects their arrays under flat names (``agent/networks/actor``), and `load_state_dict` puts them into an
object that was built from the same configuration, as PyTorch's methods of these names do for modules.

State may be: arrays, tensors, numbers, None; dicts, lists, tuples, named tuples and dataclasses of state; objects with
`checkpointed`; and objects with a property `state` of named arrays, for state outside attributes: shared memory,
environments in other processes, a ring buffer whose filled part is kept. `septet.testing` finds forgotten names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.checkpoint import Arrays
from septet.errors import NoState

NUMBERS = bool | int | float | np.generic
LENGTH = "length"
"""A list is saved with its length, as an item that is None or empty has no arrays."""


def state_dict(node: Any, partial: bool = False) -> Arrays:
    """Return the arrays of `node` by name. They are not copies: write or copy them before the node changes.

    Args:
        partial: leave out parts that cannot return their state.

    Raises:
        TypeError: a part does not declare its state.
        NoState: a part cannot return its state.
    """
    return _arrays(node, "state", properties=True, partial=partial)


def load_state_dict(node: Any, saved: Mapping[str, NDArray[Any]], partial: bool = False) -> None:
    """Put `saved` back into an object, a dict or a list.

    Mutable parts stay the same objects, so a local variable that refers to a part of the state remains valid after a
    resume. Arrays and tensors of attributes keep shape and type and are filled. Numbers, values that were None when
    built, and arrays in dicts, lists and tuples whose shape has changed are replaced.

    Args:
        partial: parts that `saved` leaves out because they could not return their state stay as they were built.

    Raises:
        TypeError, KeyError: `node` was built differently from what was saved.
        ValueError: a loaded value reads back differently, for example because two parts share an array.
    """
    _load(node, saved, "state", fixed=True, partial=partial)
    for name, array in _arrays(node, "state", properties=False).items():
        if not equal(array, saved[name]):
            raise ValueError(f"state/{name}: expected the loaded value, found another one")


def children(node: Any, where: str) -> dict[str, Any]:
    """The parts of a node of the tree by name. Raises TypeError if it does not declare its state."""
    if isinstance(node, dict):
        for name in node:
            if not isinstance(name, str) or not name or "/" in name:
                raise TypeError(f"{where}: expected names without a slash, found {name!r}")
        return node
    if isinstance(node, list | tuple):
        return dict(zip(getattr(node, "_fields", map(str, range(len(node)))), node, strict=True))
    names: Iterable[str] | None = getattr(node, "checkpointed", None)
    if names is None and is_dataclass(node):
        names = [field.name for field in fields(node)]
    if names is None:
        raise TypeError(f"{where}: expected state, or an object that declares `checkpointed`, found {node!r}")
    return {name: getattr(node, name) for name in names}


def has_state_property(node: Any) -> bool:
    """Return whether an object exposes its state by a property instead of listing attributes."""
    return not hasattr(node, "checkpointed") and isinstance(getattr(type(node), "state", None), property)


def _arrays(node: Any, where: str, properties: bool, partial: bool = False) -> Arrays:
    """As `state_dict`, with or without the arrays of `state` properties."""
    if node is None:
        return {}
    if isinstance(node, NUMBERS | np.ndarray):
        return {"": np.asarray(node)}
    if is_tensor(node):
        return {"": node.detach().cpu().numpy()}
    if has_state_property(node):
        try:
            return dict(node.state) if properties else {}
        except NoState:
            if partial:
                return {}
            raise
    arrays: Arrays = {LENGTH: np.array(len(node))} if isinstance(node, list) else {}
    for name, child in children(node, where).items():
        for key, array in _arrays(child, f"{where}/{name}", properties, partial).items():
            arrays[f"{name}/{key}" if key else name] = array
    return arrays


def _load(node: Any, saved: Mapping[str, NDArray[Any]], where: str, fixed: bool, partial: bool) -> Any:
    """Load a part and return its new value; with `fixed`, an array must keep its shape."""
    if node is None or isinstance(node, NUMBERS | np.ndarray) or is_tensor(node):
        if saved.keys() - {""}:
            raise TypeError(f"{where}: expected the state of a {type(node).__name__}, found {sorted(saved)}")
        return _leaf(node, saved.get(""), where, fixed)
    if has_state_property(node):
        if saved or not partial:
            node.state = {name: np.array(array) for name, array in saved.items()}
        return node
    parts: dict[str, Arrays] = {}
    for path, array in saved.items():
        name, _, key = path.partition("/")
        parts.setdefault(name, {})[key] = array
    built = children(node, where)
    free = isinstance(node, dict | list | tuple) and not hasattr(node, "_fields")
    names: Iterable[str] = built
    if isinstance(node, dict):
        names = [*built, *(name for name in parts if name not in built)]
    elif isinstance(node, list):
        names = map(str, range(int(parts.pop(LENGTH)[""])))
    loaded = {name: _load(built.get(name), parts.pop(name, {}), f"{where}/{name}", not free, partial) for name in names}
    if parts and not isinstance(node, list):
        raise TypeError(f"{where}: expected {sorted(built)}, found {sorted(parts)} too")
    if isinstance(node, dict):
        node.update(loaded)
    elif isinstance(node, list):
        node[:] = loaded.values()
    elif isinstance(node, tuple):
        return type(node)(**loaded) if hasattr(node, "_fields") else tuple(loaded.values())
    else:
        for name, value in loaded.items():
            if value is not built[name]:
                object.__setattr__(node, name, value)  # a frozen dataclass stays the same object too
    return node


def _leaf(node: Any, array: NDArray[Any] | None, where: str, fixed: bool) -> Any:
    if array is None:
        if node is None or isinstance(node, np.ndarray):
            return None
        raise KeyError(f"{where}: expected a value, found none")
    if node is None:
        return array[()] if array.ndim == 0 else np.array(array)
    if isinstance(node, NUMBERS):
        if array.ndim:
            raise TypeError(f"{where}: expected a number, found an array {array.shape}")
        return array[()] if isinstance(node, np.generic) else array.item()
    own = node.detach().cpu().numpy() if is_tensor(node) else node
    if (own.shape, own.dtype) != (array.shape, array.dtype):
        if fixed:
            raise TypeError(
                f"{where}: expected {own.dtype} {own.shape} as built, found {array.dtype} {array.shape}; "
                "keep an array that changes its shape in a list, a dict or a property `state`"
            )
        return node.new_tensor(array) if is_tensor(node) else np.array(array)
    if is_tensor(node):
        node.detach().copy_(node.new_tensor(array))
    elif node.flags.writeable:
        node[...] = array
    else:
        return np.array(array)
    return node


def is_tensor(node: Any) -> bool:
    """Return whether an object is a tensor of PyTorch."""
    return hasattr(node, "new_tensor")  # torch is not a dependency of every package


def equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether arrays have the same type and values; NaN is equal to NaN."""
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
