"""Logged bandit feedback: what a known policy chose, with which probability, and whether it was clicked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from septet.dynts.arguments import array_of, whole
from septet.errors import InputError
from septet.reading import is_file, readable

Array = NDArray[Any]
CAMPAIGNS = ("all", "men", "women")
BEHAVIOURS = ("random", "bts")
"""Logging policies of the Open Bandit Dataset: uniform, and Bernoulli Thompson sampling."""
COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score")


@dataclass(frozen=True)
class Log:
    """Rounds of a log in order of time.

    Attributes:
        contexts: ``(T, D)``, with an intercept if the reader wants one.
        actions: the arm that was shown, ``(T,)``, from 0.
        clicks: 0 or 1, ``(T,)``.
        propensities: probability with which the logging policy showed it, ``(T,)``, in (0, 1].
        positions: place in the list of recommendations that the row is about, ``(T,)``, from 0; all 0 without lists.
        n_arms: K.

    Raises:
        InputError: shapes differ or a value is out of range.
    """

    contexts: Array
    actions: Array
    clicks: Array
    propensities: Array
    positions: Array
    n_arms: int

    def __post_init__(self) -> None:
        """Look at all rows once, so that nothing after has to."""
        rounds = len(array_of(self.contexts, "contexts", (None, None)))
        for name, low, high in (("actions", 0, self.n_arms - 1), ("clicks", 0, 1), ("positions", 0, self.n_arms - 1)):
            values = array_of(getattr(self, name), name, (rounds,))
            wrong = (values < low) | (values > high) | (values != np.round(values))
            if wrong.any():
                found = f"{values[wrong][0]:g} in row {np.argmax(wrong)}"
                raise InputError(name, expected=f"whole numbers from {low} to {high}", found=found)
        p = array_of(self.propensities, "propensities", (rounds,))
        if rounds == 0 or not ((p > 0) & (p <= 1)).all():
            found = f"{p[~((p > 0) & (p <= 1))][0]:g}" if rounds else "no rounds"
            raise InputError("propensities", expected="rounds with probabilities in (0, 1]", found=found)

    @property
    def length(self) -> int:
        """Positions of a list of recommendations."""
        return int(self.positions.max()) + 1

    def as_feedback(self) -> dict[str, Any]:
        """The log as Open Bandit Pipeline takes it (`BanditFeedback`)."""
        return {
            "n_rounds": len(self.actions),
            "n_actions": self.n_arms,
            "action": self.actions,
            "position": self.positions,
            "reward": self.clicks,
            "pscore": self.propensities,
            "context": self.contexts,
            "action_context": np.eye(self.n_arms),
        }


def read_open_bandit(folder: Path, behaviour: str = "random", campaign: str = "men") -> Log:
    """Read a part of the Open Bandit Dataset (Saito et al. 2021): an intercept and the user's features, one-hot.

    The first category of each feature has no column, as in Open Bandit Pipeline.

    Args:
        folder: holds ``<behaviour>/<campaign>/<campaign>.csv``, or the same as ``.csv.gz``.
        behaviour: the logging policy, ``"random"`` or ``"bts"``.
        campaign: ``"all"``, ``"men"`` or ``"women"``.

    Raises:
        InputError: the file is not there or not as it should be.
    """
    for name, value, known in (("behaviour", behaviour, BEHAVIOURS), ("campaign", campaign, CAMPAIGNS)):
        if value not in known:
            raise InputError(name, expected=f"one of {', '.join(known)}", found=value)
    path = folder / behaviour / campaign / f"{campaign}.csv"
    path = path if is_file(path) else path.with_suffix(".csv.gz")
    with readable(path, "a CSV file of the Open Bandit Dataset"):
        table = _parsed(path, lambda: pl.read_csv(path, infer_schema_length=None))
    users = sorted(name for name in table.columns if name.startswith("user_feature_"))
    for name in (*COLUMNS, "user_feature_0"):
        if name not in table.columns:
            raise InputError(str(path), expected=f"a column {name}", found=", ".join(table.columns[:8]) + " ...")
    whole, real = ["item_id", "position", "click"], "propensity_score"
    table = _parsed(path, lambda: table.with_columns(pl.col(whole).cast(pl.Int64), pl.col(real).cast(pl.Float64)))
    if any(table.select(*whole, real).null_count().row(0)) or table.is_empty():
        raise InputError(str(path), expected="rows without missing values", found="missing ones, or no rows")
    table = table.sort("timestamp", maintain_order=True)
    columns = [np.ones(len(table))]
    for name in users:
        values = table[name].cast(pl.String).fill_null("none")
        columns += [(values == category).to_numpy() for category in values.unique().sort()[1:]]
    try:
        return Log(
            contexts=np.column_stack(columns),
            actions=table["item_id"].to_numpy(),
            clicks=table["click"].to_numpy(),
            propensities=table["propensity_score"].to_numpy(),
            positions=table["position"].rank("dense").to_numpy().astype(np.int64) - 1,
            n_arms=int(table["item_id"].to_numpy().max()) + 1,
        )
    except InputError as error:
        raise InputError(str(path), expected="logged impressions", found=str(error)) from None


def _parsed(path: Path, parse: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    try:
        return parse()
    except pl.exceptions.PolarsError as error:
        raise InputError(str(path), expected="logged impressions as CSV", found=str(error).splitlines()[0]) from None


def simulate_log(rounds: int, n_arms: int, features: int, *, click_rate: float = 0.1, seed: int = 0) -> Log:
    """A log of a uniform policy in a static logistic world, for trials without data.

    Args:
        rounds: T; n_arms: K; features: D, of which the first is an intercept.
        click_rate: of an average user and arm, in (0, 1); seed: of the world and the log.

    Raises:
        InputError: a size below 1, or a rate out of range.
    """
    sizes = [whole(name, size, 1) for name, size in (("rounds", rounds), ("n_arms", n_arms), ("features", features))]
    if not 0.0 < click_rate < 1.0:
        raise InputError("click_rate", expected="a number in (0, 1)", found=click_rate)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(sizes[1], sizes[2])) / np.sqrt(sizes[2])
    weights[:, 0] += np.log(click_rate / (1.0 - click_rate))
    x = np.column_stack([np.ones(rounds), rng.normal(size=(rounds, features - 1))])
    arms = rng.integers(n_arms, size=rounds)
    clicks = rng.random(rounds) < expit((weights[arms] * x).sum(axis=1))
    return Log(x, arms, clicks.astype(np.int64), np.full(rounds, 1.0 / n_arms), np.zeros(rounds, np.int64), n_arms)
