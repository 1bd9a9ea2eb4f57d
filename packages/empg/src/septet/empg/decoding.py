"""What makes a step of decoding fast on a processor: a cache with spare room, and weights in the kernel's layout.

A decoding step multiplies a few rows with every weight, so it takes as long as reading the weights. oneDNN reorders
bfloat16 weights in every product, which doubles that time; `packed` reorders them once. The results are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

from septet import processor

SMALLEST = 1 << 18
"""Weights of a layer below which reordering them gains nothing."""


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer in arrays with spare room: a new token is written without copying the earlier ones."""

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
    """Reorder the weights of a bfloat16 model for products with about `rows` rows, as long as the context lasts.

    The reordered weights are a second copy, and do not follow a change of the weights inside the context. Does nothing
    on a GPU, for float32, and where the processor has no instructions for bfloat16.
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
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)
            layer.__dict__["forward"] = _product(weight, layer.bias)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _product(weight: Tensor, bias: Tensor | None) -> Any:
    """The forward pass of a layer with reordered weights."""
    return lambda rows: torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
