"""Random numbers by step: drawn in chunks from named streams, so that no generator has to be saved."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from septet.seeding import stream

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
CHUNK = 256  # steps: long enough that making a generator costs nothing, short enough to stay in the cache


class Draws:
    """One draw per step and seed, a pure function of the step.

    Chunk `c` of seed `s` is ``draw(stream(root, *name, s, c), (CHUNK, *shape))``, so the numbers depend
    neither on which seeds run beside nor on where a resumed run begins.

    Args:
        draw: numbers of the asked shape from a generator, e.g. ``np.random.Generator.standard_normal``.
        root: root seed.
        name: name of the stream, before seed and chunk.
        seeds: the S seeds.
        shape: shape of one seed's draw at one step.
    """

    def __init__(
        self, draw: Draw, root: int, name: Sequence[str | int], seeds: Sequence[int], shape: tuple[int, ...]
    ) -> None:
        self._draw, self._root, self._name, self._seeds = draw, root, tuple(name), tuple(seeds)
        self._numbers = np.empty((CHUNK, len(self._seeds), *shape))
        self._chunk = -1

    def at(self, step: int) -> NDArray[np.float64]:
        """The draws ``(S, *shape)`` of a step (a view: copy what is to be kept)."""
        chunk, row = divmod(step, CHUNK)
        if chunk != self._chunk:
            for index, seed in enumerate(self._seeds):
                shape = (CHUNK, *self._numbers.shape[2:])
                self._numbers[:, index] = self._draw(stream(self._root, *self._name, seed, chunk), shape)
            self._chunk = chunk
        return self._numbers[row]
