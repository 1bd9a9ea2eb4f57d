"""The one check of every training loop: nothing is learned from a value that is not finite."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.errors import NotFinite


def check_finite(
    name: str, values: NDArray[np.floating[Any]], step: int, seeds: Sequence[int], unit: str = "iteration"
) -> None:
    """Raise NotFinite unless `values` ``(S, ...)`` of the S seeds are all finite.

    Args:
        name: the tensor, as the message calls it.
        step: where the job is, in `unit`.
    """
    bad = ~np.isfinite(values).reshape(len(seeds), -1).all(1)
    if bad.any():
        raise NotFinite(f"{unit} {step}: {name} is not finite (seed {seeds[int(np.argmax(bad))]})")
