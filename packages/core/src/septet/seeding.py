"""Named random streams from one root seed."""

import hashlib
import json

import numpy as np


def stream(root: int, *name: str | int) -> np.random.Generator:
    """Return the random stream called `name` under the root seed.

    The stream is a Philox generator whose 128-bit key is a hash of ``(root, *name)``. Streams are
    independent of each other and of the order in which they are asked for, so a new consumer
    moves no other stream, and seed `i` draws the same numbers alone or in a batch.

    Args:
        root: the root seed of the run.
        name: the path of the stream, e.g. ``("reward", task, seed, chunk)``.
    """
    text = json.dumps([root, *name])
    key = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
