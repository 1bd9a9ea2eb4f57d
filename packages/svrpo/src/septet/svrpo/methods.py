"""The paper's method with the calls of Stable-Baselines3; see `septet.rl.methods`."""

from collections.abc import Mapping
from typing import Any

from septet.config import validate
from septet.rl.methods import Method
from septet.svrpo.config import Common, Job, Task
from septet.svrpo.train import build


class SVRPO(Method):
    """Variance-reduced Newton steps inside a KL budget.

    Settings: `septet.svrpo.config`, those of `InnerLoop`, of `Task` and of `Common`. Episodes need a time limit, and
    the bounds of actions have to be finite.
    """

    method = "inner_loop"

    def _learner(self, environment: str, seeds: list[int], settings: Mapping[str, Any]) -> Any:
        given, name = dict(settings), type(self).__name__
        of_task = {key: given.pop(key) for key in Task.model_fields if key in given}
        of_job = {key: given.pop(key) for key in Common.model_fields if key in given}
        job = {
            "method": {"algorithm": self.method, "name": name.lower(), **given},
            "task": {"name": environment, "environment": environment, **of_task},
            "seeds": seeds,
            **of_job,
        }
        return build(validate(Job, job, name))


class SVRPG(SVRPO):
    """SVRPG (Papini et al. 2018); settings: those of `septet.svrpo.config.SVRPG` in place of `InnerLoop`."""

    method = "svrpg"


class SRVRPG(SVRPO):
    """SRVR-PG (Xu, Gao and Gu 2020); settings: those of `septet.svrpo.config.SRVRPG` in place of `InnerLoop`."""

    method = "srvrpg"
