"""The `bench` verb: decisions per second and regret beside MABWiser and Vowpal Wabbit, in one run.

Every contender plays the same drifting stream: the same contexts, click probabilities and uniforms
behind the clicks. The peers are development dependencies.
"""

import importlib
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.bench import Bench, Row, row
from septet.compiled import compiled
from septet.config import Settings
from septet.dynts.agent import LogisticThompson
from septet.dynts.config import GRID, Job, Method, Simulation
from septet.dynts.engines import engine
from septet.dynts.worlds import initial_weights, simulate

Array = NDArray[np.float64]
Stream = tuple[Array, Array, Array]
ARMS, DIM, ROOT = 10, 10, 2013
WORLD = Simulation(kind="simulation", name="tau1000", arms=ARMS, context_dim=DIM, drift="mean_reverting", period=1000)
DECAY, SCALE, PEER_SCALE = 0.998, 0.25, 0.25
# The peers' settings were chosen among a few on seeds 1001 and 1002; ours stand in the paper's grid.
VOWPAL = "--cb_explore_adf --quiet --cb_type mtr -q UA --power_t 0 -l 0.3 --epsilon 0.1"


class Setting(Settings):
    """What a bench ran with; part of its run card."""

    rounds: int
    seeds: list[int]


def measure(setting: Setting) -> list[Row]:
    """The rows of the bench: ours against each peer, on the same streams, in turns."""
    streams = [drifting_stream(setting.rounds, seed) for seed in setting.seeds]
    contenders: dict[str, Callable[[Stream], float]] = {
        "agent": play_agent,
        "MABWiser LinTS": play_mabwiser,
        "Vowpal Wabbit": play_vowpal,
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    regrets: dict[str, list[float]] = {name: [] for name in contenders}
    for play in contenders.values():
        play(drifting_stream(60, 1))  # the first call may compile
    for stream in streams:
        for name, play in contenders.items():
            start = time.perf_counter()
            regrets[name].append(play(stream))
            rates[name].append(setting.rounds / (time.perf_counter() - start))
    lockstep, alone = engine_rate(setting.rounds, 20), engine_rate(setting.rounds, 1)
    bound = arithmetic_bound()
    rows = []
    regret = {name: float(np.mean(found)) for name, found in regrets.items()}
    drift = f"regret after {setting.rounds} rounds of drift"
    for peer in ("MABWiser LinTS", "Vowpal Wabbit"):
        slow = median(rates[peer])
        rows += [
            row("decisions per second, lockstep engine (1 core)", lockstep, "1/s", peer, slow, lockstep / bound),
            row("decisions per second, engine with one seed (1 core)", alone, "1/s", peer, slow, alone / bound),
            row("decisions per second, agent one call at a time", median(rates["agent"]), "1/s", peer, slow),
            row(drift, regret["agent"], "clicks", peer, regret[peer]),
        ]
    return rows


def drifting_stream(rounds: int, seed: int) -> Stream:
    """Contexts ``(T, D)``, click probabilities ``(T, K)`` and uniforms ``(T,)`` of the mean-reverting world."""
    start = initial_weights(WORLD, ROOT, [seed])
    stream, _ = simulate(WORLD, ROOT, [seed], start, 0, rounds, np.array([rounds]))
    return stream.features[0], stream.probabilities[0], stream.rewards[0]


def play_agent(stream: Stream) -> float:
    """Regret of our agent, one call of `choose` and `update` per round."""
    contexts, probabilities, uniforms = stream
    agent = LogisticThompson(DIM, ARMS, decay=DECAY, posterior_scale=SCALE, seed=0)
    regret = 0.0
    for x, p_t, u in zip(contexts, probabilities, uniforms, strict=True):
        arm = agent.choose(x)
        agent.update(x, float(u < p_t[arm]), arm)
        regret += float(p_t.max() - p_t[arm])
    return regret


def play_mabwiser(stream: Stream) -> float:
    """Regret of MABWiser's LinTS, `predict` and `partial_fit` per round."""
    mab = importlib.import_module("mabwiser.mab")
    contexts, probabilities, uniforms = stream
    policy = mab.MAB(list(range(ARMS)), mab.LearningPolicy.LinTS(alpha=PEER_SCALE), seed=0)
    first = np.arange(ARMS)  # it must be fitted before it predicts: one round of each arm
    policy.fit(first, (uniforms[:ARMS] < probabilities[first, first]).astype(int), contexts[:ARMS])
    regret = 0.0
    for x, p_t, u in zip(contexts, probabilities, uniforms, strict=True):
        arm = policy.predict(x[None])
        policy.partial_fit([arm], [int(u < p_t[arm])], x[None])
        regret += float(p_t.max() - p_t[arm])
    return regret


def play_vowpal(stream: Stream) -> float:
    """Regret of Vowpal Wabbit's contextual bandit (action-dependent features, user x arm), predict and learn."""
    vowpal: Any = importlib.import_module("vowpalwabbit")
    contexts, probabilities, uniforms = stream
    workspace = vowpal.Workspace(VOWPAL)
    rng = np.random.default_rng(0)
    arms = [f"|A a{arm}" for arm in range(ARMS)]
    regret = 0.0
    for x, p_t, u in zip(contexts, probabilities, uniforms, strict=True):
        shared = "shared |U " + " ".join(f"f{i}:{value:.6f}" for i, value in enumerate(x))
        chances = np.array(workspace.predict([shared, *arms]))
        arm = int(rng.choice(ARMS, p=chances / chances.sum()))
        labelled = list(arms)
        labelled[arm] = f"0:{-float(u < p_t[arm])}:{chances[arm]:.6f} {arms[arm]}"
        workspace.learn([shared, *labelled])
        regret += float(p_t.max() - p_t[arm])
    workspace.finish()
    return regret


def engine_rate(rounds: int, seeds: int) -> float:
    """Decisions per second of the lockstep engine on method `ts`, simulation included; median of 5."""
    method = Method(name="ts", schedules=[*GRID, "poly-1-0.75", "harm-1"])
    job = Job(method=method, task=WORLD, seeds=list(range(seeds)), horizon=rounds)
    times = []
    for repeat in range(6):
        bandit = engine(job)
        start = time.perf_counter()
        for block in range(bandit.blocks):
            bandit.advance(block)
        if repeat:  # the first one may compile
            times.append(time.perf_counter() - start)
    return len(method.schedules) * seeds * rounds / median(times)


@compiled(reassociate=True)
def _multiply_add(matrix: Array, left: Array, out: Array, repeats: int) -> None:
    for _ in range(repeats):
        for p in range(matrix.shape[0]):
            weight = left[p]
            row = matrix[p]
            for a in range(matrix.shape[1]):
                out[a] += weight * row[a]


def arithmetic_bound() -> float:
    """Decisions per second if a decision were its multiply-adds alone, at this core's measured rate of them.

    A decision needs m and v of every arm, K (D + D (D + 1) / 2), the gain D² and the rank-one update
    D (D + 1) / 2. The rate is that of y += a x over 64 by 64 numbers that stay in the first cache.
    """
    matrix, left, out, repeats = np.ones((64, 64)), np.zeros(64), np.zeros(64), 2000
    _multiply_add(matrix, left, out, 1)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        _multiply_add(matrix, left, out, repeats)
        times.append(time.perf_counter() - start)
    triangle = DIM * (DIM + 1) // 2
    per_decision = ARMS * (DIM + triangle) + DIM * DIM + triangle
    return float(matrix.size * repeats / median(times) / per_decision)


BENCH = Bench(
    measure=measure,
    full=Setting(rounds=5000, seeds=[2001, 2002, 2003, 2004, 2005]),
    quick=Setting(rounds=1000, seeds=[2001, 2002]),
    packages=["septet", "septet.dynts"],
    libraries=["numpy", "numba", "mabwiser", "vowpalwabbit"],
    peers=["mabwiser", "vowpalwabbit"],
)
