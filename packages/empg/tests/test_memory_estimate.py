"""The estimate of a batch's memory, against what autograd keeps."""

import numpy as np
import pytest
import torch
from empg_helpers import EXPERIMENTS, job
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from septet.empg import memory_estimate
from septet.empg.memory_estimate import activation_bytes, batch_tokens
from septet.empg.policy import HEAD_ELEMENTS, Policy, checkpoint_layers
from septet.empg.train import Trainer

ROWS, WIDTH = 4, 32


def model(family, wide, dtype, layers=3):
    config, made = family
    small = config(
        vocab_size=50, hidden_size=64, intermediate_size=wide, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    return made(small).to(dtype)


def kept(lm):
    """Bytes per token that the layers' forward pass keeps for the backward pass; weights do not count."""
    own = {weight.untyped_storage().data_ptr() for weight in lm.parameters()}
    arrays = []

    def keep(array):
        arrays.append(array)
        return array

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda array: array):
        ids = torch.zeros(ROWS, WIDTH, dtype=torch.long)
        lm.base_model(input_ids=ids, position_ids=torch.arange(WIDTH).expand(ROWS, -1), use_cache=False)
    stored = {array.untyped_storage().data_ptr(): array.untyped_storage().nbytes() for array in arrays}
    return sum(size for place, size in stored.items() if place not in own) / ROWS / WIDTH


@pytest.mark.parametrize("family", [(LlamaConfig, LlamaForCausalLM), (Qwen2Config, Qwen2ForCausalLM)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wide", [128, 320])
def test_the_estimate_is_just_above_what_autograd_keeps(family, dtype, wide):
    lm = model(family, wide, dtype)
    ratio = activation_bytes(lm.config, dtype) / kept(lm)
    assert 1.0 <= ratio <= 1.35


def test_with_checkpointed_layers_it_is_the_input_of_each():
    lm = model((LlamaConfig, LlamaForCausalLM), 320, torch.float32, layers=8)
    checkpoint_layers(lm)
    between_layers = kept(lm)
    assert between_layers < activation_bytes(lm.config, torch.float32, checkpointed=True) < 8 * between_layers


def test_a_batch_fits_the_free_memory(tmp_path, monkeypatch):
    policy, meminfo = Policy(model((LlamaConfig, LlamaForCausalLM), 128, torch.float32)), tmp_path / "meminfo"
    monkeypatch.setattr(memory_estimate, "MEMORY", meminfo)

    def tokens(kilobytes):
        meminfo.write_text(f"MemFree: 1 kB\nMemAvailable:   {kilobytes} kB\n")
        return batch_tokens(policy, False, torch.device("cpu"))

    fixed = 12 * (HEAD_ELEMENTS + 50 + sum(weight.numel() for weight in policy.parameters()))
    per_token = activation_bytes(policy.lm.config, torch.float32)
    assert tokens(int((fixed + 100.5 * per_token) / 0.8 / 1024)) == 100
    assert tokens(1000) == 1


def test_auto_trains_as_a_number_does(monkeypatch):
    monkeypatch.setattr("septet.empg.train.batch_tokens", lambda *_: 90)
    assert EXPERIMENTS.tasks["warm"].batch_tokens == 600
    runs = [Trainer(job(task_settings={"batch_tokens": size})) for size in ("auto", 90)]
    for run in runs:
        run.advance()
    assert runs[0].batch_tokens == 90
    for name, value in runs[0].state.items():
        assert (value == runs[1].state[name]).all(), name


def test_the_peak_is_not_a_number_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_estimate, "STATUS", tmp_path / "none")
    monkeypatch.setattr(memory_estimate, "RESET", tmp_path / "nowhere/none")
    assert np.isnan(memory_estimate.Meter(torch.device("cpu")).peak())
