"""How much our reading of mistakes matters: margin 0, equal F, equal scores.

    python -m septet.vrda.differences --lists lists.safetensors --seeds 1000 1001 1002

prints a table: F of the averaged predictor and mistakes, each as the paper could be read and as a difference from
ours. Every reading is an order of the candidates and a judgement of them, so the learner is the same.
"""

import argparse
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.seeding import stream
from septet.vrda.lists import NBest, read_lists
from septet.vrda.rerank import DualAveraging, choose
from septet.vrda.vrda import Regulariser

Array = NDArray[Any]
SETTINGS = {"hinge": Regulariser(l1=1e-5, gamma=0.05), "log": Regulariser(l1=1e-4, gamma=1000.0)}
"""The paper's (section 6)."""


@dataclass(frozen=True)
class Judged(NBest):
    """Lists whose learner is told another quality and target than F gives; shapes ``(N,)`` and ``(m,)``."""

    given_quality: Array
    given_target: Array

    @property
    def quality(self) -> Array:
        """Quality of each candidate, as given."""
        return self.given_quality

    @property
    def target(self) -> Array:
        """Target of each list, as given."""
        return self.given_target


def judged(lists: NBest, quality: Array, target: Array, order: Array | None = None) -> Judged:
    """Lists with another judgement, and with their candidates in another order.

    Args:
        lists: m lists of N candidates.
        quality: shape ``(N,)``.
        target: a candidate of each list, shape ``(m,)``.
        order: a permutation of the candidates that keeps each in its list, shape ``(N,)``; None keeps the order.
    """
    order = np.arange(len(lists.base)) if order is None else order
    rows, place = lists.rows()[order], np.argsort(order)
    arrays = {field.name: getattr(lists, field.name) for field in fields(NBest)}
    arrays |= {"indptr": rows.indptr.astype(np.int64), "indices": rows.indices, "data": rows.data}
    arrays |= {name: arrays[name][order] for name in ("base", "match", "guess")}
    return Judged(**arrays, given_quality=quality[order], given_target=place[target])


def readings(lists: NBest) -> dict[str, NBest]:
    """The lists under each reading, ours first."""
    quality, target, numbers = lists.quality, lists.target, np.arange(len(lists.base))
    only = np.where(np.isin(numbers, target), 2.0, quality)
    last = np.array([b - 1 - int(np.argmax(quality[a:b][::-1])) for a, b in pairwise(lists.starts.tolist())])
    backwards = np.concatenate([numbers[a:b][::-1] for a, b in pairwise(lists.starts.tolist())])
    key = np.where(np.isin(numbers, target), -1, numbers)
    lists_of = np.repeat(np.arange(len(target)), np.diff(lists.starts))
    return {
        "ours": lists,
        "another candidate of equal F is a mistake": judged(lists, only, target),
        "the target is the last of equal F": judged(lists, quality, last),
        "of equal scores the last is chosen": judged(lists, quality, target, backwards),
        "margin 0 is correct, after a first mistake": judged(lists, quality, target, np.lexsort((key, lists_of))),
    }


def learned(first: NBest, lists: NBest, test: NBest, orders: list[Array], loss: str) -> tuple[float, int]:
    """F of the averaged predictor, mean over the ends of epochs, and mistakes.

    The first mistake is made on `first`: where the target wins ties, zero weights would never make one.
    """
    learner = DualAveraging(lists, SETTINGS[loss], sum(map(len, orders)) + 1, log_loss=loss == "log")
    if first is not lists:
        start = DualAveraging(first, SETTINGS[loss], 1, log_loss=loss == "log")
        for at in range(len(orders[0])):
            start.learn(orders[0][at : at + 1])
            if start.mistakes:
                break
        learner.resume(start)
    found = []
    for order in orders:
        learner.learn(order)
        found.append(test.f_score(choose(test, learner.averaged())))
    return float(np.mean(found)), learner.mistakes


def table(lists: NBest, test: NBest, seeds: list[int], epochs: int) -> str:
    """The Markdown table over shuffles `seeds`."""
    orders = {
        seed: [stream(2014, "shuffle", "differences", seed, e).permutation(len(lists.gold)) for e in range(epochs)]
        for seed in seeds
    }
    lines = ["| reading | loss | F averaged | less ours | mistakes | of ours |", "|---|---|---|---|---|---|"]
    read = readings(lists)
    for loss in SETTINGS:
        base: Array = np.zeros((len(seeds), 2))
        for name, other in read.items():
            found = np.array([learned(lists, other, test, orders[seed], loss) for seed in seeds])
            base = found if name == "ours" else base
            less = found[:, 0] - base[:, 0]
            ratio = (found[:, 1] / np.maximum(base[:, 1], 1.0)).mean()
            spread = less.std(ddof=min(1, len(seeds) - 1))
            lines.append(
                f"| {name} | {loss} | {found[:, 0].mean():.4f} | {less.mean():+.4f} ± {spread:.4f} "
                f"| {found[:, 1].mean():,.0f} | {ratio:.3f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(prog="python -m septet.vrda.differences", description=__doc__.splitlines()[0])
    parser.add_argument("--lists", type=Path, required=True, help="lists made by `python -m septet.vrda prepare`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 1001, 1002], help="shuffles")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training lists")
    given = parser.parse_args()
    print(table(read_lists(given.lists, "train"), read_lists(given.lists, "test"), given.seeds, given.epochs))


if __name__ == "__main__":
    main()
