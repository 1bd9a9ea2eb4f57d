"""What is loaded: types, positions, files."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from empg_helpers import llama, uniforms
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from septet.card import RunCard
from septet.empg import attention, datasets
from septet.empg import models as lms
from septet.empg.config import Gguf, Hub, Job, Method
from septet.empg.experiments import Real
from septet.empg.sample import generate
from septet.empg.train import train
from septet.errors import InputError
from septet.parquet import write_table
from septet.scores import read_scores
from septet.workflow_config import Workflow


def job_of(model, weights_file="unused"):
    task = Real().tasks["chat"].model_copy(update={"name": "chat", "model": model})
    return Job(method=Method(name="empg"), task=task, seeds=[1], device="cpu", weights_file=weights_file)


@pytest.fixture
def prepared(tmp_path):
    """A file like that of SmolLM2, of a small random model."""
    lm = llama()
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<|im_end|>": 2}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(["<|im_end|>"])
    lm.config.tie_word_embeddings = True
    lm.config.name_or_path = "small"
    extra = {
        "config": lm.config.to_json_string(use_diff=False), "tokenizer": words.to_str(), "ends": '["<|im_end|>"]',
        "template": "{{ messages[0].content }}",
    }  # fmt: skip
    weights = {name: value.bfloat16() for name, value in lm.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, tmp_path / "small.safetensors", extra)
    return tmp_path / "small.safetensors", extra


def saved(config, where, dtype="bfloat16"):
    """A model folder of this shape, with a tokeniser."""
    folder(where)
    AutoModelForCausalLM.from_config(config).save_pretrained(where)
    return Hub(kind="hub", name=str(where), dtype=dtype)


def test_positions_keep_their_precision_in_a_bfloat16_model(tmp_path, monkeypatch):
    small = Qwen2Config(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    model = saved(small, tmp_path)
    lm, _ = lms.load(job_of(model))
    assert {weight.dtype for weight in lm.parameters()} == {torch.bfloat16}
    assert lm.config._attn_implementation == attention.NAME
    theta = small.rope_parameters["rope_theta"]
    expected = theta ** -(torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(lm.base_model.rotary_emb.inv_freq, expected, rtol=1e-6, atol=0)
    monkeypatch.setattr(lms, "device_of", lambda _: torch.device("cuda"))  # loaded here first, to be shared out
    lm, _ = lms.load(job_of(model), torch.device("cpu"))
    assert lm.config._attn_implementation == "sdpa"


def test_a_model_with_capped_attention_keeps_its_own(tmp_path):
    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    small = Gemma2Config(vocab_size=128, num_key_value_heads=1, head_dim=8, **settings)
    lm, _ = lms.load(job_of(saved(small, tmp_path)))
    assert lm.config._attn_implementation == "eager"


FLAGS = "model name\t: none\nflags\t\t: fpu avx2 avx512f {}\n"


@pytest.mark.parametrize(
    ("flags", "key", "expected"),
    [
        ("avx512_bf16", "auto", torch.bfloat16),
        ("amx_bf16", "auto", torch.bfloat16),
        ("avx512_vnni", "auto", torch.float32),
        ("avx512_vnni", "bfloat16", torch.bfloat16),
        ("amx_bf16", "float32", torch.float32),
    ],
)
def test_the_type_is_the_keys_or_what_the_processor_is_fast_in(prepared, tmp_path, monkeypatch, flags, key, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(FLAGS.format(flags))
    monkeypatch.setattr("septet.processor.CPUINFO", cpuinfo)
    for model in (Gguf(kind="smollm2", dtype=key), saved(llama(rows=128).config, tmp_path / "hub", key)):
        made = job_of(model, str(prepared[0]))
        assert lms.computes_in(made) == expected
        lm, _ = lms.load(made)
        assert {weight.dtype for weight in lm.parameters()} == {expected}
        assert (lm.config._attn_implementation == attention.NAME) == (expected == torch.bfloat16)


def test_smollm2_learns_gsm8k_by_configuration(prepared, tmp_path):
    """Problems and weights are two files under two keys; the workflow makes both and the job reads both."""
    task = {
        "kind": "gsm8k", "model": {"kind": "smollm2"}, "data": "gsm8k.parquet", "weights": "smollm2.safetensors",
        "steps": 1, "prompts": 2, "samples": 2, "max_completion_length": 8, "eval_prompts": 2, "threads": 1,
    }  # fmt: skip
    given = {"papers": ["empgreal"], "empgreal": {"tasks": {"words": task}, "runs": {"words": ["grpo"]}}}
    flow = Workflow(Path(__file__).parents[3], given)
    assert flow.inputs("empgreal", "laptop", "words") == {
        "data_file": "data/gsm8k.parquet", "weights_file": "data/smollm2.safetensors",
    }  # fmt: skip
    assert flow.inputs("empgreal", "laptop", "chat") == {"weights_file": "data/smollm2.safetensors"}
    assert flow.inputs("empg", "laptop", "warm") == {}
    given = flow.training("empgreal", "laptop", "grpo", "words")
    for key, name, other in (("data_file", "data", "weights_file"), ("weights_file", "weights", "data_file")):
        with pytest.raises(
            ValidationError, match=rf"{key}, an output of prepare \(in the workflow: {name} of the task"
        ):
            Job.model_validate(given | {other: "there"})
    rows = [(split, f"a b {n}?", "1", 0) for split, n in zip(["train"] * 4 + ["test"] * 2, range(6), strict=True)]
    write_table(pl.DataFrame(rows, schema=datasets.COLUMNS, orient="row"), tmp_path / "gsm8k.parquet")
    files = {"data_file": str(tmp_path / "gsm8k.parquet"), "weights_file": str(prepared[0])}
    train(Job.model_validate(given | {"seeds": [3]} | files), tmp_path / "run")
    scores = read_scores(tmp_path / "run/scores.parquet")
    assert scores["paper"].unique().to_list() == ["empgreal"] and scores["task"].unique().to_list() == ["words"]
    card = RunCard.read(tmp_path / "run/run.json")
    assert card.data == "gsm8k: 4 / 2" and card.config["weights_file"] == files["weights_file"]


LETTERS = ["<pad>", "<bos>", "<eos>", "<end_of_turn>", "<unk>", *map(chr, range(32, 127))]


def folder(where, *, eos="<eos>", pad=None, begins=True, ends=(2, 3), rows=128):
    """A model folder with a tokeniser of letters that puts <bos> before a text."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(LETTERS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.add_special_tokens(LETTERS[:4])
    if begins:
        inner.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", pair="$A $B", special_tokens=[("<bos>", 1), ("<eos>", 2)]
        )
    words = {"bos_token": "<bos>", "unk_token": "<unk>", "eos_token": eos, "pad_token": pad}
    PreTrainedTokenizerFast(tokenizer_object=inner, **{k: v for k, v in words.items() if v}).save_pretrained(where)
    lm = llama()
    config = LlamaConfig(**{**lm.config.to_dict(), "vocab_size": rows, "eos_token_id": None})
    lm = LlamaForCausalLM(config)
    lm.generation_config = GenerationConfig(eos_token_id=ends if ends is None else list(ends))
    lm.save_pretrained(where)
    return Hub(kind="hub", name=str(where), dtype="float32")


