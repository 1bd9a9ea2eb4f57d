"""Losses: hand-computed numbers, the identities of section 2, and GRPO's loss of TRL on the same tensors."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from septet.empg import advantages as adv
from septet.empg import losses
from septet.empg.config import Method
from septet.empg.experiments import Experiments
from septet.empg.update import batch_loss, lesson

METHODS = Experiments().methods
MASK = torch.tensor([[1.0, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]], dtype=torch.float64)


def tensors(seed=0, drift=0.3):
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(4, 3, generator=generator, dtype=torch.float64) * MASK
    new = (old + drift * torch.randn(4, 3, generator=generator, dtype=torch.float64)) * MASK
    reference = -torch.rand(4, 3, generator=generator, dtype=torch.float64) * MASK
    return old, new.requires_grad_(), reference


def test_token_weights():
    sequence = losses.token_weights(MASK, "sequence", 3)
    assert sequence[0].tolist() == [1 / 8, 1 / 8, 0] and sequence[2].tolist() == [1 / 4, 0, 0]
    assert sequence.sum() == pytest.approx(1)
    assert losses.token_weights(MASK, "token", 3)[1].tolist() == pytest.approx([1 / 9] * 3)
    assert losses.token_weights(MASK, "constant", 3)[0].tolist() == pytest.approx([1 / 12, 1 / 12, 0])
    with pytest.raises(ValueError):
        losses.token_weights(MASK, "median", 3)


def test_losses_by_hand():
    one = torch.ones(1, 1)
    log_pi, old = torch.log(torch.tensor([[0.6]])), torch.log(torch.tensor([[0.4]]))
    assert losses.log_likelihood_loss(log_pi, 2 * one, one).item() == pytest.approx(-2 * math.log(0.6))
    assert losses.ratio_loss(log_pi, old, 2 * one, one).item() == pytest.approx(-3.0)
    assert losses.clipped_loss(log_pi, old, 2 * one, one, 0.2, 0.2).item() == pytest.approx(-2.4)
    assert losses.clipped_loss(log_pi, old, -2 * one, one, 0.2, 0.2).item() == pytest.approx(3.0)
    r = 0.5 / 0.6
    expected = r - math.log(r) - 1
    assert losses.k3(log_pi, torch.log(torch.tensor([[0.5]]))).item() == pytest.approx(expected, abs=1e-6)
    value = losses.value_loss(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([[3.0]]), one, 0.2)
    assert value.item() == pytest.approx(0.5 * (1.2 - 3) ** 2)


def gradient(loss, at):
    return torch.autograd.grad(loss, at)[0]


def test_at_theta_star_the_gradient_is_that_of_the_ratio_loss_and_after_a_step_it_is_not():
    old, _, _ = tensors()
    advantage = adv.smooth(adv.whiten(torch.tensor([1.0, 0, 0, 1], dtype=torch.float64), bessel=False))[:, None] * MASK
    weights = losses.token_weights(MASK, "sequence", 3)
    for drift, equal in ((0.0, True), (0.1, False)):
        log_pi = (old + drift * MASK).requires_grad_()
        plain = gradient(losses.log_likelihood_loss(log_pi, advantage, weights), log_pi)
        ratio = gradient(losses.ratio_loss(log_pi, old, advantage, weights), log_pi)
        clipped = gradient(losses.clipped_loss(log_pi, old, advantage, weights, 0.2, 0.2), log_pi)
        assert torch.allclose(plain, ratio) == equal
        assert torch.allclose(plain, clipped) == equal


def taught(method, reward, old, mask=MASK, **more):
    return lesson(method, torch.tensor(reward, dtype=torch.float64), old, mask, samples=2, limit=3, **more)


def loss_of(method, reward, seed=0, reference=None):
    old, log_pi, ref = tensors(seed)
    what = taught(method, reward, old, reference=ref if method.needs_reference else None)
    return batch_loss(method, what, log_pi, None, None), log_pi


def test_without_baseline_and_smoothing_it_is_online_raft():
    bare = Method(standardise=False, sigmoid=False, baseline="none")
    for reward in ([1.0, 0, 0, 1], [1.0, 1, 1, 1], [0.0, 0, 0, 0]):
        ours, at = loss_of(bare, reward)
        raft, at_raft = loss_of(METHODS["raft"], reward)
        assert ours.item() == raft.item()
        assert torch.equal(gradient(ours, at), gradient(raft, at_raft))


@pytest.mark.parametrize("name", ["empg", "grpo", "dr_grpo", "rloo", "reinforce_pp", "empg_raw"])
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_equal_rewards_give_zero_gradient(name, reward):
    loss, at = loss_of(METHODS[name], [reward] * 4)
    assert gradient(loss, at).abs().max() == 0


def test_empg_as_the_brief_writes_it():
    """-1/B sum_i 1/|y_i| sum_t A_i log pi + beta mean_i mean_t k3, token by token."""
    method = Method(kl_loss=0.3, kl_reward=0.2)
    old, log_pi, ref = tensors(3)
    reward = [1.0, 0, 0, 1]
    what = taught(method, reward, old, reference=ref)
    got = batch_loss(method, what, log_pi, None, None).item()
    lengths = MASK.sum(1).int().tolist()
    to_go = {}
    for i, n in enumerate(lengths):
        total = 0.0
        for t in reversed(range(n)):
            total += (reward[i] if t == n - 1 else 0.0) - 0.2 * (old[i, t] - ref[i, t]).item()
            to_go[i, t] = total
    mean = sum(to_go.values()) / len(to_go)
    variance = sum((g - mean) ** 2 for g in to_go.values()) / (len(to_go) - 1)
    expected = 0.0
    for i, n in enumerate(lengths):
        for t in range(n):
            a = math.tanh(0.5 * (to_go[i, t] - mean) / math.sqrt(variance + 1e-8))
            d = (ref[i, t] - log_pi[i, t]).item()
            expected += (-a * log_pi[i, t].item() + 0.3 * (math.exp(d) - d - 1)) / (4 * n)
    assert got == pytest.approx(expected, abs=1e-9)


def test_ppo_learns_its_critic():
    method = METHODS["ppo"]
    old, log_pi, _ = tensors(1)
    values = (0.1 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))) * MASK
    what = taught(method, [1.0, 0, 0, 1], old, values=values)
    free = values.clone().requires_grad_()
    loss = batch_loss(method, what, log_pi, None, free)
    slope = gradient(loss, free)
    assert torch.allclose(slope, method.value_weight * what.weights * (values - what.returns))


def test_dr_grpo_and_reinforce_pp_by_hand():
    reward = [1.0, 0, 1, 1]
    loss, _ = loss_of(METHODS["dr_grpo"], reward)
    old, log_pi, _ = tensors()
    expected = 0.0
    for i, a in enumerate([0.5, -0.5, 0.0, 0.0]):
        for t in range(int(MASK[i].sum())):
            rho = math.exp((log_pi[i, t] - old[i, t]).item())
            expected -= min(rho * a, min(max(rho, 0.8), 1.2) * a) / (4 * 3)
    assert loss.item() == pytest.approx(expected)
    what = taught(METHODS["reinforce_pp"], reward, old)
    assert torch.allclose(what.advantage, adv.whiten(torch.tensor(reward).double()[:, None] * MASK, MASK))
    assert what.weights[0, 0].item() == pytest.approx(1 / 9)


@pytest.mark.parametrize("kind", ["grpo", "dr_grpo"])
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_grpo_against_trl(kind, beta):
    """TRL's own loss function on our tensors: clip 0.2, its averages `grpo` and `dr_grpo`."""
    from trl import GRPOTrainer

    name = "grpo" if kind == "grpo" else "dr_grpo"
    method = METHODS[name].model_copy(update={"kl_loss": beta})
    old, log_pi, ref = tensors(5)
    reward = torch.tensor([1.0, 0, 0, 1], dtype=torch.float64)
    advantage = (adv.group_standardise(reward, 2, 1e-4) if kind == "grpo" else adv.group_centre(reward, 2)).clone()
    what = taught(method, reward.tolist(), old, reference=ref if beta else None)
    if kind == "grpo":
        what = type(what)(advantage[:, None] * MASK, what.weights, what.old, what.reference)
    ours = batch_loss(method, what, log_pi, None, None)
    theirs = trl_loss(GRPOTrainer, log_pi, old, ref, advantage, kind, beta)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-7)


