"""Small random models of many families: ours equals the model's own forward pass, or it is one line."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as tf
from empg_helpers import job, uniforms

from septet.empg import attention
from septet.empg.engines import Local
from septet.empg.families import PLAIN, model_of
from septet.empg.forward import batches, log_probabilities
from septet.empg.policy import Policy
from septet.empg.sample import generate
from septet.empg.self_check import Room, check_log_probabilities, own_log_probabilities
from septet.empg.train import Trainer
from septet.errors import InputError

V, ENDS = 64, (2, 5)
BASE = {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {
    **BASE, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GEMMA = {**LLAMA, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}
FAMILIES = {
    "llama": ("LlamaConfig", LLAMA),
    "llama, tied": ("LlamaConfig", {**LLAMA, "tie_word_embeddings": True}),
    "llama, llama3 positions": (
        "LlamaConfig",
        {
            **LLAMA,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "llama, dynamic positions": (
        "LlamaConfig",
        {
            **LLAMA,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
        },
    ),
    "qwen2": ("Qwen2Config", LLAMA),
    "qwen2, window": (
        "Qwen2Config",
        {**LLAMA, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 0},
    ),
    "qwen3": ("Qwen3Config", {**LLAMA, "head_dim": 8}),
    "mistral": ("MistralConfig", {**LLAMA, "sliding_window": None}),
    "mistral, window": ("MistralConfig", {**LLAMA, "sliding_window": 6}),
    "gemma": ("GemmaConfig", {**LLAMA, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**GEMMA, "final_logit_softcapping": 1.0, "attn_logit_softcapping": 50.0}),
    "gemma2, wide window": (
        "Gemma2Config",
        {**GEMMA, "sliding_window": 4096, "final_logit_softcapping": 1.0, "attn_logit_softcapping": 50.0},
    ),
    "gemma3": ("Gemma3TextConfig", GEMMA),
    "cohere": ("CohereConfig", {**LLAMA, "logit_scale": 0.0625}),
    "granite": ("GraniteConfig", {**LLAMA, "logits_scaling": 8.0}),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "eos_token_id": 2},
    ),
    "gpt_neox": ("GPTNeoXConfig", {**BASE, "intermediate_size": 64, "max_position_embeddings": 512}),
    "opt": (
        "OPTConfig",
        {**BASE, "ffn_dim": 64, "max_position_embeddings": 512, "word_embed_proj_dim": 32, "pad_token_id": 0},
    ),
    "bloom": ("BloomConfig", {"vocab_size": V, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "falcon": ("FalconConfig", {**BASE, "alibi": False, "new_decoder_architecture": False, "multi_query": False}),
    "falcon, alibi": ("FalconConfig", {**BASE, "alibi": True, "new_decoder_architecture": False, "multi_query": False}),
    "mpt": ("MptConfig", {"vocab_size": V, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512}),
    "phi": ("PhiConfig", {**BASE, "intermediate_size": 64, "max_position_embeddings": 512}),
    "phi3": ("Phi3Config", LLAMA),
    "phi3, window": ("Phi3Config", {**LLAMA, "sliding_window": 6}),
    "olmo2": ("Olmo2Config", LLAMA),
    "smollm3": ("SmolLM3Config", LLAMA),
    "stablelm": ("StableLmConfig", LLAMA),
}
SLOW = {
    "qwen2, window", "mistral, window", "gemma2", "gemma2, wide window", "gemma3", "cohere", "granite", "bloom",
    "falcon, alibi", "mpt", "phi3, window", "llama, dynamic positions",
}  # fmt: skip
"""Not packed: computed by their own pass, one completion to a row."""
PROMPTS = [np.random.default_rng(1).integers(6, V, n).tolist() for n in (9, 5)]
BEGIN = np.random.default_rng(2).integers(6, V, 18).tolist()
ALIKE = [[*BEGIN, *prompt] for prompt in PROMPTS]


def made(name, implementation=None):
    kind, settings = FAMILIES[name]
    torch.manual_seed(0)
    lm = tf.AutoModelForCausalLM.from_config(getattr(tf, kind)(**settings), attn_implementation=implementation).eval()
    return spread(lm)


@torch.no_grad()
def spread(lm):
    """Larger weights, so that predictions differ enough for a wrong mask to show."""
    for weight in lm.parameters():
        if weight.dim() > 1 and weight.std() < 0.05:
            weight.mul_(6)
    return lm


def worst(lm, prompts, room):
    """Largest differences of the sampler and of the trainer from the model's own pass."""
    noise = uniforms(4, 12)
    rollout = generate(lm, prompts, samples=2, limit=12, eos=ENDS, pad=0, uniforms=noise)
    policy = Policy(lm)
    own = own_log_probabilities(policy, rollout, 1.0)
    trained, _ = log_probabilities(policy, rollout, row_tokens=room)
    assert (rollout.log_pi[rollout.mask > 0] < 0).all() and own.std() > 0.1
    return float((rollout.log_pi - own).abs().max()), float((trained - own).abs().max())


