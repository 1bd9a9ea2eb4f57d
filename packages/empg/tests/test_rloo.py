"""RLOO: numbers by hand, and TRL's own RLOOTrainer on the same model and completions, steps included."""

import math

import pytest
import torch
from datasets import Dataset
from empg_helpers import EXPERIMENTS, gpt2, job, uniforms
from trl import RLOOConfig, RLOOTrainer

from septet.empg import losses, models
from septet.empg.config import Method
from septet.empg.forward import log_probabilities
from septet.empg.policy import Masters, Policy
from septet.empg.sample import generate
from septet.empg.update import improve, lesson

REWARD = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
PROMPTS = [[1, 2, 3], [4, 5, 6]]
RATE, BETA = 0.5, 0.3


def test_the_ratio_of_a_whole_completion_by_hand():
    old = torch.log(torch.tensor([[0.5, 0.4, 1.0], [0.5, 1.0, 1.0], [0.5, 0.5, 1.0]]))
    new = torch.log(torch.tensor([[0.6, 0.5, 0.1], [0.4, 0.1, 0.1], [0.5, 0.6, 0.1]]))
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 0]])
    weights = losses.token_weights(mask, "sum", 3)
    assert weights.tolist() == (mask / 3).tolist()
    advantage = torch.tensor([[1.0], [-1.0], [-1.0]])
    # Ratios .6 .5 / (.5 .4) = 1.5, .8 and 1.2: the first is cut to 1.2, the others are not.
    expected = -(1.2 - 0.8 - 1.2) / 3
    found = losses.sequence_clipped_loss(new, old, advantage, weights, 0.2, 0.2)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_two_completions_are_not_a_multiple_of_grpo():
    """Averaged over each completion, RLOO with N = 2 is GRPO times the square root of 2, whatever the lengths are."""
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0]])
    old, reward = torch.zeros(2, 4), torch.tensor([1.0, 0.0])
    weight = {}
    for name in ("rloo", "grpo"):
        what = lesson(EXPERIMENTS.methods[name], reward, old, mask, samples=2, limit=4)
        weight[name] = (what.advantage * what.weights)[mask > 0]
    assert weight["rloo"].tolist() == [0.5, 0.5, 0.5, 0.5, -0.5]
    assert weight["grpo"] == pytest.approx([math.sqrt(0.5) / 8] * 4 + [-math.sqrt(0.5) / 2], abs=1e-5)


def test_the_ratio_of_a_completion_needs_one_advantage():
    for estimator, more in (
        ("ppo", {}),
        ("reinforce_pp", {}),
        ("empg", {"level": "token"}),
        ("empg", {"kl_reward": 1}),
    ):
        with pytest.raises(ValueError, match="one advantage for a completion"):
            Method(estimator=estimator, ratio="sequence", **more)
    assert Method(estimator="empg", ratio="sequence").level == "auto"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trl")
    gpt2().save_pretrained(folder / "model")
    config = RLOOConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, num_generations=3, report_to=[],
        per_device_train_batch_size=6, max_completion_length=8, temperature=1.0, beta=BETA, num_iterations=3,
    )  # fmt: skip
    data = Dataset.from_dict({"prompt": ["1"]})
    return RLOOTrainer(
        model=str(folder / "model"), reward_funcs=lambda **_: REWARD, args=config, train_dataset=data,
        processing_class=models.load(job())[1].pretrained(),
    )  # fmt: skip


def reference_model():
    lm = gpt2()
    with torch.no_grad():
        for weight in lm.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(4)))
    return lm


@pytest.mark.parametrize("beta", [0.0, BETA])
def test_steps_are_those_of_trls_trainer(theirs, beta):
    """Advantages, and the weights after three inner steps of plain gradient descent that leave the clip range."""
    lm, reference = gpt2(), reference_model()
    rollout = generate(lm, PROMPTS, samples=3, limit=8, eos=16, pad=19, uniforms=uniforms(6, 8))
    assert len(set(rollout.lengths.tolist())) > 1
    theirs.model.train().load_state_dict(lm.state_dict())
    theirs.ref_model.load_state_dict(reference.state_dict())
    theirs.beta = beta
    prompts = [PROMPTS[k // 3] for k in range(6)]
    theirs._generate = lambda _: (prompts, rollout.completions(), ["x"] * 6)
    batch = theirs._generate_and_score_completions([{"prompt": "1"}] * 6)

    method = EXPERIMENTS.methods["rloo"].model_copy(update={"kl_reward": beta, "inner_steps": 3})
    known, _ = log_probabilities(Policy(reference), rollout)
    what = lesson(
        method,
        torch.tensor(REWARD),
        rollout.log_pi,
        rollout.mask,
        samples=3,
        limit=8,
        reference=known if beta else None,
    )
    assert what.advantage[:, 0].tolist() == pytest.approx(batch["advantages"].tolist(), abs=1e-5)
    assert (batch["advantages"].abs() > 0.04).all()

    clipped = []
    for _ in range(3):
        loss = theirs._compute_loss(theirs.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), 1.0)
        with torch.no_grad():
            for weight in theirs.model.parameters():
                weight -= RATE * weight.grad
                weight.grad = None
        clipped.append(theirs._metrics["train"]["clip_ratio/region_mean"][-1])
    policy = Policy(lm)
    masters = Masters(policy)
    optimiser = torch.optim.SGD(masters.weights, lr=RATE)
    improve(
        policy, masters, optimiser, rollout, what, method, temperature=1.0, max_grad_norm=1.0, row_tokens=1000,
        batch_tokens=10_000,
    )  # fmt: skip
    assert clipped[0] == 0 and clipped[-1] > 0
    moved = [(a - b).abs().max() for a, b in zip(lm.parameters(), gpt2().parameters(), strict=True)]
    assert max(moved) > 0.05
    for ours, other in zip(lm.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)


def test_the_first_pass_is_the_old_policy():
    """A sampler whose log-probabilities are off by .3 a token would turn the ratio of 8 tokens into 11."""
    found = []
    for off in (0.0, -0.3):
        lm = gpt2()
        policy = Policy(lm)
        masters = Masters(policy)
        optimiser = torch.optim.SGD(masters.weights, lr=RATE)
        rollout = generate(lm, PROMPTS, samples=3, limit=8, eos=16, pad=19, uniforms=uniforms(6, 8))
        old = rollout.log_pi + off * rollout.mask
        method = EXPERIMENTS.methods["rloo"]
        what = lesson(method, torch.tensor(REWARD), old, rollout.mask, samples=3, limit=8)
        report = improve(
            policy, masters, optimiser, rollout, what, method, temperature=1.0, max_grad_norm=1e9, row_tokens=1000,
            batch_tokens=10_000,
        )  # fmt: skip
        assert report.kl == pytest.approx(off, abs=1e-5)
        found.append(report.gradient)
    assert found[0] == found[1]
