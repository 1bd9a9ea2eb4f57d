"""What `train` asks of a method: one iteration at a time, with a state that can be saved."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Iteration:
    """What one iteration left to write down."""

    steps: Array
    """Environment steps (S,) taken in it."""
    scores: dict[str, Array]
    """Metric -> value (S,); `return` and `episodes` among them; NaN in `return` where no episode ended."""
    seconds: dict[str, float]
    """Phase (collect, learn, broadcast) -> wall time."""


class Learner(Protocol):
    """A method on a task, all seeds in lockstep."""

    iterations: int
    """Iterations of the whole job."""

    @property
    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that the next iteration depends on."""

    @state.setter
    def state(self, saved: dict[str, NDArray[np.generic]]) -> None: ...

    def iterate(self, iteration: int) -> Iteration:
        """Collect, learn, broadcast. Raises NotFinite when a loss or a parameter is no number."""

    def close(self) -> None:
        """Let go of environments and processes."""


class NotFinite(ArithmeticError):
    """A tensor holds a value that is not finite; the message names it, the iteration and the seed."""


def check_finite(name: str, values: NDArray[np.floating[Any]], iteration: int, seeds: list[int]) -> None:
    """Raise NotFinite unless `values` (S, ...) are all finite."""
    bad = ~np.isfinite(values).reshape(len(seeds), -1).all(1)
    if bad.any():
        seed = seeds[int(np.argmax(bad))]
        raise NotFinite(f"iteration {iteration}: {name} is not finite (seed {seed}); the last good state is kept")
