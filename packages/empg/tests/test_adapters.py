"""LoRA: the base does not move, what is sampled is what is trained, and the merged model is the trained one."""

import json
import re

import pytest
import torch
from empg_helpers import llama
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from septet.card import RunCard
from septet.config import validate
from septet.empg import models
from septet.empg.adapters import adapt, adapter_weights, merged, without_adapter
from septet.empg.config import Job, Lora
from septet.empg.policy import Masters, Policy
from septet.empg.train import Trainer, train
from septet.errors import InputError
from septet.state import load_state_dict, state_dict


@pytest.fixture
def settings(letters):
    method = {"name": "empg", "kl_loss": 0.001, "kl_reward": 0.01}
    return {**letters, "method": method, "task": {**letters["task"], "lora": {"rank": 4}}}


def test_only_the_adapter_is_trained_and_checkpoints_hold_it_alone(settings):
    run = Trainer(validate(Job, settings, "job"))
    base = {name: w.detach().clone() for name, w in run.policy.lm.named_parameters() if "lora_" not in name}
    names = run.masters.names
    assert names and all("lora_" in name for name in names) and set(run.base) == {n.removeprefix("lm.") for n in names}
    for _ in range(3):
        run.advance()
    for name, weight in run.policy.lm.named_parameters():
        if "lora_" not in name:
            assert torch.equal(weight, base[name]) and not weight.requires_grad
    moved = [w for n, w in run.policy.lm.named_parameters() if "lora_B" in n]
    assert all(weight.abs().max() > 0 for weight in moved)
    held = [name for name in state_dict({"trainer": run}) if "weight." in name]
    assert held and all("lora_" in name for name in held)
    other = Trainer(validate(Job, settings, "job"))
    load_state_dict({"trainer": other}, state_dict({"trainer": run}))
    for one in (run, other):
        one.advance()
    for a, b in zip(run.masters.weights, other.masters.weights, strict=True):
        assert torch.equal(a, b)


def test_the_reference_is_the_same_model_without_its_adapter(settings):
    run = Trainer(validate(Job, settings, "job"))
    assert run.reference is run.policy
    run.advance()
    assert abs(run.shown["kl_to_base"]) < 1e-5  # the first completions are the base's
    run.advance()
    assert abs(run.shown["kl_to_base"]) > 1e-4
    ids = torch.tensor([[5, 6, 7]])
    plain, _ = models.load(run.job)
    with torch.no_grad(), without_adapter(run.policy.lm):
        assert torch.equal(run.policy.lm(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_a_job_leaves_the_merged_model_and_the_adapter(settings, tmp_path):
    job = validate(Job, settings, "job")
    train(job, tmp_path / "out")
    run = Trainer(job)
    for _ in range(8):
        run.advance()
    place = tmp_path / "out/model/last"
    ids = torch.tensor([[5, 6, 7, 8]])
    whole = AutoModelForCausalLM.from_pretrained(place)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    apart = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), place / "adapter")
    with torch.no_grad():
        expected = run.policy.lm(input_ids=ids).logits
        torch.testing.assert_close(whole(input_ids=ids).logits, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(apart(input_ids=ids).logits, expected, atol=1e-6, rtol=1e-6)
        assert (base(input_ids=ids).logits - expected).abs().max() > 1e-2
    assert set(load_file(place / "model.safetensors")) == set(load_file(tmp_path / "base/model.safetensors"))
    layers = json.loads((place / "adapter/adapter_config.json").read_text(encoding="utf-8"))["target_modules"]
    assert layers == sorted(layers) and len(layers) > 1  # the same bytes in each process
    about = RunCard.read(tmp_path / "out/run.json").methods["empg"]["models"]
    assert set(about) == {"best", "last"}
    assert "| adapter | LoRA of rank 4, merged" in (place / "README.md").read_text(encoding="utf-8")


def test_merged_weights_are_the_base_plus_the_scaled_product():
    lm = llama()
    before = {name: weight.detach().clone() for name, weight in lm.named_parameters()}
    lm = adapt(lm, Lora(rank=2, alpha=6, layers=["q_proj"]))
    parts = {name: weight for name, weight in lm.named_parameters() if "lora_" in name}
    torch.manual_seed(1)
    for weight in parts.values():
        weight.data.normal_()
    found = dict(merged(lm))
    assert found.keys() == before.keys() and len(adapter_weights(lm)) == len(parts) == 4
    for name, weight in found.items():
        expected = before[name]
        if "q_proj" in name:
            stem = "base_model.model." + name.removesuffix(".weight")
            a, b = (parts[f"{stem}.lora_{letter}.default.weight"] for letter in "AB")
            expected = expected + 6 / 2 * b @ a
        torch.testing.assert_close(weight, expected)


def test_the_adapter_of_a_bfloat16_model_has_its_type_and_float32_masters():
    policy = Policy(adapt(llama().to(torch.bfloat16), Lora(rank=2)))
    masters = Masters(policy)
    assert masters.split and all(weight.dtype == torch.bfloat16 for weight in masters.models)
    assert all(weight.dtype == torch.float32 for weight in masters.weights)
    assert all(weight.dtype == torch.bfloat16 for _, weight in merged(policy.lm))


def test_what_does_not_go_with_lora_is_one_line(settings):
    task = settings["task"]
    for changes, message in (
        ({"task": {**task, "shard": "full"}}, "shard none and engine local, for a model with lora"),
        ({"engine": "vllm"}, "shard none and engine local, for a model with lora"),
        ({"task": {**task, "model": {"kind": "tiny", "base": "warm"}}}, "no lora and no gradient_checkpointing"),
        ({"task": {**task, "lora": {"rank": 0}}}, "task.lora.rank: expected greater than or equal to 1"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            validate(Job, {**settings, **changes}, "job")
    job = validate(Job, {**settings, "task": {**task, "lora": {"layers": ["no_such_layer"]}}}, "job")
    with pytest.raises(InputError, match=r"task\.lora\.layers: expected names of linear layers, or all-linear, found"):
        Trainer(job)
