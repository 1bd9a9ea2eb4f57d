"""Arrays that do not fit never reach compiled code: one line instead of what lies behind an array's end."""

import numpy as np
import pytest
import torch

from septet.errors import InputError
from septet.rl import adam, dense, ppo, shapes, values
from septet.rl.config import DDPG
from septet.rl.ddpg import Agent
from septet.rl.networks import Network, Parameters
from septet.rl.optimisers import Adam
from septet.rl.replay import Replay
from septet.rl.returns import discounted, gae

F4 = np.float32


def refused(text, function, *arguments, **named):
    with pytest.raises(InputError, match=text) as caught:
        function(*arguments, **named)
    assert "\n" not in str(caught.value)


def replaced(arguments, place, value):
    return [*arguments[:place], value, *arguments[place + 1 :]]


def test_returns():
    r, no = np.ones((3, 2)), np.zeros((3, 2), bool)
    good = [r, r, r, no, no, ~no, 0.9, 0.8]
    for place, value, text in (
        (1, np.ones((2, 2)), r"gae: value: expected float64 of shape \(3, 2\), found float64 \(2, 2\)"),
        (2, np.ones((3, 1)), "gae: next_value"),
        (3, np.zeros((1, 2), bool), "gae: terminated"),
        (3, np.full((3, 2), 0.5), "gae: terminated: expected bool"),
        (5, np.zeros(6, bool), "gae: valid"),
        (6, "0.9", "gae: gamma: expected a number"),
    ):
        refused(text, gae, *replaced(good, place, value))
    refused("discounted: reward", discounted, r[:0], r[:0], no[:0], no[:0], no[:0], 0.9)
    lists = [part.tolist() if isinstance(part, np.ndarray) else part for part in good]
    np.testing.assert_array_equal(gae(*lists), gae(*good))
    np.testing.assert_array_equal(gae(r.astype(F4), *good[1:]), gae(*good))
    np.testing.assert_array_equal(gae(*[part[::-1] if np.ndim(part) else part for part in good]), gae(*good))


def ppo_arguments():
    nets, n = (shapes.net((3, 4, 2), tanh=True), shapes.net((3, 4, 1), tanh=True)), 5
    p, v = (shapes.weight_count(net) for net in nets)
    p += 2
    zeros = [np.zeros(k, F4) for k in (p, v, p, p, v, v)]
    sample = [np.zeros(shape, F4) for shape in ((n, 3), (n, 2), n, n, n)]
    tapes = shapes.tape(nets[0], 2)._replace(gradient=np.zeros(p, F4)), shapes.tape(nets[1], 2)
    order = np.arange(n)[None]
    return [nets, *zeros[:2], tuple(zeros[2:]), *sample, order, 2, tapes, 0, 1e-3, 1e-8, 0.2, 0.0, 0.5, 0.5]


NETS = ppo_arguments()[0]


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (0, (shapes.net((3, 5, 2), tanh=True), NETS[1]), "policy: expected writable contiguous float32"),
        (0, ((3, 4, 2), NETS[1]), "shape: expected a shape"),
        (0, (NETS[0], NETS[0]), "nets: expected a value net from 3 to 1"),
        (1, np.zeros(10, F4), "policy"),
        (1, np.zeros(28), "policy: expected writable contiguous float32 .* found float64"),
        (3, tuple(np.zeros(28, F4) for _ in range(4)), r"moments\[2\]"),
        (4, np.zeros((5, 4), F4), "observation"),
        (5, np.zeros((4, 2), F4), "action"),
        (6, np.zeros(4, F4), "log_prob"),
        (8, np.zeros(6, F4), "returns"),
        (9, np.arange(1, 6)[None], "order: expected indices from 0 to 4, found 1 to 5"),
        (9, -np.arange(5)[None], "order"),
        (9, np.zeros((0, 5), int), "order"),
        (10, 0, "batch: expected an integer of at least 1"),
        (10, 3, r"tapes\[0\]"),
        (12, -1, "first"),
    ],
)
def test_ppo(place, value, text):
    ppo.ppo_epochs(*ppo_arguments())
    refused(text, ppo.ppo_epochs, *replaced(ppo_arguments(), place, value))


