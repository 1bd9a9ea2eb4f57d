"""Compiled functions of the package, called from Python with arrays that do not fit: one line, nothing written."""

import numpy as np
import pytest

from septet.dynts.choice import Choice, Motion, account, choose
from septet.dynts.config import Job, Method, Simulation
from septet.dynts.context_free import play_context_free
from septet.dynts.disjoint import play_disjoint
from septet.dynts.engines import engine
from septet.dynts.filter import assimilate, laplace_update, laplace_update_batch, restore
from septet.dynts.shared import dot, play_shared, potter_update, transposed_product
from septet.dynts.tracking import track
from septet.errors import InputError

V, S, T, D, K = 2, 3, 5, 2, 4
CHOICE, MOTION = Choice(1.0, 0.0, 0.1, False), Motion(False, 1.0, 1.0, 0.0)


def disjoint():
    return {
        "before": 0, "begin": 0, "end": T,
        "contexts": np.ones((S, T, D)), "probabilities": np.full((S, T, K), 0.5), "rewards": np.ones((S, T)),
        "normals": np.zeros((S, T, K)), "uniforms": np.full((S, T, 2), 0.5), "gammas": np.ones((V, T)),
        "windows": np.array([0, 2]), "guards": np.array([0, 2]), "choice": CHOICE, "motion": MOTION,
        "mu": np.zeros((V, S, D, K)), "packed": np.ones((V, S, 3, K)), "scale": np.ones((V, S, K)),
        "kept": np.ones((V, S, K)), "ring_arm": np.zeros((V, S, 2), dtype=np.int64),
        "ring_site": np.zeros((V, S, 2, D + 2)), "totals": np.zeros((V, S, 3)),
    }  # fmt: skip


def shared():
    return {
        "begin": 0, "end": T, "features": np.ones((1, T * K, D)),
        "first": np.arange(T) * K, "count": np.full(T, K), "probabilities": np.full((1, T * K), 0.5),
        "rewards": np.ones((S, T)), "normals": np.zeros((S, T, D)), "uniforms": np.full((S, T, 2), 0.5),
        "gammas": np.ones((V, T)), "choice": CHOICE, "guards": np.array([0, 2]),
        "prior_mean": np.zeros(D), "prior_variance": np.ones(D), "diagonal": False,
        "mu": np.zeros((V, S, D)), "root": np.tile(np.eye(D), (V, S, 1, 1)), "scale": np.ones((V, S)),
        "kept": np.ones((V, S)), "totals": np.zeros((V, S, 3)),
    }  # fmt: skip


def context_free():
    return {
        "begin": 0, "end": T, "probabilities": np.full((T, K), 0.5), "rewards": np.ones(T), "gammas": np.ones(T),
        "confidence_width": 0.0, "rng": np.random.default_rng(0), "counts": np.zeros((K, 2)), "totals": np.zeros(3),
    }  # fmt: skip


def tracked():
    return {
        "x": np.ones((T, D)), "clicks": np.ones((S, T)), "impressions": 10.0, "gammas": np.ones((V, T)),
        "guards": np.array([0, 2]), "prior_mean": np.zeros(D), "prior_variance": np.ones(D),
        "mu": np.zeros((V, S, D)), "root": np.tile(np.eye(D), (V, S, 1, 1)),
        "scale": np.ones((V, S)), "kept": np.ones((V, S)), "loss": np.zeros((V, S)),
    }  # fmt: skip


BLOCK = ("probabilities", "rewards", "normals", "uniforms", "gammas")
PRIOR = ("prior_mean", "prior_variance")
TUPLES = {
    play_disjoint: {
        "block": ("contexts", *BLOCK),
        "state": ("mu", "packed", "scale", "kept", "ring_arm", "ring_site", "totals"),
    },
    play_shared: {
        "block": ("features", "first", "count", *BLOCK),
        "prior": PRIOR,
        "state": ("mu", "root", "scale", "kept", "totals"),
    },
    play_context_free: {},
    track: {"prior": PRIOR, "state": ("mu", "root", "scale", "kept", "loss")},
}


def call(play, values):
    """Call a kernel with its arrays by name, those of a tuple too."""
    values = dict(values)
    tuples = {name: tuple(values.pop(part) for part in parts) for name, parts in TUPLES[play].items()}
    play(**values, **tuples)


