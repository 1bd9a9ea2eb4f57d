"""What is loaded: types, positions, files."""

import copy
import json

import pytest
import torch
from empg_helpers import llama
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Qwen2Config

from empg import attention
from empg import models as lms
from empg.config import Hub, Job, Method, SmolLM
from empg.experiments import Real
from septet.errors import InputError


def job_of(model, data_file="unused"):
    task = Real().tasks["chat"].model_copy(update={"name": "chat", "model": model})
    return Job(method=Method(name="empg"), task=task, seeds=[1], device="cpu", data_file=data_file)


@pytest.fixture
def prepared(tmp_path):
    """A file like that of SmolLM2, of a small random model."""
    lm = llama()
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<|im_end|>": 2}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(["<|im_end|>"])
    lm.config.tie_word_embeddings = True
    extra = {"config": lm.config.to_json_string(use_diff=False), "tokenizer": words.to_str()}
    weights = {name: value.bfloat16() for name, value in lm.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, tmp_path / "small.safetensors", extra)
    return tmp_path / "small.safetensors", extra


def test_positions_keep_their_precision_in_a_bfloat16_model(monkeypatch):
    small = Qwen2Config(
        vocab_size=20, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    monkeypatch.setattr(lms, "shape", lambda _: copy.deepcopy(small))
    lm, _ = lms.load(job_of(Hub(kind="hub", name="any", random=True)))
    assert {weight.dtype for weight in lm.parameters()} == {torch.bfloat16}
    assert lm.config._attn_implementation == attention.NAME
    theta = small.rope_parameters["rope_theta"]
    expected = theta ** -(torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(lm.base_model.rotary_emb.inv_freq, expected, rtol=1e-6, atol=0)
    monkeypatch.setattr(lms, "device_of", lambda _: torch.device("cuda"))  # loaded here first, to be shared out
    lm, _ = lms.load(job_of(Hub(kind="hub", name="any", random=True)), torch.device("cpu"))
    assert lm.config._attn_implementation == "sdpa"


def test_smollm2_comes_from_the_prepared_file_alone(prepared, monkeypatch):
    file, extra = prepared
    monkeypatch.setattr(lms, "smollm2_file", None)
    lm, tokenizer = lms.load(job_of(SmolLM(kind="smollm2"), data_file=str(file)))
    for name, value in load_file(file).items():
        assert torch.equal(lm.state_dict()[name], value)
    assert lm.get_output_embeddings().weight is lm.get_input_embeddings().weight
    assert lm.base_model.rotary_emb.inv_freq.dtype == torch.float32
    assert lm.config.num_key_value_heads == json.loads(extra["config"])["num_key_value_heads"] == 2
    assert tokenizer.encode("a b<|im_end|>") == [0, 1, 2] and tokenizer.eos == tokenizer.pad == 2
    assert tokenizer.decode([0, 1, 2]) == "a b"


def test_a_file_of_other_weights_is_refused(prepared):
    file, extra = prepared
    weights = load_file(file)
    missing = {name: value for name, value in weights.items() if "layers.1.mlp.up" not in name}
    for wrong, metadata in ((missing, extra), (weights, None), ({**weights, "more": torch.zeros(1)}, extra)):
        save_file(wrong, file, metadata)
        with pytest.raises(InputError, match="SmolLM2's weights"):
            lms.load_smollm2(file)
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="SmolLM2's weights"):
        lms.load_smollm2(file)