def net(sizes=(3, 4, 1), activation="tanh", seeds=2):
    network = Network(sizes, activation)
    parameters = Parameters(network, torch.zeros(seeds, network.size))
    return parameters, Adam(parameters.flat, parameters.gradient, 1e-3)


def test_value_fit():
    x, target, order = torch.zeros(5, 3), torch.zeros(5), np.arange(5)[None]
    good = [*net(), [x] * 2, [target] * 2, [order] * 2, [2, 2], [0, 0]]
    values.fit(*good)
    for place, value, text in (
        (2, [x], "fit: x: expected one of each of the 2 seeds, found 1"),
        (2, [x[:, :2]] * 2, "value_epochs: observation"),
        (3, [target[:4]] * 2, "value_epochs: target"),
        (4, [order + 1] * 2, "value_epochs: order: expected indices from 0 to 4"),
        (5, [0, 0], "value_epochs: batch"),
        (0, net(activation="relu")[0], "activation: expected tanh"),
        (1, net((3, 9, 1))[1], "value_epochs: m"),
    ):
        refused(text, values.fit, *replaced(good, place, value))


def test_dense():
    shape, n = shapes.net((3, 4, 2), late=1), 5
    w, room = np.zeros(shapes.weight_count(shape), F4), shapes.tape(shape, n)
    x, out = np.zeros((n, 4), F4), np.zeros((n, 2), F4)
    dense.forward(w, shape, x, room, out, True)
    refused("weights", dense.forward, w[:-1], shape, x, room, out, True)
    refused("shape: expected a shape", dense.forward, w, np.array([3, 4, 2]), x, room, out, True)
    refused("sizes", shapes.net, (3, -4, 2))
    refused("net: expected relu layers", shapes.net, (3, 4, 2), tanh=True, normalised=True)
    refused("tape.hidden", dense.forward, w, shape, x, shapes.tape(shape, 4), out, True)
    refused("out", dense.forward, w, shape, x, room, out[:4], True)
    refused("out", dense.apply, w[None], shape, x[None, :, :3], x[None, :, :1], out[None, :, :1].copy(), True)
    refused("late", dense.apply, w[None], shape, x[None, :, :3], x[None, :, :2], out[None], True)
    refused("delta", dense.backward, w, shape, room, out[:, :1], 0)
    refused("tape.gradient", dense.weight_gradient, w, shape, x, room._replace(gradient=w[:-1]), out)
    refused("out", dense.late_gradient, w, shape, room, out)
    refused("target", adam.adam_and_polyak, w, w, w, w, 1, 1e-3, w[:-1], 0.1)
    refused("step", adam.adam, w, w, w, w, 0, 1e-3)


def test_ddpg_agent():
    method = DDPG(algorithm="ddpg", hidden=(4,), batch_size=3)
    agent, replay = Agent(method, 0, "toy", [0, 1], 2, 1), Replay([0, 1], 2, 1, 8)
    agent.learn(replay, np.zeros((2, 3), np.int64))
    refused("learn: rows: expected indices from 0 to 7", agent.learn, replay, np.full((2, 3), 8))
    refused("learn: rows", agent.learn, replay, np.zeros((1, 3), np.int64))
    refused("learn: rows", agent.learn, replay, np.zeros((2, 4), np.int64))
    refused("learn: records", agent.learn, Replay([0, 1], 3, 1, 8), np.zeros((2, 3), np.int64))
    refused("learn: records", agent.learn, Replay([0], 2, 1, 8), np.zeros((2, 3), np.int64))
    assert agent.act(np.zeros((2, 2))).shape == (2, 1)
    refused("apply: x", agent.act, np.zeros((1, 2)))
    refused("apply: x", agent.act, np.zeros((2, 3)))
    refused("apply: weights", agent.act, np.zeros((2, 2)), np.zeros((2, 9), F4))
