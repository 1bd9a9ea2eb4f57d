"""What makes a step of decoding fast on a processor: a cache with room to spare, and weights laid out for the kernel.

A decoding step multiplies a few rows with every weight, so that its time is that of reading the weights. oneDNN lays
bfloat16 weights out anew at each product, which doubles it; `packed` keeps them laid out. The results are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

from septet import processor

SMALLEST = 1 << 18
"""Weights of a layer below which laying them out gains nothing."""
_LAID_OUT: "WeakKeyDictionary[nn.Linear, tuple[tuple[int, int], Tensor]]" = WeakKeyDictionary()


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer, in room that grows by half: a token is written, and not all before it copied."""

    keys: Tensor
    values: Tensor
    room: tuple[Tensor, Tensor] | None = None
    """``(R, G, C, D)`` each; `keys` and `values` are its first tokens. None where they are arrays of their own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append ``(R, G, T, D)`` keys and values; all so far are returned."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        start, stop = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self.room is None or self.room[0].shape[2] < stop:
            self.room = _with_room(self.keys, stop + stop // 2), _with_room(self.values, stop + stop // 2)
        for whole, new in zip(self.room, (key_states, value_states), strict=True):
            whole[:, :, start:stop] = new
        self.keys, self.values = (whole[:, :, :stop] for whole in self.room)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Give each row `repeats` times."""
        super().batch_repeat_interleave(repeats)
        self.room = None

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        self.room = None


def _with_room(array: Tensor, length: int) -> Tensor:
    """``(R, G, S, D)`` copied to the beginning of an array of `length` tokens."""
    whole = array.new_empty((*array.shape[:2], length, array.shape[3]))
    whole[:, :, : array.shape[2]] = array
    return whole


@contextmanager
def packed(lm: nn.Module, rows: int) -> Iterator[None]:
    """Lay out the weights of a bfloat16 model for products with about `rows` rows, as long as the context lasts.

    What was laid out is kept, as a second copy of the weights, and used again while the weights stay the same. Does
    nothing on a GPU, for float32, and where the processor has no instructions for bfloat16.
    """
    layers = [
        layer
        for layer in lm.modules()
        if type(layer) is nn.Linear
        and layer.weight.dtype == torch.bfloat16
        and layer.weight.device.type == "cpu"
        and layer.weight.numel() >= SMALLEST
    ]
    if not layers or not processor.multiplies_bfloat16() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        yield
        return
    try:
        for layer in layers:
            layer.__dict__["forward"] = _product(_laid_out(layer, rows), layer.bias)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _laid_out(layer: nn.Linear, rows: int) -> Tensor:
    """The weights of a layer, laid out; again if they were changed since."""
    weight = layer.weight
    state = weight.data_ptr(), weight._version
    found = _LAID_OUT.get(layer)
    if found is None or found[0] != state:
        found = state, torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
        _LAID_OUT[layer] = found
    return found[1]


def _product(weight: Tensor, bias: Tensor | None) -> Any:
    """The forward pass of a layer whose weights are laid out."""
    return lambda rows: torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
