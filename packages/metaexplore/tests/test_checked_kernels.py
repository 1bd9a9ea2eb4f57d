"""Arrays that do not fit never reach the compiled update of students and teachers; of nets, see learner's tests."""

import numpy as np
import pytest

from septet.errors import InputError
from septet.metaexplore import student, teacher
from septet.rl.ddpg_update import Rates, networks, workspace
from septet.rl.shapes import initial, tape

SHAPES = student.shapes(2, (4, 3), 1)
K, N = 2, 5


def refused(text, function, *arguments):
    with pytest.raises(InputError, match=text) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)


def weights(shape):
    return initial(shape, 0, ("x",), list(range(K)))


def test_mean_gradient():
    shape = SHAPES.actor
    w, x, f = weights(shape)[0], np.zeros((N, 2), np.float32), np.zeros((N, 1), np.float32)
    teacher.mean_gradient(w, shape, x, f, tape(shape, N), f.copy())
    refused("mean_gradient: weights", teacher.mean_gradient, w[:-1], shape, x, f, tape(shape, N), f)
    refused("mean_gradient: room.hidden", teacher.mean_gradient, w, shape, x, f, tape(shape, N - 1), f)
    refused("mean_gradient: delta", teacher.mean_gradient, w, shape, x, f[:1], tape(shape, N), f)


def test_actions_and_values():
    x, (actor, critic) = np.zeros((K, N, 2), np.float32), SHAPES
    assert student.actions(weights(actor), actor, x.tolist()).shape == (K, N, 1)
    refused("apply: x", student.actions, weights(actor), actor, x[:1])
    refused("apply: x", student.actions, weights(actor), actor, x[..., :1])
    refused("apply: weights", student.actions, weights(critic), actor, x)
    refused("apply: late", student.values, weights(critic), critic, x, x)
    refused("actions: x", student.actions, weights(actor), actor, x[0])


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (1, SHAPES._replace(critic=SHAPES.actor), "update: critic"),
        (2, np.zeros((K, 7, 6), np.float32), "update: records"),
        (2, np.zeros((1, 7, 7), np.float32), "update: records"),
        (3, np.full((K, 1, N), 7), "update: rows: expected indices from 0 to 6"),
        (3, np.zeros((K + 1, 1, N), int), "update: rows"),
        (4, np.zeros((K, 3), np.float32), "update: mean"),
        (6, workspace(SHAPES, N + 1), "update: work.observation"),
        (9, np.zeros((1, 2)), "update: losses"),
    ],
)
def test_update(place, value, text):
    students, work = networks(*(weights(shape) for shape in SHAPES)), workspace(SHAPES, N)
    records, mean = np.zeros((K, 7, 7), np.float32), np.zeros((K, 2), np.float32)
    rows, losses, rates = np.zeros((K, 1, N), int), np.zeros((K, 2)), Rates(1e-3, 1e-3, 0.0, 0.99, 0.01)
    good = [students, SHAPES, records, rows, mean, mean + 1, work, 0, rates, losses]
    refused(text, student.update, *good[:place], value, *good[place + 1 :])
