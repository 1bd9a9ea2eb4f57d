"""The paper's methods with the calls of Stable-Baselines3; see `septet.rl.methods`.

`predict` and `save` have the policy at the centre of the posterior.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from septet.config import validate
from septet.errors import InputError
from septet.rl.methods import OPEN, Method
from septet.vipg.agent import Agent
from septet.vipg.config import Common, Environment, Job


class _Variational(Method):
    algorithm: ClassVar[str]

    def _learner(self, environment: str, seeds: list[int], settings: Mapping[str, Any]) -> Any:
        given = dict(settings)
        alpha = given.pop("alpha", 0.0)
        given.pop("environments", None)  # of a vector environment: an iteration has `episodes`
        of_task = {name: given.pop(name) for name in Environment.model_fields if name in given}
        of_job = {name: given.pop(name) for name in Common.model_fields if name in given}
        name = type(self).__name__
        if alpha and not {"return_low", "return_high"} <= of_task.keys():
            expected = "return_low and return_high, the range of returns that is the unit of alpha"
            raise InputError(f"{name}: alpha", expected=expected, found=", ".join(of_task) or "neither")
        task = {"return_low": 0.0, "return_high": 1.0, "iterations": OPEN, **of_task}
        job = {
            "method": {"algorithm": self.algorithm, "name": name.lower(), "alphas": [alpha], **given},
            "task": {"kind": "environment", "name": environment, "environment": environment, **task},
            "seeds": seeds,
            **of_job,
        }
        return Agent(validate(Job, job, name))


class VVPG(_Variational):
    """V-VPG; settings: `septet.vipg.config`, those of `VPG`, `Environment` and `Common`, and `alpha` for `alphas`."""

    algorithm = "vpg"


class VTRPO(_Variational):
    """V-TRPO; settings: as of V-VPG, with those of `septet.vipg.config.TRPO`."""

    algorithm = "trpo"


class VPPO(_Variational):
    """V-PPO; settings: as of V-VPG, with those of `septet.vipg.config.PPO`."""

    algorithm = "ppo"
