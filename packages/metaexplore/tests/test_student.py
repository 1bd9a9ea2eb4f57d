"""The compiled update against PyTorch's automatic differentiation, written as the paper's equations read."""

import numpy as np
import torch

from septet.metaexplore import nets, student
from septet.metaexplore.student import Rates

D, A, N, K, U = 3, 2, 16, 2, 4
ACTOR = np.array([D, 8, 6, A, 0])
CRITIC = np.array([D, 8, 6, 1, A])


def torch_net(flat, shape, x, late=None):
    size, first, second, out, more = (int(n) for n in shape)
    sizes = [size * first, first, first, first, (first + more) * second, second, second, second, second * out, out]
    w1, b1, g1, c1, w2, b2, g2, c2, w3, b3 = torch.split(flat, sizes)
    h = torch.relu(torch.nn.functional.layer_norm(x @ w1.view(size, first) + b1, [first], g1, c1, eps=nets.EPS))
    h = h if late is None else torch.cat([h, late], 1)
    h = torch.relu(
        torch.nn.functional.layer_norm(h @ w2.view(first + more, second) + b2, [second], g2, c2, eps=nets.EPS)
    )
    return h @ w3.view(second, out) + b3


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    rows = [nets.initial(shape, 0, (name,), [1, 2], last=0.5) for shape, name in ((ACTOR, "a"), (CRITIC, "c"))]
    rows = [row + 0.1 * rng.standard_normal(row.shape).astype(np.float32) for row in rows]
    records = rng.standard_normal((K, 40, 2 * D + A + 2)).astype(np.float32)
    records[..., D : D + A] = np.tanh(records[..., D : D + A])
    records[..., D + A + 1] = rng.random((K, 40)) < 0.2
    mean, scale = (rng.random((K, D)).astype(np.float32) for _ in range(2))
    return student.networks(*rows), records, rng.integers(0, 40, (K, U, N)), mean, scale + 0.5


def reference(students, records, rows, mean, scale, rates):
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
            m, f = torch.tensor(mean[k]), torch.tensor(scale[k])
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
    students, records, rows, mean, scale = drawn()
    rates = Rates(1e-3, 2e-3, 1e-2, 0.9, 0.05)
    expected, expected_losses = reference(students, records, rows, mean, scale, rates)
    losses, work = np.zeros((K, 2)), student.workspace(ACTOR, CRITIC, N)
    student.train(students, ACTOR, CRITIC, records, rows, mean, scale, work, 0, rates, losses)
    for k in range(K):
        for ours, theirs in zip(students, expected[k], strict=False):
            np.testing.assert_allclose(ours[k], theirs, rtol=2e-3, atol=3e-5)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)


def test_single_inputs_give_what_batches_give():
    students, records, _, mean, scale = drawn()
    x = student.normalised(records[..., :D], mean, scale)
    a = np.ascontiguousarray(records[..., D : D + A])
    actions, values = student.actions(students.actor, ACTOR, x), student.values(students.critic, CRITIC, x, a)
    for k in range(K):
        f = torch_net(torch.tensor(students.actor[k]), ACTOR, torch.tensor(x[k]))
        q = torch_net(torch.tensor(students.critic[k]), CRITIC, torch.tensor(x[k]), torch.tensor(a[k]))
        np.testing.assert_allclose(actions[k], np.tanh(f.numpy()), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(values[k], q[:, 0].numpy(), rtol=1e-4, atol=1e-5)


def test_a_row_does_not_depend_on_the_rows_beside_it():
    together, records, rows, mean, scale = drawn()
    alone = student.Networks(*(array[1:].copy() for array in together))
    rates, work, losses = Rates(1e-3, 1e-3, 0.0, 0.99, 0.01), student.workspace(ACTOR, CRITIC, N), np.zeros((K, 2))
    student.train(together, ACTOR, CRITIC, records, rows, mean, scale, work, 0, rates, losses)
    student.train(alone, ACTOR, CRITIC, records[1:], rows[1:], mean[1:], scale[1:], work, 0, rates, losses[1:])
    for ours, theirs in zip(alone, together, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[1])


def test_noise_on_weights_leaves_the_normalisation_alone():
    assert nets.normalised(CRITIC).sum() == 2 * 8 + 2 * 6
    first = nets.initial(CRITIC, 0, ("x",), [1])[0]
    assert set(first[nets.normalised(CRITIC)]) == {0.0, 1.0}
