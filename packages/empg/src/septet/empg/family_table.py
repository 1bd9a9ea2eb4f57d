"""Small random models of many families, and how far the sampler and the trainer are from their own forward pass.

`python -m septet.empg.family_table packages/empg/README.md` writes the table of the README; the tests hold its numbers.
"""

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import transformers

from septet.empg import families
from septet.empg.families import model_of
from septet.empg.forward import log_probabilities
from septet.empg.policy import Policy
from septet.empg.sample import generate
from septet.empg.self_check import own_log_probabilities
from septet.errors import InputError
from septet.files import write_text

tf: Any = transformers
BOUND = 2e-5
"""Largest difference of a token's log-probability that is rounding."""
V, ENDS = 64, (2, 5)
BASE = {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {
    **BASE, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
WINDOW = {**LLAMA, "sliding_window": 6}
GEMMA = {**WINDOW, "head_dim": 8, "query_pre_attn_scalar": 8}
GEMMA2 = {**GEMMA, "final_logit_softcapping": 1.0, "attn_logit_softcapping": 50.0}
GPT2 = {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
NEOX = {**BASE, "intermediate_size": 64, "max_position_embeddings": 512}
OPT = {**BASE, "ffn_dim": 64, "max_position_embeddings": 512, "word_embed_proj_dim": 32, "pad_token_id": 0}
FALCON = {**BASE, "new_decoder_architecture": False, "multi_query": False}
EXPERTS = {**LLAMA, "num_experts_per_tok": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", LLAMA),
    "llama, tied": ("LlamaConfig", {**LLAMA, "tie_word_embeddings": True}),
    "llama, llama3 positions": ("LlamaConfig", {**LLAMA, "rope_parameters": LLAMA3}),
    "llama, eager attention": ("LlamaConfig", {**LLAMA, "attn_implementation": "eager"}),
    "llama, dynamic positions": ("LlamaConfig", {**LLAMA, "rope_parameters": DYNAMIC}),
    "qwen2": ("Qwen2Config", LLAMA),
    "qwen2, window": ("Qwen2Config", {**WINDOW, "use_sliding_window": True, "max_window_layers": 0}),
    "qwen3": ("Qwen3Config", {**LLAMA, "head_dim": 8}),
    "mistral": ("MistralConfig", {**LLAMA, "sliding_window": None}),
    "mistral, window": ("MistralConfig", WINDOW),
    "gemma": ("GemmaConfig", {**LLAMA, "head_dim": 8}),
    "gemma2": ("Gemma2Config", GEMMA2),
    "gemma2, wide window": ("Gemma2Config", {**GEMMA2, "sliding_window": 4096}),
    "gemma3": ("Gemma3TextConfig", GEMMA),
    "cohere": ("CohereConfig", {**LLAMA, "logit_scale": 0.0625}),
    "granite": ("GraniteConfig", {**LLAMA, "logits_scaling": 8.0}),
    "gpt2": ("GPT2Config", {**GPT2, "bos_token_id": 1, "eos_token_id": 2}),
    "gpt_neox": ("GPTNeoXConfig", NEOX),
    "opt": ("OPTConfig", OPT),
    "bloom": ("BloomConfig", {"vocab_size": V, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "falcon": ("FalconConfig", {**FALCON, "alibi": False}),
    "falcon, alibi": ("FalconConfig", {**FALCON, "alibi": True}),
    "mpt": ("MptConfig", {"vocab_size": V, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512}),
    "phi": ("PhiConfig", NEOX),
    "phi3": ("Phi3Config", LLAMA),
    "phi3, window": ("Phi3Config", WINDOW),
    "olmo2": ("Olmo2Config", LLAMA),
    "smollm3": ("SmolLM3Config", LLAMA),
    "stablelm": ("StableLmConfig", LLAMA),
    "cohere2": ("Cohere2Config", {**WINDOW, "logit_scale": 0.0625}),
    "starcoder2": ("Starcoder2Config", WINDOW),
    "glm4": ("Glm4Config", {**LLAMA, "head_dim": 8}),
    "mixtral": ("MixtralConfig", {**EXPERTS, "num_local_experts": 4}),
    "qwen3_moe": ("Qwen3MoeConfig", {**EXPERTS, "head_dim": 8, "num_experts": 4, "moe_intermediate_size": 32}),
}
"""Shapes: the class of the configuration and its arguments."""
PROMPTS = [np.random.default_rng(1).integers(6, V, n).tolist() for n in (9, 5)]
BEGIN = np.random.default_rng(2).integers(6, V, 18).tolist()
ALIKE = [[*BEGIN, *prompt] for prompt in PROMPTS]
"""Prompts that begin alike, longer than every window above."""


def _multimodal() -> Any:
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision |= {"image_size": 28, "patch_size": 14}
    config = tf.Gemma3Config(text_config=GEMMA, vision_config=vision, mm_tokens_per_image=4)
    return tf.Gemma3ForConditionalGeneration(config)


T5 = {"vocab_size": V, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
OTHERS: dict[str, Callable[[], Any]] = {
    "mamba": lambda: tf.MambaForCausalLM(tf.MambaConfig(vocab_size=V, hidden_size=32, num_hidden_layers=1)),
    "lfm2": lambda: tf.Lfm2ForCausalLM(tf.Lfm2Config(**LLAMA, layer_types=["conv", "full_attention"])),
    "gemma3 with images": _multimodal,
    "t5": lambda: tf.T5ForConditionalGeneration(tf.T5Config(**T5, decoder_start_token_id=0)),
    "llama without a head": lambda: tf.LlamaModel(tf.LlamaConfig(**LLAMA)),
}
"""Models that are rejected."""


def made(name: str, implementation: str | None = None) -> Any:
    """A random model of a shape; its weights are so large that predictions differ and a wrong mask shows."""
    kind, settings = FAMILIES[name]
    torch.manual_seed(0)
    chosen = {"attn_implementation": implementation} if implementation else {}
    lm = tf.AutoModelForCausalLM.from_config(getattr(tf, kind)(**settings), **chosen).eval()
    with torch.no_grad():
        for weight in lm.parameters():
            if weight.dim() > 1 and weight.std() < 0.05:
                weight.mul_(6)
    return lm


class Gap(NamedTuple):
    """Largest differences of log-probabilities from those of the model's own forward pass."""

    sampler: float
    trainer: float


def gap(lm: Any, prompts: Sequence[Sequence[int]], row_tokens: int) -> Gap:
    """The differences over four completions, in training rows of at most `row_tokens` tokens."""
    noise = np.random.default_rng(0).random((4, 12), dtype=np.float32)
    rollout = generate(lm, prompts, samples=2, limit=12, eos=ENDS, pad=0, uniforms=noise)
    policy = Policy(lm)
    own = own_log_probabilities(policy, rollout, 1.0)
    trained, _ = log_probabilities(policy, rollout, row_tokens=row_tokens)
    return Gap(float((rollout.log_pi - own).abs().max()), float((trained - own).abs().max()))


def widest(lm: Any) -> Gap:
    """The largest differences over prompts that begin alike or not, in rows of one completion and of several."""
    found = [gap(lm, prompts, row_tokens) for prompts in (PROMPTS, ALIKE) for row_tokens in (1, 1024)]
    return Gap(*map(max, zip(*found, strict=True)))


def taken_for_plain() -> AbstractContextManager[Any]:
    """Pack every model, as if its family were listed: what the table says that it would cost."""
    return patch.object(families, "_plain", lambda lm: True)


def rejection(lm: Any) -> str:
    """Why a model cannot be sampled. Raises ValueError if it can."""
    try:
        generate(lm.eval(), PROMPTS, samples=2, limit=4, eos=2, pad=0, uniforms=None)
    except InputError as error:
        return str(error)
    raise ValueError(f"{lm.config.model_type} is sampled")


def table() -> str:
    """The rows of the README's table."""
    rows = ["| model | computed | sampler off by | trainer off by | if it were packed |", "| --- " * 5 + "|"]
    for name in FAMILIES:
        lm = made(name)
        found, plain = widest(lm), model_of(lm).plain
        how, packed = ("packed", "") if plain else ("its own forward pass", _if_packed(lm))
        rows.append(f"| {name} | {how} | {_shown(found.sampler)} | {_shown(found.trainer)} | {packed} |")
    rows += [f"| {name} | rejected: {rejection(make()).partition(': ')[2]} | | | |" for name, make in OTHERS.items()]
    return "\n".join(rows) + "\n"


def _shown(difference: float) -> str:
    return "rounding" if difference < BOUND else f"{difference:.2g}"


def _if_packed(lm: Any) -> str:
    try:
        with taken_for_plain():
            return _shown(max(widest(lm)))
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return f"fails ({type(error).__name__})"


BLOCK = re.compile(r"(<!-- families: begin[^\n]*-->\n).*?(<!-- families: end -->)", re.DOTALL)

if __name__ == "__main__":
    torch.set_num_threads(1)
    page, rows = Path(sys.argv[1]), table()
    write_text(page, BLOCK.sub(lambda found: found[1] + rows + found[2], page.read_text(encoding="utf-8")))
