"""Named random streams from one root seed."""

import hashlib
import json

import numpy as np

_ZERO = np.zeros(4, dtype=np.uint64)


def stream(root: int, *name: str | int) -> np.random.Generator:
    """Return the random stream called `name` under the root seed.

    The stream is a Philox generator whose 128-bit key is a hash of ``(root, *name)``. Streams are
    independent of each other and of the order in which they are asked for, so a new consumer
    moves no other stream, and seed `i` draws the same numbers alone or in a batch.

    Args:
        root: the root seed of the run.
        name: the path of the stream, e.g. ``("reward", task, seed, chunk)``.
    """
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(root, name), "little")))


def restart(generator: np.random.Generator, root: int, *name: str | int) -> np.random.Generator:
    """Turn a generator that `stream` made into ``stream(root, *name)`` and return it.

    Same numbers, at a fifth of the cost: making a generator asks the system for entropy first. For
    those who need thousands of short streams, one after the other.
    """
    generator.bit_generator.state = {
        "bit_generator": "Philox",
        "state": {"counter": _ZERO, "key": np.frombuffer(_digest(root, name), "<u8")},
        "buffer": _ZERO,
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    return generator


def _digest(root: int, name: tuple[str | int, ...]) -> bytes:
    return hashlib.blake2b(json.dumps([root, *name]).encode(), digest_size=16).digest()
