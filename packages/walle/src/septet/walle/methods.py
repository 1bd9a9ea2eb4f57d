"""The paper's method with the calls of Stable-Baselines3; see `septet.rl.methods`."""

from collections.abc import Callable
from typing import Any, ClassVar

from septet.rl.methods import OfAJob
from septet.walle.config import Job
from septet.walle.ppo_kl import PPOKLLearner


class PPOKL(OfAJob):
    """PPO with an adaptive KL penalty, on whole episodes; settings: `septet.walle.config.PPOKL`."""

    algorithm = "ppo_kl"
    job = Job
    build: ClassVar[Callable[[Any], Any]] = staticmethod(PPOKLLearner)
