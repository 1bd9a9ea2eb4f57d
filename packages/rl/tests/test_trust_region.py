"""Trust region against dense algebra in float64."""

import pytest
import torch

from septet.rl import gaussian
from septet.rl.networks import Network, initial, orthogonal
from septet.rl.trust_region import conjugate_gradient, fisher_product, kl_hessian_product, line_search, step_length

SEEDS, STATES = 3, 40


@pytest.fixture
def case():
    torch.manual_seed(0)
    network = Network((4, 5, 3, 2), activation=("tanh", "relu", "linear"), free=2)
    flat = initial(network, 0, ("p",), range(SEEDS), orthogonal((1.0, 1.0, 1.0))).double()
    flat = flat + 0.1 * torch.randn_like(flat)
    return network, flat, torch.randn(SEEDS, STATES, 4, dtype=torch.float64)


def mean_kl(network, old, x):
    log_std = network.split(old)[1]
    mean, log_std = network(old, x).detach(), log_std.detach()
    return lambda w: gaussian.kl(mean, log_std, network(w, x), network.split(w)[1]).mean(1)


def dense(divergence, w, seed):
    """Hessian of one seed's divergence, entry by entry."""

    def alone(row):
        return divergence(torch.cat([w[:seed], row[None], w[seed + 1 :]]))[seed]

    return torch.autograd.functional.hessian(alone, w[seed].clone())


@pytest.mark.parametrize("block", [7, 2048])
def test_the_fisher_product_is_the_hessian_of_the_kl_at_the_sampling_policy(case, block):
    network, flat, x = case
    v = torch.randn_like(flat)
    product = fisher_product(network, flat, x, damping=0.3, block=block)(v)
    for s in range(SEEDS):
        hessian = dense(mean_kl(network, flat, x), flat, s)
        assert torch.allclose(product[s], hessian @ v[s] + 0.3 * v[s], atol=1e-10)


def test_the_hessian_product_away_from_the_sampling_policy(case):
    network, flat, x = case
    here, v = flat + 0.2 * torch.randn_like(flat), torch.randn_like(flat)
    divergence = mean_kl(network, flat, x)
    product = kl_hessian_product(divergence, here, damping=1e-5)
    for _ in range(2):  # the graph is kept
        for s in range(SEEDS):
            assert torch.allclose(product(v)[s], dense(divergence, here, s) @ v[s] + 1e-5 * v[s], atol=1e-10)


def matrices(size=12):
    torch.manual_seed(1)
    a = torch.randn(SEEDS, size, size, dtype=torch.float64)
    return a @ a.mT + torch.eye(size, dtype=torch.float64)


def test_conjugate_gradient_solves_each_seed():
    a, b = matrices(), torch.randn(SEEDS, 12, dtype=torch.float64)
    x = conjugate_gradient(lambda v: torch.einsum("sij,sj->si", a, v), b, 40, tolerance=1e-24)
    assert torch.allclose(x, torch.linalg.solve(a, b), atol=1e-9)


def naive_conjugate_gradient(a, b, steps, tolerance):
    x, r = torch.zeros_like(b), b.clone()
    p = r.clone()
    for _ in range(steps):
        if r @ r < tolerance:
            break
        alpha = (r @ r) / (p @ a @ p)
        x, smaller = x + alpha * p, r - alpha * (a @ p)
        p, r = smaller + (smaller @ smaller) / (r @ r) * p, smaller
    return x


def test_a_converged_seed_stays_while_the_others_go_on():
    a = matrices()
    a[1] = torch.eye(12, dtype=torch.float64)  # done after one step
    b = torch.randn(SEEDS, 12, dtype=torch.float64)
    b[2] = 0.0  # done before the first
    x = conjugate_gradient(lambda v: torch.einsum("sij,sj->si", a, v), b, 6)
    for s in range(SEEDS):
        assert torch.allclose(x[s], naive_conjugate_gradient(a[s], b[s], 6, 1e-10), atol=1e-10)
    assert torch.equal(x[2], torch.zeros_like(x[2]))


def test_the_step_ends_on_the_boundary_of_the_quadratic_model():
    a, s = matrices(), torch.randn(SEEDS, 12, dtype=torch.float64)
    curvature = torch.einsum("sij,sj->si", a, s)
    beta = step_length(s, curvature, 0.01)
    assert torch.allclose(0.5 * beta**2 * (s * curvature).sum(1), torch.full((SEEDS,), 0.01, dtype=torch.float64))
    assert step_length(s, -curvature, 0.01).tolist() == [0.0] * SEEDS


def test_each_seed_backs_off_on_its_own():
    # L(w) = -w, D(w) = w²: from 0 with step 1, 2, 8, -1 and target_kl 1, halving
    flat, step = torch.zeros(5, 1), torch.tensor([[1.0], [2.0], [8.0], [-1.0], [float("nan")]])
    calls = []

    def evaluate(w, rows):
        calls.append(rows.tolist())
        return -w[:, 0], w[:, 0] ** 2

    out, taken, divergence = line_search(evaluate, flat, step, torch.zeros(5), 1.0, 0.5, 4)
    assert out[:, 0].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert taken.tolist() == [1.0, 0.5, 0.125, 0.0, 0.0]
    assert divergence.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert calls == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [2, 3, 4], [2, 3, 4]]
