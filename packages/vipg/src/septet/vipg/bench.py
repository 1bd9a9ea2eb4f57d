"""The `bench` verb: iterations, episodes, curvature and Stein directions beside peers and slow versions, in one run.

Five seeds run in lockstep against five runs of the peer, one after the other. One math thread each, contenders in
turns, medians. The peer, sb3-contrib's TRPO, is a development dependency.
"""

import importlib
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from septet.bench import Bench, Row, in_turns, row, seconds
from septet.config import Settings
from septet.rl.trust_region import kl_hessian_product
from septet.vipg import experience, objective, stein, updates
from septet.vipg.agent import Agent
from septet.vipg.config import Environment, Job
from septet.vipg.experiments import Experiments
from septet.vipg.surrogate import Surrogate

PEER = "sb3-contrib TRPO"
SEEDS = [2001, 2002, 2003, 2004, 2005]


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    environment: str = "Pendulum-v1"
    episodes: int = 16
    horizon: int = 200
    rounds: int = 5
    seeds: list[int] = SEEDS


def measure(setting: Setting) -> list[Row]:
    """The rows: whole iterations, and their parts."""
    torch.set_num_threads(1)
    return [*iterations(setting), *parts(setting)]


def made(name: str, setting: Setting) -> Agent:
    """Our agent of a method, on the bench's task."""
    method = Experiments().methods[name].model_copy(update={"name": name})
    if name == "v_trpo":
        method = method.model_copy(update={"alphas": [0.01]})
    task = Environment(
        kind="environment", name="bench", environment=setting.environment, episodes=setting.episodes, gamma=0.97,
        return_low=-1300.0, return_high=-150.0, iterations=1_000_000,
    )  # fmt: skip
    return Agent(Job(method=method, task=task, seeds=SEEDS, evaluate_every=1_000_000))


def iterating(agent: Agent) -> Callable[[], Any]:
    """The next iteration of an agent, at each call."""
    numbers = itertools.count()
    return lambda: agent.iterate(next(numbers))


def iterations(setting: Setting) -> list[Row]:
    """Iterations per minute of five seeds, all of them at the same batch."""
    ours = {name: iterating(made(name, setting)) for name in ("trpo", "v_trpo")}
    taken = measured({**ours, PEER: peer(setting)}, setting.rounds)
    theirs = len(SEEDS) * taken[PEER]
    batch = setting.episodes * setting.horizon
    return [
        row(f"{name}: iterations of {batch:,} steps per minute, {len(SEEDS)} seeds", 60.0 / taken[name], "1/min",
            f"{PEER}, one run after the other", 60.0 / theirs)
        for name in ours
    ]  # fmt: skip


def peer(setting: Setting) -> Callable[[], Any]:
    """One iteration of the peer at the same batch, net and settings of the step."""
    gymnasium = importlib.import_module("gymnasium")
    vec = importlib.import_module("stable_baselines3.common.vec_env")
    contrib = importlib.import_module("sb3_contrib")
    environments = vec.DummyVecEnv([lambda: gymnasium.make(setting.environment)] * setting.episodes)
    model = contrib.TRPO(
        "MlpPolicy", environments, n_steps=setting.horizon, batch_size=128, gamma=0.97, gae_lambda=0.97,
        target_kl=0.01, cg_max_steps=10, cg_damping=0.1, policy_kwargs={"net_arch": [32, 32]}, seed=1, device="cpu",
    )  # fmt: skip
    return lambda: model.learn(setting.episodes * setting.horizon, reset_num_timesteps=False)


def parts(setting: Setting) -> list[Row]:
    """Parts of an iteration beside the plain way to do them."""
    agent = made("v_trpo", setting)
    problem = caught(agent)

    weights, _, _ = agent.weights(objective.noise(0, agent.seeds, 0, 8, agent.sampler.weights))
    alone = experience.collector(agent.task, SEEDS[:1], 1, agent.task.episodes // 8, 0)
    still = [np.zeros((n, agent.collector.collection.policy.observation_size)) for n in (len(weights), 1)]

    def all_at_once() -> None:
        agent.collector.collect(weights, iteration=0, mean=still[0], scale=still[0] + 1.0)

    def one_by_one() -> None:
        for k in range(len(weights)):
            alone.collect(weights[k : k + 1], iteration=0, mean=still[1], scale=still[1] + 1.0)

    steps = agent.task.episodes * setting.horizon * len(SEEDS)
    what = f"steps per second of {len(weights)} policies together, 2 episodes each"
    out = [compared(what, all_at_once, "one policy after the other", one_by_one, setting.rounds, steps)]

    v = torch.from_numpy(np.random.default_rng(0).standard_normal(problem.old.shape)).float()
    states = problem.batch.valid.shape[1] * len(problem.batch.valid) // problem.rows
    ours = updates.curvature(problem, states=states, damping=0.0)
    theirs = kl_hessian_product(lambda w: problem.evaluate(w, "surrogate")[1], problem.old)
    what = "curvature products per second, all samples"
    out.append(compared(what, lambda: ours(v), "double back-propagation", lambda: theirs(v), 3 * setting.rounds))

    rng = np.random.default_rng(1)
    theta, score = (torch.from_numpy(rng.standard_normal((len(SEEDS), 16, 1250))).float() for _ in range(2))
    what = "Stein directions per second, 16 particles of 1,250 weights, 5 seeds"
    fast, slow = (partial(run, theta, score) for run in (stein.direction, naive_stein))
    return [*out, compared(what, fast, "loop over pairs", slow, setting.rounds)]


def compared(
    what: str, ours: Callable[[], Any], peer: str, slow: Callable[[], Any], rounds: int, count: float = 1.0
) -> Row:
    """A row: how often per second ours gives `count`, and the slow way."""
    each = measured({"ours": ours, "slow": slow}, rounds)
    return row(what, count / each["ours"], "1/s", peer, count / each["slow"])


def naive_stein(theta: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """The sum of `stein.direction` written as it reads: a loop over pairs of particles."""
    out = torch.zeros_like(theta)
    _, h = stein.kernel(theta)
    count = theta.shape[1]
    for s in range(len(theta)):
        for i in range(count):
            for j in range(count):
                away = theta[s, i] - theta[s, j]
                k = torch.exp(-away.square().sum() / h[s])
                out[s, i] += (score[s, j] * k + 2.0 / h[s] * away * k) / count
    return out


def caught(agent: Agent) -> Surrogate:
    """The problem of an agent's first update."""
    kept: list[Surrogate] = []
    original = updates.update

    def keep(problem: Surrogate, *rest: Any) -> Any:
        kept.append(problem)
        return original(problem, *rest)

    updates.update = keep  # type: ignore[assignment]
    try:
        agent.iterate(0)
    finally:
        updates.update = original
    return kept[0]


def measured(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each contender, after one call that does not count."""
    for run in contenders.values():
        run()
    return in_turns({name: seconds(run) for name, run in contenders.items()}, rounds)


BENCH = Bench(
    measure=measure,
    full=Setting(),
    quick=Setting(rounds=1),
    packages=["septet", "septet.sampler", "septet.rl", "septet.vipg"],
    libraries=["numpy", "numba", "torch", "gymnasium", "stable-baselines3", "sb3-contrib"],
    peers=["sb3_contrib"],
)
