"""The filters of a finished job as files, and an agent that continues from one."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.dynts.agent import LogisticThompson
from septet.dynts.engines import ContextFreeBandit, DisjointBandit, Engine, SharedBandit
from septet.errors import InputError
from septet.model_files import read_model

Array = NDArray[Any]


def filters(bandit: Engine) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of `model/` and the fields of its card: posteriors, or counts where there is no context.

    Covariances are packed lower triangles, row by row. A sliding window keeps its posterior and not its samples.
    """
    if bandit.job.keep_model == "none":
        return {}, {}
    state = bandit.state
    scores = {name: values.tolist() for name, values in sorted(bandit.history.last().items())}
    about: dict[str, Any] = {"rounds": bandit.rounds, "scores": scores, "agents": agents(bandit)}
    if isinstance(bandit, ContextFreeBandit):
        return {"counts": state["counts"]}, {**about, "axes": {"counts": "method, seed, arm, clicks and misses"}}
    about["axes"] = {"mu": "method, seed, group, feature", "covariance": "method, seed, group, pair of features"}
    about["axes"]["kept"] = "method, seed, group: share of the prior's precision left"
    if isinstance(bandit, DisjointBandit):
        packed = np.swapaxes(state["packed"] * state["scale"][:, :, None], 2, 3)
        return {"mu": np.swapaxes(state["mu"], 2, 3), "covariance": packed, "kept": state["kept"]}, about
    arrays = {"mu": state["mu"][:, :, None], "kept": state["kept"][..., None]}
    if getattr(bandit, "diagonal", False):
        about["axes"]["variance"] = "method, seed, group, feature"
        del about["axes"]["covariance"]
        return {**arrays, "variance": 1.0 / state["root"]}, about
    covariance = state["scale"][..., None, None] * (state["root"] @ np.swapaxes(state["root"], 2, 3))
    return {**arrays, "covariance": covariance[:, :, None, *np.tril_indices(state["mu"].shape[2])]}, about


def agents(bandit: Engine) -> dict[str, dict[str, Any] | None]:
    """Method of the job -> settings of the `LogisticThompson` that continues it; None if there is no such agent."""
    method, found = bandit.job.method, {}
    mean, variance = getattr(bandit, "prior", (np.zeros(1), np.full(1, bandit.job.prior_variance)))
    thompson = method.filter == "full" and method.clock == "round" and not method.oracle
    thompson &= method.epsilon == method.confidence_width == 0.0 and isinstance(bandit, DisjointBandit | SharedBandit)
    for text, schedule, gamma in zip(
        method.schedules, bandit.schedules, bandit.gammas(bandit.rounds - 1, bandit.rounds)[:, 0], strict=True
    ):
        same = len(np.unique(variance)) == 1 or schedule.guard != "prior"
        settings = {
            "decay": float(gamma),
            "posterior_scale": method.posterior_scale,
            "prior_mean": float(mean[0]) if len(np.unique(mean)) == 1 else mean.tolist(),
            "prior_variance": float(variance[0]),
            "keep_prior": schedule.guard == "prior",
            "shared": not isinstance(bandit, DisjointBandit),
        }
        fits = thompson and same and not schedule.window and schedule.guard != "trace"
        found[f"{method.name}/{text}"] = settings if fits else None
    return found


def load_agent(path: Path, method: str, seed: int, *, draws: int | None = None) -> LogisticThompson:
    """Load the filter of a finished job as an agent that continues from it, to the precision of float32.

    Args:
        path: the folder of the job, or `model/` in it.
        method: label of the method with its schedule, as in the score table: ``"ts/exp-0.999"``.
        seed: of the job.
        draws: seed of the agent's own draws.

    Raises:
        InputError: no such model, method or seed, or a method that is no Thompson sampling with one decay (UCB,
            windows, Kalman filters, a clock of pulls, counts; a prior kept with several variances).
    """
    card, arrays = read_model(path, "dynts")
    known, seeds = card["agents"], card["seeds"]
    if method not in known:
        raise InputError("load_agent: method", expected=f"one of {', '.join(known)}", found=method)
    if seed not in seeds:
        raise InputError("load_agent: seed", expected=f"one of {', '.join(map(str, seeds))}", found=seed)
    if known[method] is None:
        raise InputError("load_agent: method", expected="Thompson sampling with one decay", found=method)
    settings = dict(known[method])
    shared = settings.pop("shared")
    at = list(known).index(method), seeds.index(seed)
    mu, packed = arrays["mu"][at].astype(np.float64), arrays["covariance"][at].astype(np.float64)
    agent = LogisticThompson(mu.shape[1], None if shared else len(mu), seed=draws, **settings)
    sigma = np.empty((len(mu), mu.shape[1], mu.shape[1]))
    rows, columns = np.tril_indices(mu.shape[1])
    sigma[:, rows, columns] = sigma[:, columns, rows] = packed
    return agent.restored(mu, sigma, float(arrays["kept"][at].min()))
