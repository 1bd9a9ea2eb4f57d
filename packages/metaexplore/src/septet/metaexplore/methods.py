"""The paper's method with the calls of Stable-Baselines3; see `septet.rl.methods`."""

from collections.abc import Mapping
from typing import Any

from septet.config import validate
from septet.metaexplore.config import Method as Settings
from septet.metaexplore.config import Task
from septet.metaexplore.train import Learner, first_evaluation
from septet.rl.methods import OPEN, Method


class MetaExplore(Method):
    """DDPG whose explorer learns from how much the student learns; settings: `septet.metaexplore.config.Method`.

    `predict` gives the student's actions. Actions need finite bounds, and episodes a time limit.
    """

    def _learner(self, environment: str, seeds: list[int], settings: Mapping[str, Any]) -> Any:
        given, name = dict(settings), type(self).__name__
        root = given.pop("root_seed", 2018)
        given.pop("environments", None)  # of a vector environment: the method says how many it needs
        method = validate(Settings, {"buffer_size": 1_000_000, **given}, name)
        learner = Learner(method, Task(environment=environment, steps=OPEN), seeds, root)
        if method.teaches:
            first_evaluation(learner)
        return learner
