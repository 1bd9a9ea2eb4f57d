"""TRPO and VPG: one update against sb3-contrib's, the value net's regression, the losses by hand."""

import numpy as np
import pytest
import torch

from septet.rl import gaussian, trpo, values, vpg
from septet.rl.collecting import permutations
from septet.rl.config import TRPO
from septet.rl.networks import Network, Parameters, backward
from septet.rl.optimisers import Adam
from septet.rl.ppo import EPS


def test_surrogates_by_hand():
    log_prob, old, advantage = torch.tensor([[0.0, -1.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 3.0]])
    assert trpo.surrogate(log_prob, old, advantage).item() == pytest.approx(-(2.0 + 3.0 * np.exp(-1.0)) / 2)
    assert vpg.loss(log_prob, advantage).item() == pytest.approx(1.5)


def alone(parameters):
    return Parameters(parameters.network, parameters.flat[:1].clone())


def test_one_update_is_that_of_sb3_contrib(case, peer, monkeypatch):
    contrib = pytest.importorskip("sb3_contrib")
    policy, value, batch = case
    policy, value, batch = alone(policy), alone(value), type(batch)(*(part[:1] for part in batch))
    order = permutations(0, [0], 0, 10, 200)
    model = peer.model(contrib.TRPO, policy, value, batch, value(batch.observation).detach().squeeze(2), batch_size=128)
    drawn = iter([np.arange(200), *order[0]])
    monkeypatch.setattr(np.random, "permutation", lambda n: next(drawn))
    model.train()
    method = TRPO(algorithm="trpo", divergence_per_action=True)
    flat, taken, divergence = trpo.update(policy.network, policy.flat, batch, method)
    optimiser = Adam(value.flat, value.gradient, method.value_learning_rate, eps=EPS)
    values.fit(value, optimiser, [batch.observation[0]], [batch.returns[0]], [order[0]], [128], [0])
    of_policy, of_value = peer.weights(model)
    assert taken.item() > 0 and 0 < divergence.item() <= 2 * 0.01  # two action dimensions
    assert (flat - policy.flat).abs().max() > 1e-2
    assert torch.allclose(flat[0], of_policy, atol=2e-4)  # 15 steps of conjugate gradient apart in float32
    assert torch.allclose(value.flat[0], of_value, atol=2e-5)


def test_a_seed_alone_takes_the_step_that_it_takes_in_a_batch(case):
    policy, _, batch = case
    method = TRPO(algorithm="trpo")
    flat, taken, _ = trpo.update(policy.network, policy.flat, batch, method)
    for s in range(3):
        one = type(batch)(*(part[s : s + 1] for part in batch))
        own, fraction, _ = trpo.update(policy.network, policy.flat[s : s + 1], one, method)
        assert torch.allclose(own[0], flat[s], atol=1e-4) and fraction == taken[s]


def test_the_step_stays_in_the_trust_region_and_lowers_the_surrogate(case):
    policy, _, batch = case
    flat, taken, divergence = trpo.update(policy.network, policy.flat, batch, TRPO(algorithm="trpo"))
    old = policy.network(policy.flat, batch.observation)
    new = policy.network(flat, batch.observation)
    stds = policy.network.split(policy.flat)[1], policy.network.split(flat)[1]
    measured = gaussian.kl(old, stds[0], new, stds[1]).mean(1)
    assert torch.allclose(measured, divergence, atol=1e-6) and (divergence <= 0.01).all() and (taken > 0).all()


def regress(value, optimiser, x, target, order, batch):
    """Minimise mean (V(x) - R)² in mini-batches by automatic differentiation: the reference of `values.fit`.

    Args:
        value: parameters, changed in place.
        optimiser: on its flat tensor.
        x: (S, n, in).
        target: R, (S, n).
        order: (S, epochs, used), rows in the order of their use.
        batch: samples in a mini-batch.
    """
    seeds = torch.arange(len(order)).unsqueeze(1)
    for epoch in torch.from_numpy(order).unbind(1):
        for rows in torch.split(epoch, batch, dim=1):
            errors = value(x[seeds, rows]).squeeze(2) - target[seeds, rows]
            backward(errors.square().mean(1).sum(), value)
            optimiser.step()


def test_the_compiled_regression_is_the_readable_one():
    torch.manual_seed(0)
    network = Network((4, 9, 6, 1))
    flat = 0.3 * torch.randn(2, network.size)
    x, target = torch.randn(2, 50, 4), torch.randn(2, 50)
    order = permutations(0, [0, 1], 0, 3, 50)
    one, other = Parameters(network, flat.clone()), Parameters(network, flat.clone())
    readable, compiled = (Adam(net.flat, net.gradient, 1e-2) for net in (one, other))
    regress(one, readable, x, target, order, 16)
    loss = values.fit(other, compiled, list(x), list(target), list(order), [16, 16], [0, 0])
    assert torch.allclose(one.flat, other.flat, atol=1e-5)
    assert (loss > 0).all() and np.isfinite(loss).all()
