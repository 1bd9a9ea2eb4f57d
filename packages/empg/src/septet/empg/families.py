"""Which causal language models are computed how.

Two things make training fast: only the predictions that the loss needs go through the output head, and completions are
packed behind their prompt under a mask of our own. Both are right where a model is what we take it for: a plain linear
head, attention that follows the mask and the positions alone. `PLAIN` names the families for which the tests prove it
(`septet.empg.family_table`, `test_families.py`). Every other model is computed by its own forward pass, head
included, one completion to a row; at the start of a run `septet.empg.self_check` compares what the sampler and the
trainer say with that pass.
"""

import inspect
from dataclasses import dataclass
from typing import Any

from septet.empg import attention
from septet.errors import InputError

PLAIN = {
    "gpt2", "llama", "qwen2", "qwen3", "mistral", "gemma", "phi", "phi3", "olmo2", "smollm3", "stablelm", "gpt_neox",
    "opt", "falcon", "glm4", "mixtral", "qwen3_moe",
}  # fmt: skip
"""Families that are packed, unless their configuration has one of the things below."""
FOLLOW_THE_MASK = {"sdpa", attention.NAME}
"""Implementations of attention that take a mask of booleans for each pair of tokens."""
POSITIONS = {"default", "linear", "llama3", "yarn"}
"""Rotary positions that do not depend on the length of the row."""
SCALED_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "attn_logit_softcapping")


@dataclass(frozen=True)
class Model:
    """A causal language model and how it is computed."""

    lm: Any
    """The model itself: what an adapter of peft wraps, with the adapter's layers in it."""
    plain: bool
    """Whether the output head may be applied apart, and completions packed."""
    takes_positions: bool
    """Whether its forward pass takes position ids."""


def model_of(lm: Any) -> Model:
    """How a model is computed.

    Args:
        lm: a causal language model of `transformers`, also one that `peft.get_peft_model` wraps.

    Raises:
        InputError: it reads more than text, has an encoder, or an adapter that adds tokens.
    """
    if hasattr(lm, "get_base_model"):
        if getattr(lm.active_peft_config, "is_prompt_learning", False):
            found = f"{type(lm.active_peft_config).__name__}, which adds tokens"
            raise InputError("adapter", expected="one that changes layers, such as LoRA", found=found)
        lm = lm.get_base_model()
    config = lm.config
    if getattr(config, "is_encoder_decoder", False) or config.get_text_config() is not config:
        raise InputError(f"model {config.model_type}", expected="a causal model of text alone", found=type(lm).__name__)
    if lm.get_output_embeddings() is None:
        raise InputError(f"model {config.model_type}", expected="a model with a language head", found=type(lm).__name__)
    return Model(lm, _plain(lm), "position_ids" in inspect.signature(type(lm).forward).parameters)


def _plain(lm: Any) -> bool:
    config = lm.config
    windows = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    rotary = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type in PLAIN
        and config._attn_implementation in FOLLOW_THE_MASK
        and not windows
        and kinds == {"full_attention"}
        and not getattr(config, "alibi", False)
        and all(getattr(config, name, None) is None for name in SCALED_HEAD)
        and rotary.get("rope_type", "default") in POSITIONS
    )


def vocabulary(lm: Any) -> int:
    """Number of tokens that a model predicts."""
    return int(lm.config.get_text_config().vocab_size)
