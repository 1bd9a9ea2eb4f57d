"""Loading base models: the tiny one, those of a GGUF file, or any of the hub."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from septet import processor
from septet.devices import claim
from septet.empg import attention, tiny
from septet.empg.config import Gguf, Job, Tiny
from septet.empg.families import model_of
from septet.empg.gguf_files import FILES, gguf_file
from septet.empg.tokens import CharTokenizer, HubTokenizer, Tokenizer
from septet.errors import DataUnavailable, InputError
from septet.files import replacing

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, SafetensorError)


def without_bars() -> None:
    """Switch off the progress bars of `transformers`, which fill a log."""
    library: Any = importlib.import_module("transformers.utils.logging")
    library.disable_progress_bar()


def device_of(job: Job) -> torch.device:
    """Where the job computes; the tiny model is faster on the processor."""
    small = isinstance(job.task.model, Tiny)
    if job.device != "cpu" and not small:
        claim()
    if job.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and not small else "cpu")
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
    if isinstance(model, Tiny):
        file = Path(job.weights_file) if job.weights_file else tiny.base_file(model.base)
        return tiny.load(file).to(device or computes_on), CharTokenizer()
    if isinstance(model, Gguf):
        lm, tokenizer = load_prepared(Path(str(job.weights_file)), computes_in(job))
    else:
        lm, tokenizer = pretrained(model.name, model.revision, computes_in(job))
    choose_attention(lm, computes_on)
    lm.to(device or computes_on)  # no type: it would round the frequencies of rotary positions too
    return lm.eval(), tokenizer


def choose_attention(lm: Any, device: torch.device) -> None:
    """Switch a plain bfloat16 model on a processor to our attention, which is faster there; it caps no logits."""
    if device.type == "cpu" and next(lm.parameters()).dtype == torch.bfloat16 and model_of(lm).plain:
        lm.set_attn_implementation(attention.NAME)


def read_gguf(file: Path, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """The model and the tokeniser of a GGUF file, dequantised by `transformers`.

    `dequantize` is needed although the weights are dense after loading: without it `transformers` goes on to take the
    model for a quantised one.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    lm = AutoModelForCausalLM.from_pretrained(**place, dtype=dtype, quantization_config=GgufConfig(dequantize=True))
    return lm, AutoTokenizer.from_pretrained(**place)


def prepare_gguf(kind: str, out: Path) -> None:
    """Write OUT/<kind>.safetensors: the weights, dequantised once, in bfloat16; shape and tokeniser as metadata."""
    source = FILES[kind]
    without_bars()
    lm, inner = read_gguf(gguf_file(kind), torch.bfloat16)
    tied = {"lm_head.weight"} if lm.config.tie_word_embeddings else set()
    weights = {name: value.contiguous() for name, value in lm.state_dict().items() if name not in tied}
    lm.config.name_or_path = lm.config._model_name_or_path = source.title  # not where it lay
    extra = {
        "config": lm.config.to_json_string(use_diff=False),
        "tokenizer": inner.backend_tokenizer.to_str(),
        "template": source.template or inner.chat_template,
        "ends": json.dumps(source.ends),
    }
    with replacing(out / f"{kind}.safetensors") as temporary:
        save_file(weights, temporary, extra)


def load_prepared(file: Path, dtype: torch.dtype = torch.bfloat16) -> tuple[Any, Tokenizer]:
    """A model and its tokeniser from what `prepare_gguf` wrote; weights of type `dtype`."""
    from tokenizers import Tokenizer as Backend
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, PreTrainedTokenizerFast

    made: Any = PreTrainedTokenizerFast
    try:
        with safe_open(file, "pt") as opened:
            extra = opened.metadata() or {}
        config = AutoConfig.for_model(**json.loads(extra["config"]))
        ends = json.loads(extra["ends"])
        inner = made(tokenizer_object=Backend.from_str(extra["tokenizer"]), eos_token=ends[0], pad_token=ends[-1])
        inner.chat_template = extra["template"]
        weights = load_file(file)
        family: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        lm = family.from_pretrained(None, config=config, state_dict=dict(weights), dtype=dtype)
        tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
        if odd := weights.keys() ^ (lm.state_dict().keys() - tied):  # the library fills gaps by chance
            raise ValueError(f"missing or unknown: {min(odd)}")
    except UNREADABLE as error:
        found = str(error).partition("\n")[0]
        raise InputError(str(file), expected="the output of prepare: a model's weights", found=found) from None
    return lm, HubTokenizer(inner, ends, name=str(config.name_or_path))


def pretrained(name: str, revision: str | None = None, dtype: torch.dtype | str = "auto") -> tuple[Any, Tokenizer]:
    """A model of the hub, in a folder or in a GGUF file, and its tokeniser.

    Args:
        name: name on the hub, a folder, or a file whose name ends with `.gguf`.
        revision: commit on the hub.
        dtype: type of the weights; `auto` is that of the files.

    Raises:
        DataUnavailable: there is no such folder, or the hub did not reply.
        InputError: the tokeniser has no end token, or tokens that the model does not have.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        if name.endswith(".gguf"):
            lm, inner = read_gguf(Path(name), torch.float32 if isinstance(dtype, str) else dtype)
        else:
            inner = AutoTokenizer.from_pretrained(name, revision=revision)
            library: Any = AutoModelForCausalLM
            lm, told = library.from_pretrained(name, revision=revision, dtype=dtype, output_loading_info=True)
            if told["missing_keys"]:  # the library fills them by chance
                raise ValueError(f"files without the weights {min(told['missing_keys'])}")
    except UNREADABLE as error:
        found = str(error).partition("\n")[0]
        raise DataUnavailable(f"model {name}", expected="a folder, or an answer from the hub", found=found) from None
    ends = getattr(lm.generation_config, "eos_token_id", None)
    stops = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return lm, HubTokenizer(inner, stops, lm.get_input_embeddings().weight.shape[0], name)
