"""The cycle: restore, accounting, what the replay holds, resume between any two phases, controls."""

import numpy as np
import pytest

from septet.metaexplore.config import Job, Method, Task
from septet.metaexplore.cycle import Cycle
from septet.metaexplore.student import repeat
from septet.metaexplore.study import JUDGED, Signal, agreement, cosine, reliability

SMALL = {"hidden": (16, 16), "batch": 16, "explore_steps": 30, "evaluate_steps": 25}
SMALL |= {"trial_updates": 5, "student_updates": 7}


def made(seeds=(1, 2), environment="Pendulum-v1", steps=2000, **method):
    task = Task(environment=environment, steps=steps, name="t")
    return Cycle(Method.model_validate({**SMALL, "name": "m", **method}), task, list(seeds), 2018)


def go(cycle, phases):
    for _ in range(phases):
        cycle.advance()
    return cycle


@pytest.mark.parametrize("method", [{}, {"trials": 3}, {"reference": "fresh"}, {"starts": "own"}])
def test_a_trial_leaves_every_tensor_and_moment_of_the_student_as_it_was(method):
    cycle = go(made(**method), 5)
    before = {name: array.copy() for name, array in cycle.students._asdict().items()}
    updates = cycle.updates
    go(cycle, 2)
    assert (cycle.trials.actor[0] != before["actor"][0]).any()
    go(cycle, 2)
    assert cycle.phases[cycle.phase] == "train"
    for name, array in cycle.students._asdict().items():
        assert array.tobytes() == before[name].tobytes()
    assert cycle.updates == updates
    go(cycle, 1)
    assert (cycle.students.actor != before["actor"]).any()


def test_with_continue_the_student_goes_on_from_the_trial():
    cycle = go(made(student="continue"), 1)
    before = cycle.students.actor.copy()
    go(cycle, 1)
    assert (cycle.students.actor != before).any() and cycle.updates == 5
    go(cycle, 3)
    assert cycle.updates == 12


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
    cycle = made(**method)
    stepped = {"explore": 0, "evaluate": 0}
    for name, batch in (("explore", cycle.explorer.environments), ("evaluate", cycle.evaluation)):
        inner = batch.step

        def counting(action, name=name, inner=inner, batch=batch):
            stepped[name] += batch.environments
            return inner(action)

        batch.step = counting
    go(cycle, 3 * len(cycle.phases))
    assert (cycle.method.first_steps, cycle.method.cycle_steps) == (first, each)
    assert cycle.steps == len(cycle.replay) == first + 3 * each
    assert sum(stepped.values()) == 3 * each
    assert (cycle.moments.count == first + 3 * each).all()  # D0 and D1, once each


def test_the_replay_holds_d0_and_d1_as_they_happened():
    cycle = go(made(trials=2, environment="InvertedDoublePendulum-v5"), 1)
    d0 = cycle.new[0].copy()
    go(cycle, 2)
    d1 = cycle.new[1].copy()
    go(cycle, 2)
    held = cycle.replay.records[:, 50 : 50 + 60 + 50]
    np.testing.assert_array_equal(held, np.concatenate([d0, d1], axis=1))
    size, width = cycle.evaluation.observation_size, cycle.evaluation.action_size
    np.testing.assert_array_equal(
        d0[..., size : size + width].reshape(2, 2, 30, 1), np.clip(cycle.explorer.action, -1, 1).astype("f4")
    )
    seen = cycle.replay.records[:, : len(cycle.replay), :size].astype(float)
    np.testing.assert_allclose(cycle.moments.mean, seen.mean(axis=1), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(cycle.moments.variance, seen.var(axis=1), rtol=1e-6, atol=1e-9)
    for rows in d0.reshape(4, 30, -1):  # transitions follow one another; an end that is no fall would be a time limit
        breaks = (rows[1:, :size] != rows[:-1, size + width + 2 :]).any(axis=1)
        np.testing.assert_array_equal(rows[:-1, size + width + 1] == 1, breaks)


def test_a_time_limit_is_no_terminal_state():
    cycle = go(made(environment="DeceptiveNavigation", explore_steps=120), 5)
    size, width = 2, 2
    rows = cycle.replay.records[0, : len(cycle.replay)]
    assert not rows[:, size + width + 1].any()


def test_trials_of_a_cycle_are_evaluated_from_common_starts():
    cycle = go(made(trials=3), 3)
    size = cycle.evaluation.observation_size
    starts = cycle.new[1].reshape(2, 3, 25, -1)[:, :, 0, :size]
    assert (starts == starts[:, :1]).all() and (starts[0] != starts[1]).any()
    first = starts.copy()
    go(cycle, 5)
    again = cycle.new[1].reshape(2, 3, 25, -1)[:, :, 0, :size]
    assert (again == again[:, :1]).all() and (again != first).any()


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
    {"explorer": "uniform"},
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [1, 7, 8, 9])
def test_resumed_between_any_two_phases_it_is_the_uninterrupted_run(method, stop):
    whole = go(made(**method), 15)
    first = go(made(**method), stop)
    saved = first.state
    second = made(**method)
    second.state = saved
    go(first, 2)  # what was saved does not hang on the first one
    go(second, 15 - stop)
    for name, array in whole.state.items():
        assert array.tobytes() == second.state[name].tobytes(), name


