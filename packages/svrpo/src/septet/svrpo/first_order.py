"""SVRPG and SRVR-PG on one task, for all seeds: new trajectories at every step, Adam, no trust region.

Seeds stay in lockstep although their epochs have lengths of their own: every seed collects B trajectories at a time,
and a snapshot is N / B such collections with the same policy.
"""

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.errors import InputError
from septet.nonfinite import check_finite
from septet.rl.lockstep import own
from septet.rl.loop import Iteration
from septet.svrpo import trajectories
from septet.svrpo.config import SRVRPG, SVRPG, Job
from septet.svrpo.experience import Collecting, Experience, sizes_of
from septet.svrpo.svrpo import control_variate

Array = NDArray[np.float64]


class RowAdam:
    """Adam (Kingma and Ba 2015, algorithm 1) whose rows step one by one, each with its own count."""

    checkpointed = ("mean", "square", "count")

    def __init__(self, like: Tensor, rate: float) -> None:
        self.rate = rate
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)
        self.count = np.zeros(len(like), np.int64)

    def step(self, row: int, gradient: Tensor) -> Tensor:
        """The ascent step (P,) of one row."""
        self.count[row] += 1
        t = int(self.count[row])
        self.mean[row].lerp_(gradient, 0.1)
        self.square[row].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (self.square[row] / (1.0 - 0.999**t)).sqrt_().add_(1e-8)
        return self.mean[row].mul(self.rate / (1.0 - 0.9**t)).div_(scale)


EARLY_ENDS = ("Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5",
              "ContinuousCartPole")  # fmt: skip
"""Tasks whose episodes can end before the time limit. Of tasks that walle does not have, it shows when one does."""


