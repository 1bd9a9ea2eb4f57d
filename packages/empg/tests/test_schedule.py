"""The learning rate of each step, and layers that are computed again in the backward pass."""

import math

import pytest
import torch
from empg_helpers import gpt2, job, llama, uniforms
from torch.autograd.graph import saved_tensors_hooks

from septet.config import validate
from septet.empg.config import Job, Method
from septet.empg.policy import Masters, Policy, checkpoint_layers
from septet.empg.sample import generate
from septet.empg.train import Trainer
from septet.empg.update import improve, learning_rate_factor, lesson
from septet.state import load_state_dict, state_dict

BY_HAND = {
    ("constant", 0): [1, 1, 1, 1, 1, 1],
    ("constant", 2): [1 / 2, 1, 1, 1, 1, 1],
    ("linear", 0): [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6],
    ("linear", 3): [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3],
    ("cosine", 2): [1 / 2, 1, 1, (1 + math.sqrt(0.5)) / 2, 1 / 2, (1 - math.sqrt(0.5)) / 2],
}


@pytest.mark.parametrize("case", [*BY_HAND])
def test_factors_by_hand(case):
    schedule, warmup = case
    found = [learning_rate_factor(step, 6, warmup, schedule) for step in range(6)]
    assert found == pytest.approx(BY_HAND[case])


def test_every_step_has_its_rate_and_a_resumed_one_too():
    settings = {"schedule": "linear", "warmup": 3, "learning_rate": 1e-3}
    run, rates = Trainer(job("empg", "warm", seeds=[1, 2], task_settings=settings)), []
    step = torch.optim.AdamW.step

    def noting(self, *arguments, **more):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", noting)
        for _ in range(4):
            run.advance()
        resumed = Trainer(job("empg", "warm", seeds=[1, 2], task_settings=settings))
        load_state_dict({"trainer": resumed}, state_dict({"trainer": run}))
        resumed.advance()
        resumed.advance()
        resumed.next_seed()
        resumed.advance()
    assert rates == pytest.approx([1e-3 * factor for factor in (*BY_HAND["linear", 3], 1 / 3)])


def update(lm, **more):
    """Gradients of one update, and bytes that its forward passes kept for the backward pass."""
    policy = Policy(lm)
    masters, kept = Masters(policy), []
    rollout = generate(policy.lm, [[1, 2, 3], [4, 5, 6]], samples=4, limit=24, eos=18, pad=18, uniforms=uniforms(8, 24))
    what = lesson(Method(), torch.tensor([1.0, 0, 0, 1, 0, 0, 1, 0]), rollout.log_pi, rollout.mask, samples=4, limit=24)
    with saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda tensor: tensor):
        improve(
            policy, masters, torch.optim.SGD(masters.weights, lr=1.0), rollout, what, Method(entropy=0.01),
            temperature=1.0, max_grad_norm=1e9, row_tokens=1000, batch_tokens=10_000, **more,
        )  # fmt: skip
    return rollout, [weight.detach().clone() for weight in masters.weights], sum(kept)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_checkpointed_layers_give_the_same_update_and_keep_less(make):
    plain_rollout, plain, more = update(make())
    lm = make()
    checkpoint_layers(lm)
    rollout, found, less = update(lm)
    assert torch.equal(rollout.tokens, plain_rollout.tokens)  # generation has its cache
    assert len(plain) == len(found) and all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
    assert less < 0.6 * more


def test_the_job_s_switch_checkpoints_the_trained_model_alone(letters):
    settings = {**letters, "method": {"name": "empg", "kl_loss": 0.01}}
    plain, run = (
        Trainer(validate(Job, {**settings, "task": {**settings["task"], "gradient_checkpointing": on}}, "job"))
        for on in (False, True)
    )
    for one, expected in ((plain.policy, False), (run.policy, True), (run.reference, False)):
        assert ["forward" in layer.__dict__ for layer in one.lm.model.layers] == [expected] * 2
    for one in (plain, run):
        one.advance()
    for a, b in zip(plain.masters.weights, run.masters.weights, strict=True):
        assert torch.equal(a, b)
