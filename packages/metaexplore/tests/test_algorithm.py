"""The algorithm: restore, accounting, what the replay holds, resume between any two cycles, controls; the study."""

import numpy as np
import pytest

from septet.errors import NotFinite
from septet.metaexplore.config import Job, Method, Task
from septet.metaexplore.curve import Curve
from septet.metaexplore.student import ddpg, repeat
from septet.metaexplore.study import JUDGED, Signal, agreement, cosine, reliability
from septet.metaexplore.train import Learner, draw, evaluate, first_evaluation, learn, meta_cycle, plain_cycle, rates
from septet.rl.noise import ParameterNoise
from septet.state import load_state_dict, state_dict
from septet.testing import forgotten

SMALL = {"hidden": (16, 16), "batch_size": 16, "explore_steps": 30, "evaluate_steps": 25}
SMALL |= {"trial_updates": 5, "student_updates": 7}


def made(seeds=(1, 2), environment="Pendulum-v1", steps=2000, **method):
    task = Task(environment=environment, steps=steps, name="t")
    learner = Learner(Method.model_validate({**SMALL, "name": "m", **method}), task, list(seeds), 2018)
    if learner.method.teaches:
        first_evaluation(learner)
    return learner


def go(learner, stop, start=0):
    """Cycles `start` to `stop` - 1; what the last one gave."""
    cycle = meta_cycle if learner.method.teaches else plain_cycle
    return [cycle(learner, number) for number in range(start, stop)][-1]


def copied(learner):
    return {name: array.copy() for name, array in state_dict(learner).items()}


@pytest.mark.parametrize("method", [{}, {"trials": 3}, {"reference": "fresh"}, {"starts": "own"}])
def test_a_trial_leaves_every_tensor_and_moment_of_the_student_as_it_was(method):
    learner = made(**method, student_updates=0)
    go(learner, 1)
    before = copied(learner.student.networks)
    found = go(learner, 2, 1)
    assert (found.meta_reward != 0).any()  # the trial did learn
    for name, array in copied(learner.student.networks).items():
        assert array.tobytes() == before[name].tobytes()
    assert learner.updates == 0
    trained = made(**method)
    go(trained, 2)
    assert trained.updates == 14 and (trained.student.networks.actor != before["actor"]).any()


def test_with_continue_the_student_starts_from_the_trial():
    learner = made(student="continue", student_updates=0)
    before = learner.student.networks.actor.copy()
    go(learner, 1)
    assert (learner.student.networks.actor != before).any() and learner.updates == 5
    both = made(student="continue")
    go(both, 1)
    assert both.updates == 12


def test_a_fresh_reference_is_the_student_before_the_trial_also_where_it_continues():
    restored, continued = made(reference="fresh"), made(reference="fresh", student="continue")
    np.testing.assert_array_equal(go(restored, 1).meta_reward, go(continued, 1).meta_reward)
    assert (go(continued, 2, 1).meta_reward != 0).all()


@pytest.mark.parametrize(
    ("method", "first", "each"),
    [
        ({}, 25, 55),
        ({"reference": "fresh"}, 25, 80),
        ({"trials": 4}, 100, 220),
        ({"explorer": "gaussian"}, 0, 30),
        ({"explorer": "random"}, 25, 55),
    ],
)
def test_every_environment_step_is_counted_and_kept_once(method, first, each):
    learner = made(**method)
    stepped = [0]
    for batch in (learner.exploring, learner.evaluating):
        inner = batch.step

        def counting(action, inner=inner, batch=batch):
            stepped[0] += batch.environments
            return inner(action)

        batch.step = counting
    go(learner, 3)
    assert (learner.method.first_steps, learner.method.cycle_steps) == (first, each)
    assert learner.method.cycles(first + 3 * each) == 3 and learner.method.cycles(first + 3 * each - 1) == 2
    assert learner.steps == len(learner.replay) == first + 3 * each
    assert stepped[0] == 3 * each
    assert (learner.seen.count == first + 3 * each).all()  # D0 and D1, once each


