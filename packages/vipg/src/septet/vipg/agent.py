"""One method on one environment: rows (variant x seed) in lockstep, K policies of each roll out together."""

import math
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from septet.nonfinite import check_finite
from septet.rl.lockstep import each_seed, own
from septet.rl.loop import Iteration
from septet.rl.networks import Network, initial, orthogonal
from septet.rl.normalise import Moments as Seen
from septet.rl.normalise import standard
from septet.rl.policies import Policy, Shape
from septet.sampler.rollout import merge_moments
from septet.seeding import stream
from septet.vipg import baseline, experience, objective, updates
from septet.vipg.adam import Moments
from septet.vipg.config import ActionSpace, Environment, Job, PolicyMethod
from septet.vipg.flows import sampler_of
from septet.vipg.samplers import Particles
from septet.vipg.surrogate import Surrogate

Array = NDArray[np.float64]
SIGMA_BOUNDS = (1e-4, 1.0)  # section 6
EVALUATION_ROOT = 1_000_003  # added to the root seed: evaluations start from states of their own


class Rows(ABC):
    """What the agents share: rows ordered by alpha, then seed, and evaluations of their mean policies."""

    judged_by, judged_after = "mean_policy_return", True

    def __init__(self, job: Job) -> None:
        assert isinstance(job.method, PolicyMethod | ActionSpace) and isinstance(job.task, Environment)
        self.job, self.task = job, job.task
        self.seeds = [seed for _ in job.method.alphas for seed in job.seeds]
        self.rows = len(self.seeds)

    @abstractmethod
    def evaluate(self) -> Array:
        """Mean return (R,) of the mean policies, without action noise."""

    def restart(self, iteration: int) -> None:  # noqa: B027  (a hook: iterations of whole episodes need nothing)
        """Start new episodes after a resume if the state of the environments could not be saved."""

    def finish(
        self, iteration: int, steps: Array, total: Array, scores: dict[str, Array], start: float, collected: float
    ) -> Iteration:
        """Evaluate now and then, and write the iteration down.

        Args:
            steps: environment steps (R,).
            total: return of each episode (R, episodes).
            scores: metric -> (R,).
            start, collected: when the collection began and ended.
        """
        learned, average = time.perf_counter(), total.mean(axis=1)
        scores |= {"return": average, "score": self.task.score(average)}
        if self.job.evaluates(iteration):
            centre = self.evaluate()
            scores |= {"mean_policy_return": centre, "mean_policy_score": self.task.score(centre)}
        seconds = {"collect": collected - start, "learn": learned - collected}
        return Iteration(steps, scores, seconds | {"evaluate": time.perf_counter() - learned})


