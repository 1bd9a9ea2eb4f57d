"""What `train` asks of a method: one iteration at a time; `septet.state` says how its state is declared."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Iteration:
    """What one iteration left to write down."""

    steps: Array
    """Environment steps (S,) taken in it."""
    scores: dict[str, Array]
    """Metric -> value (S,), NaN for no value; `return` and `episodes` among them."""
    seconds: dict[str, float]
    """Phase (collect, learn, broadcast) -> wall time."""


class Learner(Protocol):
    """A method on a task, all seeds in lockstep; its state is all that the next iteration depends on."""

    window: int
    """Environment steps of a seed in an iteration; with whole episodes, at least so many."""
    iterations: int
    """Iterations of the whole job."""

    def iterate(self, iteration: int) -> Iteration:
        """Collect, learn, broadcast. Raises NotFinite when a loss or a parameter is no number."""

    def close(self) -> None:
        """Let go of environments and processes."""
