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
        of_task = {name: value for name, value in settings.items() if name in Task.model_fields}
        of_job = {name: value for name, value in settings.items() if name in Common.model_fields}
        rest = {name: value for name, value in settings.items() if name not in of_task | of_job}
        name = type(self).__name__.lower()
        job = {
            "method": {"algorithm": self.method, "name": name, **rest},
            "task": {"name": environment, "environment": environment, **of_task},
            "seeds": seeds,
            **of_job,
        }
        return build(validate(Job, job, type(self).__name__))


class SVRPG(SVRPO):
    """SVRPG (Papini et al. 2018); settings: those of `septet.svrpo.config.SVRPG` in place of `InnerLoop`."""

    method = "svrpg"


class SRVRPG(SVRPO):
    """SRVR-PG (Xu, Gao and Gu 2020); settings: those of `septet.svrpo.config.SRVRPG` in place of `InnerLoop`."""

    method = "srvrpg"