@pytest.mark.parametrize("name", FAMILIES)
def test_sampler_and_trainer_are_the_models_own_pass(name):
    lm = made(name)
    assert model_of(lm).plain == (name not in SLOW), name
    for prompts in (PROMPTS, ALIKE):
        for room in (1, 1024):
            assert max(worst(lm, prompts, room)) < 2e-5


def test_every_family_that_is_packed_is_proven():
    kinds = {
        getattr(tf, kind)(**settings).model_type for name, (kind, settings) in FAMILIES.items() if name not in SLOW
    }
    assert kinds == PLAIN


@pytest.mark.parametrize("implementation", ["eager", attention.NAME])
def test_other_attention(implementation):
    for name in ("llama", "gpt2"):
        lm = made(name, implementation)
        assert model_of(lm).plain == (implementation == attention.NAME)
        assert max(worst(lm, ALIKE, 1024)) < 2e-5


@pytest.mark.parametrize("name", ["gemma2", "granite", "mistral, window", "llama"])
def test_gradients_are_those_of_the_models_own_pass(name):
    lm = made(name)
    rollout = generate(lm, PROMPTS, samples=2, limit=8, eos=ENDS, pad=0, uniforms=uniforms(4, 8))
    policy = Policy(lm)
    for batch in batches(rollout, **policy.room(1024, 4096)):
        batch.run(policy, rollout.tokens.shape[1])[0].sum().backward()
    ours = torch.cat([weight.grad.flatten() for weight in lm.parameters()])
    lm.zero_grad()
    for k, tokens in enumerate(rollout.completions()):
        prompt = PROMPTS[k // 2]
        logits = lm(input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens)[:, None]).sum().backward()
    theirs = torch.cat([weight.grad.flatten() for weight in lm.parameters()])
    assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))


def test_entropy_of_a_capped_head():
    lm = made("gemma2")
    rollout = generate(lm, PROMPTS[:1], samples=1, limit=4, eos=60, pad=0, uniforms=None)
    policy = Policy(lm)
    _, found, _ = next(batches(rollout, **policy.room(64, 64))).run(policy, rollout.tokens.shape[1], entropy=True)
    with torch.no_grad():
        logits = lm(input_ids=torch.tensor([PROMPTS[0] + rollout.completions()[0]])).logits[0, len(PROMPTS[0]) - 1 : -1]
    p = torch.softmax(logits, -1)
    assert torch.allclose(found[0], -(p * p.log()).sum(-1), atol=1e-5)


def multimodal():
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision |= {"image_size": 28, "patch_size": 14}
    config = tf.Gemma3Config(text_config=GEMMA, vision_config=vision, mm_tokens_per_image=4)
    return tf.Gemma3ForConditionalGeneration(config)


def encoder():
    config = tf.T5Config(vocab_size=V, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0)
    return tf.T5ForConditionalGeneration(config)


