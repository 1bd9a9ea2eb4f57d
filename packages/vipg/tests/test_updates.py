"""The plug-ins on real episodes: gradients, curvature, merits, against slow versions that read like section 2.4."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from septet.rl.trust_region import kl_hessian_product
from septet.vipg import baseline, experience, updates
from septet.vipg.adam import Moments
from septet.vipg.agent import Agent
from septet.vipg.config import PPO, TRPO, VPG, Job
from septet.vipg.surrogate import Surrogate

FAMILIES = ["mean_field", "low_rank", "planar", "coupling", "full"]
TASK = {
    "kind": "environment", "name": "cart", "environment": "ContinuousCartPole", "hidden": [4], "episodes": 8,
    "iterations": 2, "return_low": 20.0, "return_high": 200.0,
}  # fmt: skip


def generators():
    """One for each of two rows."""
    return [np.random.default_rng(s) for s in range(2)]


def problem(family="mean_field", particles=4, alpha=0.1, **more):
    """The problem of a first iteration: two seeds, `particles` policies of two episodes each, and its agent."""
    method = {"name": "m", "algorithm": "vpg", "family": family, "particles": particles, "sigma": 0.3, **more}
    method["alphas"] = [alpha]
    agent = Agent(Job(method=method, task=TASK, seeds=[1000, 1001]))
    rows, values = [], []

    def caught(given, method, moments, value, shuffles):
        rows.append(given), values.append(value)
        return given.old, moments, {}

    original, updates.update = updates.update, caught
    try:
        agent.iterate(0)
    finally:
        updates.update = original
    return together(rows), torch.cat(values), agent


def together(rows):
    """The problems of several rows as one."""
    longest = max(row.batch.valid.shape[1] for row in rows)

    def joined(tensors):
        wide = [torch.cat([x, x.new_zeros(len(x), longest - x.shape[1], *x.shape[2:])], 1) for x in tensors]
        return torch.cat(wide)

    return replace(
        rows[0],
        xi=torch.cat([row.xi for row in rows]),
        batch=experience.Batch(*(joined(parts) for parts in zip(*(row.batch for row in rows), strict=True))),
        advantage=joined([row.advantage for row in rows]),
        alpha=torch.cat([row.alpha for row in rows]),
        old=torch.cat([row.old for row in rows]),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_is_that_of_the_merit_with_common_random_numbers(family):
    """Equation 3 with policy gradients as drive, against autograd through S + L_alpha at the old parameters."""
    one, value, _ = problem(family)
    method = VPG(algorithm="vpg", family=family, alphas=[0.1])
    found = updates.gradient(one, method, value)
    leaf = one.old.clone().requires_grad_()
    merit, divergence = one.evaluate(leaf)
    (want,) = torch.autograd.grad(merit.sum(), leaf)
    np.testing.assert_allclose(found, want, atol=2e-4 * float(want.abs().max()))
    assert divergence.abs().max() < 1e-6


def test_plain_policy_gradient_by_hand():
    """One particle: the mean over the row's samples of grad log pi times the standardised advantage."""
    one, value, _ = problem("particles", 1, 0.0)
    found = updates.gradient(one, VPG(algorithm="vpg", family="particles", particles=1), value)
    for r in range(2):
        leaf = one.old[r : r + 1].clone().requires_grad_()
        count = int(one.batch.valid[r].sum())
        (weight, bias), (weight2, bias2) = one.network.split(leaf)[0]
        x, a = one.batch.observation[r, :count], one.batch.action[r, :count]
        mean = torch.tanh(x @ weight[0] + bias[0]) @ weight2[0] + bias2[0]
        log_prob = torch.distributions.Normal(mean, leaf[0, -1].exp()).log_prob(a).sum(1)
        raw = experience.standardised(one.batch, 2)[r, :count]
        (want,) = torch.autograd.grad((log_prob * raw).mean(), leaf)
        np.testing.assert_allclose(found[r], want[0], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_curvature_is_the_hessian_of_the_divergence(family):
    """J' F J by tangents against double back-propagation of D in phi, both on every state."""
    one, _, _ = problem(family, alpha=0.0)
    shortest = int(one.batch.valid.sum(1).min())
    cut = type(one.batch)(*(part[:, :shortest] for part in one.batch))
    one = Surrogate(one.network, one.sampler, one.xi, cut, one.advantage[:, :shortest], one.alpha, 1.0, one.old)
    ours = updates.curvature(one, states=4 * shortest, damping=0.0)
    theirs = kl_hessian_product(lambda w: one.evaluate(w, "surrogate")[1], one.old)
    rng = np.random.default_rng(0)
    for _ in range(3):
        v = torch.from_numpy(rng.standard_normal(one.old.shape)).float()
        want = theirs(v)
        np.testing.assert_allclose(ours(v), want, atol=2e-3 * float(want.abs().max()))


def test_damping_is_pulled_back_from_the_weights():
    one, _, _ = problem(alpha=0.0)
    with_, without = (updates.curvature(one, 40, damping) for damping in (0.5, 0.0))
    v = torch.zeros_like(one.old)
    d = one.sampler.weights
    v[:, d] = 1.0  # the first log-scale: J'J = mean over particles of (sigma xi)²
    want = 0.5 * (0.3 * one.xi[:, :, 0]).square().mean(1)
    np.testing.assert_allclose((with_(v) - without(v))[:, d], want, rtol=1e-3)


def test_trust_region_step_keeps_to_the_region_and_improves_the_joint_merit():
    one, value, _ = problem(alpha=0.3)
    method = TRPO(algorithm="trpo", alphas=[0.3], target_kl=0.02)
    new, taken, moved = updates.natural_step(one, method, updates.gradient(one, method, value))
    merit, far = one.evaluate(new)
    base = one.evaluate(one.old)[0]
    torch.testing.assert_close(one.merit_before(), base, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(moved, far)
    assert (taken > 0).all() and (merit > base).all()
    assert (far <= 0.02).all() and (far > 1e-3).all()


def test_merit_without_the_entropy_rejects_what_the_joint_one_takes():
    """Section 6: with a strong repulsion the surrogate alone does not improve, so its search stands still."""
    one, value, _ = problem(alpha=100.0)
    slope = updates.gradient(one, TRPO(algorithm="trpo", alphas=[1.0]), value)
    joint, surrogate = (
        updates.natural_step(one, TRPO(algorithm="trpo", alphas=[1.0], merit=merit), slope)[1]
        for merit in ("joint", "surrogate")
    )
    assert (joint > 0).all()
    assert surrogate.sum() < joint.sum()


def test_clipped_objective_by_hand():
    one, _, _ = problem(alpha=0.0)
    rng = np.random.default_rng(1)
    moved = one.old + 0.05 * torch.from_numpy(rng.standard_normal(one.old.shape)).float()
    found = one.clipped(moved, 0.2, slice(None))
    flat, _, _ = one.policies(moved)
    total, count = [0.0, 0.0], [0, 0]
    ratio = one.log_ratio(flat)[0].exp()
    for m in range(8):
        for i in range(one.batch.valid.shape[1]):
            if one.batch.valid[m, i]:
                r, a = float(ratio[m, i]), float(one.advantage[m, i])
                total[m // 4] += min(r * a, max(0.8, min(1.2, r)) * a)
                count[m // 4] += 1
    np.testing.assert_allclose(found, np.array(total) / count, atol=1e-5)


def test_mini_batches_hold_every_sample_once_whatever_the_other_rows_are():
    one, _, _ = problem(alpha=0.0)
    mixed, block = updates.shuffled(one, 3, generators())
    for m in range(8):
        length = int(one.batch.valid[m].sum())
        counts = mixed.batch.valid[m].reshape(3, block).sum(1)
        assert counts.sum() == length and counts.max() - counts.min() <= 1
        ours, theirs = (b.observation[m][b.valid[m] > 0] for b in (mixed.batch, one.batch))
        assert torch.equal(ours.sort(0).values, theirs.sort(0).values)
    alone = replace(one, **{
        name: getattr(one, name)[1:] for name in ("xi", "alpha", "old")
    }, batch=type(one.batch)(*(part[4:] for part in one.batch)), advantage=one.advantage[4:])  # fmt: skip
    single, width = updates.shuffled(alone, 3, generators()[1:])
    for part in range(3):
        a = mixed.advantage[4:, part * block : part * block + min(block, width)]
        b = single.advantage[:, part * width : part * width + min(block, width)]
        np.testing.assert_array_equal(a, b)


def test_proximal_update_stops_a_row_beyond_its_divergence():
    one, _, _ = problem(alpha=0.0)
    tight = PPO(algorithm="ppo", target_kl=1e-6, epochs=3, learning_rate=1e-3)
    after, _, far = updates.proximal(one, tight, Moments.none(one.old), generators())
    one_epoch = updates.proximal(one, tight.model_copy(update={"epochs": 1}), Moments.none(one.old), generators())[0]
    assert torch.equal(after, one_epoch)
    torch.testing.assert_close(far, one.evaluate(after, "surrogate")[1])


def test_frozen_sigma_does_not_move():
    one, value, _ = problem(alpha=0.0)
    d = one.sampler.weights
    for method in (VPG(algorithm="vpg", freeze_sigma=True), PPO(algorithm="ppo", freeze_sigma=True)):
        new, _, _ = updates.update(one, method, Moments.none(one.old), value, generators())
        assert torch.equal(new[:, d : 2 * d], one.old[:, d : 2 * d])
        assert not torch.equal(new[:, :d], one.old[:, :d])


@pytest.mark.parametrize(
    ("family", "gradient"), [("particles", "stein"), ("mean_field", "stein"), ("mean_field", "score")]
)
def test_baselines_move_every_particle(family, gradient):
    one, value, _ = problem(family, 4, 0.1, gradient=gradient)
    method = VPG(algorithm="vpg", family=family, particles=4, gradient=gradient, alphas=[0.1])
    slope = updates.gradient(one, method, value)
    assert torch.isfinite(slope).all() and (slope != 0).float().mean() > 0.9


def test_rows_of_one_seed_share_episodes_and_noise():
    method = {"name": "m", "algorithm": "vpg", "particles": 4, "alphas": [0.0, 1.0]}
    agent = Agent(Job(method=method, task=TASK, seeds=[1000, 1001]))
    first = agent.iterate(0)
    assert first.scores["return"][0] == first.scores["return"][2]
    assert first.scores["return"][1] == first.scores["return"][3] != first.scores["return"][0]
    assert not torch.equal(agent.parameters[0], agent.parameters[2])  # their alphas differ


def test_alpha_is_in_units_of_the_range_of_returns():
    """Section 6: alpha d / range."""
    one, _, agent = problem(alpha=0.5)
    d = agent.sampler.weights
    np.testing.assert_allclose(agent.alpha, 0.5 * 180.0 / d)
    assert one.alpha.shape == (2,)


def test_gather_sorts_steps_by_policy():
    valid = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 0]], bool)
    value = np.arange(12.0).reshape(3, 4)
    out = experience.gather(value, valid, 2)
    np.testing.assert_array_equal(out, [[0, 1, 5, 9], [2, 6, 3, 7]])


def test_linear_baseline_fits_a_line_per_row():
    rng = np.random.default_rng(0)
    observation = rng.standard_normal((20, 6, 2))
    x = baseline.features(observation)
    truth = rng.standard_normal((2, x.shape[2]))
    target = baseline.values(truth, x)
    valid = rng.random(target.shape) < 0.8
    found = baseline.fit(x, np.where(valid, target, 1e6), valid, 2)
    np.testing.assert_allclose(baseline.values(found, x), target, atol=0.05)


def test_the_unit_makes_the_standardised_objective_the_return():
    """Mean over samples of standardised advantages, times the unit, is the sum over an episode."""
    one, _, _ = problem(alpha=0.0)
    raw, valid = one.batch.advantage.reshape(2, -1), one.batch.valid.reshape(2, -1)
    for r in range(2):
        a = raw[r][valid[r] > 0].double()
        unit = len(a) / 8 * float(a.std(correction=0))
        np.testing.assert_allclose(
            one.advantage.reshape(2, -1)[r][valid[r] > 0].numpy() * unit,
            (a - a.mean()) * len(a) / 8,
            rtol=1e-3,
            atol=1e-3,
        )
    assert math.isfinite(unit)
