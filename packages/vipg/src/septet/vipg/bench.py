"""The `bench` verb: iterations, episodes, curvature and Stein directions beside peers and slow versions, in one run.

Five seeds run in lockstep against five runs of the peer, one after the other. One math thread each, contenders in
turns, medians. The peer, sb3-contrib's TRPO, is a development dependency.
"""

import importlib
from collections.abc import Callable
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
    if "alphas" in type(method).model_fields and name != "trpo":
        method = method.model_copy(update={"alphas": [0.01]})
    task = Environment(
        kind="environment", name="bench", environment=setting.environment, episodes=setting.episodes, gamma=0.97,
        return_low=-1300.0, return_high=-150.0, iterations=1_000_000,
    )  # fmt: skip
    return Agent(Job(method=method, task=task, seeds=SEEDS, evaluate_every=1_000_000))


def iterations(setting: Setting) -> list[Row]:
    """Iterations per minute of five seeds, all of them at the same batch."""
    contenders: dict[str, Callable[[], None]] = {}
    for name in ("trpo", "v_trpo"):
        agent, count = made(name, setting), [0]

        def run(agent: Agent = agent, count: list[int] = count) -> None:
            agent.iterate(count[0])
            count[0] += 1

        run()  # the first iteration compiles
        contenders[name] = run
    contenders[PEER] = peer(setting)
    taken = measured(contenders, setting.rounds)
    theirs = len(SEEDS) * taken[PEER]
    batch = setting.episodes * setting.horizon
    return [
        row(f"{name}: iterations of {batch:,} steps per minute, {len(SEEDS)} seeds", 60.0 / taken[name], "1/min",
            f"{PEER}, one run after the other", 60.0 / theirs)
        for name in ("trpo", "v_trpo")
    ]  # fmt: skip


def peer(setting: Setting) -> Callable[[], None]:
    """One iteration of the peer at the same batch, net and settings of the step."""
    gymnasium = importlib.import_module("gymnasium")
    vec = importlib.import_module("stable_baselines3.common.vec_env")
    contrib = importlib.import_module("sb3_contrib")
    environments = vec.DummyVecEnv([lambda: gymnasium.make(setting.environment)] * setting.episodes)
    model = contrib.TRPO(
        "MlpPolicy", environments, n_steps=setting.horizon, batch_size=128, gamma=0.97, gae_lambda=0.97,
        target_kl=0.01, cg_max_steps=10, cg_damping=0.1, policy_kwargs={"net_arch": [32, 32]}, seed=1, device="cpu",
    )  # fmt: skip
    batch = setting.episodes * setting.horizon
    model.learn(batch)

    def run() -> None:
        model.learn(batch, reset_num_timesteps=False)

    return run


def parts(setting: Setting) -> list[Row]:
    """Parts of an iteration beside the plain way to do them."""
    agent = made("v_trpo", setting)
    problem = caught(agent)
    out = []

    weights, _, _ = agent.weights(objective.noise(0, agent.seeds, 0, 8, agent.sampler.weights))
    together = agent.collector
    alone = experience.collector(agent.task, SEEDS[:1], 1, agent.task.episodes // 8, 0)
    still = [np.zeros((n, agent.collector.collection.policy.observation_size)) for n in (len(weights), 1)]

    def all_at_once() -> None:
        together.collect(weights, iteration=0, mean=still[0], scale=still[0] + 1.0)

    def one_by_one() -> None:
        for k in range(len(weights)):
            alone.collect(weights[k : k + 1], iteration=0, mean=still[1], scale=still[1] + 1.0)

    each = measured({"ours": all_at_once, "slow": one_by_one}, setting.rounds)
    steps = agent.task.episodes * setting.horizon * len(SEEDS)
    out.append(
        row(f"steps per second of {len(weights)} policies together, 2 episodes each", steps / each["ours"], "1/s",
            "one policy after the other", steps / each["slow"])
    )  # fmt: skip

    v = torch.from_numpy(np.random.default_rng(0).standard_normal(problem.old.shape)).float()
    states = problem.batch.valid.shape[1] * len(problem.batch.valid) // problem.rows
    ours = updates.curvature(problem, states=states, damping=0.0)
    theirs = kl_hessian_product(lambda w: problem.evaluate(w, "surrogate")[1], problem.old)
    each = measured({"ours": lambda: ours(v), "slow": lambda: theirs(v)}, 3 * setting.rounds)
    out.append(
        row("curvature products per second, all samples", 1.0 / each["ours"], "1/s",
            "double back-propagation", 1.0 / each["slow"])
    )  # fmt: skip

    rng = np.random.default_rng(1)
    theta, score = (torch.from_numpy(rng.standard_normal((len(SEEDS), 16, 1250))).float() for _ in range(2))
    each = measured(
        {"ours": lambda: stein.direction(theta, score), "slow": lambda: naive_stein(theta, score)}, setting.rounds
    )
    out.append(
        row("Stein directions per second, 16 particles of 1,250 weights, 5 seeds", 1.0 / each["ours"], "1/s",
            "loop over pairs", 1.0 / each["slow"])
    )  # fmt: skip
    return out


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
