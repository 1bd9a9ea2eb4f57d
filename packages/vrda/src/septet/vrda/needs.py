"""What the arrays of the compiled functions have to be, for `septet.arrays`: a piece for each group of arguments."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from septet.arrays import Fault

ROWS = {"data": "real z", "indices": "whole z < n", "indptr": "whole m+1 parts z"}
"""m sparse rows over n columns; n is known by other arguments, which come first."""

LISTS = {"base": "real N", "starts": "whole l+1 parts N", **ROWS, "indptr": "whole N+1 parts z"}
"""l lists of N candidates, one sparse row each, over n columns; n is known by other arguments, which come first."""

BRACKETS = {"match": "real N", "guess": "real N", "gold": "real l"}
"""What is right and found of each candidate, and what there was in each list."""

JUDGED = {**LISTS, "quality": "real N", "target": "whole l < N"}
"""`septet.vrda.kernels.Lists`."""

STATE = {"s": "out f8 n", "tally": "out f8 n", "alive": "out u1 n", "prefix": "out f8 p w", "run": "out f8 7"}
"""The state of dual averaging, see `septet.vrda.kernels`."""


def state_fits(a: Mapping[str, Any], sizes: dict[str, int]) -> Fault | None:
    """The clock is inside the prefix sums, with a row for each tick to come."""
    *_, prefix, run = a["state"]
    k = run[0]
    if prefix.shape[1] not in (2, 4):
        return "prefix", "2 or 4 columns", str(prefix.shape[1])
    if len(a.get("weight", ())) not in (0, sizes.get("m", 0)):
        return "weight", f"one for each of {sizes['m']} rows, or none", str(len(a["weight"]))
    ticks = ticks_of(a.get("order", ()), a.get("weight", ()))
    if not (0 <= k < sizes["p"] and k == int(k)):
        return "run", f"a clock from 0, below the {sizes['p']} rows of prefix", str(k)
    if not k + ticks < sizes["p"]:
        return "prefix", f"{k + ticks + 1:g} rows, one for each tick to come", str(sizes["p"])
    if "log" in a and not (sizes["t"] == 0 or sizes["t"] >= ticks):
        return "log", f"no rows, or {ticks:g}", str(sizes["t"])
    return lists_fit(dict(zip(JUDGED, a["lists"], strict=True)), sizes) if "lists" in a else None


def ticks_of(order: Any, weight: Any) -> float:
    """Most ticks of the clock that a pass may take: one for each presentation."""
    return float(np.ceil(weight[order]).sum()) if len(weight) else len(order)


def lists_fit(a: Mapping[str, Any], _: dict[str, int]) -> Fault | None:
    """No list is empty, and the target of each is one of its candidates."""
    starts = a["starts"]
    if (starts[1:] == starts[:-1]).any():
        return "starts", "at least one candidate a list", f"none in list {int(np.argmax(starts[1:] == starts[:-1]))}"
    if "target" in a and ((a["target"] < starts[:-1]) | (a["target"] >= starts[1:])).any():
        return "target", "a candidate of its own list", "one of another"
    return None
