"""The method against dense algebra, autograd and naive re-implementations, in float64 where digits count."""

import math

import numpy as np
import pytest
import torch

from septet.rl import gaussian
from septet.rl.networks import Network
from septet.rl.trust_region import conjugate_gradient, kl_hessian_product
from septet.svrpo import network_passes as passes
from septet.svrpo.config import inner_loop as loop_of
from septet.svrpo.network_passes import Samples
from septet.svrpo.problem import FiniteSum
from septet.svrpo.svrpo import control_variate, inner_loop, newton_step, variance_ratio

N, BLOCK = 60, 10
NETWORK = Network((4, 6, 5, 2), "tanh", free=2)


def make(seed=0, dtype=torch.float64, ratio=False):
    """A random policy, a batch that it sampled, and their problem."""
    rng = torch.Generator().manual_seed(seed)
    w = 0.4 * torch.randn(NETWORK.size, generator=rng, dtype=dtype)
    x = torch.randn(N, 4, generator=rng, dtype=dtype)
    mean, log_std = NETWORK(w[None], x[None])[0], w[-2:].clone()
    action = mean + log_std.exp() * torch.randn(N, 2, generator=rng, dtype=dtype)
    samples = Samples(x, action, torch.randn(N, generator=rng, dtype=dtype), mean)
    orders = [torch.randperm(N, generator=rng) for _ in range(2)]
    problem = FiniteSum(NETWORK, samples, log_std, *orders, block=BLOCK, hessian_block=2 * BLOCK, ratio=ratio)
    return w, samples, problem


def loss(w, samples, old_log_std, ratio=False):
    """F(w) as section 2.1 has it."""
    log_prob = gaussian.log_prob(NETWORK(w[None], samples.observation[None]), w[None, -2:], samples.action[None])[0]
    if ratio:
        old = gaussian.log_prob(samples.mean[None], old_log_std[None], samples.action[None])[0]
        return -(samples.advantage * (log_prob - old).exp()).mean()
    return -(samples.advantage * log_prob).mean()


def divergences(w, samples, old_log_std):
    new = NETWORK(w[None], samples.observation[None])
    return gaussian.kl(samples.mean[None], old_log_std[None], new, w[None, -2:])[0]


def divergence(w, samples, old_log_std):
    return divergences(w, samples, old_log_std).mean()


def elsewhere(w, seed=9):
    return w + 0.15 * torch.randn(w.shape, generator=torch.Generator().manual_seed(seed), dtype=w.dtype)


@pytest.mark.parametrize("ratio", [False, True])
def test_gradients_and_values_are_those_of_autograd(ratio):
    w, samples, problem = make(ratio=ratio)
    here, old = elsewhere(w), w[-2:]
    leaf = here.clone().requires_grad_()
    value = loss(leaf, samples, old, ratio)
    (expected,) = torch.autograd.grad(value, leaf)
    assert torch.allclose(problem.full_gradient(here), expected, atol=1e-12)
    assert torch.allclose(problem.block_gradients(here).mean(0), expected, atol=1e-12)
    assert np.allclose(problem.value(here), (float(value.detach()), float(divergence(here, samples, old))), atol=1e-12)
    assert np.isclose(problem.largest_kl(here), float(divergences(here, samples, old).max()))


def test_values_past_the_radius_are_cut_short():
    w, samples, problem = make()
    assert problem.value(w + 1.0, 0.01) == (math.inf, math.inf)
    assert problem.value(torch.full_like(w, math.nan), 0.01) == (math.inf, math.inf)
    for target_kl in np.linspace(0.001, 0.3, 40):  # whatever the sum over some states was
        here = elsewhere(w)
        inside = float(divergence(here, samples, w[-2:])) <= target_kl
        assert (problem.value(here, target_kl)[1] <= target_kl) == inside