class Agent(Rows):
    """Policies with variational weights on a task."""

    checkpointed = ("parameters", "moments", "baseline", "seen", "collector")

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        method, task = job.method, self.task
        assert isinstance(method, PolicyMethod)
        self.method = method
        self.collector = experience.collector(
            task, self.seeds, method.particles, task.episodes // method.particles, job.root_seed, job.threads
        )
        sizes = self.collector.collection.policy.sizes
        self.network = Network(sizes, free=sizes[-1])
        self.sampler = sampler_of(method.family, self.network.size - self.network.free, method)
        gains = [math.sqrt(2.0)] * len(task.hidden)
        start = initial(self.network, job.root_seed, ("policy",), self.seeds, orthogonal([*gains, 0.01]))
        generators = [stream(job.root_seed, "sampler", method.family, seed) for seed in self.seeds]
        phi = self.sampler.initial(start[:, : self.sampler.weights], method.sigma, generators)
        log_std = torch.full((self.rows, self.network.free), math.log(method.action_std))
        self.parameters = torch.cat([phi, log_std], dim=1)
        self.moments = Moments.none(self.parameters)
        self.baseline = np.zeros((self.rows, 2 * sizes[0] + 4))
        self.seen = Seen.none(self.rows, sizes[0])
        self.alpha = torch.tensor(np.repeat(method.alphas, len(job.seeds)) * task.range / self.sampler.weights)
        root = job.root_seed + EVALUATION_ROOT
        self.evaluator = experience.collector(task, self.seeds, 1, job.evaluation_episodes, root, job.threads)
        self._start = self.evaluator.batch.state, self.evaluator.state

    def weights(self, xi: Array) -> tuple[NDArray[np.float32], torch.Tensor, torch.Tensor]:
        """Policies (R K, P) of the noise xi (R, K, d), and theta and log|det| of it."""
        phi, log_std = torch.split(self.parameters, [self.sampler.size, self.network.free], dim=1)
        with torch.no_grad():
            theta, log_det = each_seed(self.sampler, phi, torch.from_numpy(xi.astype(np.float32)))
        spread = log_std.unsqueeze(1).expand(-1, theta.shape[1], -1)
        return torch.cat([theta, spread], dim=2).flatten(0, 1).numpy(), theta, log_det

    def centre(self) -> NDArray[np.float32]:
        """The policies (R, P) with the sampler's centre as weights."""
        phi, log_std = torch.split(self.parameters, [self.sampler.size, self.network.free], dim=1)
        return torch.cat([self.sampler.split(phi)[0], log_std], dim=1).numpy()

    def acting(self) -> Policy:
        """The centres; see `septet.rl.models.Keeps`."""
        shape = Shape.gaussian(self.collector.collection.policy, self.task.actions)
        return Policy(shape, self.centre(), *self.scaling(), self.collector.low, self.collector.high)

    def scaling(self) -> tuple[Array, Array]:
        """Mean and scale (R, o) of the observations."""
        if self.method.normalise_observations:
            return standard(self.seen)
        return np.zeros_like(self.seen.mean), np.ones_like(self.seen.mean)

    def iterate(self, iteration: int) -> Iteration:
        """Draw policies, run their episodes, update the sampler, and now and then evaluate its centre."""
        method, start = self.method, time.perf_counter()
        xi = objective.noise(self.job.root_seed, self.seeds, iteration, method.particles, self.sampler.weights)
        weights, theta, log_det = self.weights(xi)
        mean, scale = self.scaling()
        by_policy = [np.repeat(part, method.particles, axis=0) for part in (mean, scale)]
        rollout = self.collector.collect(weights, iteration=iteration, mean=by_policy[0], scale=by_policy[1])
        collected = time.perf_counter()

        row = np.arange(rollout.reward.shape[1]) // (rollout.reward.shape[1] // self.rows)
        x = baseline.features((rollout.observation - mean[row]) * scale[row])
        advantage, target = experience.advantages(
            rollout.reward, rollout.terminated | rollout.truncated, rollout.valid, x, self.baseline, self.task.gamma,
            method.gae_lambda,
        )  # fmt: skip
        self.baseline = baseline.fit(x, target, rollout.valid, self.rows)
        batch, episodes = experience.sort(rollout, advantage, self.rows, method.particles, mean, scale)
        if method.normalise_observations:
            parts = (rollout.count, rollout.moment_mean, rollout.moment_m2)
            each = [part.reshape(self.rows, -1, *part.shape[1:]) for part in parts]
            self.seen = self.seen.merge(Seen(*merge_moments(*each)))
        by_particle = episodes.total.reshape(self.rows, method.particles, -1).mean(axis=2)
        scores = self.describe(theta, log_det, by_particle, episodes)
        scores |= self.learn(xi, batch, by_particle, episodes.scale, iteration)
        self.bound()
        check_finite("the sampler's parameters", self.parameters.numpy(), iteration, self.seeds)
        return self.finish(iteration, episodes.steps, episodes.total, scores, start, collected)

    def learn(self, xi: Array, batch: experience.Batch, total: Array, unit: Array, iteration: int) -> dict[str, Array]:
        """Update the sampler of each row; diagnostics (R,).

        Args:
            xi: noise of the particles (R, K, d).
            batch: the samples of their policies.
            total: mean return of each particle's episodes (R, K).
            unit: of the objective (R,).
        """
        noise, alpha = torch.from_numpy(xi.astype(np.float32)), (self.alpha / torch.from_numpy(unit)).float()
        value = torch.from_numpy(total / unit[:, None]).float()
        learned = []
        for r, seed in enumerate(self.seeds):
            samples = batch.row(r, self.method.particles)
            problem = Surrogate(
                self.network, self.sampler, own(noise, r), samples, experience.standardised(samples, 1),
                own(alpha, r), self.method.prior_scale, own(self.parameters, r),
            )  # fmt: skip
            moments = Moments(*(own(part, r) for part in self.moments))
            shuffles = [stream(self.job.root_seed, "minibatch", seed, iteration)]
            learned.append(updates.update(problem, self.method, moments, own(value, r), shuffles))
        self.parameters = torch.cat([parameters for parameters, _, _ in learned])
        self.moments = Moments(*(torch.cat(parts) for parts in zip(*(m for _, m, _ in learned), strict=True)))
        found = [diagnostics for _, _, diagnostics in learned]
        return {name: torch.cat([one[name] for one in found]).double().numpy() for name in found[0]}

    def describe(
        self, theta: torch.Tensor, log_det: torch.Tensor, by_particle: Array, episodes: experience.Episodes
    ) -> dict[str, Array]:
        """Scores (R,) of an iteration's policies and of the sampler they came from (section 3)."""
        phi, log_std = torch.split(self.parameters, [self.sampler.size, self.network.free], dim=1)
        scores = {
            "spread": by_particle.std(axis=1) / self.task.range,
            "action_std": each_seed(lambda log_std: (log_std.exp().mean(1),), log_std)[0].double().numpy(),
            "unit": episodes.scale,
        }
        if not isinstance(self.sampler, Particles):
            # geometric mean of the standard deviations for Gaussian families: exp of the entropy per weight

            def measures(phi: torch.Tensor, theta: torch.Tensor, log_det: torch.Tensor) -> tuple[torch.Tensor, ...]:
                return (
                    (log_det.mean(1) / self.sampler.weights).exp(),
                    objective.entropy(self.sampler, log_det),
                    objective.kl_to_prior(self.sampler, phi, theta, log_det, self.method.prior_scale),
                )

            found = each_seed(measures, phi, theta, log_det)
            scores |= {
                name: each.double().numpy() for name, each in zip(("sigma", "entropy", "kl_prior"), found, strict=True)
            }
        return scores

    def bound(self) -> None:
        """Keep the log-scales within bounds, so that the sampler stays invertible (section 6)."""
        if not isinstance(self.sampler, Particles):
            d = self.sampler.weights
            low, high = (math.log(bound) for bound in SIGMA_BOUNDS)
            self.parameters[:, d : 2 * d].clamp_(low, high)

    def evaluate(self) -> Array:
        """Mean return (R,) of the policy with the sampler's centre as weights, without action noise."""
        self.evaluator.batch.state, self.evaluator.state = self._start
        return self._episodes(self.evaluator, self.centre()).mean(axis=1)

    def _episodes(self, runner: Any, weights: NDArray[np.float32]) -> Array:
        """Return of each episode (R, n) of policies (M, P) without action noise."""
        mean, scale = (np.repeat(part, len(weights) // self.rows, axis=0) for part in self.scaling())
        still = np.zeros((runner.most_steps, runner.batch.size, self.network.free))
        rollout = runner.collect(np.ascontiguousarray(weights), iteration=0, mean=mean, scale=scale, noise=still)
        return experience.totals(rollout.reward).reshape(self.rows, -1)

    def sampled(self) -> tuple[Array, Array]:
        """Returns (R, n) of policies drawn from the sampler at the end, without action noise, and how far they differ.

        The second is the variance over policies of the action's mean at states that one of them visits, in units of
        the action noise's variance, (R,): twice the mean KL divergence from their average.
        """
        rngs = [stream(self.job.root_seed, "final", seed) for seed in self.seeds]
        shape = self.job.sampled_policies, self.sampler.weights
        weights, _, _ = self.weights(np.stack([rng.standard_normal(shape) for rng in rngs]))
        count = len(weights) // self.rows  # of particles, those that there are
        runner = experience.collector(
            self.task, self.seeds, count, 1, self.job.root_seed + EVALUATION_ROOT, self.job.threads
        )
        total = self._episodes(runner, weights)
        mean, scale = self.scaling()
        seen = []
        buffer, valid = runner.buffers["observation"], runner.buffers["valid"]
        for r in range(self.rows):
            own = slice(r * count, (r + 1) * count)
            rows = buffer[:, own][valid[:, own]]
            rows = rows[np.linspace(0, len(rows) - 1, 200).astype(int)]
            seen.append(np.clip((rows - mean[r]) * scale[r], -10.0, 10.0))

        def spread(flat: torch.Tensor, states: torch.Tensor, parameters: torch.Tensor) -> tuple[torch.Tensor]:
            actions = self.network(flat[0], states.expand(count, -1, -1)).clamp(-1.0, 1.0)  # as the environment clips
            noise = parameters[:, -self.network.free :].exp()
            return ((actions.var(0, correction=0) / noise.square()).sum(1).mean(0, keepdim=True),)

        flat = torch.from_numpy(weights).reshape(self.rows, count, -1)
        with torch.no_grad():
            states = torch.from_numpy(np.stack(seen).astype(np.float32))
            (diversity,) = each_seed(spread, flat, states, self.parameters)
        runner.batch.close()
        return total, diversity.double().numpy()

    def close(self) -> None:
        """Close the environments."""
        for runner in (self.collector, self.evaluator):
            runner.batch.close()
