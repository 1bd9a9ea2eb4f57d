r"""The author's precursor: the variational family is over actions, :math:`a = m(s) + \sigma(s)\,\xi` (section 2.5).

A mean net and a std net with weights of their own; the log-determinant is :math:`\sum_j\log\sigma_j(s)`. Both nets
take ordinary policy gradients, the std net with alpha times the mean of the log-determinant. Updates in turn, by
mini-batches or with one trust region each.
"""

import math
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet import sampler
from septet.nonfinite import check_finite
from septet.rl.loop import Iteration
from septet.rl.networks import Network, initial, orthogonal
from septet.rl.trust_region import conjugate_gradient, kl_hessian_product, line_search, step_length
from septet.sampler.batch import scaling
from septet.sampler.nonfinite import check, check_step
from septet.sampler.policy import GaussianPolicy
from septet.seeding import stream
from septet.vipg import baseline, experience, sparse
from septet.vipg.agent import EVALUATION_ROOT
from septet.vipg.config import ActionSpace, Environment, Job

Array = NDArray[np.float64]
LOG_STD_BOUNDS = (-4.0, 1.0)
HESSIAN_SHARE = 0.1  # of the samples (section 2.5)
DAMPING = 0.1


def log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """Log-density (R, n) of actions (R, n, A), both moments by state, without the constant."""
    return (-0.5 * ((action - mean) * (-log_std).exp()).square() - log_std).sum(2)


