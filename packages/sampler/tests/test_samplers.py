"""Sampler processes: the same bits for any number of them, policy lag, and every way of dying."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from septet.errors import InputError
from septet.sampler.policy import GaussianPolicy
from septet.sampler.samplers import SamplerDied, Samplers

ARRAYS = """observation action reward terminated truncated valid last_observation mean scale version lag final_step
    final_environment final_observation episode_return episode_length count moment_mean moment_m2""".split()
LIMIT = 60  # seconds, for what takes one or two


def workers(pid=None):
    """Sampler processes below a process (this one)."""
    below = psutil.Process(pid).children(recursive=True)
    return [
        process for process in below if process.status() != "zombie" and "septet.sampler.worker" in process.cmdline()
    ]


def ended(process):
    """Whether a process is gone, or dead and only not yet reaped (an orphan's new parent may be slow at that)."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def snapshot(rollout):
    return {name: np.array(getattr(rollout, name)) for name in ARRAYS}


def assert_same(found, want):
    for name in ARRAYS:
        np.testing.assert_array_equal(found[name], want[name], err_msg=name)


def make(processes=2, task="Pendulum-v1", sizes=(3, 1), environments=3, seeds=(3, 8), steps=70, **change):
    policy = GaussianPolicy(*sizes, hidden=(8,))
    return Samplers(task, policy, seeds=seeds, environments=environments, steps=steps, processes=processes, **change)


def weights_of(samplers, iteration=0):
    collection = samplers.collection
    rng = np.random.default_rng(iteration)
    return (0.3 * rng.standard_normal((len(collection.seeds), collection.policy.size))).astype(np.float32)


def run(samplers, iterations, first=0, before=None):
    """Collect some iterations, each with its own weights and scaling."""
    taken = []
    for iteration in range(first, first + iterations):
        size = (len(samplers.collection.seeds), samplers.collection.policy.observation_size)
        samplers.broadcast(weights_of(samplers, iteration), np.full(size, 0.1 * iteration), np.full(size, 1.5))
        if before is not None:
            before(iteration)
        taken.append(snapshot(samplers.collect()))
    return taken


@pytest.mark.parametrize(
    ("processes", "change"),
    [
        ((1, 3), {}),
        ((2,), {"task": "ContinuousCartPole", "sizes": (5, 1), "whole_episodes": True, "time_feature": True}),
        ((3,), {"task": "HalfCheetah-v5", "sizes": (17, 6), "bounds": "scale"}),
    ],
    ids=["pendulum", "whole episodes", "cheetah"],
)
def test_results_do_not_depend_on_the_number_of_processes(processes, change):
    with make(0, environments=2, **change) as samplers:  # four environments: three processes have 1, 1 and 2
        want = run(samplers, 4)
    for number in processes:
        with make(number, environments=2, **change) as samplers:
            for found, expected in zip(run(samplers, 4), want, strict=True):
                assert_same(found, expected)
        assert not workers()


def test_a_rollout_is_a_view_of_shared_memory_and_outlives_the_samplers():
    with make(1) as samplers:
        samplers.broadcast(weights_of(samplers))
        rollout = samplers.collect()
        assert not rollout.observation.flags.owndata
        kept = rollout.observation.copy()
    np.testing.assert_array_equal(rollout.observation, kept)


def test_state_goes_on_with_another_number_of_processes():
    with make(1) as samplers:
        run(samplers, 2)
        state = samplers.state
        want = run(samplers, 2, first=2)
    for processes in (0, 2):
        with make(processes) as samplers:
            samplers.state = state
            taken = run(samplers, 2, first=2)
            for found, expected in zip(taken, want, strict=True):
                for name in set(ARRAYS) - {"version"}:
                    np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
            samplers.state = state  # also in the middle of its life
            again = run(samplers, 1, first=2)[0]
            np.testing.assert_array_equal(again["observation"], want[0]["observation"])


def test_per_sampler_scaling_depends_on_the_number_of_samplers():
    """Every seed is shared by both samplers: its first environment is scaled by the one, its second by the other."""
    scales = []
    for processes in (0, 2):
        with make(processes, per_sampler_scaling=True, environments=2, seeds=(3, 4, 5)) as samplers:
            first, second = run(samplers, 2)
            scales.append(second["scale"])
    one, two = (scale.reshape(3, 2, -1) for scale in scales)
    assert (one[:, 0] == one[:, 1]).all() and (two[:, 0] != two[:, 1]).any(-1).all()
    seen = first["observation"].reshape(len(first["observation"]), 3, 2, -1)
    np.testing.assert_allclose(two, 1.0 / (3.0 * (seen.std(0) + 0.1)))
    with pytest.raises(InputError, match="a multiple of the 2 samplers that scale by moments of their own, found 3"):
        make(2, per_sampler_scaling=True, environments=3)


def test_asynchronous_samplers_run_ahead_but_not_too_far():
    lags = []
    with make(2, mode="asynchronous", max_lag=2) as samplers:
        for iteration in range(12):
            samplers.broadcast(weights_of(samplers, iteration))
            rollout = samplers.collect()
            assert (rollout.version == iteration - rollout.lag).all()
            # the actions are those of the version that the rollout says
            weights = np.stack([weights_of(samplers, int(v)) for v in rollout.version])
            member = np.arange(6)
            zero = samplers.collection.policy.act(
                weights[:, member // 3][member, member], member, rollout.observation[7]
            )
            spread = np.exp(weights[member, member // 3, -1:])
            noise = (rollout.action[7] - zero) / spread
            assert np.abs(noise).max() < 5
            lags.append(rollout.lag.max())
            time.sleep(0.05)  # a slow learner: the samplers fill what room there is, and wait
    assert lags[0] == 0 and max(lags) == 2 and min(lags[4:]) >= 1


def test_an_asynchronous_state_is_that_of_the_next_iteration_to_be_read():
    with make(1, mode="asynchronous") as samplers:
        samplers.broadcast(weights_of(samplers))
        rollouts = [snapshot(samplers.collect())]
        state = samplers.state
        rollouts += [snapshot(samplers.collect()) for _ in range(3)]  # the same weights: exact again
    with make(2, mode="asynchronous") as samplers:
        samplers.state = state
        samplers.broadcast(weights_of(samplers))
        for expected in rollouts[1:]:
            np.testing.assert_array_equal(samplers.collect().observation, expected["observation"])


def test_processes_have_one_math_thread_and_tell_what_they_are():
    with make(2) as samplers:
        run(samplers, 1)
        for index, process in enumerate(workers()):
            assert {"OMP_NUM_THREADS", "NUMBA_NUM_THREADS"} <= {k for k, v in process.environ().items() if v == "1"}
            assert process.cmdline()[-2:] == ["Pendulum-v1", f"sampler {index}"]
            maps = {Path(entry.path).name for entry in process.memory_maps()}
            assert not any(name.startswith("libtorch") for name in maps)


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_a_killed_sampler_is_started_anew_and_the_iteration_redone(mode, capfd):
    def kill(iteration):
        if iteration in (1, 3):
            workers()[iteration // 2].kill()

    with make(0) as samplers:
        want = run(samplers, 6)
    with make(2, mode=mode) as samplers:
        taken = run(samplers, 4, before=kill)
        taken += run(samplers, 2, first=4)  # an asynchronous sampler had done the fourth already: seen only now
        assert len(workers()) == 2
    assert capfd.readouterr().err.count("killed by SIGKILL\nrestarting it") == 2
    if mode == "synchronous":
        for found, expected in zip(taken, want, strict=True):
            assert_same(found, expected)


def test_a_sampler_killed_in_the_middle_of_an_iteration(capfd):
    with make(0, task="SlowPendulum", steps=40) as samplers:
        want = run(samplers, 2)
    with make(2, task="SlowPendulum", steps=40) as samplers:
        taken = run(samplers, 1)
        samplers.broadcast(weights_of(samplers, 1), np.full((2, 3), 0.1), np.full((2, 3), 1.5))
        shoot = f"import os, time; time.sleep(0.06); os.kill({workers()[0].pid}, 9)"
        gun = subprocess.Popen([sys.executable, "-c", shoot])
        taken.append(snapshot(samplers.collect()))
        assert gun.wait(LIMIT) == 0
    assert_same(taken[0], want[0])
    assert_same(taken[1], want[1])
    assert "iteration 1: killed by SIGKILL" in capfd.readouterr().err


def test_a_sampler_that_fails_twice_stops_the_run_with_its_traceback_and_a_state_to_save(capfd):
    with make(2) as samplers:
        run(samplers, 1)
        state = samplers.state
        samplers.broadcast(np.full_like(weights_of(samplers), np.nan))
        with pytest.raises(
            SamplerDied, match=r"iteration 1: (?s:.*)Traceback(?s:.*)finite numbers, found nan(?s:.*)second"
        ):
            samplers.collect()
        for name, value in samplers.state.items():
            np.testing.assert_array_equal(value, state[name])
        with pytest.raises(SamplerDied):
            samplers.collect()
        samplers.state = state  # or go on, with better weights
        found = run(samplers, 1, first=1)[0]
    assert "Traceback" in capfd.readouterr().err
    with make(0) as samplers:
        want = run(samplers, 2)[1]
    np.testing.assert_array_equal(found["observation"], want["observation"])
    assert not workers()


def test_a_sampler_that_hangs_is_found_out(capfd):
    with make(2, patience=3.0) as samplers:
        run(samplers, 1)
        stopped = workers()[1]
        stopped.suspend()
        found = run(samplers, 1, first=1)[0]
        assert not stopped.is_running()
    assert "no response for 3 s" in capfd.readouterr().err
    with make(0) as samplers:
        np.testing.assert_array_equal(found["observation"], run(samplers, 2)[1]["observation"])


def test_an_exception_inside_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError), make(1) as samplers:
        samplers.broadcast(weights_of(samplers))
        samplers.collect()
        raise ZeroDivisionError
    assert not workers()


SCRIPT = """
    import signal
    import sys
    import numpy as np
    from septet.sampler.policy import GaussianPolicy
    from septet.sampler.samplers import Samplers

    policy = GaussianPolicy(3, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if a shell runs the tests in the background
    _, steps, mode = sys.argv
    plan = dict(seeds=[0], environments=2, steps=int(steps), processes=2, mode=mode)
    with Samplers("SlowPendulum", policy, **plan) as samplers:
        samplers.broadcast(np.zeros((1, policy.size), np.float32))
        while True:
            samplers.collect()
            print("collected", flush=True)
"""


@pytest.mark.parametrize(
    ("end", "steps", "mode"),
    [
        (signal.SIGKILL, 20, "synchronous"),
        (signal.SIGKILL, 100_000, "asynchronous"),
        (signal.SIGTERM, 20, "asynchronous"),
        (signal.SIGINT, 100_000, "synchronous"),
    ],
    ids=["killed between", "killed while they collect", "SIGTERM", "Ctrl-C while they collect"],
)
def test_no_process_and_no_memory_outlives_the_parent(end, steps, mode, tmp_path):
    (tmp_path / "learner.py").write_text(textwrap.dedent(SCRIPT))
    shared = set(Path("/dev/shm").iterdir())
    command = [sys.executable, str(tmp_path / "learner.py"), str(steps), mode]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        if steps == 20:
            assert parent.stdout.readline() == b"collected\n"
        else:
            until = time.monotonic() + LIMIT
            while sum(process.cpu_times().user for process in workers(parent.pid)) < 1.0:  # past their imports
                assert time.monotonic() < until
                time.sleep(0.05)
        below = psutil.Process(parent.pid).children(recursive=True)
        assert len(below) == 2
        if end == signal.SIGINT:
            os.killpg(parent.pid, end)  # Ctrl-C reaches the whole group
        else:
            parent.send_signal(end)
        until = time.monotonic() + 2.0  # a second, on a machine that does other things too
        while not all(map(ended, below)):
            assert time.monotonic() < until
            time.sleep(0.02)
        _, said = parent.communicate(timeout=LIMIT)
        assert (said.count(b"Traceback"), b"KeyboardInterrupt" in said) == (
            (1, True) if end == signal.SIGINT else (0, False)
        )
    finally:
        parent.kill()
        parent.wait()
    assert set(Path("/dev/shm").iterdir()) <= shared


def test_bad_arguments_are_told():
    for change, word in (
        ({"processes": 7}, "processes: expected at most one per environment, 6"),
        ({"processes": -1}, "processes"),
        ({"mode": "later"}, "mode"),
        ({"processes": 0, "mode": "asynchronous"}, "at least one process"),
        ({"sizes": (4, 1)}, "policy: expected 3 observations"),
        ({"task": "Nonesuch"}, "task"),
    ):
        with pytest.raises(InputError, match=word):
            make(**change)
    with make(1) as samplers:
        with pytest.raises(InputError, match="a broadcast before it"):
            samplers.collect()
        with pytest.raises(
            InputError, match=r"broadcast: weights: expected float32 of shape \(2, 42\), found float32 \(2, 3\)"
        ):
            samplers.broadcast(np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="closed"):
        samplers.broadcast(weights_of(samplers))
