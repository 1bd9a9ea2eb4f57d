r"""The author's earlier method: a variational family over actions, :math:`a = m(s) + \sigma(s)\,\xi` (section 2.5).

A mean net and a std net with weights of their own; the log-determinant is :math:`\sum_j\log\sigma_j(s)`. Both nets
take ordinary policy gradients, the std net with alpha times the mean of the log-determinant. Updates in turn, by
mini-batches or with one trust region each.
"""

import math
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet import sampler
from septet.nonfinite import check_finite
from septet.rl.lockstep import own
from septet.rl.loop import Iteration
from septet.rl.networks import Network, initial, orthogonal
from septet.rl.policies import LOG_STD_BOUNDS, Policy, Shape
from septet.rl.trust_region import conjugate_gradient, kl_hessian_product, line_search, step_length
from septet.sampler.batch import scaling
from septet.sampler.nonfinite import check, check_step
from septet.sampler.policy import GaussianPolicy
from septet.seeding import stream
from septet.vipg import baseline, environments, experience
from septet.vipg.agent import EVALUATION_ROOT, Rows
from septet.vipg.config import ActionSpace, Job
from septet.vipg.experience import Batch

Array = NDArray[np.float64]
HESSIAN_SHARE = 0.1  # of the samples (section 2.5)
DAMPING = 0.1


class Nets(NamedTuple):
    """Weights (R, P) of the mean net and of the std net; both have the same layers."""

    mean: Tensor
    std: Tensor


