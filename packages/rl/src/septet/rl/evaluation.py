"""`python -m septet.rl evaluate MODEL`: returns of trained policies over noise-free episodes, without training."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from septet import sampler
from septet.errors import InputError
from septet.rl.model_arguments import ROOT, arguments_of
from septet.rl.models import Environment, Kind, Model, load_model
from septet.rl.policies import Policy
from septet.sampler.nonfinite import check_step
from septet.sealed import write_json

Array = NDArray[np.float64]
LONGEST = 10_000
"""Steps of an episode that has no time limit, at most."""


def returns_of(
    policy: Policy, environment: Environment, episodes: int, root: int = ROOT, threads: int = 1
) -> tuple[Array, NDArray[np.int64]]:
    """Run whole episodes without action noise; every policy meets the same starts.

    Args:
        policy: of S seeds.
        environment: what they act in.
        episodes: n, of each policy.
        root: root seed of the starts; threads: that step the environments.

    Returns:
        Returns ``(S, n)`` and lengths in steps ``(S, n)``.

    Raises:
        InputError: an unknown environment, one of other sizes, or an episode that does not end.
        NotFinite: the environment gave a value that is not finite.
    """
    environment.register()
    seeds = [0] * len(policy)
    made = sampler.make(
        environment.name, seeds=seeds, environments=episodes, root=root, threads=threads, **environment.options
    )
    with closing(made) as batch:
        fits = (policy.shape.sizes[0] - policy.shape.time_feature, policy.shape.sizes[-1])
        if (batch.observation_size, batch.action_size) != fits:
            found = f"{batch.observation_size} and {batch.action_size}"
            raise InputError(environment.name, expected=f"{fits[0]} observations and {fits[1]} actions", found=found)
        total, length = np.zeros(batch.size), np.zeros(batch.size, np.int64)
        observation, running = batch.reset(), np.ones(batch.size, bool)
        for t in range(batch.time_limit or LONGEST):
            by_policy = observation.reshape(len(policy), episodes, -1)
            action = policy.bounded(policy.act(by_policy, np.full(by_policy.shape[:2], t)))
            step = batch.step(action.reshape(batch.size, -1), running)  # who is done rests
            check_step(step, seeds, f"evaluation, step {t + 1}")
            total += step.reward
            length += running
            running = running & ~(step.terminated | step.truncated)
            if not running.any():
                break
            observation = step.observation
        else:
            expected = f"episodes that end within {LONGEST:,} steps"
            raise InputError(environment.name, expected=expected, found=f"{running.sum()} that did not")
    return total.reshape(len(policy), -1), length.reshape(len(policy), -1)


def interval(values: Array) -> tuple[float, float, float]:
    """Mean of values ``(n,)`` and Student's 95 % interval about it; infinite for a single value."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -np.inf, np.inf
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def evaluated(
    model: Model, kind: Kind, episodes: int, seeds: Sequence[int] | None, method: str | None, **options: Any
) -> list[dict[str, Any]]:
    """A row for each seed of a model: seed, mean return, interval, episodes; of several seeds a last one over them."""
    rows = model.rows(seeds, method)
    found, _ = returns_of(model.policy(kind, seeds, method), model.card.environment, episodes, **options)
    named = [(str(model.card.seeds[row]), own) for row, own in zip(rows, found, strict=True)]
    if len(rows) > 1:
        named.append(("all", found.mean(axis=1)))
    table = []
    for name, values in named:
        mean, low, high = interval(values)
        bounds = {"low": low, "high": high} if np.isfinite(low) else {"low": None, "high": None}
        table.append({"seed": name, "mean_return": mean, **bounds, "episodes": episodes})
    return table


def main(arguments: list[str]) -> None:
    """Print mean returns and their intervals."""
    parser = arguments_of("evaluate", "Returns of a trained model over noise-free episodes, with 95 % intervals.")
    parser.add_argument("--episodes", type=int, default=20, help="of each seed (20)")
    parser.add_argument("--threads", type=int, default=1, help="threads that step the environments")
    parser.add_argument("--json", type=Path, help="file for the same numbers")
    given = parser.parse_args(arguments)
    if given.episodes < 1:
        raise InputError("evaluate: --episodes", expected="1 or more", found=given.episodes)
    model = load_model(given.model)
    kind = model.kind(given.kind)
    table = evaluated(model, kind, given.episodes, given.seeds, given.method, root=given.root, threads=given.threads)
    card = model.card
    of = f"{given.method or card.methods[0]} on {card.task}, {kind} policy of each seed"
    print(f"{of}, run {card.run or 'none'}")
    if card.rounded:
        scores = (card.kinds[kind].scores[row] for row in model.rows(given.seeds, given.method))
        before = ", ".join("not scored" if score is None else f"{score:.5g}" for score in scores)
        print(f"weights rounded to {card.rounded}; {card.judged_by} in its run, before that: {before}")
    for row in table:
        over = f"{row['episodes']} episodes" if row["seed"] != "all" else f"the means of {len(table) - 1} seeds"
        name = f"seed {row['seed']}" if row["seed"] != "all" else "all seeds"
        shown = "no interval" if row["low"] is None else f"95 % [{row['low']:.5g}, {row['high']:.5g}]"
        print(f"{name}: mean return {row['mean_return']:.5g}, {shown}, over {over}")
    if given.json:
        write_json(given.json, table)
