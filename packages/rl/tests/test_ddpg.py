"""The DDPG learner on an environment: what is stored, resume, seeds alone or together, learning."""

import numpy as np
import pytest

from septet.rl import noise as noise_module
from septet.rl.config import DDPG, Job, Task
from septet.rl.ddpg import DDPGLearner
from septet.state import load_state_dict, state_dict
from septet.testing import forgotten

SMALL = {"algorithm": "ddpg", "hidden": (16, 16), "batch_size": 16, "learning_starts": 20, "report": 120}
NOISES = ["none", "gaussian", "uniform", "ornstein_uhlenbeck", "parameter"]
SCRATCH = ["_work", "_hidden", "_chunk", "_numbers", "_records", "_sides"]
"""Work arrays, random numbers that are drawn ahead by step, and which replay was found to fit."""


def job(seeds: list[int], environment: str = "Pendulum-v1", steps: int = 600, **method: object) -> Job:
    settings = DDPG.model_validate({**SMALL, **method})
    return Job(paper="rl", method=settings, task=Task(environment=environment), seeds=seeds, steps=steps)


@pytest.mark.parametrize("noise", NOISES)
def test_a_resumed_run_is_the_uninterrupted_one(noise: str) -> None:
    whole, first, second = (DDPGLearner(job([1, 2], noise=noise)) for _ in range(3))
    expected = [whole.iterate(k).scores for k in range(5)]
    for k in range(2):
        first.iterate(k)
    load_state_dict(second, state_dict(first))
    assert forgotten(first, second, SCRATCH) == set()
    for k in range(2, 5):
        scores = second.iterate(k).scores
        assert scores.keys() == expected[k].keys()
        for name, values in scores.items():
            np.testing.assert_array_equal(values, expected[k][name])
    assert forgotten(whole, second, SCRATCH) == set()


@pytest.mark.parametrize("noise", ["gaussian", "parameter"])
def test_a_seed_alone_is_the_seed_in_a_batch(noise: str) -> None:
    together, alone = DDPGLearner(job([1, 2, 3], noise=noise)), DDPGLearner(job([2], noise=noise))
    for k in range(2):
        in_batch, one = together.iterate(k).scores, alone.iterate(k).scores
        for name in one:
            np.testing.assert_allclose(one[name][0], in_batch[name][1], rtol=1e-5)
    np.testing.assert_allclose(alone.agent.networks.actor[0], together.agent.networks.actor[1], rtol=1e-4, atol=1e-6)


def test_noise_on_the_weights_adapts_every_fifty_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """118 times in 5,900 updates, as OpenAI Baselines; with one draw per episode it was 30 times."""
    counted, adapt = [], noise_module.adapt_scale
    monkeypatch.setattr(noise_module, "adapt_scale", lambda *of: counted.append(1) or adapt(*of))
    learner = DDPGLearner(job([1], steps=6000, noise="parameter", hidden=(4,), batch_size=4, learning_starts=100))
    for iteration in range(learner.iterations):
        learner.iterate(iteration)
    assert learner.agent.updates == 5900
    assert len(counted) == 118
    assert learner.parameter_noise is not None
    assert (learner.parameter_noise.episode == 31).all()  # at the start and after each of 30 episodes


def test_noise_on_the_weights_keeps_its_distance_on_a_real_actor() -> None:
    """Half of the fresh perturbations by the scale move the actions by less than the target of .2.

    Medians of six seeds lie at .21 to .26; they were .36 to .50, and few perturbations below the target, when the
    distance was taken between the perturbation of the last episode and today's actor.
    """
    settings = {"noise": "parameter", "noise_scale": 0.2, "train_every": 2, "updates": 100, "actor_learning_rate": 1e-4}
    learner = DDPGLearner(job([1, 2, 3], "InvertedDoublePendulum-v5", **settings))
    for iteration in range(learner.iterations):
        scores = learner.iterate(iteration).scores
    noise, rng = learner.parameter_noise, np.random.default_rng(0)
    assert noise is not None
    actor, observation = learner.agent.networks.actor, learner.replay.records[:, :600, :9]
    plain, distances = learner.agent.act(observation), []
    for _ in range(100):
        fresh = actor + noise.scale[:, None].astype(np.float32) * rng.standard_normal(actor.shape, dtype=np.float32)
        distances.append(np.sqrt(((learner.agent.act(observation, fresh) - plain) ** 2).mean(axis=(1, 2))))
    assert np.median(distances) == pytest.approx(0.2, abs=0.08)
    assert 0.2 < (np.array(distances) < 0.2).mean() < 0.8
    np.testing.assert_array_equal(scores["noise_scale"], noise.scale)
    np.testing.assert_array_equal(scores["noise_distance"], noise.distance)


def test_what_is_stored_is_what_happened() -> None:
    """Transitions follow one another within an episode; a time limit is no terminal state."""
    learner = DDPGLearner(job([1], noise="uniform", noise_scale=2.0))
    scores = [learner.iterate(k).scores for k in range(5)]
    fields = learner.replay.fields(np.arange(600)[None])
    following = fields["observation"][0, 1:] == fields["next_observation"][0, :-1]
    breaks = np.flatnonzero(~following.all(1)) + 1
    np.testing.assert_array_equal(breaks, [200, 400])
    assert not fields["terminated"].any()
    assert abs(fields["action"]).max() == 1.0  # clipped
    returns = fields["reward"][0].reshape(3, 200).sum(1)
    np.testing.assert_allclose([s["return"][0] for s in scores], [np.nan, returns[0], np.nan, returns[1], returns[2]])
    np.testing.assert_array_equal([s["episodes"][0] for s in scores], [0, 1, 0, 1, 1])


def test_a_fall_is_terminal() -> None:
    learner = DDPGLearner(job([1, 2], "InvertedDoublePendulum-v5", steps=120))
    episodes = learner.iterate(0).scores["episodes"]
    assert (episodes > 0).all()
    fields = learner.replay.fields(np.tile(np.arange(120), (2, 1)))
    np.testing.assert_array_equal(fields["terminated"].sum(1), episodes)


def test_no_update_before_learning_starts_and_one_a_step_after() -> None:
    learner = DDPGLearner(job([1], train_every=3, updates=2))
    before = learner.agent.networks.actor.copy()
    for _ in range(20):
        learner._environment_step()
    assert learner.agent.updates == 0
    learner.iterate(0)
    assert learner.agent.updates == 2 * (140 // 3 - 20 // 3)
    assert (learner.agent.networks.actor != before).any()


def test_it_learns_to_swing_up() -> None:
    """The median over eight seeds lies above -600.

    Over 32 seeds the return goes from -1330 (standard deviation 120) to medians of -156, -170, -170 and -173 (84 to
    158) on the processors native, haswell, zen3 and x86-64-v2 of septet.processor; the worst seed ends at -914. The
    median of eight has a standard error of at most 70: the line is six of them below.
    """
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3, "gamma": 0.95, "tau": 0.02}
    settings = {
        "hidden": (64, 64),
        "batch_size": 64,
        "learning_starts": 100,
        "report": 1000,
        "noise": "gaussian",
        **rates,
    }
    learner = DDPGLearner(job(list(range(8)), steps=4000, **settings))
    returns = [learner.iterate(k).scores["return"] for k in range(4)]
    assert np.median(returns[0]) < -1000
    assert np.median(returns[-1]) > -600
