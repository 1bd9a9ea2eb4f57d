"""Jobs killed at random moments end with the score table of the uninterrupted one, to the byte."""

import importlib.util
import os

import drill
import pytest


def survives(name, training, runs, processes):
    for _ in range(5):  # each kill may come before the first state or after the end
        seed = int.from_bytes(os.urandom(2))  # random moments: other ones each time
        result = drill.drill(name, training, runs, seed, processes)
        print(f"seed {seed}\n{drill.table([result])}")
        assert not result.faults, "\n".join(result.faults)
        assert result.equal == result.runs == runs
        if result.kills.total() >= runs // 2 and result.resumed:
            return
    pytest.fail("no run was killed and went on from a state")


@pytest.mark.parametrize("name", drill.TRAININGS)
def test_two_runs_of_each_training_verb(name):
    survives(name, drill.TRAININGS[name], 2, processes=False)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [*drill.TRAININGS, *drill.MORE])
def test_twenty_runs_of_each_training_verb(name, need):
    if "peer" in name:
        need(importlib.util.find_spec("stable_baselines3") is not None, "stable-baselines3 (make setup-dev)")
    survives(name, {**drill.TRAININGS, **drill.MORE}[name], 20, processes=True)