@pytest.mark.parametrize("chunk", [7, 2048])
def test_hessian_products_are_those_of_double_backpropagation_and_of_dense_algebra(chunk, monkeypatch):
    monkeypatch.setattr(passes, "CHUNK", chunk)
    w, _, problem = make()
    here, v = elsewhere(w), elsewhere(torch.zeros_like(w))[None]
    block = Samples(*(torch.cat(each) for each in zip(*problem.hessian_blocks[2], strict=True)))
    product = problem.hessian(here, 2, damping=1e-5)(v)[0]
    twice = kl_hessian_product(lambda row: divergence(row[0], block, w[-2:])[None], here[None], damping=1e-5)(v)[0]
    dense = torch.autograd.functional.hessian(lambda row: divergence(row, block, w[-2:]), here)
    assert torch.allclose(product, twice, atol=1e-10)
    assert torch.allclose(product, dense @ v[0] + 1e-5 * v[0], atol=1e-10)


def test_newton_step_solves_the_system_and_spends_the_radius_of_the_quadratic_model():
    torch.manual_seed(2)
    a = torch.randn(3, 8, 8, dtype=torch.float64)
    matrix, v = a @ a.mT + torch.eye(8, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    step = newton_step(lambda u: (matrix @ u[..., None])[..., 0], v, target_kl=0.01, cg_steps=40)
    s = torch.linalg.solve(matrix, v)
    beta = (0.02 / ((s * (matrix @ s[..., None])[..., 0]).sum(1) + 1e-8)).sqrt()
    assert torch.allclose(step, -beta[:, None] * s, atol=1e-6)


def test_newton_step_is_rejected_where_the_curvature_is_negative():
    v = torch.ones(2, 4, dtype=torch.float64)
    sign = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    step = newton_step(lambda u: sign * u, v, target_kl=0.01, cg_steps=4)
    assert (step[0] != 0).all() and (step[1] == 0).all()


def test_the_control_variate_is_unbiased_given_the_batch_and_far_below_the_plain_mini_batch():
    w, _, problem = make()
    here = elsewhere(w)
    at_w, at_snapshot = problem.block_gradients(here), problem.block_gradients(w)
    full, target = at_snapshot.mean(0), problem.full_gradient(here)
    draws = np.random.default_rng(0).integers(N // BLOCK, size=4000)
    v = torch.stack([control_variate(at_w[k], at_snapshot[k], full) for k in draws])
    error = v.std(0) / len(draws) ** 0.5
    assert ((v.mean(0) - target).abs() <= 5.0 * error + 1e-12).all()
    squares = [(drawn - target).square().sum(1).mean() for drawn in (v, at_w[draws])]
    assert squares[0] < 0.5 * squares[1]


def test_the_bound_on_the_error_of_the_control_variate_holds_in_the_mean_over_partitions():
    """E|v - dF(w)|² <= 1/b E_i |df_i(w) - df_i(w~)|² (section 2.2)."""
    w, samples, _ = make()
    each = [[sample_gradient(row, samples, i, w[-2:]) for i in range(N)] for row in (elsewhere(w), w)]
    change = torch.stack(each[0]) - torch.stack(each[1])
    rng = np.random.default_rng(1)
    squares = []
    for _ in range(400):
        blocks = change[rng.permutation(N)].view(-1, BLOCK, NETWORK.size).mean(1)
        squares.append((blocks - change.mean(0)).square().sum(1).mean())
    bound = change.square().sum(1).mean() / BLOCK
    assert 0.5 * bound < torch.stack(squares).mean() <= bound


def sample_gradient(row, samples, i, old):
    return passes.surrogate_gradient(NETWORK, row, [Samples(*(tensor[i : i + 1] for tensor in samples))], old)


def run(problem, w, steps, keep_iterates=False, **settings):
    rng = np.random.default_rng(3)
    blocks, hessian_blocks = rng.integers(N // BLOCK, size=60), rng.integers(3, size=60)
    return inner_loop(problem, w, blocks[:steps], hessian_blocks[:steps], loop_of(**settings), keep_iterates)


def test_the_first_inner_step_goes_along_the_full_gradient():
    w, _, problem = make(dtype=torch.float32)
    full, at_snapshot = problem.full_gradient(w), problem.block_gradients(w)
    for k in range(N // BLOCK):
        v = control_variate(problem.block_gradient(w, k), at_snapshot[k], at_snapshot.mean(0))
        assert (v - full).norm() <= 1e-5 * full.norm()
    one, control = (run(problem, w, 1, gradient=kind) for kind in ("svrg", "full"))
    assert (one.mean_gradient - full).norm() <= 1e-5 * full.norm()
    assert torch.allclose(one.w, control.w, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gradient", ["svrg", "sgd", "full"])
@pytest.mark.parametrize("ratio", [False, True])
def test_the_budget_is_never_exceeded_and_the_loss_never_rises(gradient, ratio, seed):
    w, samples, problem = make(seed, ratio=ratio)
    inner = run(problem, w, 12, gradient=gradient)
    assert inner.kl.max() <= 0.01 and inner.made.all()
    rises = np.diff(np.r_[0.0, inner.decrease])
    assert ((rises > 0.0) == (inner.accepted > 0.0)).all() and (rises >= 0.0).all()
    old = w[-2:]
    assert np.isclose(inner.kl[-1], float(divergence(inner.w, samples, old)), atol=1e-12)
    expected = loss(w, samples, old, ratio) - loss(inner.w, samples, old, ratio)
    assert np.isclose(inner.decrease[-1], float(expected), atol=1e-12)
    assert gradient == "sgd" or inner.accepted[0]


def test_an_inner_loop_that_reads_like_the_brief():
    """Section 2.5 with autograd and dense algebra, nothing shared but the random choices."""
    w, samples, problem = make()
    found = run(problem, w, 5)
    rng = np.random.default_rng(3)
    blocks, hessian_blocks = rng.integers(N // BLOCK, size=60), rng.integers(3, size=60)
    old, here = w[-2:], w.clone()

    def gradient(row, data):
        leaf = row.clone().requires_grad_()
        return torch.autograd.grad(loss(leaf, data, old), leaf)[0]

    for t in range(5):
        b, s = (
            Samples(*(torch.cat(each) for each in zip(*parts, strict=True)))
            for parts in (problem.gradient_blocks[blocks[t]], problem.hessian_blocks[hessian_blocks[t]])
        )
        v = gradient(here, b) - gradient(w, b) + gradient(w, samples)
        hessian = torch.autograd.functional.hessian(lambda row, s=s: divergence(row, s, old), here)
        hessian = hessian + 1e-5 * torch.eye(len(w), dtype=w.dtype)
        product = lambda u, hessian=hessian: u @ hessian  # noqa: E731
        direction = conjugate_gradient(product, v[None], 10)[0]
        square = direction @ hessian @ direction
        step = -(0.02 / (square + 1e-8)).sqrt() * direction if square > 0 else torch.zeros_like(w)
        for k in range(10):
            candidate = here + 0.5**k * step
            if loss(candidate, samples, old) < loss(here, samples, old) and divergence(candidate, samples, old) <= 0.01:
                here = candidate
                break
    assert torch.allclose(found.w, here, atol=1e-6)
    assert not torch.allclose(found.w, w, atol=1e-3)


def test_stopping_early_leaves_out_steps_and_changes_none():
    w, _, problem = make()
    whole, short = (run(problem, w, 30, **stops) for stops in ({}, {"stop_at": 0.98, "stop_after": 3}))
    count = int(short.made.sum())
    assert count < 30 and short.made[:count].all()
    for name in ("accepted", "kl", "trials", "products"):
        assert (getattr(short, name)[:count] == getattr(whole, name)[:count]).all()
    assert not short.trials[count:].any() and not short.products[count:].any()
    spent, rejected = short.kl[-1] >= 0.0098, not short.accepted[count - 3 : count].any()
    assert spent or rejected


def test_the_variance_ratio_is_the_ratio_of_the_spreads_over_blocks():
    w, _, problem = make()
    here = elsewhere(w)
    ratio = variance_ratio(problem, w, [w, here, here])
    plain, old = (np.stack([problem.block_gradient(row, k).numpy() for k in range(N // BLOCK)]) for row in (here, w))
    assert np.isclose(ratio[1], (plain - old).var(0).sum() / plain.var(0).sum())
    assert np.isclose(ratio[0], 0.0, atol=1e-20) and ratio[2] == ratio[1]
    iterates = run(problem, w, 4, keep_iterates=True).iterates
    assert len(iterates) == 4 and torch.equal(iterates[0], w)
