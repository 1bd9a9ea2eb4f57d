"""Seeds in lockstep, each computed by itself: a seed gives the same bits alone and in any batch.

One operation on all seeds rounds by their number: a batched product chooses its kernel by it, MKL looks at where in
memory a matrix begins, and a vector loop ends with scalar code at other places.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor


def own(x: Tensor, s: int) -> Tensor:
    """What seed `s` has (1, ...) of x (S, ...), in memory of its own, which begins where torch aligns it."""
    return x[s : s + 1].clone(memory_format=torch.contiguous_format)


def each_seed(compute: Callable[..., Iterable[Tensor]], *arguments: Tensor) -> tuple[Tensor, ...]:
    """Results (S, ...) of a computation on one seed's arguments (1, ...), for arguments (S, ...)."""
    found = [compute(*(own(x, s) for x in arguments)) for s in range(len(arguments[0]))]
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def square_root(x: Tensor) -> Tensor:
    """The square root, correctly rounded, of a tensor that no gradient flows through.

    PyTorch's is MKL's: it is off by a unit in the last place in 1 of 70 numbers on Intel's processors, and elsewhere on
    AMD's, whose approximation of 1 / sqrt(x) is another one.
    """
    return torch.from_numpy(np.sqrt(x.numpy()))
