"""The paper's PPO: sizes, penalty and schedule by hand, the update against a loop for one seed, whole episodes."""

import math

import numpy as np
import pytest
import torch

from septet.rl import gaussian
from septet.rl.config import Task
from septet.rl.networks import Network, Parameters
from septet.rl.optimisers import AMSGrad
from septet.walle.config import PPOKL, Job
from septet.walle.ppo_kl import PPOKLLearner, Samples, adapted, log_std_of, penalised, update, widths

METHOD = PPOKL(algorithm="ppo_kl", steps=200)


def learner(task="HalfCheetah-v5", seeds=(0,), environments=1, **settings):
    method = METHOD.model_copy(update=settings)
    return PPOKLLearner(
        Job(method=method, task=Task(environment=task), seeds=list(seeds), environments=environments, steps=400)
    )


def test_sizes_and_rates_are_the_papers():
    assert widths(18, 60) == (180, 103, 60)  # HalfCheetah: 17 observations and time, 6 actions
    assert widths(18, 5)[1] == 30  # the value net
    assert widths(18, 6, small=True) == (18, 10, 6)
    ours = learner()
    assert ours.policy.network.sizes == (18, 180, 103, 60, 6) and ours.policy.network.free == 12 * 6
    assert ours.value.network.sizes == (18, 180, 30, 5, 1)
    assert ours.rate == pytest.approx(8.87e-5, rel=1e-3)
    assert ours.value_optimiser.rate == pytest.approx(1e-2 / 30**0.5)
    ours.close()


def test_the_penalty_by_hand():
    surrogate, divergence = torch.tensor([1.0, 1.0]), torch.tensor([0.005, 0.016])
    found = penalised(surrogate, divergence, torch.tensor([2.0, 3.0]), 0.003, 50.0)
    assert found.tolist() == pytest.approx([1.01, 1.0 + 0.048 + 50 * 0.01**2])


@pytest.mark.parametrize(
    ("divergence", "beta", "m", "new_beta", "new_m"),
    [
        (0.007, 1.0, 1.0, 1.5, 1.0),
        (0.007, 30.0, 1.0, 35.0, 1 / 1.5),  # capped; above 30 the rate falls
        (0.007, 30.0, 0.1, 35.0, 0.1),
        (0.001, 1.0, 1.0, 1 / 1.5, 1.0),
        (0.001, 1 / 30, 1.0, 1 / 35, 1.5),
        (0.001, 1 / 30, 10.0, 1 / 35, 10.0),
        (0.003, 30.0, 1.0, 30.0, 1.0),
    ],
)
def test_the_schedule_by_hand(divergence, beta, m, new_beta, new_m):
    found = adapted(np.array([divergence]), np.array([beta]), np.array([m]), 0.003)
    assert found[0][0] == pytest.approx(new_beta) and found[1][0] == pytest.approx(new_m)


def test_log_standard_deviations_are_half_the_sum_of_the_rows_less_one():
    table = torch.tensor([[0.1, 0.2, 0.3, 0.4]])  # K = 2 rows of 2 actions
    assert log_std_of(table, 2)[0].tolist() == pytest.approx([(0.4 - 1) / 2, (0.6 - 1) / 2])


def naive_update(network, w, x, action, advantage, beta, rate, method):
    """One seed: plain full-batch steps with torch's gradients and the moments written out."""
    w = w.clone()
    m, v, u = (torch.zeros_like(w) for _ in range(3))

    def policy(row):
        return network(row[None], x[None])[0], log_std_of(network.split(row[None])[1], action.shape[1])[0]

    old_mean, old_log_std = policy(w)
    old = gaussian.log_prob(old_mean[None], old_log_std[None], action[None])[0]
    steps, divergence = 0, 0.0
    for _ in range(method.policy_steps):
        row = w.clone().requires_grad_()
        mean, log_std = policy(row)
        kl = gaussian.kl(old_mean[None], old_log_std[None], mean[None], log_std[None])[0].mean()
        ratio = (gaussian.log_prob(mean[None], log_std[None], action[None])[0] - old).exp()
        hinge = max(0.0, kl - 2 * method.target_kl) ** 2
        loss = -(ratio * advantage).mean() + beta * kl + method.hinge * hinge
        (g,) = torch.autograd.grad(loss, row)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        u = torch.maximum(u, v)
        w = w - rate * m / (u.sqrt() + 1e-8)
        steps += 1
        mean, log_std = policy(w)
        divergence = gaussian.kl(old_mean[None], old_log_std[None], mean[None], log_std[None])[0].mean().item()
        if divergence > 4 * method.target_kl:
            break
    return w, divergence, steps


