"""Optimisers: against torch's, and by hand."""

import torch

from septet.rl.optimisers import Adam, AMSGrad
from septet.state import load_state_dict, state_dict


def test_adam_takes_the_steps_of_torch():
    torch.manual_seed(0)
    w = torch.randn(3, 40)
    peer = w.clone().requires_grad_()
    peers = torch.optim.Adam([peer], lr=3e-4, eps=1e-5)
    gradient = torch.zeros_like(w)
    ours = Adam(w, gradient, 3e-4, eps=1e-5)
    for _ in range(5):
        gradient.copy_(torch.randn(3, 40))
        peer.grad = gradient.clone()
        ours.step()
        peers.step()
    assert torch.allclose(w, peer, atol=1e-7)


def test_adam_goes_on_from_a_saved_state():
    w, g = torch.randn(2, 9), torch.randn(2, 9)
    first = Adam(w.clone(), g, 0.1)
    first.step()
    second = Adam(first.flat.clone(), g, 0.1)
    load_state_dict(second, state_dict(first))
    first.step()
    second.step()
    assert torch.equal(first.flat, second.flat)


def test_amsgrad_by_hand():
    w, rate = torch.tensor([[1.0], [1.0]]), torch.tensor([0.1, 0.2])
    ours = AMSGrad(w)
    for s in range(2):
        ours.step(s, torch.tensor([2.0]), rate[s])
    # m = .2, v = u = .004: step = rate * .2 / sqrt(.004)
    assert torch.allclose(w[:, 0], 1 - rate * 0.2 / 0.004**0.5)
    before = w.clone()
    ours.step(0, torch.tensor([0.0]), rate[0])
    # m = .18, v = .003996 < u = .004
    assert torch.allclose(w[0, 0], before[0, 0] - 0.1 * 0.18 / 0.004**0.5)
    assert w[1, 0] == before[1, 0]
