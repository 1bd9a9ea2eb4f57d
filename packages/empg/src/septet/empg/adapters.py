"""LoRA through peft: small matrices beside the linear layers are trained, the base model's weights are not."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from septet.empg.config import Lora
from septet.empg.families import model_of
from septet.errors import InputError
from septet.files import replacing

NAME = "default"
"""The name that peft gives to a model's only adapter."""


def adapt(lm: Any, lora: Lora) -> Any:
    """Give a model an adapter, with the same random numbers each time; only its weights are trained.

    They have the type of the base, for sums with products of float32 adapters are slow; the optimiser moves float32
    copies (`policy.Masters`).

    Raises:
        InputError: the model has none of the layers.
    """
    from peft import get_peft_model

    torch.manual_seed(0)
    try:
        return get_peft_model(lm, peft_config(lora), autocast_adapter_dtype=False)
    except ValueError as error:
        expected = "names of linear layers, or all-linear"
        raise InputError("task.lora.layers", expected=expected, found=f"{lora.layers}: {error}") from None


def peft_config(lora: Lora) -> Any:
    """The configuration of an adapter in peft."""
    from peft import LoraConfig

    scale = lora.alpha or 2 * lora.rank
    return LoraConfig(r=lora.rank, lora_alpha=scale, target_modules=lora.layers, task_type="CAUSAL_LM")


def is_adapted(lm: Any) -> bool:
    """Whether a model has an adapter."""
    return hasattr(lm, "get_base_model")


def without_adapter(lm: Any) -> AbstractContextManager[Any]:
    """In this context the model is its base."""
    made: AbstractContextManager[Any] = lm.disable_adapter() if is_adapted(lm) else nullcontext()
    return made


@torch.no_grad()
def merged(lm: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model by the names that they have without an adapter, which is added to what it changes.

    One after the other, for all of them may be more than the memory of the device. A weight that is used twice, such as
    a tied head, has one name.
    """
    base = model_of(lm).lm
    if not is_adapted(lm):
        yield from ((name, weight.detach()) for name, weight in base.named_parameters())
        return
    layers = {
        f"{name}.base_layer.weight": layer for name, layer in base.named_modules() if hasattr(layer, "base_layer")
    }
    for name, weight in base.named_parameters():
        if ".lora_" in name:
            continue
        whole = weight.detach()
        if name in layers:
            whole = (whole.float() + layers[name].get_delta_weight(NAME).float()).to(whole.dtype)
        yield name.replace(".base_layer.", "."), whole


def adapter_weights(lm: Any) -> dict[str, Tensor]:
    """The adapter's own weights by peft's names; none without one."""
    if not is_adapted(lm):
        return {}
    from peft import get_peft_model_state_dict

    return {name: weight.detach() for name, weight in get_peft_model_state_dict(lm).items()}


def write_adapter(lm: Any, weights: dict[str, Tensor], folder: Path, base: str | None) -> None:
    """Write an adapter as peft reads it."""
    config = lm.peft_config[NAME]
    config.base_model_name_or_path, config.inference_mode = base, True
    config.target_modules = sorted(config.target_modules)  # peft writes a set in the order of the process's hashes
    config.save_pretrained(folder)
    with replacing(folder / "adapter_model.safetensors") as temporary:
        save_file(weights, temporary, {"format": "pt"})