def divergence(old: tuple[Tensor, Tensor], mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(old || new) (R, n) of Gaussians given by state."""
    spread = (2.0 * old[1]).exp() + (old[0] - mean).square()
    return (log_std - old[1] + 0.5 * spread * (-2.0 * log_std).exp() - 0.5).sum(2)


def bounded(log_std: Tensor) -> Tensor:
    """Log-scales within bounds, so that the map stays invertible."""
    return log_std.clamp(*LOG_STD_BOUNDS)


class Precursor:
    """Mean and std nets on a task, one row per alpha and seed; see `septet.vipg.agent.Agent` for the interface."""

    def __init__(self, job: Job) -> None:
        method, task = job.method, job.task
        assert isinstance(method, ActionSpace) and isinstance(task, Environment)
        sparse.register()
        self.job, self.method, self.task = job, method, task
        self.seeds = [seed for _ in method.alphas for seed in job.seeds]
        self.rows, self.iterations = len(self.seeds), task.iterations
        self.batch = self._make(task.episodes, job.root_seed)
        low, high = self.batch.action_low, self.batch.action_high
        self.stretch: Any = (0.0, 1.0) if task.actions == "clip" else scaling(task.environment, low, high)
        self.evaluator = self._make(job.evaluation_episodes, job.root_seed + EVALUATION_ROOT)
        self._start = self.evaluator.state
        self.policy = GaussianPolicy(self.batch.observation_size, self.batch.action_size, task.hidden)
        self.network = Network(self.policy.sizes, free=self.policy.sizes[-1])
        draw = orthogonal([*[math.sqrt(2.0)] * len(task.hidden), 0.01])
        nets = [initial(self.network, job.root_seed, (name,), self.seeds, draw) for name in ("policy", "std")]
        # the free parameters are not used; the last layer's bias starts the std net at action_std
        self.network.split(nets[1])[0][-1][1].fill_(math.log(method.action_std))
        self.mean, self.std = nets
        self.baseline = np.zeros((self.rows, 2 * self.policy.observation_size + 4))
        self.alpha = torch.tensor(np.repeat(method.alphas, len(job.seeds))).float()

    def _make(self, episodes: int, root: int) -> Any:
        return sampler.make(
            self.task.environment,
            seeds=self.seeds,
            environments=episodes,
            root=root,
            threads=self.job.threads,
            **self.task.options,
        )

    def roll(self, batch: Any, noise: Array, where: str) -> dict[str, NDArray[Any]]:
        """One whole episode of each environment; arrays (T, E, ...) with `valid`.

        Args:
            where: of the run, for the message about a value that is not finite.
        """
        size, act = batch.size, self.policy
        member = np.arange(size) // (size // self.rows)
        observation = batch.reset()
        check("observation", observation, self.seeds, f"{where}, step 0")
        low, high = np.asarray(batch.action_low), np.asarray(batch.action_high)
        middle, half = self.stretch
        active = np.ones(size, bool)
        kept: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("observation", "action", "reward", "terminated", "truncated", "valid")
        }
        mean, std = self.mean.numpy(), self.std.numpy()
        for t in range(batch.time_limit):
            m = act.act(mean, member, observation)
            s = np.clip(act.act(std, member, observation), *LOG_STD_BOUNDS)
            action = (m + np.exp(s) * noise[t]).astype(np.float32)
            control = action if self.task.actions == "clip" else middle + half * action
            step = batch.step(np.clip(control, low, high), active)
            check_step(step, self.seeds, f"{where}, step {t + 1}")
            found = (observation, action, step.reward, step.terminated & active, step.truncated & active, active)
            for name, value in zip(kept, found, strict=True):
                kept[name].append(value.copy())
            active = active & ~(step.terminated | step.truncated)
            observation = step.observation
            if not active.any():
                break
        return {name: np.stack(values) for name, values in kept.items()}

    def noise(self, iteration: int) -> Array:
        """Standard normal noise (T, E, A) of an iteration."""
        count = self.task.episodes
        shape = (self.batch.time_limit, self.policy.action_size)
        each = [
            stream(self.job.root_seed, "act", self.task.environment, seed, b, iteration).standard_normal(shape)
            for seed in self.seeds
            for b in range(count)
        ]
        return np.stack(each, axis=1)

    def iterate(self, iteration: int) -> Iteration:
        """Run the episodes, then update mean and std net in turn."""
        start = time.perf_counter()
        found = self.roll(self.batch, self.noise(iteration), f"iteration {iteration}")
        collected = time.perf_counter()
        valid, reward = found["valid"], found["reward"]
        x = baseline.features(found["observation"])
        advantage, target = experience.advantages_of(
            reward, found["terminated"] | found["truncated"], found["truncated"], valid, x, self.baseline,
            self.task.gamma, self.method.gae_lambda,
        )  # fmt: skip
        self.baseline = baseline.fit(x, target, valid, self.rows)
        parts = [
            experience.gather(a, valid, self.rows) for a in (found["observation"], found["action"], advantage, valid)
        ]
        batch = experience.Batch(*(torch.from_numpy(part) for part in parts))
        self.update(batch, experience.standardised(batch, self.rows), iteration)
        for name, values in (("mean", self.mean), ("std", self.std)):
            check_finite(f"the {name} net", values.numpy(), iteration, self.seeds)
        learned = time.perf_counter()
        total = reward.sum(axis=0).reshape(self.rows, -1)
        with torch.no_grad():
            spread = (bounded(self.network(self.std, batch.observation)).mean(2) * batch.valid).sum(
                1
            ) / batch.valid.sum(1)
        average = total.mean(axis=1)
        scores = {
            "return": average,
            "score": self.score(average),
            "return_std": total.std(axis=1),
            "action_std": spread.exp().double().numpy(),
        }
        if (iteration + 1) % self.job.evaluate_every == 0 or iteration + 1 == self.iterations:
            centre = self.evaluate()
            scores["mean_policy_return"], scores["mean_policy_score"] = centre, self.score(centre)
        steps = valid.sum(axis=0).reshape(self.rows, -1).sum(axis=1).astype(np.float64)
        seconds = {
            "collect": collected - start,
            "learn": learned - collected,
            "evaluate": time.perf_counter() - learned,
        }
        return Iteration(steps, scores, seconds)

    def update(self, batch: experience.Batch, advantage: Tensor, iteration: int) -> None:
        """Mean and std net in turn: mini-batch steps, or a trust region each."""
        if self.method.update == "trust_region":
            self.mean = self.trusted(batch, advantage, "mean")
            self.std = self.trusted(batch, advantage, "std")
            return
        rngs = [stream(self.job.root_seed, "precursor", seed, iteration) for seed in self.seeds]
        lengths = batch.valid.sum(1).long().tolist()
        row = torch.arange(self.rows).unsqueeze(1)
        for _ in range(self.method.batches):
            drawn = [rng.integers(0, length, self.method.batch) for rng, length in zip(rngs, lengths, strict=True)]
            some = torch.from_numpy(np.stack(drawn))
            part = experience.Batch(*(each[row, some] for each in batch))
            for which in ("mean", "std"):
                leaf = getattr(self, which).detach().requires_grad_()
                merit = self.merit(leaf, which, part, advantage[row, some], None)[0]
                (slope,) = torch.autograd.grad(merit.sum(), leaf)
                setattr(self, which, (leaf + self.method.rate * slope).detach())

    def merit(
        self, flat: Tensor, which: str, batch: experience.Batch, advantage: Tensor, old: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Objective (R,) of one of the nets, the other held: surrogate, plus alpha mean log sigma for the std net.

        With `old` the ratio to it, else the log-probability (both have the same gradient at the old policy); and
        the mean divergence from `old`.
        """
        mean = self.network(flat if which == "mean" else self.mean, batch.observation)
        log_std = bounded(self.network(flat if which == "std" else self.std, batch.observation))
        count = batch.valid.sum(1).clamp_min(1.0)
        new = log_prob(mean, log_std, batch.action)
        weight, far = new, torch.zeros(())
        if old is not None:
            weight = (new - log_prob(*old, batch.action)).exp()
            far = (divergence(old, mean, log_std) * batch.valid).sum(1) / count
        value = (weight * advantage * batch.valid).sum(1) / count
        if which == "std":
            value = value + self.alpha * (log_std.mean(2) * batch.valid).sum(1) / count
        return value, far

    def trusted(self, batch: experience.Batch, advantage: Tensor, which: str) -> Tensor:
        """One of the two trust-region steps; the line search looks at the surrogate with the entropy."""
        flat: Tensor = getattr(self, which)
        with torch.no_grad():
            old = self.network(self.mean, batch.observation), bounded(self.network(self.std, batch.observation))
        leaf = flat.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.merit(leaf, which, batch, advantage, old)[0].sum(), leaf)
        stride = slice(None, None, round(1.0 / HESSIAN_SHARE))
        some = experience.Batch(*(each[:, stride] for each in batch))
        few = old[0][:, stride], old[1][:, stride]
        product = kl_hessian_product(
            lambda w: self.merit(w, which, some, advantage[:, stride], few)[1], flat, damping=DAMPING
        )
        s = conjugate_gradient(product, slope, self.method.cg_steps)
        full = step_length(s, product(s), self.method.target_kl).unsqueeze(1) * s

        def evaluate(candidate: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            whole = flat.clone()
            whole[rows] = candidate
            with torch.no_grad():
                value, far = self.merit(whole, which, batch, advantage, old)
            return -value[rows], far[rows]

        with torch.no_grad():
            base = -self.merit(flat, which, batch, advantage, old)[0]
        return line_search(evaluate, flat, full, base, self.method.target_kl, 0.5, self.method.trials)[0].detach()

    def score(self, total: Array) -> Array:
        """Returns on the task's scale from 0 to 1."""
        return (total - self.task.return_low) / self.task.range

    def evaluate(self) -> Array:
        """Mean return (R,) of the mean net's actions."""
        shape = (self.evaluator.time_limit, self.evaluator.size, self.policy.action_size)
        self.evaluator.state = self._start
        found = self.roll(self.evaluator, np.zeros(shape), "evaluation")
        return np.asarray(found["reward"].sum(axis=0).reshape(self.rows, -1).mean(axis=1))

    def sampled(self) -> tuple[Array, Array] | None:
        """There is one policy only."""
        return None

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that the next iteration depends on."""
        own = {"mean": self.mean.numpy().copy(), "std": self.std.numpy().copy(), "baseline": self.baseline}
        return {**own, **{f"batch/{name}": value for name, value in self.batch.state.items()}}

    @state.setter
    def state(self, saved: dict[str, NDArray[Any]]) -> None:
        self.mean, self.std = (torch.from_numpy(np.array(saved[name])) for name in ("mean", "std"))
        self.baseline = np.array(saved["baseline"])
        self.batch.state = {k.removeprefix("batch/"): v for k, v in saved.items() if k.startswith("batch/")}

    def close(self) -> None:
        """Let go of the environments."""
        self.batch.close()
        self.evaluator.close()