def test_a_seed_alone_is_the_seed_in_a_batch():
    together, alone = go(made(seeds=(1, 2, 3), trials=2), 10), go(made(seeds=(2,), trials=2), 10)
    np.testing.assert_array_equal(alone.students.actor[0], together.students.actor[1])
    np.testing.assert_array_equal(alone.explorer.teacher.flat[0], together.explorer.teacher.flat[1])


def test_controls_differ_from_meta_in_the_teacher_alone():
    meta, frozen, shuffled = (go(made(trials=4, teacher_update=u), 4) for u in ("meta", "frozen", "shuffled"))
    for control in (frozen, shuffled):
        np.testing.assert_array_equal(meta.meta_reward, control.meta_reward)
        np.testing.assert_array_equal(meta.explorer.action, control.explorer.action)
    np.testing.assert_array_equal(np.sort(meta.advantage), np.sort(shuffled.advantage))
    assert (meta.advantage != shuffled.advantage).any()
    start = made(trials=4).explorer.teacher.flat
    assert (frozen.explorer.teacher.flat == start).all() and (meta.explorer.teacher.flat != start).any()


def test_a_nan_stops_the_run_and_is_named():
    cycle = go(made(), 4)
    cycle.students.actor[1, 0] = np.nan
    with pytest.raises(ArithmeticError, match=r"(losses|actor).*seed 2"):
        cycle.advance()


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


def test_a_study_judges_without_touching_the_student_it_stops():
    method = {"kind": "study", "name": "s", "stages": [1, 2], "trials": 4, "seeds": [1, 2]}
    method["learner"] = {**SMALL, "teacher_update": "frozen"}
    method["settings"] = {"default": {}, "longer": {"evaluate_steps": 50}, "all": {"replay": True}}
    job = Job(method=method, task=Task(name="t", steps=2000), seeds=[5])
    study = Signal(job)
    while study.done < study.total:
        study.advance()
    plain = go(made(teacher_update="frozen"), 10)
    np.testing.assert_array_equal(study.cycle.students.actor, plain.students.actor)
    assert np.isfinite(study.found[:, 2]).sum() == 2 * 5 * 2  # no groups of 4 and 8 among four trials
    methods, frames = study.tables()
    assert list(methods) == ["s/default", "s/longer", "s/all"]
    assert methods["s/longer"]["evaluate_steps"] == 50
    assert sum(frame.height for frame in frames) == 2 * (3 * 4 + 1) * 2


def test_untaught_students_are_judged_once_as_each_copy_would_be():
    method = {"kind": "study", "name": "s", "stages": [2], "trials": 4, "seeds": [1, 2]}
    method["learner"] = {**SMALL, "teacher_update": "frozen"}
    method["settings"] = {"default": {}, "again": {}, "D0": {"explore_steps": 20}}
    study = Signal(Job(method=method, task=Task(name="t", environment="InvertedDoublePendulum-v5", steps=2000)))
    while study.done < study.total:
        study.advance()
    np.testing.assert_array_equal(study.found[:, 0], study.found[:, 1])
    assert len(study.drawn) == 2 and len(study.untaught) == 1  # D0 of two sizes; R of one |D1|
    copies = study._stopped(study.base.model_copy(update={"trials": 4}))
    for repetition, found in enumerate(next(iter(study.untaught.values()))):
        copies.cycle, copies.trials = JUDGED + repetition, repeat(copies.students, 4)
        copies.evaluate()
        np.testing.assert_array_equal(copies.trial_return, np.repeat(found[:, None], 4, axis=1))
