"""Networks of several seeds: against torch's own modules, and one seed against the batch."""

import numpy as np
import pytest
import torch

from septet.rl.networks import Network, Parameters, backward, initial, orthogonal

NET = Network((5, 8, 7, 3), free=3)
GAINS = (2**0.5, 2**0.5, 0.01)


def flat(seeds=(0, 1, 2)):
    return initial(NET, 7, ("policy",), seeds, orthogonal(GAINS))


def torch_module(row):
    linears = [torch.nn.Linear(i, o) for i, o in NET.shapes]
    at = 0
    for layer in linears:
        i, o = layer.in_features, layer.out_features
        layer.weight.data = row[at : at + i * o].reshape(i, o).T.clone()
        layer.bias.data = row[at + i * o : at + (i + 1) * o].clone()
        at += (i + 1) * o
    return torch.nn.Sequential(linears[0], torch.nn.Tanh(), linears[1], torch.nn.Tanh(), linears[2])


def test_size_counts_weights_biases_and_free_parameters():
    assert NET.size == 5 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3 + 3


def test_outputs_and_gradients_are_those_of_torch_modules():
    w, x = flat() + 0.1, torch.randn(3, 11, 5)
    parameters = Parameters(NET, w)
    y = parameters(x)
    backward(y.square().mean((1, 2)).sum() + parameters.free.square().sum(), parameters)
    for s in range(3):
        module = torch_module(w[s])
        expected = module(x[s])
        assert torch.allclose(y[s], expected, atol=1e-6)
        expected.square().mean().backward()
        parts = [p for m in module if isinstance(m, torch.nn.Linear) for p in (m.weight.grad.T, m.bias.grad)]
        gradient = torch.cat([*(p.reshape(-1) for p in parts), 2 * w[s, -3:]])
        assert torch.allclose(parameters.gradient[s], gradient, atol=1e-6)
    leaf = w.clone().requires_grad_()
    loss = NET(leaf, x).square().mean((1, 2)).sum() + NET.split(leaf)[1].square().sum()
    assert torch.allclose(torch.autograd.grad(loss, leaf)[0], parameters.gradient, atol=1e-6)


def test_a_change_of_the_flat_tensor_moves_the_leaves():
    w, x = flat(), torch.randn(3, 4, 5)
    parameters = Parameters(NET, w)
    before = parameters(x)
    w += 0.1
    assert not torch.allclose(parameters(x), before)
    assert torch.equal(parameters(x), NET(w, x))


def test_a_seed_alone_is_the_same_as_in_a_batch():
    x = torch.randn(1, 9, 5)
    batch, alone = flat((3, 4, 5)), flat((4,))
    assert torch.equal(batch[1:2], alone)
    assert torch.allclose(NET(batch, x.expand(3, -1, -1))[1:2], NET(alone, x), atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (6, 6)])
def test_orthogonal_weights(shape):
    w, b = orthogonal((2.0,))(np.random.default_rng(0), 0, *shape)
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    assert np.allclose(gram, 4.0 * np.eye(min(shape)))
    assert not b.any()


def test_an_activation_for_each_layer():
    net = Network((2, 3, 2), activation=("relu", "tanh"))
    w, x = torch.randn(1, net.size), torch.randn(1, 4, 2)
    (w0, b0), (w1, b1) = net.split(w)[0]
    assert torch.allclose(net(w, x)[0], torch.tanh(torch.relu(x[0] @ w0[0] + b0[0]) @ w1[0] + b1[0]), atol=1e-6)