@pytest.mark.parametrize(
    ("settings", "ends", "pad", "begin"),
    [
        ({}, (2, 3), 2, [1]),
        ({"pad": "<pad>", "begins": False}, (2, 3), 0, []),
        ({"eos": None, "ends": (3,)}, (3,), 3, [1]),
        ({"ends": None}, (2,), 2, [1]),
    ],
)
def test_a_tokenizers_beginning_and_ends(tmp_path, settings, ends, pad, begin):
    _, tokenizer = lms.load(job_of(folder(tmp_path, **settings)))
    assert tokenizer.ends == ends and tokenizer.pad == pad
    one = [LETTERS.index(letter) for letter in "1+1"]
    assert tokenizer.encode("1+1") == [*begin, *one]
    assert tokenizer.encode("<bos>1+1") == [1, *one]  # a template that spells it out does not get a second one
    assert tokenizer.decode([*one, 3]).replace(" ", "") == "1+1"


def test_a_tokenizer_without_an_end_or_beyond_the_embedding_is_one_line(tmp_path):
    with pytest.raises(InputError, match=f"model {tmp_path}/a: expected an end token, in the tokenizer or"):
        lms.load(job_of(folder(tmp_path / "a", eos=None, ends=None)))
    with pytest.raises(InputError, match=f"model {tmp_path}/b: expected token ids below 3, the size of its embedding"):
        lms.load(job_of(folder(tmp_path / "b", rows=3)))
    _, tokenizer = lms.load(job_of(folder(tmp_path / "c", rows=20)))
    with pytest.raises(InputError, match=f"model {tmp_path}/c: expected token ids below 20"):
        tokenizer.encode("zzz")


def test_several_ends_end_a_completion():
    lm = llama()
    noise = uniforms(8, 30)
    rollout = generate(lm, [[1, 2], [3]], samples=4, limit=30, eos=(18, 7), pad=0, uniforms=noise)
    alone = generate(lm, [[1, 2], [3]], samples=4, limit=30, eos=25, pad=0, uniforms=noise).completions()
    for tokens, whole, finished in zip(rollout.completions(), alone, rollout.finished.tolist(), strict=True):
        stops = [i for i, token in enumerate(whole) if token in (18, 7)]
        assert tokens == whole[: stops[0] + 1 if stops else 30] and finished == bool(stops)
    assert {tokens[-1] for tokens in rollout.completions()} >= {18, 7}


def test_smollm2_comes_from_the_prepared_file_alone(prepared, monkeypatch):
    file, extra = prepared
    monkeypatch.setattr(lms, "gguf_file", None)
    lm, tokenizer = lms.load(job_of(Gguf(kind="smollm2", dtype="bfloat16"), weights_file=str(file)))
    for name, value in load_file(file).items():
        assert torch.equal(lm.state_dict()[name], value)
    assert lm.get_output_embeddings().weight is lm.get_input_embeddings().weight
    assert lm.base_model.rotary_emb.inv_freq.dtype == torch.float32
    assert lm.config.num_key_value_heads == json.loads(extra["config"])["num_key_value_heads"] == 2
    assert tokenizer.encode("a b<|im_end|>") == [0, 1, 2] and tokenizer.ends == (tokenizer.pad,) == (2,)
    assert tokenizer.decode([0, 1, 2]) == "a b"


def test_a_file_of_other_weights_is_refused(prepared):
    file, extra = prepared
    weights = load_file(file)
    missing = {name: value for name, value in weights.items() if "layers.1.mlp.up" not in name}
    for wrong, metadata in ((missing, extra), (weights, None), ({**weights, "more": torch.zeros(1)}, extra)):
        save_file(wrong, file, metadata)
        with pytest.raises(InputError, match="a model's weights"):
            lms.load_prepared(file)
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="a model's weights"):
        lms.load_prepared(file)
