"""Masks as TRL, verl and tokenizers make them: booleans, integers or floats of any width, padding on either side, gaps.

A mask is turned into booleans once, at the edge of a public function. What it leaves out is replaced by 0 instead of
multiplied by 0: log-probabilities on padding may be -inf or NaN, and 0 times those is NaN. Arithmetic is at least
float32: in float16 a sum of ones stops being exact at 2,048 and overflows at 65,504.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from septet.errors import InputError


def as_booleans(mask: Tensor, shape: Sequence[int | None]) -> Tensor:
    """The mask as booleans, detached; the mask itself if it is boolean already.

    Args:
        mask: 0 and 1 of any dtype.
        shape: the shape it must have; none for an axis of any length.

    Raises:
        InputError: no tensor, another shape, or a value other than 0 and 1 (NaN too).
    """
    matching("mask", mask, shape)
    if mask.dtype == torch.bool:
        return mask
    mask = mask.detach()
    kept = mask == 1
    odd = ~(kept | (mask == 0))
    if odd.any():
        raise InputError("mask", expected="0 and 1 only", found=mask[odd][0].item())
    return kept


def working(*arrays: Tensor | None) -> torch.dtype:
    """The type in which arrays are computed with: float32, or float64 if one of them has it."""
    wide = any(isinstance(array, Tensor) and array.dtype == torch.float64 for array in arrays)
    return torch.float64 if wide else torch.float32


def where_counted(counted: Tensor, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Values where `counted` is true, else exactly 0, with a gradient of 0."""
    values = values.to(dtype or working(values))
    return torch.where(counted, values, torch.zeros((), dtype=values.dtype, device=values.device))


def matching(name: str, values: Tensor, shape: Sequence[int | None]) -> Tensor:
    """The values, if they have the shape; none stands for an axis of any length. Raises InputError."""
    if not isinstance(values, Tensor):
        raise InputError(name, expected="a tensor", found=type(values).__name__)
    if values.dim() != len(shape) or any(n not in (None, m) for n, m in zip(shape, values.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise InputError(name, expected=f"shape ({expected})", found=f"shape {tuple(values.shape)}")
    return values