class Gaussians(NamedTuple):
    """Distributions of actions by state: mean and log sigma, (R, n, A) each."""

    mean: Tensor
    log_std: Tensor

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-density (R, n) of actions (R, n, A), without the constant."""
        return (-0.5 * ((action - self.mean) * (-self.log_std).exp()).square() - self.log_std).sum(2)

    def kl(self, new: "Gaussians") -> Tensor:
        """KL(self || new), (R, n)."""
        spread = (2.0 * self.log_std).exp() + (self.mean - new.mean).square()
        return (new.log_std - self.log_std + 0.5 * spread * (-2.0 * new.log_std).exp() - 0.5).sum(2)


def policy(network: Network, nets: Nets, observation: Tensor) -> Gaussians:
    """The policy at observations (R, n, o); log-scales within bounds, so that the map stays invertible."""
    return Gaussians(network(nets.mean, observation), network(nets.std, observation).clamp(*LOG_STD_BOUNDS))


class Update(NamedTuple):
    """What both kinds of update take: the samples of R policies, one for each row."""

    network: Network
    batch: Batch
    """(R, n, ...)."""
    advantage: Tensor
    """Standardised over each row, (R, n)."""
    alpha: Tensor
    """Weight of the mean of log sigma, (R,)."""

    def some(self, *index: Any) -> "Update":
        """The same with the samples at an index of (R, n)."""
        return self._replace(batch=Batch(*(x[index] for x in self.batch)), advantage=self.advantage[index])

    def average(self, values: Tensor, weight: Tensor | float = 1.0) -> Tensor:
        """Mean (R,) of values (R, n) over the samples, times a weight of each row."""
        return weight * (values * self.batch.valid).sum(1) / self.batch.valid.sum(1).clamp_min(1.0)

    def objective(self, nets: Nets, which: str, old: Gaussians | None = None) -> tuple[Tensor, Tensor]:
        """What one of the nets climbs, the other held, and the mean KL divergence from `old`; (R,) each.

        The surrogate of the return, with the ratio to `old` or the log-probability, which have the same gradient at
        the old policy; for the std net plus alpha times the mean of log sigma.
        """
        new = policy(self.network, nets, self.batch.observation)
        weight, far = new.log_prob(self.batch.action), torch.zeros(())
        if old is not None:
            weight, far = (weight - old.log_prob(self.batch.action)).exp(), self.average(old.kl(new))
        value = self.average(weight * self.advantage)
        if which == "std":
            value = value + self.average(new.log_std.mean(2), self.alpha)
        return value, far


def gradient_steps(update: Update, nets: Nets, method: ActionSpace, rng: np.random.Generator) -> Nets:
    """Mini-batches, on each a gradient step of the mean net, then of the std net (section 2.5)."""
    length = int(update.batch.valid.sum())
    for _ in range(method.minibatches):
        part = update.some(slice(None), torch.from_numpy(rng.integers(0, length, method.minibatch_size)))
        for which in Nets._fields:
            leaf = getattr(nets, which).detach().requires_grad_()
            value, _ = part.objective(nets._replace(**{which: leaf}), which)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
            if method.max_grad_norm is not None:
                slope = slope * (method.max_grad_norm / slope.norm(dim=1, keepdim=True)).clamp(max=1.0)
            nets = nets._replace(**{which: (leaf + method.learning_rate * slope).detach()})
    return nets


def trust_region_step(update: Update, nets: Nets, method: ActionSpace, which: str) -> Nets:
    """A trust region for one of the nets; the line search looks at the surrogate with the entropy (section 2.5)."""
    flat: Tensor = getattr(nets, which)
    with torch.no_grad():
        old = policy(update.network, nets, update.batch.observation)

    def at(flat: Tensor, part: Update = update, old: Gaussians = old) -> tuple[Tensor, Tensor]:
        return part.objective(nets._replace(**{which: flat}), which, old)

    leaf = flat.detach().requires_grad_()
    (slope,) = torch.autograd.grad(at(leaf)[0].sum(), leaf)
    columns = slice(None), slice(None, None, round(1.0 / HESSIAN_SHARE))
    part, few = update.some(*columns), Gaussians(*(x[columns] for x in old))
    product = kl_hessian_product(lambda w: at(w, part, few)[1], flat, damping=DAMPING)
    s = conjugate_gradient(product, slope, method.cg_steps)
    full = step_length(s, product(s), method.target_kl).unsqueeze(1) * s

    def evaluate(candidate: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        whole = flat.clone()
        whole[rows] = candidate
        with torch.no_grad():
            value, far = at(whole)
        return -value[rows], far[rows]

    with torch.no_grad():
        base = -at(flat)[0]
    found = line_search(evaluate, flat, full, base, method.target_kl, 0.5, method.line_search_steps)[0].detach()
    return nets._replace(**{which: found})


class ActionSpaceAgent(Rows):
    """Mean and std nets on a task, a row per alpha and seed."""

    checkpointed = ("nets", "baseline", "batch")

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        method, task = job.method, self.task
        assert isinstance(method, ActionSpace)
        environments.register()
        self.method = method
        self.batch = self._environments(task.episodes, job.root_seed)
        self.evaluator = self._environments(job.evaluation_episodes, job.root_seed + EVALUATION_ROOT)
        self._start = self.evaluator.state
        low, high = self.batch.action_low, self.batch.action_high
        self._stretch: Any = (0.0, 1.0) if task.actions == "clip" else scaling(task.environment, low, high)
        self.policy = GaussianPolicy(self.batch.observation_size, self.batch.action_size, task.hidden)
        self.network = Network(self.policy.sizes, free=self.policy.sizes[-1])
        draw = orthogonal([*[math.sqrt(2.0)] * len(task.hidden), 0.01])
        self.nets = Nets(
            *(initial(self.network, job.root_seed, (name,), self.seeds, draw) for name in ("policy", "std"))
        )
        # the free parameters are not used; the last layer's bias starts the std net at action_std
        self.network.split(self.nets.std)[0][-1][1].fill_(math.log(method.action_std))
        self.baseline = np.zeros((self.rows, 2 * self.policy.observation_size + 4))
        self.alpha = torch.tensor(np.repeat(method.alphas, len(job.seeds))).float()

    def _environments(self, episodes: int, root: int) -> Any:
        task, threads = self.task, self.job.threads
        return sampler.make(
            task.environment, seeds=self.seeds, environments=episodes, root=root, threads=threads, **task.options
        )

    def acting(self) -> Policy:
        """Mean and std nets; see `septet.rl.models.Keeps`."""
        nothing = np.zeros((self.rows, self.policy.observation_size))
        shape, bounds = Shape.gaussian(self.policy, self.task.actions), (self.batch.action_low, self.batch.action_high)
        return Policy(shape, self.nets.mean.numpy(), nothing, nothing + 1.0, *bounds, self.nets.std.numpy())

    def iterate(self, iteration: int) -> Iteration:
        """Run the episodes, then update mean and std net in turn."""
        method, start = self.method, time.perf_counter()
        found = self.roll(self.batch, self.noise(iteration), f"iteration {iteration}")
        collected = time.perf_counter()

        valid, reward, ended = found["valid"], found["reward"], found["terminated"] | found["truncated"]
        x = baseline.features(found["observation"])
        advantage, target = experience.advantages(
            reward, ended, valid, x, self.baseline, self.task.gamma, method.gae_lambda
        )
        self.baseline = baseline.fit(x, target, valid, self.rows)
        parts = (found["observation"], found["action"], advantage, valid)
        batch = Batch(*(torch.from_numpy(experience.gather(a, valid, self.rows)) for a in parts))
        learned_nets, action_std = zip(*(self.learn(r, batch, iteration) for r in range(self.rows)), strict=True)
        self.nets = Nets(*(torch.cat(part) for part in zip(*learned_nets, strict=True)))
        for name, values in self.nets._asdict().items():
            check_finite(f"the {name} net", values.numpy(), iteration, self.seeds)
        total = experience.totals(reward).reshape(self.rows, -1)
        steps = valid.sum(axis=0).reshape(self.rows, -1).sum(axis=1).astype(np.float64)
        scores = {"action_std": torch.cat(action_std).double().numpy()}
        return self.finish(iteration, steps, total, scores, start, collected)

    def learn(self, r: int, batch: Batch, iteration: int) -> tuple[Nets, Tensor]:
        """Nets (1, P) of a row after its update, and the mean scale (1,) of their actions."""
        samples, nets = batch.row(r, 1), Nets(*(own(net, r) for net in self.nets))
        update = Update(self.network, samples, experience.standardised(samples, 1), own(self.alpha, r))
        if self.method.update == "trust_region":
            for which in Nets._fields:
                nets = trust_region_step(update, nets, self.method, which)
        else:
            rng = stream(self.job.root_seed, "precursor", self.seeds[r], iteration)
            nets = gradient_steps(update, nets, self.method, rng)
        with torch.no_grad():
            log_std = policy(self.network, nets, samples.observation).log_std
        return nets, update.average(log_std.mean(2)).exp()

    def noise(self, iteration: int) -> Array:
        """Standard normal noise (T, E, A) of an iteration."""
        shape = (self.batch.time_limit, self.policy.action_size)
        name = self.job.root_seed, "act", self.task.environment
        each = [
            stream(*name, seed, b, iteration).standard_normal(shape)
            for seed in self.seeds
            for b in range(self.task.episodes)
        ]
        return np.stack(each, axis=1)

    def roll(self, batch: Any, noise: Array, where: str) -> dict[str, NDArray[Any]]:
        """One whole episode of each environment; arrays (T, E, ...) with `valid`.

        Args:
            where: of the run, for the message about a value that is not finite.
        """
        member = np.arange(batch.size) // (batch.size // self.rows)
        low, high = np.asarray(batch.action_low), np.asarray(batch.action_high)
        middle, half = self._stretch
        mean, std = (flat.numpy() for flat in self.nets)
        kept: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("observation", "action", "reward", "terminated", "truncated", "valid")
        }
        observation, active = batch.reset(), np.ones(batch.size, bool)
        check("observation", observation, self.seeds, f"{where}, step 0")
        for t in range(batch.time_limit):
            m = self.policy.act(mean, member, observation)
            s = np.clip(self.policy.act(std, member, observation), *LOG_STD_BOUNDS)
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

    def evaluate(self) -> Array:
        """Mean return (R,) of the mean net's actions."""
        shape = (self.evaluator.time_limit, self.evaluator.size, self.policy.action_size)
        self.evaluator.state = self._start
        found = self.roll(self.evaluator, np.zeros(shape), "evaluation")
        return np.asarray(experience.totals(found["reward"]).reshape(self.rows, -1).mean(axis=1))

    def sampled(self) -> None:
        """There is one policy only."""

    def close(self) -> None:
        """Close the environments."""
        self.batch.close()
        self.evaluator.close()
