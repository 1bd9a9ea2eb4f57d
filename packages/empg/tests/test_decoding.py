"""Decoding with room to spare and weights laid out gives what the library's cache and layers give, to the last bit."""

import numpy as np
import pytest
import torch
from empg_helpers import llama
from torch import nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from septet import processor
from septet.empg import attention, decoding, sample
from septet.empg.decoding import RoomyLayer, packed
from septet.empg.sample import generate


def test_a_roomy_layer_holds_what_a_dynamic_one_holds():
    """Tokens come one by one and several at a time; rows are repeated and dropped in between."""
    rng = torch.Generator().manual_seed(1)
    mine, theirs = RoomyLayer(), DynamicLayer()
    for step in range(40):
        rows = 2 if step < 5 else 6 if step < 20 else 3
        new = [torch.randn(rows, 2, 7 if step in (0, 30) else 1, 4, generator=rng) for _ in range(2)]
        for own, other in zip(mine.update(*new), theirs.update(*new), strict=True):
            assert torch.equal(own, other)
        if step == 4:
            mine.batch_repeat_interleave(3)
            theirs.batch_repeat_interleave(3)
        if step == 19:
            for layer in (mine, theirs):
                layer.batch_select_indices(torch.tensor([0, 3, 5]))
        assert mine.get_seq_length() == theirs.get_seq_length()


def test_a_token_does_not_copy_those_before_it():
    layer = RoomyLayer()
    layer.update(torch.zeros(1, 1, 8, 4), torch.zeros(1, 1, 8, 4))
    layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    place = layer.keys.data_ptr()
    for _ in range(4):  # room for 13 tokens
        layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
        assert layer.keys.data_ptr() == place


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_completions_are_those_of_the_library(dtype, monkeypatch):
    """Real-valued weights, ragged prompts, rows dropped: the same tokens and log-probabilities, bit for bit."""
    lm = llama().to(dtype)
    monkeypatch.setattr(decoding, "SMALLEST", 1)
    if dtype == torch.bfloat16:
        lm.set_attn_implementation(attention.NAME)
    uniforms = np.random.default_rng(0).random((8, 30), dtype=np.float32)
    options = {"samples": 2, "limit": 30, "eos": 3, "pad": 0, "uniforms": uniforms, "drop": 0.1}
    prompts = [[1, 5, 6, 7], [1, 8], [1, 9, 10], [1, 4]]
    with packed(lm, 8):
        mine = generate(lm, prompts, **options)
    monkeypatch.setattr(sample, "RoomyLayer", DynamicLayer)
    theirs = generate(lm, prompts, **options)
    assert torch.equal(mine.tokens, theirs.tokens) and torch.equal(mine.log_pi, theirs.log_pi)
    assert type(DynamicCache(config=lm.config).layers[0]) is DynamicLayer  # what is replaced


def test_weights_are_reordered_for_the_time_of_the_context(monkeypatch):
    """Where the processor multiplies bfloat16; elsewhere layers stay as they are."""
    layer = nn.Linear(64, 96, dtype=torch.bfloat16)
    monkeypatch.setattr(decoding, "SMALLEST", 1)
    rows = torch.randn(5, 64, dtype=torch.bfloat16)
    able = processor.multiplies_bfloat16() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for factor in (1.0, 2.0):  # as an update between two iterations does, in the same memory
        with torch.no_grad():
            layer.weight.mul_(factor)
        with torch.inference_mode():
            expected = layer(rows)
            with packed(layer, 5):
                assert ("forward" in layer.__dict__) == able
                assert torch.equal(layer(rows), expected)
    with pytest.raises(KeyboardInterrupt), packed(layer, 5):
        raise KeyboardInterrupt
    assert "forward" not in layer.__dict__


def test_attention_is_in_float32_where_it_is_trained(monkeypatch):
    """The sampler's passes are as they come; those with a gradient, or compared with them, are float32 inside."""
    seen = []
    monkeypatch.setattr(
        attention, "scaled_dot_product_attention", lambda q, k, v, *_, **__: seen.append((q.dtype, k.dtype)) or q
    )
    query, key = (torch.randn(1, heads, 3, 4, dtype=torch.bfloat16) for heads in (4, 2))
    for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with context():
            attention.attend(nn.Identity(), query, key, key, None)
    assert seen == [(torch.float32,) * 2, (torch.float32,) * 2, (torch.bfloat16,) * 2]


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_rows_that_are_drawn_some_at_a_time_are_those_drawn_together(monkeypatch, greedy, temperature):
    logits = torch.randn(7, 50, generator=torch.Generator().manual_seed(2)).bfloat16()
    uniform = None if greedy else torch.rand(7, generator=torch.Generator().manual_seed(3))
    whole = sample.choose(logits, temperature, uniform)
    monkeypatch.setattr(sample, "IN_CACHE", 150)  # three rows at a time, and one at the end
    for own, other in zip(sample.choose(logits, temperature, uniform), whole, strict=True):
        assert torch.equal(own, other)
    log_p = torch.log_softmax(logits.float() / temperature, -1)
    assert torch.equal(whole[1], log_p.gather(-1, whole[0][:, None])[:, 0])
