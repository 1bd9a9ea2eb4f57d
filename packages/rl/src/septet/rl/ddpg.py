"""DDPG (Lillicrap et al. 2016) with Stable-Baselines3's details, S seeds in lockstep.

Actions live in [-1, 1], where the actor's tanh puts them and the noise is added; the environment receives them
stretched to its bounds. The update is in `septet.rl.ddpg_update`.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from septet import sampler
from septet.arrays import fit
from septet.errors import InputError
from septet.nonfinite import check_finite
from septet.rl.config import DDPG, Job
from septet.rl.ddpg_update import Rates, Shapes, networks, update, workspace
from septet.rl.dense import apply
from septet.rl.draws import Draws
from septet.rl.loop import Iteration
from septet.rl.noise import ActionNoise, Gaussian, OrnsteinUhlenbeck, ParameterNoise, Uniform
from septet.rl.policies import Policy, deterministic
from septet.rl.replay import Replay, record_size
from septet.rl.shapes import Float32, Net, initial, net
from septet.sampler.batch import scaling
from septet.sampler.nonfinite import check, check_step

Array = NDArray[np.float64]


class Agent:
    """Actors and critics of S seeds, with their targets and moments; no environment, no replay.

    Args:
        method: hyper-parameters; root, task, seeds: names of the streams.
        observation_size, action_size: O and A.
        threads: threads over which the seeds of an update are divided; they change no bit.

    Attributes:
        networks: weights and moments, ``(S, P)`` each.
        updates: updates done so far.
    """

    checkpointed = ("networks", "updates")

    def __init__(
        self,
        method: DDPG,
        root: int,
        task: str,
        seeds: list[int],
        observation_size: int,
        action_size: int,
        threads: int = 1,
    ) -> None:
        threadpool_limits(1, "blas")  # the threads are ours: one per share of the seeds
        self.method, self.seeds, self.updates = method, seeds, 0
        self.sizes = observation_size, action_size
        self._records: Float32 | None = None
        self._sides: dict[str, int] = {}
        self.shapes = Shapes(
            net((observation_size, *method.hidden, action_size)),
            net((observation_size, *method.hidden, 1), late=action_size),
        )
        actor, critic = (
            initial(shape, root, ("ddpg", name, task), seeds, method.last_layer)
            for name, shape in zip(Shapes._fields, self.shapes, strict=True)
        )
        self.networks = networks(actor, critic)
        self.rates = Rates(
            method.actor_learning_rate, method.critic_learning_rate, method.critic_decay, method.gamma, method.tau
        )
        parts = min(threads, len(seeds))
        self._shares = np.linspace(0, len(seeds), parts + 1).astype(int)
        self._work = [workspace(self.shapes, method.batch_size) for _ in range(parts)]
        self._pool = ThreadPoolExecutor(parts) if parts > 1 else None

    def act(self, observation: NDArray[np.floating[Any]], weights: Float32 | None = None) -> Float32:
        """Actions of the actors in [-1, 1], without noise.

        Args:
            observation: ``(S, O)``, or ``(S, N, O)`` for N observations per seed.
            weights: other weights ``(S, P)`` than the actors' own.

        Returns:
            ``(S, A)`` or ``(S, N, A)``.
        """
        batch = np.asarray(observation, dtype=np.float32)
        single = batch.ndim == 2
        batch = np.ascontiguousarray(batch[:, None] if single else batch)
        size, width = self.sizes
        out = np.empty((*batch.shape[:2], width), dtype=np.float32)
        fits = weights is None and batch.ndim == 3 and batch.shape[::2] == (len(self.seeds), size)
        run = apply.unchecked if fits else apply  # an environment step is short beside the full check
        run(self.networks.actor if weights is None else weights, self.shapes.actor, batch, batch[..., :0], out, True)
        return out[:, 0] if single else out

    def learn(self, replay: Replay, rows: NDArray[np.int64]) -> Array:
        """One update of all seeds on the transitions at `rows` ``(S, N)``; losses ``(S, 2)`` of critic and actor.

        Raises:
            InputError: rows that the replay does not have, or a replay of other seeds or sizes.
        """
        if replay.records is not self._records:  # the same array at each update: looked at once
            self._sides = {"S": len(self.seeds), "N": self.method.batch_size, "R": record_size(*self.sizes)}
            fit("learn: records", "any f4 S C R", replay.records, self._sides)
            self._records = replay.records
        rows = fit("learn: rows", "i8 S N < C", rows, self._sides)
        self.updates += 1
        losses = np.zeros((len(self.seeds), 2))
        if self._pool is None:
            self._update(replay.records, rows, losses, 0)
        else:
            list(self._pool.map(lambda part: self._update(replay.records, rows, losses, part), range(len(self._work))))
        return losses

    def _update(self, records: Float32, rows: NDArray[np.int64], losses: Array, part: int) -> None:
        first, last = self._shares[part], self._shares[part + 1]
        work, every = self._work[part], self.method.actor_every
        update.unchecked(
            self.networks, self.shapes, records, rows, work, self.updates, every, self.rates, losses, first, last
        )

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def check_pool(job: Job) -> None:
    """Raise InputError unless a job of DDPG has one environment per seed in this process."""
    for name, only in (("environments", 1), ("samplers", 0), ("mode", "synchronous")):
        if (found := getattr(job, name)) != only:
            raise InputError(f"job: {name}", expected=f"{only}, as DDPG updates after each step", found=found)


class DDPGLearner:
    """DDPG on one task: act, store, update, one environment per seed (`septet.rl.loop.Learner`).

    Raises:
        InputError: the job asks for what an off-policy method does not do.
    """

    checkpointed = (
        "agent", "replay", "batch", "noise", "parameter_noise", "observation", "step", "running",
    )  # fmt: skip

    judged_by, judged_after = "return", True

    def __init__(self, job: Job) -> None:
        assert isinstance(job.method, DDPG)
        check_pool(job)
        self.method, self.seeds = job.method, job.seeds
        root, task, count = job.root_seed, job.task.environment, len(job.seeds)
        self.batch = sampler.make(task, seeds=job.seeds, environments=1, root=root, threads=job.threads)
        size, width = self.batch.observation_size, self.batch.action_size
        if not (width and np.isfinite([self.batch.action_low, self.batch.action_high]).all()):
            found = f"{self.batch.action_low} to {self.batch.action_high}" if width else "none"
            raise InputError(f"{task}: actions", expected="finite bounds, which DDPG stretches [-1, 1] to", found=found)
        self.window = self.method.report
        self.iterations = -(-job.steps // self.window)
        self.agent = Agent(self.method, root, task, job.seeds, size, width, job.threads)
        self.replay = Replay(job.seeds, size, width, min(self.method.buffer_size, self.iterations * self.window))
        uniform = np.random.Generator.random
        self.picks = Draws(uniform, root, ("replay", task), job.seeds, (self.method.batch_size,))
        self.warm_up = Draws(uniform, root, ("warm-up", task), job.seeds, (width,))
        self.noise, self.parameter_noise = exploration(self.method, root, task, job.seeds, self.agent.shapes.actor)
        self._low = self.batch.action_low
        _, self._half = scaling(task, self._low, self.batch.action_high)
        self.observation = self.batch.reset()
        check("observation", self.observation, self.seeds, "step 0")
        self.step = 0
        self.running = np.zeros(count)  # return of the episode so far
        self._begin(np.ones(count, dtype=bool))

    def iterate(self, iteration: int) -> Iteration:
        """Take `report` steps per seed; see `septet.rl.loop.Learner`."""
        method, count = self.method, len(self.seeds)
        total, episodes = np.zeros(count), np.zeros(count)
        losses, updates = np.zeros((count, 2)), 0
        collect = learn = 0.0
        for _ in range(method.report):
            start = time.perf_counter()
            ended = self._environment_step()
            if ended.any():
                total[ended] += self.running[ended]
                episodes += ended
                self.running[ended] = 0.0
            collect += (middle := time.perf_counter()) - start
            if self.step > method.learning_starts and self.step % method.train_every == 0:
                for _ in range(method.updates):
                    self._adapt()
                    rows = (self.picks.at(self.agent.updates) * len(self.replay)).astype(np.int64)
                    losses += self.agent.learn(self.replay, rows)
                    updates += 1
            learn += time.perf_counter() - middle
        check_finite("the losses", losses, iteration, self.seeds)
        check_finite("the actor", self.agent.networks.actor, iteration, self.seeds)
        scores = {"return": np.divide(total, episodes, out=np.full(count, np.nan), where=episodes > 0)}
        scores["episodes"] = episodes
        if self.parameter_noise is not None:
            scores |= {"noise_scale": self.parameter_noise.scale, "noise_distance": self.parameter_noise.distance}
        if updates:
            scores |= {"critic_loss": losses[:, 0] / updates, "actor_loss": losses[:, 1] / updates}
        return Iteration(np.full(count, float(method.report)), scores, {"collect": collect, "learn": learn})

    def _environment_step(self) -> NDArray[np.bool_]:
        """Act, step, store; which episodes ended ``(S,)``."""
        observation = self.observation
        if self.step < self.method.learning_starts:
            action: NDArray[Any] = 2.0 * self.warm_up.at(self.step) - 1.0
        else:
            perturbed = None if self.parameter_noise is None else self.parameter_noise.perturbed
            action = self.agent.act(observation, perturbed)
        if self.noise is not None:
            action = np.clip(action + self.noise.at(self.step), -1.0, 1.0)
        step = self.batch.step(self._low + self._half * (action + 1.0))
        check_step(step, self.seeds, f"step {self.step + 1}")
        self.replay.add(observation, action, step.reward, step.terminated, step.next_observation)
        self.observation = step.observation
        self.running += step.reward
        self.step += 1
        ended = step.terminated | step.truncated
        if ended.any():
            self._begin(ended)
        return ended

    def _begin(self, which: NDArray[np.bool_]) -> None:
        """The noise of the seeds ``(S,)`` whose episode begins."""
        if self.noise is not None:
            self.noise.reset(which)
        if self.parameter_noise is not None:
            self.parameter_noise.redraw(self.agent.networks.actor, which)

    def _adapt(self) -> None:
        """Adapt the noise on the weights, if there is any and its time has come."""
        noise, agent = self.parameter_noise, self.agent
        if noise is not None and noise.is_due(agent.updates):
            noise.adapt(agent.updates, agent.networks.actor, self.replay, agent.act)

    def acting(self) -> Policy:
        """The actors; see `septet.rl.models.Keeps`."""
        actor = self.agent.networks.actor
        nothing = np.zeros((len(actor), self.agent.sizes[0]))
        low, high = self.batch.action_low, self.batch.action_high
        return Policy(deterministic(self.agent.shapes.actor), actor, nothing, nothing + 1.0, low, high)

    def restart(self, iteration: int) -> None:
        """Go on with new episodes, where the environments' state could not be saved."""
        self.observation = self.batch.reset()
        self.running[:] = 0.0
        self._begin(np.ones(len(self.seeds), dtype=bool))

    def close(self) -> None:
        """Let go of environments and threads."""
        self.batch.close()
        self.agent.close()


def exploration(
    method: DDPG, root: int, task: str, seeds: list[int], actor: Net
) -> tuple[ActionNoise | None, ParameterNoise | None]:
    """The noise on actions and the noise on weights that the method asks for; at most one of them."""
    name = (root, task, seeds)
    if method.noise == "parameter":
        return None, ParameterNoise(*name, actor, target=method.noise_scale, batch=method.batch_size)
    action_size = int(actor.sizes[-1])
    if method.noise == "ornstein_uhlenbeck":
        scale, theta, dt = method.noise_scale, method.noise_theta, method.noise_dt
        return OrnsteinUhlenbeck(*name, action_size, scale, theta, dt), None
    if method.noise == "none":
        return None, None
    return (Gaussian if method.noise == "gaussian" else Uniform)(*name, action_size, method.noise_scale), None
