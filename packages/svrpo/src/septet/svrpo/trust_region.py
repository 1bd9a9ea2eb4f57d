"""One iteration of the methods that step inside a KL budget, for all seeds: collect, learn, broadcast."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from septet.nonfinite import check_finite
from septet.rl.lockstep import own
from septet.rl.loop import Iteration
from septet.seeding import stream
from septet.svrpo.config import InnerLoop, Job
from septet.svrpo.experience import Collecting, Experience
from septet.svrpo.problem import FiniteSum, finite_sum_of
from septet.svrpo.svrpo import Inner, inner_loop, variance_ratio

Array = NDArray[np.float64]


class TrustRegionLearner(Collecting):
    """SVRPO, its controls and TRPO on one task; see `septet.rl.loop.Learner`."""

    checkpointed = (*Collecting.checkpointed, "redraws", "by_position")

    def __init__(self, job: Job, method: InnerLoop) -> None:
        super().__init__(job, job.simulation.environments, job.simulation.steps)
        self.method, self.iterations = method, job.simulation.iterations
        self.inner_steps = 1 if method.single_step else job.simulation.inner_steps
        self._pool = ThreadPoolExecutor(job.threads) if job.threads > 1 else None
        shape = (len(job.seeds), self.inner_steps)
        # Sums over iterations, by inner position: steps tried, accepted, KL divergence, variance ratio.
        self.by_position = {name: np.zeros(shape) for name in ("made", "accepted", "kl", "variance_ratio")}
        self.redraws = 0

    def iterate(self, iteration: int) -> Iteration:
        """Collect N steps per seed, run the inner loop. Raises NotFinite when a tensor is no number."""
        seeds, start = self.job.seeds, time.perf_counter()
        experience = self.collect()
        collected = time.perf_counter()
        check_finite("advantage", experience.advantage, iteration, seeds)
        redraw = iteration % self.job.redraw_every == 0 and self.method.gradient != "full"
        inners = self._each(lambda s: self.inner_loop(s, experience, iteration, redraw))
        w = torch.stack([inner.w for inner in inners])
        check_finite("gradient", torch.stack([inner.snapshot_gradient for inner in inners]).numpy(), iteration, seeds)
        check_finite("parameters", w.numpy(), iteration, seeds)
        learned = time.perf_counter()
        for name in ("made", "accepted", "kl"):
            self.by_position[name] += np.stack([getattr(inner, name) for inner in inners])
        if redraw:
            problem = partial(self.problem, experience=experience, iteration=iteration, name="redrawn blocks")
            ratios = self._each(lambda s: variance_ratio(problem(s), self.w[s].clone(), inners[s].iterates))
            self.by_position["variance_ratio"] += np.stack(ratios)
            self.redraws += 1
        logged = [self.diagnostics(w_s, inner) for w_s, inner in zip(self.w, inners, strict=True)]
        scores = {name: np.array([each[name] for each in logged]) for name in logged[0]}
        self.w = w
        scores["return"] = experience.episode_return
        steps = np.full(len(seeds), float(self.job.simulation.batch_size))
        return Iteration(steps, scores, {"collect": collected - start, "learn": learned - collected})

    def inner_loop(self, s: int, experience: Experience, iteration: int, keep_iterates: bool) -> Inner:
        """The inner loop of one seed."""
        problem, m = self.problem(s, experience, iteration, "blocks"), self.inner_steps
        draws = self._stream("choices", s, iteration)
        blocks = draws.integers(len(problem.gradient_blocks), size=m)
        hessian_blocks = draws.integers(len(problem.hessian_blocks), size=m)
        return inner_loop(problem, self.w[s].clone(), blocks, hessian_blocks, self.method, keep_iterates)

    def problem(self, s: int, experience: Experience, iteration: int, name: str) -> FiniteSum:
        """The batch of one seed as a finite sum, cut into blocks by the random stream `name`."""
        task = self.job.simulation
        return finite_sum_of(
            self.network,
            self.w[s].clone(),
            own(experience.observation, s)[0],
            own(experience.action, s)[0],
            experience.advantage[s],
            self._stream(name, s, iteration),
            block=task.minibatch_size,
            hessian_block=task.batch_size // self.method.hessian_blocks,
            ratio=self.method.ratio,
        )

    def diagnostics(self, before: Tensor, inner: Inner) -> dict[str, float]:
        """What section 2.5 logs for a seed, and the cost in passes over the batch."""
        made, share = inner.made.sum(), self.job.simulation.minibatch_size / self.job.simulation.batch_size
        per_step = {"svrg": share, "sgd": share, "full": 1.0}[self.method.gradient]
        published = {"svrg": 2.0 * share, "sgd": share, "full": 1.0}[self.method.gradient]
        return {
            "gradient_norm": float(inner.snapshot_gradient.norm()),
            "gradient_distance": float((inner.mean_gradient - inner.snapshot_gradient).norm()),
            "relative_distance": float((inner.w - before).norm() / inner.w.norm()),
            "kl": inner.kl[-1],
            "kl_largest": inner.largest_kl,
            "surrogate_decrease": inner.decrease[-1],
            "accepted_steps": inner.accepted.sum(),
            "inner_steps": made,
            # The full gradient at the snapshot is known when the first step is made.
            "gradient_passes": 1.0 + per_step * (made - (self.method.gradient == "full")),
            "gradient_passes_published": 1.0 + published * (made - (self.method.gradient == "full")),
            "hessian_passes": inner.products.sum() / self.method.hessian_blocks,
            "evaluations": 1.0 + inner.trials.sum(),
        }

    def _stream(self, name: str, s: int, iteration: int) -> np.random.Generator:
        return stream(self.job.root_seed, name, self.job.task.name, self.job.seeds[s], iteration)

    def _each(self, work: Callable[[int], Any]) -> list[Any]:
        """[work(0), work(1), ...] for all seeds, in threads if there are any."""
        seeds = range(len(self.job.seeds))
        return [work(s) for s in seeds] if self._pool is None else list(self._pool.map(work, seeds))

    def final_scores(self) -> dict[str, Array]:
        """Metrics by inner position, (S, m): shares of tried steps that were accepted and so on."""
        made = np.maximum(self.by_position["made"], 1.0)
        out = {
            "acceptance_at": self.by_position["accepted"] / made,
            "tried_at": self.by_position["made"] / self.iterations,
            "kl_at": self.by_position["kl"] / self.iterations,
        }
        if self.redraws:
            out["variance_ratio_at"] = self.by_position["variance_ratio"] / self.redraws
        return out

    def close(self) -> None:
        """Let go of environments and threads."""
        super().close()
        if self._pool is not None:
            self._pool.shutdown()
