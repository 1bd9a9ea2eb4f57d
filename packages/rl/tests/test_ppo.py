"""PPO: the loss by hand and against a loop, the compiled update against the readable one and Stable-Baselines3's."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from septet.rl import dense, gaussian, shapes
from septet.rl.collecting import Batch, permutations
from septet.rl.config import PPO
from septet.rl.networks import Network, Parameters, backward, initial, orthogonal
from septet.rl.optimisers import Adam
from septet.rl.ppo import EPS, clipped_surrogate, standardised, train_epochs

SETTINGS = PPO(algorithm="ppo", epochs=3, minibatch_size=64, learning_rate=1e-3, ent_coef=0.01)


def test_the_clipped_surrogate_by_hand():
    ratio = torch.tensor([0.5, 0.9, 1.5, 0.5, 1.5])
    advantage = torch.tensor([1.0, 1.0, 1.0, -1.0, -2.0])
    # a gain counts up to 1.2; a loss counts at least .8, and in full where the ratio grew
    assert clipped_surrogate(ratio, advantage, 0.2).tolist() == pytest.approx([-0.5, -0.9, -1.2, 0.8, 3.0])


def test_standardised_by_hand():
    assert standardised(torch.tensor([[1.0, 3.0]]))[0].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert standardised(torch.tensor([[7.0]])).tolist() == [[7.0]]


class Losses(NamedTuple):
    """Loss (S,) of a mini-batch and its parts."""

    loss: Tensor
    policy: Tensor
    value: Tensor
    divergence: Tensor
    clipped: Tensor


def losses(
    mean: Tensor, log_std: Tensor, value: Tensor, batch: Batch, clip: float, ent_coef: float, vf_coef: float
) -> Losses:
    """L = mean clipped surrogate - c_h H + c_v mean (V - R)², per seed.

    Schulman et al. 2017, equation 9; advantages standardised over the mini-batch. The divergence is the
    estimate mean(rho - 1 - log rho) of KL(old | new).

    Args:
        mean: of the policy, (S, n, A).
        log_std: (S, A).
        value: (S, n).
        batch: samples (S, n, ...).
        clip: c of the surrogate.
        ent_coef: c_h.
        vf_coef: c_v.
    """
    log_ratio = gaussian.log_prob(mean, log_std, batch.action) - batch.log_prob
    ratio = log_ratio.exp()
    policy = clipped_surrogate(ratio, standardised(batch.advantage), clip).mean(1)
    squared = (value - batch.returns).square().mean(1)
    loss = policy - ent_coef * gaussian.entropy(log_std) + vf_coef * squared
    far = ((ratio - 1.0).abs() > clip).to(loss.dtype)
    return Losses(loss, policy, squared, (ratio - 1.0 - log_ratio).mean(1), far.mean(1))


def update(
    policy: Parameters,
    value: Parameters,
    optimisers: tuple[Adam, Adam],
    batch: Batch,
    order: np.ndarray,
    method: PPO,
) -> np.ndarray:
    """All mini-batch steps of one iteration, by automatic differentiation: the reference of `septet.rl.ppo.ppo_epochs`.

    Args:
        policy, value: parameters, changed in place.
        optimisers: of the two, on their flat tensors.
        batch: samples (S, n, ...).
        order: permutations (S, epochs, n).
        method: settings.

    Returns:
        (S, 4): means over the mini-batches of policy loss, value loss, divergence and clipped share.
    """
    seeds = torch.arange(len(order)).unsqueeze(1)
    found = []
    for epoch in torch.from_numpy(order).unbind(1):
        for rows in torch.split(epoch, method.minibatch_size, dim=1):
            part = Batch(*(each[seeds, rows] for each in batch))
            mean, v = policy(part.observation), value(part.observation).squeeze(2)
            of = losses(mean, policy.free, v, part, method.clip_range, method.ent_coef, method.vf_coef)
            backward(of.loss.sum(), policy, value)
            for own, other in zip(policy.gradient, value.gradient, strict=True):  # a row is a seed
                scale = method.max_grad_norm / (torch.cat([own, other]).norm() + 1e-6)
                own *= scale.clamp(max=1.0)
                other *= scale.clamp(max=1.0)
            for optimiser in optimisers:
                optimiser.step()
            found.append(torch.stack([part.detach() for part in of[1:]], 1))
    return torch.stack(found).mean(0).double().numpy()


def naive_loss(mean, log_std, value, batch, clip, ent_coef, vf_coef):
    """One seed, sample by sample."""
    n = len(value)
    centre = sum(batch.advantage) / n
    spread = math.sqrt(sum((a - centre) ** 2 for a in batch.advantage) / (n - 1)) + 1e-8
    surrogate = squared = 0.0
    for i in range(n):
        log_prob = 0.0
        for j in range(len(log_std)):
            s = math.exp(log_std[j])
            log_prob += -((batch.action[i][j] - mean[i][j]) ** 2) / (2 * s * s) - math.log(s * math.sqrt(2 * math.pi))
        rho, a = math.exp(log_prob - batch.log_prob[i]), (batch.advantage[i] - centre) / spread
        surrogate -= min(rho * a, min(max(rho, 1 - clip), 1 + clip) * a) / n
        squared += (value[i] - batch.returns[i]) ** 2 / n
    entropy = sum(math.log(math.exp(log_s) * math.sqrt(2 * math.pi * math.e)) for log_s in log_std)
    return surrogate - ent_coef * entropy + vf_coef * squared


def test_the_loss_is_that_of_the_loop(case):
    policy, value, batch = case
    mean, v = policy(batch.observation) + 0.3, value(batch.observation).squeeze(2)
    ours = losses(mean, policy.free - 0.2, v, batch, 0.2, 0.01, 0.5).loss
    for s in range(3):
        one = Batch(*(part[s].double().tolist() for part in batch))
        expected = naive_loss(mean[s].tolist(), (policy.free[s] - 0.2).tolist(), v[s].tolist(), one, 0.2, 0.01, 0.5)
        assert ours[s].item() == pytest.approx(expected, rel=1e-5)


def adams(policy, value, rate=SETTINGS.learning_rate):
    return Adam(policy.flat, policy.gradient, rate, eps=EPS), Adam(value.flat, value.gradient, rate, eps=EPS)


def copies(case, seeds=slice(None)):
    """The same nets once more, of some seeds."""
    policy, value, batch = case
    one, other = (Parameters(net.network, net.flat[seeds].clone()) for net in (policy, value))
    return one, other, Batch(*(part[seeds] for part in batch))


def test_the_compiled_update_is_the_readable_one(case):
    policy, value, batch = copies(case)
    order = permutations(0, [0, 1, 2], 0, SETTINGS.epochs, 200)  # 200 = 3 * 64 + 8: the last batch is small
    readable = adams(policy, value)
    expected = update(policy, value, readable, batch, order, SETTINGS)
    other_policy, other_value, _ = copies(case)
    compiled = adams(other_policy, other_value)
    found = train_epochs(other_policy, other_value, compiled, batch, order, SETTINGS)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-6)
    for ours, theirs in ((other_policy, policy), (other_value, value)):
        assert torch.allclose(ours.flat, theirs.flat, atol=2e-6)
    for ours, theirs in zip(compiled, readable, strict=True):
        assert torch.allclose(ours.mean, theirs.mean, atol=1e-6) and ours.steps == theirs.steps


def test_a_seed_alone_learns_the_same_bits_as_in_a_batch(case):
    order = permutations(0, [0, 1, 2], 0, SETTINGS.epochs, 200)
    policy, value, batch = copies(case)
    train_epochs(policy, value, adams(policy, value), batch, order, SETTINGS)
    alone = copies(case, slice(1, 2))
    train_epochs(alone[0], alone[1], adams(*alone[:2]), alone[2], order[1:2], SETTINGS)
    assert torch.equal(alone[0].flat[0], policy.flat[1]) and torch.equal(alone[1].flat[0], value.flat[1])


@pytest.mark.parametrize("ent_coef", [0.0, 0.01])
def test_one_iteration_is_that_of_stable_baselines3(case, ent_coef, peer, monkeypatch):
    peers = pytest.importorskip("stable_baselines3")
    settings = SETTINGS.model_copy(update={"ent_coef": ent_coef, "learning_rate": 3e-4})
    policy, value, batch = copies(case, slice(0, 1))
    order = permutations(0, [0], 0, settings.epochs, 200)
    model = peer.model(
        peers.PPO, policy, value, batch, value(batch.observation).detach().squeeze(2),
        batch_size=64, n_epochs=settings.epochs, ent_coef=ent_coef,
    )  # fmt: skip
    drawn = iter(order[0])
    monkeypatch.setattr(np.random, "permutation", lambda n: next(drawn))
    model.train()
    before = policy.flat.clone()
    train_epochs(policy, value, adams(policy, value, 3e-4), batch, order, settings)
    of_policy, of_value = peer.weights(model)
    assert torch.allclose(policy.flat[0], of_policy, atol=2e-6) and torch.allclose(value.flat[0], of_value, atol=2e-6)
    assert (policy.flat - before).abs().max() > 1e-3


def test_the_order_depends_on_seed_and_iteration_alone():
    both, alone = permutations(3, [4, 5], 2, 2, 30), permutations(3, [5], 2, 2, 30)
    assert (both[1] == alone[0]).all() and (np.sort(both, axis=2) == np.arange(30)).all()
    assert (both[0] != both[1]).any() and (permutations(3, [4], 1, 2, 30)[0] != both[0]).any()


def test_forward_and_backward_of_a_deeper_net():
    network = Network((3, 7, 5, 6, 2))
    flat = initial(network, 0, ("x",), [0], orthogonal((1.0,) * 4))
    net, x = Parameters(network, flat), torch.randn(1, 9, 3)
    backward(net(x).square().sum(), net)
    shape = shapes.net(network.sizes, tanh=True)
    room, out = shapes.tape(shape, 9), np.zeros((9, 2), np.float32)
    dense.forward(flat[0].numpy(), shape, x[0].numpy(), room, out, False)
    assert np.allclose(out, net(x).detach().numpy()[0], atol=1e-6)
    dense.backward(flat[0].numpy(), shape, room, 2 * out, 0)
    dense.weight_gradient(flat[0].numpy(), shape, x[0].numpy(), room, 2 * out)
    assert np.allclose(room.gradient, net.gradient[0].numpy(), atol=1e-5)