def trl_loss(trainer, log_pi, old, ref, advantage, kind, beta):
    fake = SimpleNamespace()
    fake._get_per_token_logps_and_entropies = lambda *a, **k: (log_pi, torch.zeros_like(log_pi), None)
    fake.model_accepts_loss_kwargs = False
    fake.args = SimpleNamespace(delta=None, use_bias_correction_kl=False)
    fake.accelerator = SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x, num_processes=1)
    fake.model = SimpleNamespace(training=True)
    fake._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    fake.current_gradient_accumulation_steps = 1
    values = {
        "top_entropy_quantile": 1.0, "beta": beta, "importance_sampling_level": "token", "loss_type": kind,
        "epsilon_low": 0.2, "epsilon_high": 0.2, "max_completion_length": 3, "off_policy_mask_threshold": None,
        "use_vllm": False, "vllm_importance_sampling_correction": False, "use_liger_kernel": False, "tools": None,
        "aux_loss_enabled": False, "_entropy_bonus_enabled": False,
    }  # fmt: skip
    for key, value in values.items():
        setattr(fake, key, value)
    inputs = {
        "prompt_ids": torch.zeros(4, 1, dtype=torch.long), "prompt_mask": torch.ones(4, 1, dtype=torch.long),
        "completion_ids": torch.zeros(4, 3, dtype=torch.long), "completion_mask": MASK.long(),
        "advantages": advantage, "old_per_token_logps": old, "ref_per_token_logps": ref,
        "num_items_in_batch": MASK.sum(),
    }  # fmt: skip
    return trainer._compute_loss(fake, None, inputs)
