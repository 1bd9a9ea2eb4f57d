"""Navigation by hand, return estimates, rollouts, histograms."""

import numpy as np
import pytest

from septet.errors import InputError
from septet.metaexplore import navigation, visits
from septet.metaexplore.environments import make_environments, noise_free_return, return_estimate, rollout


def environments(name="DeceptiveNavigation", number=2, **options):
    return make_environments(name, options, [1, 2], number, 0, "test")


def test_a_step_of_navigation_by_hand():
    world = environments(number=1, near_height=0.5)
    world.reset()
    state = world.state
    state["state"] = np.array([[0.0, 0.0], [0.98, -0.99]])
    world.state = state
    step = world.step(np.array([[1.0, -3.0], [0.5, -1.0]]))
    np.testing.assert_allclose(step.observation, [[0.1, -0.1], [1.0, -1.0]])
    place, options = np.array([0.1, -0.1]), {**navigation.DEFAULTS, "near_height": 0.5}
    expected = 0.0
    for name in ("near", "far"):
        distance = ((place - options[name]) ** 2).sum()
        expected += options[f"{name}_height"] * np.exp(-distance / (2 * options[f"{name}_width"] ** 2))
    assert step.reward[0] == pytest.approx(expected)
    with pytest.raises(InputError):
        world.step(np.full((2, 2), np.nan))


def test_near_is_felt_from_the_start_and_far_is_not_and_far_is_better():
    set_ = navigation.DEFAULTS
    felt = [
        set_[f"{g}_height"] * np.exp(-np.square(set_[g]).sum() / (2 * set_[f"{g}_width"] ** 2)) for g in ("near", "far")
    ]
    assert felt[0] > 0.02 and felt[1] < 1e-3
    steps = [int(np.ceil(np.abs(set_[g]).max() / set_["speed"])) for g in ("near", "far")]
    best = [set_[f"{g}_height"] * (50 - n) for g, n in zip(("near", "far"), steps, strict=True)]
    assert best[1] > 2 * best[0]


def test_the_return_estimate():
    found = return_estimate(np.array([30.0, 30.0, 30.0]), np.array([0.0, 1.0, 5.0]), 100, 200)
    np.testing.assert_allclose(found, [60.0, 30.0, 6.0])  # mean times horizon; one fall; five falls


def test_episodes_end_and_start_by_their_purpose():
    world = environments(number=2)
    world.reset()
    found = rollout(world, lambda t, o: np.zeros((4, 2)), 120)
    assert found.records.shape == (4, 120, 8)
    assert found.by_seed.shape == (2, 240, 8) and not found.records[:, :, 5].any()  # a time limit is no terminal state
    reward = found.records[:, :, 4].sum(axis=1).reshape(2, 2)
    np.testing.assert_allclose(found.returns, reward * 50 / 120, rtol=1e-5)
    starts = found.records[:, [0, 50, 100], :2].reshape(-1, 2)
    assert len(np.unique(starts, axis=0)) == 12
    again = world.restart(3)
    assert (again[0] == again[1]).all() and (again[2] == again[3]).all() and (again[0] != again[2]).any()
    assert (world.restart(3) == again).all()


def test_test_episodes_are_whole_and_always_the_same():
    world = environments("InvertedDoublePendulum-v5", 3)
    first, seen = noise_free_return(world, lambda o: np.ones((6, 1)))
    second, _ = noise_free_return(world, lambda o: np.ones((6, 1)))
    np.testing.assert_array_equal(first, second)
    assert seen.shape[1] < 50 and np.isnan(seen[:, -1]).any(axis=1).sum() < 6


def test_unknown_tasks_are_refused():
    with pytest.raises(InputError, match="DeceptiveNavigation"):
        environments("Nowhere")


def test_histograms_and_overlap_by_hand():
    points = np.array([[-0.99, -0.99], [-0.99, -0.98], [0.99, 0.99], [np.nan, 0.0]])
    shares = visits.histogram(points, (1.0, 1.0))
    assert shares[0, 0] == pytest.approx(2 / 3) and shares[-1, -1] == pytest.approx(1 / 3)
    assert visits.overlap(shares, shares) == pytest.approx(1)
    assert visits.overlap(shares, shares[::-1, :]) == 0
    seen = visits.projected("Pendulum-v1", np.array([[0.0, -1.0, 20.0]]))
    np.testing.assert_allclose(seen, [[-np.pi / 2, 8.0]])
