"""Attention of bfloat16 models on a processor: in float32 where it is trained, as it comes where it is sampled.

torch takes up to fifteen times as long for the gradient of attention in bfloat16 as in float32, and half the time for
its forward pass, without a copy of the cache. Passes that are compared with trained ones are in float32 too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

NAME = "float32"


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as `transformers` asks for it, without dropout.

    Args:
        module: the layer; not used.
        query: ``(R, H, T, D)``.
        key, value: ``(R, G, S, D)``; each of the G serves H / G heads.
        attention_mask: ``(R, 1, T, S)`` booleans, or none: a single token sees all, several see their past.
        scaling: of the products; none for ``D ** -0.5``.

    Returns:
        ``(R, T, H, D)`` in the type of `query`.
    """
    rows, heads, width, size = query.shape
    shared = key.shape[1]
    if attention_mask is None and width > 1 and key.shape[2] != width:
        attention_mask = torch.ones(width, key.shape[2], dtype=torch.bool).tril(key.shape[2] - width)
    q, k, v = query, key, value
    if not torch.is_inference_mode_enabled():
        q, k, v = q.float(), k.float(), v.float()
    if width == 1:  # the heads that share keys take the place of tokens: nothing is copied
        q = q.reshape(rows, shared, heads // shared, size)
    elif heads > shared:
        k, v = (array.repeat_interleave(heads // shared, 1) for array in (k, v))
    causal = attention_mask is None and width > 1
    found = scaled_dot_product_attention(q, k, v, attention_mask, is_causal=causal, scale=scaling)
    return found.reshape(rows, heads, width, size).transpose(1, 2).to(query.dtype), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
