"""Arrays that do not fit never reach the compiled nets of students and teachers."""

import numpy as np
import pytest

from septet.errors import InputError
from septet.metaexplore import nets, student

ACTOR, CRITIC = np.array([2, 4, 3, 1, 0]), np.array([2, 4, 3, 1, 1])
K, N = 2, 5


def refused(text, function, *arguments):
    with pytest.raises(InputError, match=text) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)


def weights(shape):
    return nets.initial(shape, 0, ("x",), list(range(K)))


def test_nets():
    w, x, out = weights(CRITIC)[0], np.zeros((N, 2), np.float32), np.zeros((N, 1), np.float32)
    room, to = nets.tape(CRITIC, N), nets.deltas(CRITIC, N)
    nets.forward(w, CRITIC, x, room, out)
    refused("forward: weights", nets.forward, w[:-1], CRITIC, x, room, out)
    refused("forward: tape.unit1", nets.forward, w, CRITIC, x, nets.tape(CRITIC, 4), out)
    refused("forward: tape.joined", nets.forward, w, CRITIC, x, nets.tape(ACTOR, N), out)
    refused("shape: expected", nets.forward, w, CRITIC[:4], x, room, out)
    refused("shape: expected", nets.forward, w, -CRITIC, x, room, out)
    refused("to.joined", nets.back_to_second, w, CRITIC, room, out, nets.deltas(CRITIC, 1))
    refused("late_gradient: out", nets.late_gradient, w, CRITIC, to, np.zeros((N, 2), np.float32))
    refused("weight_gradient: tape.unit1", nets.weight_gradient, w, CRITIC, x[:1], room, out, to)
    refused("adam: square", nets.adam, w, w, w, w[:3], 1, 0.1)
    refused("polyak: weights", nets.polyak, w, w[:3], 0.1)


def test_actions_and_values():
    x = np.zeros((K, N, 2), np.float32)
    assert student.actions(weights(ACTOR), ACTOR, x.tolist()).shape == (K, N, 1)
    refused("apply: x", student.actions, weights(ACTOR), ACTOR, x[:1])
    refused("apply: x", student.actions, weights(ACTOR), ACTOR, x[..., :1])
    refused("apply: weights", student.actions, weights(CRITIC), ACTOR, x)
    refused("apply: late", student.values, weights(CRITIC), CRITIC, x, x)
    refused("actions: x", student.actions, weights(ACTOR), ACTOR, x[0])


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (1, CRITIC, "train: critic_shape"),
        (3, np.zeros((K, 7, 6), np.float32), "train: records"),
        (3, np.zeros((1, 7, 7), np.float32), "train: records"),
        (4, np.full((K, 1, N), 7), "train: rows: expected indices from 0 to 6"),
        (4, np.zeros((K + 1, 1, N), int), "train: rows"),
        (5, np.zeros((K, 3), np.float32), "train: mean"),
        (7, student.workspace(ACTOR, CRITIC, N + 1), "train: work.observation"),
        (10, np.zeros((1, 2)), "train: losses"),
    ],
)
def test_train(place, value, text):
    students = student.networks(weights(ACTOR), weights(CRITIC))
    work, rates = student.workspace(ACTOR, CRITIC, N), student.Rates(1e-3, 1e-3, 0.0, 0.99, 0.01)
    records, mean = np.zeros((K, 7, 7), np.float32), np.zeros((K, 2), np.float32)
    rows, losses = np.zeros((K, 1, N), int), np.zeros((K, 2))
    good = [students, ACTOR, CRITIC, records, rows, mean, mean + 1, work, 0, rates, losses]
    refused(text, student.train, *good[:place], value, *good[place + 1 :])