PLAYS = {play_disjoint: disjoint, play_shared: shared, play_context_free: context_free, track: tracked}


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
def test_every_array_of_a_lockstep_kernel_has_its_shape_and_type(play):
    call(play, PLAYS[play]())  # as it should be
    arrays = [name for name, value in PLAYS[play]().items() if isinstance(value, np.ndarray)]
    for name in arrays:
        for damage in (
            lambda array: array[..., :-1].copy(),
            lambda array: array[None],
            lambda array: array.astype(object),
            lambda array: array.tolist(),
            lambda array: array.astype(">f8"),
        ):
            values = PLAYS[play]()
            before = {key: np.copy(value) for key, value in values.items() if isinstance(value, np.ndarray)}
            values[name] = damage(values[name])
            with pytest.raises(InputError) as error:
                call(play, values)
            assert "\n" not in str(error.value) and str(error.value).startswith(f"{play.__name__}: ")
            for key in set(arrays) - {name}:
                np.testing.assert_array_equal(values[key], before[key])


@pytest.mark.parametrize(
    ("play", "change"),
    [
        (play_disjoint, {"end": T + 1}),
        (play_disjoint, {"begin": -1}),
        (play_disjoint, {"before": -1}),
        (play_disjoint, {"guards": np.array([0, 3])}),
        (play_shared, {"guards": np.array([-1, 0])}),
        (play_disjoint, {"windows": np.array([0, 3])}),
        (play_disjoint, {"windows": np.array([0, -1])}),
        (play_disjoint, {"ring_arm": np.full((V, S, 2), K)}),
        (play_disjoint, {"uniforms": np.full((S, T, 2), -5.0)}),
        (play_disjoint, {"uniforms": np.full((S, T, 2), np.nan)}),
        (play_disjoint, {"packed": np.ones((V, S, 2, K))}),
        (play_disjoint, {"totals": np.zeros((V, S, 3), dtype=np.float32)}),
        (play_disjoint, {"choice": None}),
        (play_shared, {"first": np.arange(T) * K + 1}),
        (play_shared, {"first": np.arange(T) - 1}),
        (play_shared, {"count": np.full(T, K) - K}),
        (play_shared, {"count": np.full(T, 10**6)}),
        (play_shared, {"diagonal": True}),
        (play_shared, {"end": 10**9}),
        (play_shared, {"features": np.ones((2, T * K, D)), "probabilities": np.full((2, T * K), 0.5)}),
        (play_context_free, {"end": T + 1}),
        (play_context_free, {"gammas": np.full(T, np.nan)}),
        (play_context_free, {"rng": None}),
    ],
)
def test_values_that_lead_outside_are_refused(play, change):
    with pytest.raises(InputError) as error:
        call(play, PLAYS[play]() | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "act",
    [
        lambda: assimilate(np.zeros(2), np.eye(3), np.ones(2), 1.0, 1.0),
        lambda: laplace_update(np.zeros(2), np.eye(2), np.ones(3), 1.0, 1.0),
        lambda: laplace_update([0.0, 0.0], np.eye(2), np.ones(2), 1.0, 1.0),
        lambda: laplace_update(np.zeros(2), np.eye(2), np.ones(2), "1", 1.0),
        lambda: laplace_update_batch(np.zeros(2), np.eye(2), np.ones((3, 2)), np.ones(2), np.ones(3)),
        lambda: restore(np.zeros(2), np.ones((2, 3)), np.zeros(2), np.ones(2), 0.5),
        lambda: transposed_product(np.eye(2), np.ones(2), np.zeros(1)),
        lambda: dot(np.ones(2), np.ones(3)),
        lambda: potter_update(np.eye(2), 1.0, np.ones(2), 1.0, 1.0, np.zeros(1)),
        lambda: choose(np.ones(2), 3, CHOICE, np.ones(2), 0.5, 0.5),
        lambda: choose(np.ones(2), 2, CHOICE, np.ones(2), 0.0, -3.0),
        lambda: account(np.zeros(3), np.ones(2), 2, 2, 1.0, 0.5),
        lambda: account(np.zeros(2), np.ones(2), 2, 1, 1.0, 0.5),
    ],
)
def test_small_kernels_look_first(act):
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("method", "task"),
    [
        (Method(name="ts"), Simulation(kind="simulation", name="w", arms=3, context_dim=2)),
        (Method(name="beta", filter="beta"), Simulation(kind="simulation", name="w", arms=3, context_dim=2)),
        (Method(name="ts"), Simulation(kind="simulation", name="w", arms=3, context_dim=2, ad_dim=1, shared=True)),
    ],
)
@pytest.mark.parametrize(("begin", "end"), [(0, 11), (-1, 5), (6, 5), (0, 10**9)])
def test_an_engine_plays_rounds_of_its_block_only(method, task, begin, end):
    bandit = engine(Job(method=method, task=task, seeds=[0], horizon=20))
    bandit.enter(0, 10, np.array([10]))
    with pytest.raises(InputError, match="play: expected rounds from 0 to 10"):
        bandit.play(begin, end)
    assert not bandit.state["totals"].any()
    bandit.play(0, 10)
    assert bandit.state["totals"].any()