def test_the_update_is_that_of_the_loop_for_seeds_of_different_lengths():
    torch.manual_seed(0)
    network = Network((4, 8, 6, 5, 2), ("tanh", "tanh", "linear", "linear"), free=6)
    flat = 0.3 * torch.randn(3, network.size, dtype=torch.float32)
    x, action, advantage = torch.randn(3, 60, 4), torch.randn(3, 60, 2), torch.randn(3, 60)
    counts = [60, 40, 60]
    weight = torch.zeros(3, 60)
    for s, count in enumerate(counts):
        weight[s, :count] = 1.0 / count
    beta, rate = np.array([1.0, 2.0, 0.5]), np.array([1e-3, 2e-3, 1e-2])
    parameters = Parameters(network, flat.clone())
    batch = Samples(x, action, advantage, torch.zeros(3, 60), weight)
    divergence, steps = update(parameters, AMSGrad(parameters.flat), batch, beta, rate, METHOD)
    for s, count in enumerate(counts):
        one = x[s, :count], action[s, :count], advantage[s, :count]
        w, kl, taken = naive_update(network, flat[s], *one, beta[s], rate[s], METHOD)
        assert steps[s] == taken and divergence[s] == pytest.approx(kl, rel=2e-3)
        assert torch.allclose(parameters.flat[s], w, atol=1e-4)
    assert len(set(steps.tolist())) > 1  # one of them stopped early


@pytest.mark.parametrize("policy", ["linear", "tanh"])
def test_the_samplers_act_as_the_learner_thinks(policy):
    ours = learner("Pendulum-v1", policy=policy)
    x = np.random.default_rng(0).standard_normal((5, 4))
    ours.policy.free.data += 0.1
    acted = ours.shape.act(ours.weights(), np.zeros(5, np.int64), x)
    mean = ours.policy(torch.from_numpy(x[None].astype(np.float32)))[0].detach().numpy()
    assert np.allclose(acted, mean, atol=1e-5)
    log_std = log_std_of(ours.policy.free.detach(), 1)
    assert np.allclose(ours.weights()[:, -1:], log_std)
    ours.close()


def test_whole_episodes_scaled_rewards_and_no_value_after_the_last_step():
    ours = learner("Pendulum-v1", gae_lambda=1.0)
    ours.samplers.broadcast(ours.weights(), *ours.scaling())
    rollout = ours.samplers.collect()
    assert rollout.truncated[199].all() and len(rollout.reward) == 200
    batch, _ = ours.prepare(rollout)
    r = 0.005 * rollout.reward[:, 0]
    expected = [sum(r[t:] * 0.995 ** np.arange(200 - t)) for t in range(200)]
    assert np.allclose(batch.returns[0], expected, rtol=1e-5)
    value = ours.value(batch.observation)[0, :, 0].detach().numpy()
    advantage = np.array(expected) - value  # lambda = 1
    assert np.allclose(batch.advantage[0], (advantage - advantage.mean()) / advantage.std(), atol=1e-3)
    assert np.allclose(batch.observation[0, :, 3], 0.001 * np.arange(200))  # the time feature, unscaled
    assert math.isclose(float(batch.weight.sum()), 1.0, rel_tol=1e-5)
    ours.close()


def test_observations_are_scaled_by_what_the_batches_before_held():
    ours = learner("Pendulum-v1")
    mean, scale = ours.scaling()
    assert not mean.any() and (scale == 1).all()
    ours.iterate(0)
    seen = ours.samplers.collect().count  # as many again
    assert ours.moments.count[0] == seen[0] == 200
    mean, scale = ours.scaling()
    assert mean[0, 3] == 0.0 and scale[0, 3] == 1.0
    assert np.allclose(scale[0, :3], 1 / (3 * (np.sqrt(ours.moments.variance[0, :3]) + 0.1)))
    ours.close()


def test_the_value_net_learns_on_this_batch_and_the_one_before():
    ours = learner("Pendulum-v1", environments=2)
    ours.iterate(0)
    assert len(ours.previous[0][0]) == 400 and ours.value_steps.tolist() == [10]  # 400 // 256 = 1 mini-batch, 10 epochs
    ours.iterate(1)
    assert ours.value_steps.tolist() == [20]
    ours.close()
