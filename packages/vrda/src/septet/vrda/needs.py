"""What the arrays of the compiled functions have to be, for `septet.arrays`: a piece for each group of arguments."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from septet.arrays import Fault

ROWS = {"data": "real z", "indptr": "whole m+1 parts z", "indices": "whole z < n"}
"""m sparse rows over n columns; n is known by other arguments, which come first."""

LISTS = {
    "base": "real N",
    "starts": "whole l+1 parts N",
    "data": "real z",
    "indptr": "whole N+1 parts z",
    "indices": "whole z < n",
}
"""l lists of N candidates, one sparse row each, over n columns; n is known by other arguments, which come first."""

BRACKETS = {"match": "real N", "guess": "real N", "gold": "real l"}
"""What is right and found of each candidate, and what there was in each list."""

JUDGED = {"quality": "real N", "target": "whole l < N", "order": "whole o < l"}
"""What a learner on lists knows of the candidates, and the lists of a pass."""

STATE = {
    "s": "out f8 n",
    "tally": "out f8 n 2",
    "prefix": "out f8 p w",
    "run": "out f8 8",
    "form": "real 5",
}
"""The state of dual averaging and its regulariser, see `septet.vrda.kernels`."""


def state_fits(a: Mapping[str, Any], sizes: dict[str, int]) -> Fault | None:
    """The clock is inside the prefix sums, with a row for each tick to come, and no stretch begins after it."""
    k, begun, ticks = a["run"][0], a["tally"][:, 1], len(a.get("order", ()))
    if a["prefix"].shape[1] not in (2, 7):
        return "prefix", "2 or 7 columns", str(a["prefix"].shape[1])
    if not (0 <= k < sizes["p"] and k == int(k)):
        return "run", f"a clock from 0, below the {sizes['p']} rows of prefix", str(k)
    if k + ticks >= sizes["p"]:
        return "prefix", f"{int(k) + ticks + 1} rows, one for each tick to come", str(sizes["p"])
    if begun.size and not (begun.min() >= 0 and begun.max() <= k + 1):
        return "tally", f"stretches that begin at 0 to {int(k) + 1}", str(begun.max())
    if "log" in a and 0 < sizes["t"] < ticks:
        return "log", f"no rows, or {ticks}", str(sizes["t"])
    return lists_fit(a, sizes) if "starts" in a else None


def lists_fit(a: Mapping[str, Any], _: dict[str, int]) -> Fault | None:
    """No list is empty, and the target of each is one of its candidates."""
    starts = a["starts"]
    if (starts[1:] == starts[:-1]).any():
        return "starts", "at least one candidate a list", f"none in list {int(np.argmax(starts[1:] == starts[:-1]))}"
    if "target" in a and ((a["target"] < starts[:-1]) | (a["target"] >= starts[1:])).any():
        return "target", "a candidate of its own list", "one of another"
    return None