REJECTED = {
    "multimodal": (multimodal, "model gemma3: expected a causal model of text alone, found Gemma3ForConditional"),
    "encoder": (encoder, "model t5: expected a causal model of text alone, found T5ForConditionalGeneration"),
    "mamba": (
        lambda: tf.MambaForCausalLM(tf.MambaConfig(vocab_size=V, hidden_size=32, num_hidden_layers=1)),
        "model mamba: expected layers with a key-value cache .* found a recurrent state",
    ),
    "lfm2": (
        lambda: tf.Lfm2ForCausalLM(tf.Lfm2Config(**LLAMA, layer_types=["conv", "full_attention"])),
        "model lfm2: expected layers with a key-value cache .* found a recurrent state",
    ),
    "no head": (
        lambda: tf.LlamaModel(tf.LlamaConfig(**LLAMA)),
        "model llama: expected a model with a language head, found LlamaModel",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_not_proven_is_one_line(name):
    make, message = REJECTED[name]
    with pytest.raises(InputError, match=message):
        generate(make().eval(), PROMPTS, samples=2, limit=4, eos=2, pad=0, uniforms=uniforms(4, 4))


def test_packed_rows_and_critics_need_a_plain_model():
    policy = Policy(made("mistral, window"))
    rollout = generate(policy.lm, PROMPTS, samples=2, limit=6, eos=ENDS, pad=0, uniforms=uniforms(4, 6))
    with pytest.raises(InputError, match="model mistral: expected one completion a row"):
        next(batches(rollout)).run(policy, 6)
    with pytest.raises(InputError, match="model mistral: expected a family whose hidden states are tested"):
        Policy(policy.lm, critic=True)


class Lora(torch.nn.Module):
    """A low-rank change of a layer, as peft puts it in, with dropout that must be off."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.dropout = inner, torch.nn.Dropout(0.5)
        self.down = torch.nn.Linear(inner.in_features, 2, bias=False)
        self.up = torch.nn.Linear(2, inner.out_features, bias=False)
        torch.nn.init.normal_(self.up.weight)

    def forward(self, x):
        return self.inner(x) + self.up(self.down(self.dropout(x)))


class Wrapped(torch.nn.Module):
    """What `peft.get_peft_model` returns, in the parts that matter here: peft itself is no dependency."""

    def __init__(self, lm, prompt_learning=False):
        super().__init__()
        for weight in lm.parameters():
            weight.requires_grad = False
        for layer in lm.model.layers:
            layer.self_attn.q_proj = Lora(layer.self_attn.q_proj)
        self.base_model = torch.nn.Module()
        self.base_model.model = lm
        self.active_peft_config = SimpleNamespace(is_prompt_learning=prompt_learning)

    def get_base_model(self):
        return self.base_model.model


def test_an_adapter_of_peft_is_sampled_and_trained():
    lm = Wrapped(made("llama"))
    assert max(worst(lm, ALIKE, 1024)) < 2e-5
    policy = Policy(lm)
    rollout = generate(lm, PROMPTS, samples=2, limit=6, eos=ENDS, pad=0, uniforms=uniforms(4, 6))
    for batch in batches(rollout):
        batch.run(policy, rollout.tokens.shape[1])[0].sum().backward()
    moved = {name for name, weight in lm.named_parameters() if weight.grad is not None}
    assert moved == {name for name, weight in lm.named_parameters() if ".up." in name or ".down." in name}
    with pytest.raises(InputError, match="adapter: expected one that changes layers, such as LoRA"):
        Policy(Wrapped(made("llama"), prompt_learning=True))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_the_check_at_the_start_names_the_model_and_the_number(name):
    lm = made(name)
    engine, policy = Local(lm, SimpleNamespace(ends=ENDS, pad=0), 100), Policy(lm)
    asked = {"limit": 12, "temperature": 0.7, "room": Room(1024, 4096), "whole": True, "computes_in": torch.float32}
    assert check_log_probabilities(engine, policy, PROMPTS, name="any", **asked) < 1e-5
    other = Policy(made(name))
    with torch.no_grad():
        next(other.lm.parameters()).mul_(1.05)
    with pytest.raises(
        InputError, match=r"model any: expected log-probabilities of sampler and trainer .* found 0\.\d+"
    ):
        check_log_probabilities(engine, other, PROMPTS, name="any", **asked)


def test_a_model_that_is_taken_for_a_plain_one_is_stopped(monkeypatch):
    """As if the family had been listed by mistake: sampler and trainer agree, and are both wrong."""
    monkeypatch.setattr("septet.empg.families._plain", lambda lm: True)
    lm = made("granite")
    engine, policy = Local(lm, SimpleNamespace(ends=ENDS, pad=0), 100), Policy(lm)
    with pytest.raises(InputError, match=r"model granite: .* of sampler and the model itself .* found 0\.[1-9]"):
        check_log_probabilities(
            engine, policy, PROMPTS, limit=12, temperature=1.0, room=Room(1024, 4096), whole=True, name="granite",
            computes_in=torch.float32,
        )  # fmt: skip


def test_a_model_that_breaks_is_one_line():
    lm = made("llama")
    engine = Local(lm, SimpleNamespace(ends=ENDS, pad=0), 100)
    broken = Policy(lm)
    broken.model = SimpleNamespace(plain=True, lm=None)
    with pytest.raises(
        InputError, match="model any: expected a model that can be sampled and trained, found Attribute"
    ):
        check_log_probabilities(
            engine, broken, PROMPTS, limit=4, temperature=1.0, room=Room(64, 64), whole=False, name="any",
            computes_in=torch.float32,
        )  # fmt: skip


def test_a_run_begins_with_the_check(monkeypatch):
    run = Trainer(job())
    assert 0 <= run.agreement < 1e-5
    run.close()
    monkeypatch.setattr(sys.modules["septet.empg.self_check"], "BOUND", {torch.float32: -1.0})
    with pytest.raises(InputError, match=r"model tiny: expected log-probabilities of sampler and trainer"):
        Trainer(job())
