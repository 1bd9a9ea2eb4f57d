"""The author's double pendulum: its energy, by hand, against a naive account, and what its task gives."""

import math

import numpy as np
import pytest

from septet import sampler
from septet.vipg import environments, swing_up


@pytest.fixture(autouse=True)
def _known():
    environments.register()


def energy(row):
    """Kinetic and potential energy of two bars of 0.5 kg, 1 m long and 0.1 m wide, from where their middles are."""
    a, b, p, q = row
    elbow = np.array([math.sin(a), -math.cos(a)])
    middles = np.array([elbow / 2, elbow + np.array([math.sin(b), -math.cos(b)]) / 2])
    speeds = np.array(
        [
            [p * math.cos(a) / 2, p * math.sin(a) / 2],
            [p * math.cos(a) + q * math.cos(b) / 2, p * math.sin(a) + q * math.sin(b) / 2],
        ]
    )
    turning = 0.5 * (0.5 * 1.01 / 12) * (p**2 + q**2)
    return 0.5 * 0.5 * np.square(speeds).sum() + turning + 0.5 * 10.0 * middles[:, 1].sum()


def test_without_torque_energy_stays():
    row = np.array([2.0, -1.0, 3.0, -4.0])
    before = energy(row)
    for _ in range(4000):
        swing_up.move(row, 0.0, 0.0025)
    assert energy(row) == pytest.approx(before, abs=1e-4)


def test_torque_does_work_on_the_angle_between_the_links():
    """What a torque of 7 N m adds is 7 times the change of the second angle less that of the first."""
    row = np.array([0.4, -0.3, 0.5, 0.2])
    before, start = energy(row), row.copy()
    for _ in range(400):
        swing_up.move(row, 7.0, 0.0005)
    turned = (row[1] - start[1]) - (row[0] - start[0])
    assert abs(turned) > 1.0
    assert energy(row) - before == pytest.approx(7.0 * turned, rel=1e-5)


def test_the_small_swing_has_the_two_known_frequencies():
    """Linearised: K x = w² M x, with M and K of two uniform bars."""
    mass = np.array([[swing_up.BOTH, swing_up.COUPLED], [swing_up.COUPLED, swing_up.OWN]])
    stiffness = np.diag([1.5 * 0.5 * 10.0, 0.5 * 0.5 * 10.0])
    squares, modes = np.linalg.eig(np.linalg.solve(mass, stiffness))
    for square, mode in zip(squares, modes.T, strict=True):
        row = np.concatenate([1e-4 * mode, np.zeros(2)])
        for _ in range(1000):
            swing_up.move(row, 0.0, 2.0 * math.pi / math.sqrt(square) / 1000)
        np.testing.assert_allclose(row[:2], 1e-4 * mode, atol=1e-8)  # back after one period
    assert pytest.approx(0.5 * 1.01 / 12 + 0.125) == swing_up.OWN  # Box2D says 0.16708


def test_rewards_and_episodes():
    batch = sampler.make("DoublePendulumSwingUp", seeds=[0], environments=2)
    seen = batch.reset()
    assert seen.shape == (2, 6) and np.abs(seen[:, 1] - 1).max() < 0.1
    state = batch.state
    state["state"][:] = [[math.pi, math.pi, 0, 0], [0, 0, 0, 0]]
    batch.state = state
    step = batch.step(np.zeros((2, 1)))
    np.testing.assert_allclose(step.reward, [0.0, -4.0], atol=1e-9)  # tip at (0, 2), and below
    lengths = 1
    while not step.truncated.any():
        step = batch.step(np.full((2, 1), 1e3))  # the torque is limited, and so are the speeds
        lengths += 1
        assert not step.terminated.any() and np.abs(step.next_observation[:, [2, 5]]).max() <= swing_up.FASTEST
    assert lengths == 500
    with pytest.raises(Exception, match="option"):
        sampler.make("DoublePendulumSwingUp", seeds=[0], environments=1, gravity=9.8)
