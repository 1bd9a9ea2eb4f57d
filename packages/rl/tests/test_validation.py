"""The peers of the validation: same metric, resume by replay, settings that the peer lacks."""

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from septet.config import validate
from septet.errors import InputError
from septet.rl.config import Job
from septet.rl.validation import PeerLearner
from septet.state import load_state_dict, state_dict

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

torch.set_num_threads(1)

METHODS: dict[str, dict[str, Any]] = {
    "ppo": {"steps": 250, "minibatch_size": 50, "epochs": 2},
    "trpo": {"steps": 250, "value_minibatch_size": 50, "value_epochs": 2, "divergence_per_action": True},
    "ddpg": {"hidden": [16, 16], "batch_size": 16, "learning_starts": 600, "report": 250, "noise": "gaussian"},
}


def job(algorithm: str, **more: Any) -> Job:
    method = {"algorithm": algorithm, "implementation": "stable_baselines3", **METHODS[algorithm], **more}
    task = {"environment": "Pendulum-v1"}
    return validate(Job, {"paper": "rl", "method": method, "task": task, "seeds": [1, 2], "steps": 750}, "job")


@pytest.mark.parametrize("algorithm", list(METHODS))
def test_a_peer_reports_windows_and_resumes(algorithm: str) -> None:
    whole, first, second = (PeerLearner(job(algorithm)) for _ in range(3))
    assert whole.job.method.label == f"{algorithm}/sb3"
    assert whole.iterations == 3
    expected = [whole.iterate(k) for k in range(3)]
    np.testing.assert_array_equal([one.scores["episodes"] for one in expected], [[1, 1]] * 3)  # of 200 steps
    assert all((one.steps == 250).all() for one in expected)
    assert all((one.scores["return"] < -100).all() for one in expected)
    first.iterate(0)
    load_state_dict(second, state_dict(first))
    for k in (1, 2):
        np.testing.assert_array_equal(second.iterate(k).scores["return"], expected[k].scores["return"])


def test_several_environments_give_the_episodes_of_each() -> None:
    settings = {**job("ppo").model_dump(), "environments": 2}
    scores = PeerLearner(Job.model_validate(settings)).iterate(0).scores
    np.testing.assert_array_equal(scores["episodes"], [2, 2])


def test_settings_that_the_peer_lacks_are_refused() -> None:
    for algorithm, setting, name in (
        ("ddpg", {"noise": "parameter"}, "noise"),
        ("ddpg", {"critic_learning_rate": 1e-4}, "critic_learning_rate"),
        ("trpo", {"divergence_per_action": False}, "divergence_per_action"),
        ("ppo", {"normalise_observations": True}, "normalise_observations"),
    ):
        with pytest.raises(InputError, match=f"method.{name}"):
            PeerLearner(job(algorithm, **setting))


@pytest.mark.parametrize(
    ("algorithm", "changes", "says"),
    [
        ("ddpg", {"environments": 2}, "environments: expected 1"),
        ("ppo", {"samplers": 2}, "samplers: expected 0"),
        ("ppo", {"task": {"environment": "Pendulum-v1", "actions": "scale"}}, "task.actions: expected clip"),
        ("ppo", {"task": {"environment": "ContinuousCartPole"}}, "an id that Gymnasium knows"),
        ("ddpg", {"task": {"environment": "CartPole-v1"}}, "expected a job for the peer, found .*action space"),
    ],
)
def test_a_job_that_the_peer_cannot_do_is_refused(algorithm: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=f"job: .*{says}"):
        PeerLearner(Job.model_validate({**job(algorithm).model_dump(), **changes}))


def test_an_absent_peer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="make setup-dev"):
        PeerLearner(job("ppo"))