def test_the_replay_holds_d0_and_d1_as_they_happened():
    learner = made(trials=2, environment="InvertedDoublePendulum-v5")
    d0, d1 = go(learner, 1).data
    held = learner.replay.records[:, 50 : 50 + 60 + 50]
    np.testing.assert_array_equal(held, np.concatenate([d0, d1], axis=1))
    size, width = learner.evaluating.observation_size, learner.evaluating.action_size
    assert (np.abs(d0[..., size : size + width]) <= 1).all()
    seen = learner.replay.records[:, : len(learner.replay), :size].astype(float)
    np.testing.assert_allclose(learner.seen.mean, seen.mean(axis=1), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(learner.seen.variance, seen.var(axis=1), rtol=1e-6, atol=1e-9)
    for rows in d0.reshape(4, 30, -1):  # transitions follow one another; an end that is no fall would be a time limit
        breaks = (rows[1:, :size] != rows[:-1, size + width + 2 :]).any(axis=1)
        np.testing.assert_array_equal(rows[:-1, size + width + 1] == 1, breaks)


def test_a_full_replay_forgets_its_oldest_transitions():
    learner = made(buffer_size=100)
    data = [np.concatenate(go(learner, k + 1, k).data, axis=1) for k in range(3)]
    held = np.roll(learner.replay.records, -(learner.replay.added % 100), axis=1)
    np.testing.assert_array_equal(held, np.concatenate(data, axis=1)[:, -100:])


def test_a_time_limit_is_no_terminal_state():
    learner = made(environment="DeceptiveNavigation", explore_steps=120)
    go(learner, 1)
    size, width = 2, 2
    rows = learner.replay.records[0, : len(learner.replay)]
    assert not rows[:, size + width + 1].any()


def test_trials_of_a_cycle_are_evaluated_from_common_starts():
    learner = made(trials=3)
    size, found = learner.evaluating.observation_size, []
    for number in range(2):
        starts = go(learner, number + 1, number).data[1].reshape(2, 3, 25, -1)[:, :, 0, :size]
        assert (starts == starts[:, :1]).all() and (starts[0] != starts[1]).any()
        found.append(starts)
    assert (found[0] != found[1]).any()


METHODS = [
    {},
    {"trials": 3, "teacher_update": "shuffled"},
    {"reference": "fresh", "teacher_update": "shuffled"},
    {"student": "continue", "starts": "own"},
    {"explorer": "informed"},
    {"explorer": "local", "trials": 2},
    {"explorer": "random"},
    {"explorer": "ornstein_uhlenbeck"},
    {"explorer": "parameter"},
    {"explorer": "parameter", "student_updates": 60},
    {"explorer": "uniform"},
]
SCRATCH = {"_round", "_first", "action_noise._draws"}
"""Set again by every evaluation, and chunks of random numbers that are drawn again."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumed_between_any_two_cycles_it_is_the_uninterrupted_run(method, stop):
    whole, first, second = (made(**method) for _ in range(3))
    go(whole, 4)
    go(first, stop)
    load_state_dict(second, copied(first))
    found = forgotten(first, second)
    assert not {path for path in found if not any(scratch in path for scratch in SCRATCH)}
    go(first, stop + 1, stop)  # what was saved does not hang on the first one
    go(second, 4, stop)
    for name, array in state_dict(whole).items():
        assert array.tobytes() == state_dict(second)[name].tobytes(), name


def test_a_curve_declares_all_that_it_keeps():
    method = {**SMALL, "name": "m", "visits": True}
    job = Job(method=method, task=Task(name="t", steps=600), seeds=[1, 2], points=6, tests=2)
    learner, first, second = made(steps=600), Curve(job, job.method), Curve(job, job.method)
    for number in range(4):
        first.note(go(learner, number + 1, number))
        first.measure(learner)
    assert first.count == 1 and set(first.sums) == set(go(learner, 5, 4).scores)
    load_state_dict(second, state_dict(first))
    assert {path for path in forgotten(first, second) if not path.startswith("tests")} == set()
    assert len(first.history) == 2 and len(second.histograms) == 1


def test_a_seed_alone_is_the_seed_in_a_batch():
    together, alone = made(seeds=(1, 2, 3), trials=2), made(seeds=(2,), trials=2)
    go(together, 2), go(alone, 2)
    np.testing.assert_array_equal(alone.student.networks.actor[0], together.student.networks.actor[1])
    np.testing.assert_array_equal(alone.teacher.flat[0], together.teacher.flat[1])


def test_a_seed_alone_with_noise_on_the_weights_is_the_seed_in_a_batch():
    method = {"explorer": "parameter", "student_updates": 60}
    together, alone = made(seeds=(1, 2, 3), **method), made(seeds=(2,), **method)
    both, one = go(together, 3).scores, go(alone, 3).scores
    np.testing.assert_array_equal(alone.student.networks.actor[0], together.student.networks.actor[1])
    np.testing.assert_array_equal(alone.noise.weight_noise.perturbed[0], together.noise.weight_noise.perturbed[1])
    for name, values in one.items():
        np.testing.assert_array_equal(values[0], both[name][1])


def test_noise_on_the_weights_adapts_every_fifty_updates_to_the_student_of_that_moment(monkeypatch):
    learner, seen, adapt = made(explorer="parameter", student_updates=70), [], ParameterNoise.adapt

    def spied(self, updates, actor, replay, act):
        seen.append((updates, actor.copy()))
        adapt(self, updates, actor, replay, act)

    monkeypatch.setattr(ParameterNoise, "adapt", spied)
    twin = made(explorer="parameter", student_updates=70)
    for number in range(3):
        pi, rates_, held = twin.student, rates(twin.method), len(twin.replay) + 30
        go(twin, number + 1, number)
        rows = draw(twin, "train", number, twin.method, 70, held)
        pi = pi._replace(scaling=twin.student.scaling)
        whole, losses = ddpg(pi, twin.replay.records, rows, rates_, 70 * number)  # one call, as without the noise
        assert whole.networks.actor.tobytes() == twin.student.networks.actor.tobytes()
        np.testing.assert_allclose(twin.losses, losses, rtol=1e-12)
    seen.clear()
    go(learner, 3)
    assert [updates for updates, _ in seen] == [0, 50, 100, 150, 200]
    scales = learner.noise.weight_noise.scale
    powers = np.log(scales / 0.2) / np.log(1.01)
    np.testing.assert_allclose(powers, np.round(powers), atol=1e-9)
    assert (np.abs(powers) <= 5).all() and (np.round(powers) % 2 == 1).all()  # five steps up or down
    again = made(explorer="parameter", student_updates=50)
    go(again, 1)
    np.testing.assert_array_equal(seen[1][1], again.student.networks.actor)  # after 50 updates of the first 70


def test_controls_differ_from_meta_in_the_teacher_alone():
    learners = [made(trials=4, teacher_update=u) for u in ("meta", "frozen", "shuffled")]
    meta, frozen, shuffled = (go(learner, 1) for learner in learners)
    for control in (frozen, shuffled):
        np.testing.assert_array_equal(meta.meta_reward, control.meta_reward)
        np.testing.assert_array_equal(meta.data[0], control.data[0])
    np.testing.assert_array_equal(np.sort(meta.advantage), np.sort(shuffled.advantage))
    assert (meta.advantage != shuffled.advantage).any()
    start = made(trials=4).teacher.flat
    assert (learners[1].teacher.flat == start).all() and (learners[0].teacher.flat != start).any()


def test_a_nan_stops_the_run_and_is_named():
    learner = made()
    go(learner, 1)
    learner.student.networks.actor[1, 0] = np.nan
    with pytest.raises(NotFinite, match=r"iteration 1: the (losses|actor) is not finite \(seed 2\)"):
        learn(learner, 1)


def test_reliability_and_cosine_by_hand():
    first = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(reliability(first, 2 * first[:, ::-1]), [-1.0, 0.0])
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(0.5**0.5)
    assert cosine(np.zeros(2), np.ones(2)) == 0.0


def test_groups_of_trials_agree_where_the_reward_follows_the_score():
    scores = np.random.default_rng(0).standard_normal((160, 4))
    assert agreement(scores, scores[:, 0], 8) > agreement(scores, scores[:, 0], 2) > 0.05
    assert np.isnan(agreement(scores[:3], np.ones(3), 2))
    two = agreement(scores[:4], np.array([1.0, 0.0, 0.0, 2.0]), 2)
    assert two == pytest.approx(cosine(scores[0] - scores[1], scores[3] - scores[2]))


def studied(stages, settings, seeds=(1, 2), **task):
    """A study after all its judgements, and the learner that it judged."""
    method = {"kind": "study", "name": "s", "stages": stages, "trials": 4, "seeds": list(seeds)}
    method |= {"learner": {**SMALL, "teacher_update": "frozen"}, "settings": settings}
    study = Job(method=method, task=Task(name="t", steps=2000), seeds=[5]).method
    learner, signal = made(seeds, teacher_update="frozen", **task), Signal(study)
    for stage, cycles in enumerate(stages):
        go(learner, cycles, signal.cycles)
        signal.cycles = cycles
        for setting in range(len(settings)):
            signal.judge(learner, stage, setting)
    return learner, signal


def test_a_study_judges_without_touching_the_student_it_stops():
    learner, signal = studied([1, 2], {"default": {}, "longer": {"evaluate_steps": 50}, "all": {"replay": True}})
    plain = made(teacher_update="frozen")
    go(plain, 2)
    for name, array in state_dict(plain).items():
        assert array.tobytes() == state_dict(learner)[name].tobytes(), name
    assert np.isfinite(signal.found[:, 2]).sum() == 2 * 5 * 2  # no groups of 4 and 8 among four trials
    methods, frames = signal.methods(), signal.score_rows("t")
    assert list(methods) == ["s/default", "s/longer", "s/all"]
    assert methods["s/longer"]["evaluate_steps"] == 50
    assert sum(frame.height for frame in frames) == 2 * (3 * 4 + 1) * 2
    again = Signal(signal.study)
    load_state_dict(again, state_dict(signal))
    assert forgotten(signal, again) <= {f"{cache}.{key}" for cache in ("drawn", "untaught") for key in signal.drawn} | {
        f"untaught.{key}" for key in signal.untaught
    }


def test_untaught_students_are_judged_once_as_each_copy_would_be():
    settings = {"default": {}, "again": {}, "D0": {"explore_steps": 20}}
    learner, signal = studied([2], settings, environment="InvertedDoublePendulum-v5")
    np.testing.assert_array_equal(signal.found[:, 0], signal.found[:, 1])
    assert len(signal.drawn) == 2 and len(signal.untaught) == 1  # D0 of two sizes; R of one |D1|
    copies, evaluating = repeat(learner.student, 4), learner.environments("evaluate", 4)
    for repetition, found in enumerate(next(iter(signal.untaught.values()))):
        returns = evaluate(evaluating, copies, learner.method, JUDGED + repetition).returns
        np.testing.assert_array_equal(returns, np.repeat(found[:, None], 4, axis=1))
