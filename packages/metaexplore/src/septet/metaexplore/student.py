r"""The student: DDPG of section 2.1 for K rows in lockstep (seeds, or the trial students of seeds).

.. math::
    y = r + \gamma (1 - d)\,Q'(s', \mu'(s')),\qquad L_Q = E[(Q(s, a) - y)^2] + \tfrac c2\|W^Q\|^2,\qquad
    L_\mu = -E[Q(s, \mu(s))]

The nets are normalised, and the critic takes the action at its second layer (section 3). Nets and update are those of
`learner`; a mini-batch is normalised by running moments of the observations on the way.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked, fit
from septet.compiled import compiled
from septet.rl import ddpg_update
from septet.rl.ddpg_update import Networks, Rates, Shapes, Workspace, workspace
from septet.rl.dense import apply
from septet.rl.normalise import Moments, standard
from septet.rl.shapes import Float32, Net, net

Array = NDArray[np.float64]
CLIP = 5.0
"""Bound of a normalised observation (section 3)."""
LAST = 3e-3
"""The last layers begin with U(±LAST) (section 3)."""


class Scaling(NamedTuple):
    """What observations of K rows are normalised by: less the mean, times the scale, ``(K, O)`` each."""

    mean: Float32
    scale: Float32


class Student(NamedTuple):
    """K students: of seeds, or the trial students of seeds."""

    networks: Networks
    shapes: Shapes
    scaling: Scaling

    def normalised(self, observation: NDArray[Any]) -> Float32:
        """Observations ``(K B, O)`` by the scaling of their row and clipped, ``(K, B, O)``."""
        return normalised(observation.reshape(len(self.networks.actor), -1, observation.shape[-1]), self.scaling)

    def act(self, observation: NDArray[Any]) -> Float32:
        """Noise-free actions ``(K B, A)`` in [-1, 1] at observations ``(K B, O)``."""
        acts = actions(self.networks.actor, self.shapes.actor, self.normalised(observation))
        return acts.reshape(len(observation), -1)


def shapes(observation_size: int, hidden: tuple[int, int], action_size: int) -> Shapes:
    """Actor o -> a; critic o -> Q with the action at its second layer (section 3)."""
    actor = net((observation_size, *hidden, action_size), normalised=True)
    return Shapes(actor, net((observation_size, *hidden, 1), normalised=True, late=action_size, at=1))


def repeat(student: Student, times: int) -> Student:
    """Copies of the students, `times` of each one after the other: trial students, moments and targets included."""
    copies = Networks(*(np.repeat(array, times, axis=0) for array in student.networks))
    return Student(copies, student.shapes, Scaling(*(np.repeat(a, times, axis=0) for a in student.scaling)))


def merged(seen: Moments, found: NDArray[np.floating[Any]]) -> Moments:
    """The moments of S seeds with more numbers ``(S, n, d)``."""
    found = found.astype(np.float64)
    centre = found.mean(axis=1)
    squares = ((found - centre[:, None]) ** 2).sum(axis=1)
    return seen.merge(Moments(np.full(len(found), float(found.shape[1])), centre, squares))


def scaling(seen: Moments) -> Scaling:
    """The scaling of S seeds from the moments of what they observed."""
    mean, scale = standard(seen)
    return Scaling(mean.astype(np.float32), scale.astype(np.float32))


@compiled(nogil=True)
def _gather(records: Float32, rows: NDArray[np.int64], mean: Float32, scale: Float32, work: Workspace) -> None:
    """Copy the records ``(n, 2 O + A + 2)`` at `rows` ``(N,)`` to the workspace, observations normalised."""
    size, width = work.observation.shape[1], work.action.shape[1]
    bound = np.float32(CLIP)
    for i in range(len(rows)):
        record = records[rows[i]]
        for j in range(size):
            now, then = (record[j] - mean[j]) * scale[j], (record[size + width + 2 + j] - mean[j]) * scale[j]
            work.observation[i, j] = min(max(now, -bound), bound)
            work.next_observation[i, j] = min(max(then, -bound), bound)
        for j in range(width):
            work.action[i, j] = record[size + j]
        work.reward[i] = record[size + width]
        work.going_on[i] = np.float32(1.0) - record[size + width + 1]


@checked(
    ddpg_update.sides,
    students=ddpg_update.WEIGHTS,
    shapes=Shapes,
    records="any f4 S C R",
    rows="i8 S U N>0 < C",
    mean="f4 S O",
    scale="f4 S O",
    work=ddpg_update.WORK,
    step="int 0",
    rates=ddpg_update.RATES,
    losses="out f8 S 2",
)
@compiled(reassociate=True, nogil=True, uses=("septet.rl", "septet.sampler"))
def update(
    students: Networks,
    shapes: Shapes,
    records: Float32,
    rows: NDArray[np.int64],
    mean: Float32,
    scale: Float32,
    work: Workspace,
    step: int,
    rates: Rates,
    losses: Array,
) -> None:
    """U updates of each of K students, in place; see `ddpg`.

    Args:
        mean, scale: of the observations, ``(K, O)``.
        losses: written, ``(K, 2)``.
    """
    for k in range(rows.shape[0]):
        losses[k] = 0.0
        for u in range(rows.shape[1]):
            _gather(records[k], rows[k, u], mean[k], scale[k], work)
            _, climbed = ddpg_update.step(students, shapes, k, work, step + u + 1, 1, rates)
            for error in work.error:
                losses[k, 0] += error * error / len(work.error)
            losses[k, 1] += climbed
        losses[k] /= max(rows.shape[1], 1)


def ddpg(student: Student, records: Float32, rows: NDArray[np.int64], rates: Rates, step: int) -> tuple[Student, Array]:
    """U updates of each of K students (section 2.1): the new students, and their losses; the given ones stay.

    Args:
        records: transitions ``(K, n, 2 O + A + 2)`` as `septet.rl.replay` lays them out.
        rows: of the mini-batches, ``(K, U, N)``.
        step: updates done before.

    Returns:
        The students, and means of L_Q and L_mu over the updates, ``(K, 2)``.
    """
    new, losses = repeat(student, 1), np.zeros((len(records), 2))
    work = workspace(student.shapes, rows.shape[2])
    update(new.networks, new.shapes, records, rows, *new.scaling, work, step, rates, losses)
    return new, losses


def normalised(x: NDArray[Any], scaling: Scaling) -> Float32:
    """Numbers ``(K, B, O)`` by the scaling of their row, clipped to ±5; float32."""
    return np.clip((x.astype(np.float32) - scaling.mean[:, None]) * scaling.scale[:, None], -CLIP, CLIP)


def actions(weights: Float32, shape: Net, x: Float32) -> Float32:
    """Actions in [-1, 1] of K actors ``(K, P)`` at normalised observations ``(K, B, O)``: ``(K, B, A)``."""
    x = fit("actions: x", "f4 K B I", x, {})
    out = np.empty((*x.shape[:2], int(shape.sizes[-1])), np.float32)
    apply(weights, shape, x, x[..., :0], out, False)
    return np.tanh(out)


def values(weights: Float32, shape: Net, x: Float32, action: Float32) -> Float32:
    """Q of K critics at normalised observations ``(K, B, O)`` and actions ``(K, B, A)``: ``(K, B)``."""
    x = fit("values: x", "f4 K B I", x, {})
    out = np.empty((*x.shape[:2], 1), np.float32)
    apply(weights, shape, x, action, out, False)
    return out[..., 0]
