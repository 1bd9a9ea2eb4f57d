"""Small random models of many families: ours equals the model's own forward pass, or it is one line."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers as tf
from empg_helpers import job, uniforms

from septet.empg import attention
from septet.empg.engines import Local
from septet.empg.families import PLAIN, model_of
from septet.empg.family_table import (
    ALIKE,
    BOUND,
    ENDS,
    FAMILIES,
    OTHERS,
    PROMPTS,
    gap,
    made,
    rejection,
    taken_for_plain,
    widest,
)
from septet.empg.forward import batches
from septet.empg.policy import Policy
from septet.empg.sample import generate
from septet.empg.self_check import check_log_probabilities, own_log_probabilities
from septet.empg.train import Trainer
from septet.errors import InputError

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: cells[1:]
    for line in README.partition("<!-- families: begin")[2].partition("<!-- families: end")[0].splitlines()[3:]
    if (cells := [cell.strip() for cell in line.strip("|").split("|")])
}
"""The README's table: model -> what it says of it."""
PACKED = {name for name, row in ROWS.items() if row[0] == "packed"}


@pytest.mark.parametrize("name", FAMILIES)
def test_sampler_and_trainer_are_the_models_own_pass(name):
    lm = made(name)
    rollout = generate(lm, PROMPTS, samples=2, limit=12, eos=ENDS, pad=0, uniforms=uniforms(4, 12))
    assert (rollout.log_pi[rollout.mask > 0] < 0).all()
    assert own_log_probabilities(Policy(lm), rollout, 1.0).std() > 0.1  # else nothing would show
    found = widest(lm)
    assert max(found.sampler, found.trainer) < BOUND
    how, sampler, trainer, packed = ROWS[name]
    assert model_of(lm).plain == (how == "packed") == (packed == "") and sampler == trainer == "rounding"


@pytest.mark.parametrize("name", ["granite", "cohere", "gemma2, wide window", "mistral, window"])
def test_the_table_says_what_packing_the_others_would_cost(name):
    with taken_for_plain():
        found = widest(made(name))
    off = max(found.sampler, found.trainer)
    assert off > 1e-3 and off == pytest.approx(float(ROWS[name][3]), rel=0.15)
    assert not model_of(made(name)).plain


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_proven_is_one_line(name):
    message = rejection(OTHERS[name]())
    assert "\n" not in message and message.startswith("model ")
    assert ROWS[name][0] == f"rejected: {message.partition(': ')[2]}"


def test_the_table_has_every_model_and_every_packed_family_is_proven():
    assert list(ROWS) == [*FAMILIES, *OTHERS]
    assert {getattr(tf, FAMILIES[name][0])(**FAMILIES[name][1]).model_type for name in PACKED} == PLAIN


def test_our_attention_is_packed_too():
    for name in ("llama", "gpt2"):
        lm = made(name, attention.NAME)
        found = widest(lm)
        assert model_of(lm).plain and max(found.sampler, found.trainer) < BOUND


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
    found = gap(lm, ALIKE, 1024)
    assert max(found.sampler, found.trainer) < BOUND
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
    asked = {"limit": 12, "temperature": 0.7, "row_tokens": 1024, "batch_tokens": 4096, "whole": True}
    asked["computes_in"] = torch.float32
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
            engine, policy, PROMPTS, limit=12, temperature=1.0, row_tokens=1024, batch_tokens=4096, whole=True,
            name="granite", computes_in=torch.float32,
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
            engine, broken, PROMPTS, limit=4, temperature=1.0, row_tokens=64, batch_tokens=64, whole=False,
            name="any", computes_in=torch.float32,
        )  # fmt: skip


def test_a_run_begins_with_the_check(monkeypatch):
    run = Trainer(job())
    assert 0 <= run.agreement < 1e-5
    run.close()
    monkeypatch.setattr(sys.modules["septet.empg.self_check"], "BOUND", {torch.float32: -1.0})
    with pytest.raises(InputError, match=r"model tiny: expected log-probabilities of sampler and trainer"):
        Trainer(job())
