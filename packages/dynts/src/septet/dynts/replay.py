"""Replay a log to an agent, and estimate how often its choices would have been clicked.

    python -m septet.dynts.replay FOLDER [--seeds 10]

FOLDER is the Open Bandit Dataset, or its sample; the table compares decays on it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.dynts.agent import LogisticThompson
from septet.dynts.logged import BEHAVIOURS, CAMPAIGNS, Log, read_open_bandit
from septet.dynts.off_policy import Estimate, click_model, dr_terms, interval, ips_terms
from septet.errors import EXIT_BAD_INPUT, InputError

Array = NDArray[Any]
DECAYS = (1.0, 0.9999, 0.999, 0.99)


class Played(NamedTuple):
    """What an agent did on a log: its choice at the position of each round, ``(T,)``, and whether that was shown."""

    arms: Array
    matched: Array


def replay(agent: LogisticThompson, log: Log, *, learn_from: str = "matched") -> Played:
    """Let an agent choose in every round of a log, and learn where the log has an answer (Li et al. 2011).

    Args:
        agent: with weights per arm, for the log's number of arms and features; it learns in place.
        log: rounds in order of time. With lists of recommendations, the agent's list is compared at the round's
            position.
        learn_from: ``"matched"``: only rounds whose action the agent chose too, as if it had been online;
            ``"all"``: every round, as an agent that is fed the logging policy's clicks.

    Raises:
        InputError: the agent does not fit the log, or `learn_from` is unknown. The agent then has learned nothing.
    """
    if learn_from not in ("matched", "all"):
        raise InputError("learn_from", expected="'matched' or 'all'", found=learn_from)
    sizes, wanted = (agent.n_features, agent.n_arms), (log.contexts.shape[1], log.n_arms)
    if sizes != wanted:
        raise InputError("agent", expected=f"n_features, n_arms = {wanted}, as in the log", found=f"{sizes}")
    arms, length = np.empty(len(log.actions), dtype=np.int64), log.length
    rounds = zip(log.contexts, log.actions, log.clicks, log.positions, strict=True)
    for t, (x, shown, clicked, position) in enumerate(rounds):
        arms[t] = agent.choose(x) if length == 1 else agent.rank(x, length)[position]
        if learn_from == "all" or arms[t] == shown:
            agent.update(x, clicked, int(shown))
    return Played(arms, arms == log.actions)


class Estimates(NamedTuple):
    """Click rates of agents that differ in their seeds, averaged, with what they rest on."""

    ips: Estimate
    dr: Estimate
    matches: float
    """Rounds of the log that an agent chose like the log, mean over seeds."""
    clicks: float
    """Clicks among them."""


def estimate(log: Log, q: Array, seeds: Sequence[int], *, learn_from: str = "matched", **settings: Any) -> Estimates:
    """Estimate the click rate of agents with these settings by IPS and DR.

    The terms are averaged over the seeds before they are resampled, so the interval is over rounds.

    Args:
        log: the log; q: click probabilities from `click_model`, ``(T, K)``.
        seeds: of the agents, at least one; settings: of `LogisticThompson`.

    Raises:
        InputError: as `replay`.
    """
    if not seeds or q.shape != (len(log.actions), log.n_arms):
        raise InputError("seeds, q", expected="a seed, and q of one row per round", found=f"{list(seeds)}, {q.shape}")
    rows, shape = np.arange(len(log.actions)), (len(seeds), len(log.actions))
    ips, dr, matched = np.empty(shape), np.empty(shape), np.empty(shape)
    for i, seed in enumerate(seeds):
        agent = LogisticThompson(log.contexts.shape[1], log.n_arms, seed=seed, **settings)
        played = replay(agent, log, learn_from=learn_from)
        matched[i] = played.matched
        ips[i] = ips_terms(log.clicks, log.propensities, matched[i])
        q_of = q[rows, log.actions], q[rows, played.arms]
        dr[i] = dr_terms(log.clicks, log.propensities, matched[i], *q_of)
    clicks = float((matched @ log.clicks).mean())
    return Estimates(interval(ips.mean(axis=0)), interval(dr.mean(axis=0)), float(matched.sum(axis=1).mean()), clicks)


def table(folder: Path, seeds: Sequence[int], decays: Sequence[float] = DECAYS) -> list[str]:
    """Markdown rows: each campaign of the uniform log, agents with these decays, clicks per 1,000 impressions.

    The prior of the intercept is the logit of the click rate of the other logging policy's log, which the agents never
    see.
    """
    lines = [
        "| campaign | learns from | decay | IPS | DR | rounds matched | clicks in them |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for campaign in CAMPAIGNS:
        log, other = (read_open_bandit(folder, behaviour, campaign) for behaviour in BEHAVIOURS)
        q = click_model(log)
        mean = np.zeros(log.contexts.shape[1])
        mean[0] = np.log(other.clicks.mean() / (1.0 - other.clicks.mean()))
        shown = interval(log.clicks), interval(other.clicks)
        lines += [
            f"| {campaign} | {name} itself | - | {_shown(rate)} | - | {len(part.clicks)} | {part.clicks.sum()} |"
            for name, rate, part in zip(BEHAVIOURS, shown, (log, other), strict=True)
        ]
        for learn_from in ("matched", "all"):
            for decay in decays:
                found = estimate(log, q, seeds, learn_from=learn_from, decay=decay, prior_mean=mean)
                lines.append(
                    f"| {campaign} | {learn_from} | {decay:g} | {_shown(found.ips)} | {_shown(found.dr)} "
                    f"| {found.matches:.0f} | {found.clicks:.1f} |"
                )
    return lines


def _shown(found: Estimate) -> str:
    return f"{1000 * found.value:.1f} [{1000 * found.low:.1f}, {1000 * found.high:.1f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m septet.dynts.replay", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the Open Bandit Dataset")
    parser.add_argument("--seeds", type=int, default=10, help="agents that are averaged")
    given = parser.parse_args(arguments)
    try:
        print("\n".join(table(given.folder, range(given.seeds))))
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
