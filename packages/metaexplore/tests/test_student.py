"""The compiled update against PyTorch's automatic differentiation, written as the paper's equations read."""

import numpy as np
import torch

from septet.metaexplore import student
from septet.rl.ddpg_update import Networks, Rates, networks
from septet.rl.dense import EPS
from septet.rl.shapes import gains, initial

D, A, N, K, U = 3, 2, 16, 2, 4
SHAPES = student.shapes(D, (8, 6), A)
ACTOR, CRITIC = (D, 8, 6, A, 0), (D, 8, 6, 1, A)


def torch_net(flat, shape, x, late=None):
    size, first, second, out, more = shape
    sizes = [size * first, first, first, first, (first + more) * second, second, second, second, second * out, out]
    w1, b1, g1, c1, w2, b2, g2, c2, w3, b3 = torch.split(flat, sizes)
    h = torch.relu(torch.nn.functional.layer_norm(x @ w1.view(size, first) + b1, [first], g1, c1, eps=EPS))
    h = h if late is None else torch.cat([h, late], 1)
    h = torch.relu(torch.nn.functional.layer_norm(h @ w2.view(first + more, second) + b2, [second], g2, c2, eps=EPS))
    return h @ w3.view(second, out) + b3


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    rows = [initial(shape, 0, (name,), [1, 2], last=0.5) for name, shape in zip("ac", SHAPES, strict=True)]
    rows = [row + 0.1 * rng.standard_normal(row.shape).astype(np.float32) for row in rows]
    records = rng.standard_normal((K, 40, 2 * D + A + 2)).astype(np.float32)
    records[..., D : D + A] = np.tanh(records[..., D : D + A])
    records[..., D + A + 1] = rng.random((K, 40)) < 0.2
    mean, scale = (rng.random((K, D)).astype(np.float32) for _ in range(2))
    return (
        student.Student(networks(*rows), SHAPES, student.Scaling(mean, scale + 0.5)),
        records,
        rng.integers(0, 40, (K, U, N)),
    )


def reference(students, records, rows, scaling, rates):
    """Algorithm of section 2.1 with torch's Adam; returns the weights after U updates and the mean losses."""
    found, losses = [], []
    for k in range(K):
        actor, critic, target_actor, target_critic = (torch.tensor(w[k]) for w in students[:4])
        actor.requires_grad_(), critic.requires_grad_()
        matrices = torch.zeros_like(critic)
        matrices[: D * 8], matrices[(D + 3) * 8 : (D + 3) * 8 + (8 + A) * 6] = 1.0, 1.0
        steps = torch.optim.Adam([actor], rates.actor), torch.optim.Adam([critic], rates.critic)
        total = np.zeros(2)
        for u in range(U):
            batch = torch.tensor(records[k][rows[k, u]])
            s, a, r, d, after = torch.split(batch, [D, A, 1, 1, D], 1)
            m, f = torch.tensor(scaling.mean[k]), torch.tensor(scaling.scale[k])
            s, after = ((x - m) * f for x in (s, after))
            s, after = (x.clamp(-5.0, 5.0) for x in (s, after))
            with torch.no_grad():
                best = torch.tanh(torch_net(target_actor, ACTOR, after))
                y = r + rates.gamma * (1 - d) * torch_net(target_critic, CRITIC, after, best)
            loss = ((torch_net(critic, CRITIC, s, a) - y) ** 2).mean()
            steps[1].zero_grad()
            (loss + 0.5 * rates.decay * ((matrices * critic) ** 2).sum()).backward()
            steps[1].step()
            gain = torch_net(critic, CRITIC, s, torch.tanh(torch_net(actor, ACTOR, s))).mean()
            steps[0].zero_grad()
            (-gain).backward()
            steps[0].step()
            with torch.no_grad():
                target_actor += rates.tau * (actor - target_actor)
                target_critic += rates.tau * (critic - target_critic)
            total += [loss.item(), -gain.item()]
        found.append([w.detach().numpy() for w in (actor, critic, target_actor, target_critic)])
        losses.append(total / U)
    return found, np.array(losses)


def test_the_update_is_the_one_of_automatic_differentiation():
    students, records, rows = drawn()
    rates = Rates(1e-3, 2e-3, 1e-2, 0.9, 0.05)
    expected, expected_losses = reference(students.networks, records, rows, students.scaling, rates)
    given = [array.copy() for array in students.networks]
    learned, losses = student.ddpg(students, records, rows, rates, 0)
    for k in range(K):
        for ours, theirs in zip(learned.networks, expected[k], strict=False):
            np.testing.assert_allclose(ours[k], theirs, rtol=2e-3, atol=3e-5)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    for before, after in zip(given, students.networks, strict=True):
        np.testing.assert_array_equal(before, after)  # a pure function: what a trial learns leaves the student


def test_updates_in_two_calls_are_those_of_one():
    students, records, rows = drawn()
    rates = Rates(1e-3, 1e-3, 1e-2, 0.99, 0.01)
    whole, _ = student.ddpg(students, records, rows, rates, 0)
    half, _ = student.ddpg(students, records, rows[:, :2], rates, 0)
    half, _ = student.ddpg(half, records, rows[:, 2:], rates, 2)
    for one, two in zip(whole.networks, half.networks, strict=True):
        np.testing.assert_array_equal(one, two)


def test_single_inputs_give_what_batches_give():
    students, records, _ = drawn()
    x = student.normalised(records[..., :D], students.scaling)
    a = np.ascontiguousarray(records[..., D : D + A])
    nets = students.networks
    actions, values = student.actions(nets.actor, SHAPES.actor, x), student.values(nets.critic, SHAPES.critic, x, a)
    for k in range(K):
        f = torch_net(torch.tensor(nets.actor[k]), ACTOR, torch.tensor(x[k]))
        q = torch_net(torch.tensor(nets.critic[k]), CRITIC, torch.tensor(x[k]), torch.tensor(a[k]))
        np.testing.assert_allclose(actions[k], np.tanh(f.numpy()), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(values[k], q[:, 0].numpy(), rtol=1e-4, atol=1e-5)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    students, records, rows = drawn()
    rates = Rates(1e-3, 1e-3, 0.0, 0.99, 0.01)
    second = student.Student(
        Networks(*(array[1:] for array in students.networks)),
        SHAPES,
        student.Scaling(*(array[1:] for array in students.scaling)),
    )
    together, _ = student.ddpg(students, records, rows, rates, 0)
    alone, _ = student.ddpg(second, records[1:], rows[1:], rates, 0)
    for ours, theirs in zip(alone.networks, together.networks, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[1])


def test_noise_on_weights_leaves_the_normalisation_alone():
    kept = gains(SHAPES.critic)
    assert kept.sum() == 2 * 8 + 2 * 6
    assert set(initial(SHAPES.critic, 0, ("x",), [1])[0][kept]) == {0.0, 1.0}
