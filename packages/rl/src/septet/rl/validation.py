"""The peers of the validation: Stable-Baselines3's PPO and DDPG, sb3-contrib's TRPO, at a job's settings.

A job with ``implementation: stable_baselines3`` runs the peer and writes the same score table: `return` is
the mean undiscounted return of the training episodes that ended since the last row. The peer meets
Gymnasium's own environments, so the environments are compared too.
"""

import importlib
import importlib.util
import random
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from septet.errors import InputError
from septet.rl.config import DDPG, PPO, TRPO, Job
from septet.rl.ddpg import check_pool
from septet.rl.loop import Iteration
from septet.sampler.nonfinite import check
from septet.seeding import stream

SB3 = "stable_baselines3"
PEERS = {"ppo": (SB3, "PPO"), "ddpg": (SB3, "DDPG"), "trpo": ("sb3_contrib", "TRPO")}


class PeerLearner:
    """One model of the peer per seed, advanced in turns (`septet.rl.loop.Learner`).

    A peer's state is not arrays, so what is saved is how far it was: a resumed run plays the iterations up
    to there again, which the peer's seeding makes the same ones.

    Raises:
        InputError: the peer is not installed, or has nothing like one of the job's settings.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        if isinstance(job.method, DDPG):
            check_pool(job)
        _refuse("", job, {"samplers": 0, "mode": "synchronous"})
        _refuse("task.", job.task, {"actions": "clip"})
        self.model_class, method = _peer(job), job.method
        self.window = method.report if isinstance(method, DDPG) else method.steps * job.environments
        self.iterations = -(-job.steps // self.window)
        self._start()

    def _start(self) -> None:
        self.done = 0
        self.counted = [[0] * self.job.environments for _ in self.job.seeds]  # episodes that have been reported
        self.models, self.generators = [], []
        for seed in self.job.seeds:
            number = int(stream(self.job.root_seed, "peer", self.job.task.environment, seed).integers(2**31))
            self.models.append(self._model(number))
            self.generators.append(_generators())

    def _model(self, seed: int) -> Any:
        make_vec_env = importlib.import_module("stable_baselines3.common.env_util").make_vec_env
        wrapper = {"wrapper_class": _checked(), "wrapper_kwargs": {"seed": self.job.seeds[len(self.models)]}}
        try:
            environment = make_vec_env(self.job.task.environment, self.job.environments, seed=seed, **wrapper)
        except (importlib.import_module("gymnasium").error.Error, ImportError) as error:
            raise InputError("job: task.environment", expected="an id that Gymnasium knows", found=str(error)) from None
        settings = peer_settings(self.job)
        try:
            model = self.model_class("MlpPolicy", environment, seed=seed, device="cpu", **settings)
        except (AssertionError, ValueError) as error:  # of its own checks
            text = str(error) or "settings that it rejects"
            raise InputError("job: method.implementation", expected="a job for the peer", found=text) from None
        model.set_logger(importlib.import_module("stable_baselines3.common.logger").Logger(None, []))
        return model

    def iterate(self, iteration: int) -> Iteration:
        """Let each model take as many steps as our method takes in one iteration."""
        seeds = len(self.job.seeds)
        start = time.perf_counter()
        mean, episodes = np.full(seeds, np.nan), np.zeros(seeds)
        for index, model in enumerate(self.models):
            _set_generators(self.generators[index])  # the peer draws from global generators
            model.learn(self.window, reset_num_timesteps=self.done == 0)
            self.generators[index] = _generators()
            found = model.get_env().env_method("get_episode_rewards")
            fresh = [r for b, rewards in enumerate(found) for r in rewards[self.counted[index][b] :]]
            self.counted[index] = [len(rewards) for rewards in found]
            episodes[index] = len(fresh)
            if fresh:
                mean[index] = np.mean(fresh)
        self.done += 1
        steps = np.full(seeds, float(self.window))
        return Iteration(steps, {"return": mean, "episodes": episodes}, {"train": time.perf_counter() - start})

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """How many iterations were done."""
        return {"done": np.array([self.done])}

    @state.setter
    def state(self, saved: dict[str, NDArray[Any]]) -> None:
        self.close()
        self._start()
        for iteration in range(int(saved["done"][0])):
            self.iterate(iteration)

    def close(self) -> None:
        """Let go of the environments."""
        for model in self.models:
            model.get_env().close()


def _peer(job: Job) -> Any:
    """The peer's class for the job's algorithm."""
    where = "job: method.implementation"
    if job.method.algorithm not in PEERS:
        expected = f"septet (a peer is known for {', '.join(PEERS)})"
        raise InputError(where, expected=expected, found=job.method.algorithm)
    package, name = PEERS[job.method.algorithm]
    if importlib.util.find_spec(package) is None:
        raise InputError(where, expected=f"the peer {package} (make setup-dev)", found="it is not installed")
    return getattr(importlib.import_module(package), name)


def peer_settings(job: Job) -> dict[str, Any]:
    """Arguments of the peer's constructor that say what the job says.

    Raises:
        InputError: the peer has nothing like one of the settings.
    """
    method = job.method
    if isinstance(method, DDPG):
        needed = {"last_layer": None, "critic_decay": 0.0, "critic_learning_rate": method.actor_learning_rate}
        _refuse("method.", method, {**needed, "actor_every": 1})
        return {
            "learning_rate": method.actor_learning_rate,
            "buffer_size": min(method.buffer_size, job.steps),
            "learning_starts": method.learning_starts,
            "batch_size": method.batch_size,
            "tau": method.tau,
            "gamma": method.gamma,
            "train_freq": method.train_every,
            "gradient_steps": method.updates,
            "action_noise": _peer_noise(job),
            "policy_kwargs": {"net_arch": list(method.hidden)},
        }
    assert isinstance(method, PPO | TRPO)
    _refuse("method.", method, {"normalise_observations": False, "bootstrap_time_limits": True})
    shared = {
        "n_steps": method.steps,
        "batch_size": method.minibatch_size if isinstance(method, PPO) else method.value_minibatch_size,
        "gamma": method.gamma,
        "gae_lambda": method.gae_lambda,
        "policy_kwargs": {"net_arch": {"pi": list(method.hidden), "vf": list(method.hidden)}},
    }
    if isinstance(method, PPO):
        return shared | {
            "learning_rate": method.learning_rate,
            "n_epochs": method.epochs,
            "clip_range": method.clip_range,
            "ent_coef": method.ent_coef,
            "vf_coef": method.vf_coef,
            "max_grad_norm": method.max_grad_norm,
        }
    _refuse("method.", method, {"divergence_per_action": True})
    return shared | {
        "learning_rate": method.value_learning_rate,
        "target_kl": method.target_kl,
        "cg_max_steps": method.cg_steps,
        "cg_damping": method.damping,
        "line_search_shrinking_factor": method.backtrack_ratio,
        "line_search_max_iter": method.line_search_steps,
        "n_critic_updates": method.value_epochs,
    }


def _checked() -> Any:
    """A wrapper that raises NotFinite where an environment gives a value that is not finite."""
    gymnasium: Any = importlib.import_module("gymnasium")

    class Checked(gymnasium.Wrapper):  # type: ignore[misc]
        def __init__(self, env: Any, seed: int) -> None:
            super().__init__(env)
            self.seeds, self.steps = [seed], 0

        def step(self, action: Any) -> Any:
            self.steps += 1
            observation, reward, *rest = self.env.step(action)
            check("reward", np.array([reward], float), self.seeds, f"step {self.steps}")
            check("observation", np.array([observation], float), self.seeds, f"step {self.steps}")
            return observation, reward, *rest

    return Checked


def _refuse(part: str, settings: Any, needed: dict[str, Any]) -> None:
    """Raise InputError where settings of a part of the job are not those that the peer has."""
    for name, value in needed.items():
        if (found := getattr(settings, name)) != value:
            raise InputError(f"job: {part}{name}", expected=f"{value} with stable_baselines3", found=found)


def _peer_noise(job: Job) -> Any:
    """The peer's action noise, None for none; it has no uniform one."""
    method = job.method
    assert isinstance(method, DDPG)
    if method.noise == "none":
        return None
    noise = importlib.import_module("stable_baselines3.common.noise")
    size = importlib.import_module("gymnasium").spec(job.task.environment).make().action_space.shape
    zero, scale = np.zeros(size), np.full(size, method.noise_scale)
    if method.noise == "gaussian":
        return noise.NormalActionNoise(zero, scale)
    if method.noise == "ornstein_uhlenbeck":
        return noise.OrnsteinUhlenbeckActionNoise(zero, scale, theta=method.noise_theta, dt=method.noise_dt)
    raise InputError(
        "job: method.noise", expected="none, gaussian or ornstein_uhlenbeck with stable_baselines3", found=method.noise
    )


def _generators() -> tuple[Any, Any, Any]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  # what the peer draws from


def _set_generators(saved: tuple[Any, Any, Any]) -> None:
    random.setstate(saved[0])
    np.random.set_state(saved[1])  # noqa: NPY002
    torch.set_rng_state(saved[2])