class FirstOrderLearner(Collecting):
    """SVRPG or SRVR-PG on one task; see `septet.rl.loop.Learner`.

    Raises:
        InputError: a task whose iteration is not a whole number of collections, or whose episodes end early.
    """

    checkpointed = (
        *Collecting.checkpointed, "reference", "base", "total", "gathered", "inner", "snapshot_rate", "adams",
    )  # fmt: skip

    def __init__(self, job: Job, method: SVRPG | SRVRPG) -> None:
        self.job, self.method = job, method
        if job.simulation.environment in EARLY_ENDS:
            raise self._fell(job.simulation.environment)
        *_, time_limit = sizes_of(job)
        tick = method.trajectories * time_limit
        if job.simulation.batch_size % tick:
            where = f"task {job.task.name}: batch_size"
            raise InputError(where, expected=f"a multiple of {tick} for {method.name}", found=job.simulation.batch_size)
        self.ticks = job.simulation.batch_size // tick
        super().__init__(job, method.trajectories, time_limit)
        seeds = len(job.seeds)
        self.reference = self.w.clone()  # theta~ of SVRPG, theta_{t-1} of SRVR-PG
        self.base = torch.zeros_like(self.w)  # g_N(theta~) of SVRPG, v_{t-1} of SRVR-PG
        self.total = torch.zeros_like(self.w)  # of the snapshot that is being collected
        self.gathered = np.zeros(seeds, np.int64)  # collections of that snapshot
        self.inner = np.full(seeds, -1)  # inner steps of the running epoch; -1 while a snapshot is collected
        self.snapshot_rate = np.zeros(seeds)
        self.adams = {name: RowAdam(self.w, method.learning_rate) for name in ("snapshot", "inner")}

    def iterate(self, iteration: int) -> Iteration:
        """Collect N steps per seed, B trajectories at a time. Raises NotFinite when a tensor is no number."""
        seeds, seconds = self.job.seeds, {"collect": 0.0, "learn": 0.0}
        sums = {name: np.zeros(len(seeds)) for name in ("return", "gradient_norm", "inner_steps", "weight_spread")}
        for _ in range(self.ticks):
            start = time.perf_counter()
            experience = self.collect()
            collected = time.perf_counter()
            check_finite("advantage", experience.advantage, iteration, seeds)
            if experience.terminated:
                raise self._fell("one that ended early")
            sums["return"] += experience.episode_return
            for s in range(len(seeds)):
                sums["inner_steps"][s] += self.inner[s] >= 0
                norm, spread = self.learn(s, experience)
                sums["gradient_norm"][s] += norm
                sums["weight_spread"][s] += spread
            check_finite("parameters", self.w.numpy(), iteration, seeds)
            seconds["collect"] += collected - start
            seconds["learn"] += time.perf_counter() - collected
        scores = {name: total / (1 if name == "inner_steps" else self.ticks) for name, total in sums.items()}
        return Iteration(np.full(len(seeds), float(self.job.simulation.batch_size)), scores, seconds)

    def _fell(self, found: str) -> InputError:
        where = f"task {self.job.task.name} with {self.method.name}"
        return InputError(where, expected="episodes that end at the time limit only", found=found)

    def learn(self, s: int, experience: Experience) -> tuple[float, float]:
        """Use one seed's B trajectories; the length of the gradient, and the spread of the log-weights."""
        observation, action = own(experience.observation, s)[0], own(experience.action, s)[0]
        reward, gamma = experience.reward[s], self.job.simulation.gamma
        value = experience.prediction[s].reshape(reward.shape)
        w = self.w[s].clone()
        factor = trajectories.coefficients(reward, value, gamma)
        at_w = trajectories.gradient(self.network, w, observation, action, factor)
        if self.inner[s] < 0:
            self.total[s] += at_w
            self.gathered[s] += 1
            if self.gathered[s] == self.method.snapshot // self.method.trajectories:
                self._begin_epoch(s, self.total[s] / int(self.gathered[s]))
            return float(at_w.norm()), 0.0
        reference = self.reference[s].clone()
        log_weight = trajectories.log_weights(self.network, reference, w, observation, action, self.steps)
        factor = trajectories.coefficients(reward, value, gamma, np.exp(log_weight))
        weighted = trajectories.gradient(self.network, reference, observation, action, factor)
        v = control_variate(at_w, weighted, self.base[s])
        step = self.adams["inner"].step(s, v)
        if isinstance(self.method, SRVRPG):
            self.reference[s], self.base[s] = w, v
        self.w[s] += step
        self.inner[s] += 1
        if self._epoch_ends(s, float(step.norm() / (v.norm() + 1e-12))):
            self.inner[s] = -1
        return float(v.norm()), float(log_weight[:, -1].std())

    def _begin_epoch(self, s: int, full: Tensor) -> None:
        """The first step of an epoch goes along the snapshot's gradient."""
        self.reference[s], self.base[s] = self.w[s], full
        step = self.adams["snapshot"].step(s, full)
        self.snapshot_rate[s] = float(step.norm() / (full.norm() + 1e-12))
        self.w[s] += step
        self.total[s], self.gathered[s], self.inner[s] = 0.0, 0, 0

    def _epoch_ends(self, s: int, rate: float) -> bool:
        method = self.method
        if isinstance(method, SRVRPG):
            return bool(self.inner[s] >= method.epoch)
        ends = epoch_ends(self.snapshot_rate[s], rate, method.snapshot, method.trajectories)
        return ends or bool(self.inner[s] >= method.longest_epoch)

    def final_scores(self) -> dict[str, Array]:
        """None: these methods have no inner positions in common."""
        return {}


def epoch_ends(snapshot_rate: float, inner_rate: float, snapshot: int, trajectories: int) -> bool:
    """Whether a new snapshot brings more per trajectory than another inner step: a_FG / N > a_SI / B.

    Papini et al. 2018, section 5.2.

    Args:
        snapshot_rate: a_FG, length of the snapshot's step per length of its gradient.
        inner_rate: a_SI, the same of the last inner step.
        snapshot: N.
        trajectories: B.
    """
    return snapshot_rate / snapshot > inner_rate / trajectories
