"""The first-pass parser: an unlexicalised PCFG, exact CKY, lazy k-best, jackknifed lists.

Grammar: unary chains are collapsed into one symbol, symbols carry the label above them (parent
annotation), rules are binarised to the right with one label of history, probabilities are relative
frequencies, and the gold part-of-speech tags are the input. Every derivation is one tree.

k-best: Huang and Chiang (2005), algorithm 3.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import fit, fit_all
from septet.compiled import compiled
from septet.vrda.treebank import Tree

Array = NDArray[Any]
# ((labels of the chain, label above), label of the sister before or none within a binarised rule)
Symbol = tuple[tuple[tuple[str, ...], str], tuple[str, ...] | None]
Item = tuple[int, int, int]
"""Symbol and span."""
Derivation = tuple[float, int, int, int, int]
"""``(log p, rule, split, rank of the left part, rank of the right part)``; rule -1 is a leaf."""

NEVER = -np.inf


@dataclass(frozen=True)
class Grammar:
    """Binary rules by left child and by parent, root probabilities, symbols of each tag.

    Attributes:
        symbols: symbol of each number.
        rules: parent, left, right, shape ``(R, 3)``, sorted by left; log probabilities `log_p`, shape ``(R,)``.
        by_left: rules with left child b are ``by_left[b]..by_left[b + 1]``.
        order: rule numbers sorted by parent, of which parent a has ``by_parent[a]..by_parent[a + 1]``.
        roots: log probability of each symbol below ``TOP``, ``-inf`` where it never stood there.
        tags: tag -> numbers of the symbols that end in it.
    """

    symbols: list[Symbol]
    rules: Array
    log_p: Array
    by_left: Array
    order: Array
    by_parent: Array
    roots: Array
    tags: dict[str, Array]

    def __post_init__(self) -> None:
        """Refuse tables that do not fit together: the chart is filled by compiled code."""
        specs = {"rules": "whole R 3 < A", "log_p": "real R", "order": "whole R < R", "roots": "real A"}
        offsets = dict.fromkeys(("by_left", "by_parent"), "whole A+1 parts R")
        fit_all("grammar", specs | offsets, vars(self), {"A": len(self.symbols)})


def productions(tree: Tree) -> tuple[Symbol, list[tuple[Symbol, Symbol, Symbol]], list[Symbol]]:
    """Root symbol, binary rules and leaf symbols of a tree under ``TOP``."""
    rules: list[tuple[Symbol, Symbol, Symbol]] = []
    ends: list[Symbol] = []

    def walk(node: Tree, above: str) -> Symbol:
        labels = [node[0]]
        label, children = node
        while not isinstance(children, str) and len(children) == 1:
            node = children[0]
            label, children = node
            labels.append(label)
        # A bare tag knows nothing of its parent: tags are given.
        is_tag = isinstance(children, str)
        symbol: Symbol = ((tuple(labels), "" if is_tag and len(labels) == 1 else above), None)
        if is_tag:
            ends.append(symbol)
            return symbol
        parts = [walk(child, label) for child in children]
        left = symbol
        for part in parts[:-2]:
            rest: Symbol = (symbol[0], part[0][0])
            rules.append((left, part, rest))
            left = rest
        rules.append((left, parts[-2], parts[-1]))
        return symbol

    top = tree[1][0] if len(tree[1]) == 1 else tree
    return walk(top, "TOP" if top is not tree else ""), rules, ends


def estimate(trees: Iterable[Tree]) -> Grammar:
    """The grammar of relative frequencies."""
    rules: Counter[tuple[Symbol, Symbol, Symbol]] = Counter()
    tops: Counter[Symbol] = Counter()
    ends: dict[Symbol, None] = {}
    for tree in trees:
        top, made, leaf_symbols = productions(tree)
        tops[top] += 1
        rules.update(made)
        ends.update(dict.fromkeys(leaf_symbols))
    symbols = list(dict.fromkeys([*chain.from_iterable(rules), *tops, *ends]))
    number_of = {symbol: number for number, symbol in enumerate(symbols)}
    of_parent: Counter[Symbol] = Counter()
    for rule, count in rules.items():
        of_parent[rule[0]] += count
    table = np.array([[number_of[symbol] for symbol in rule] for rule in rules], dtype=np.int32).reshape(-1, 3)
    log_p = np.array([math.log(count / of_parent[rule[0]]) for rule, count in rules.items()])
    by_left = np.argsort(table[:, 1], kind="stable")
    table, log_p = table[by_left], log_p[by_left]
    order = np.argsort(table[:, 0], kind="stable")
    edges = np.arange(len(number_of) + 1)
    roots = np.full(len(number_of), NEVER)
    for symbol, count in tops.items():
        roots[number_of[symbol]] = math.log(count / tops.total())
    tags: dict[str, list[int]] = {}
    for symbol in ends:
        tags.setdefault(symbol[0][0][-1], []).append(number_of[symbol])
    return Grammar(
        symbols=symbols,
        rules=table,
        log_p=log_p,
        by_left=np.searchsorted(table[:, 1], edges),
        order=order,
        by_parent=np.searchsorted(table[order, 0], edges),
        roots=roots,
        tags={tag: np.array(found, dtype=np.int32) for tag, found in tags.items()},
    )


@compiled()
def _inside(n: int, best: Array, rules: Array, log_p: Array, by_left: Array) -> None:
    """Fill the chart: `best[i, j, A]` is the log probability of the best tree of A over words i..j."""
    size = by_left.shape[0] - 1
    found = np.empty((n + 1, n + 1, size), dtype=np.int32)
    count = np.zeros((n + 1, n + 1), dtype=np.int64)
    for i in range(n):
        for a in range(size):
            if best[i, i + 1, a] > -np.inf:
                found[i, i + 1, count[i, i + 1]] = a
                count[i, i + 1] += 1
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            j = i + width
            here = best[i, j]
            for split in range(i + 1, j):
                right = best[split, j]
                for place in range(count[i, split]):
                    b = found[i, split, place]
                    left = best[i, split, b]
                    for r in range(by_left[b], by_left[b + 1]):
                        score = left + right[rules[r, 2]] + log_p[r]
                        a = rules[r, 0]
                        if score > here[a]:
                            if here[a] == -np.inf:
                                found[i, j, count[i, j]] = a
                                count[i, j] += 1
                            here[a] = score


@compiled()
def _edges(a: int, i: int, j: int, best: Array, rules: Array, log_p: Array, order: Array, by_parent: Array) -> Any:
    """All ways to build symbol a over words i..j: ``(scores, splits, rules)``."""
    most = (j - i - 1) * (by_parent[a + 1] - by_parent[a])
    scores, splits = np.empty(most), np.empty(most, dtype=np.int64)
    used, n = np.empty(most, dtype=np.int64), 0
    for split in range(i + 1, j):
        for place in range(by_parent[a], by_parent[a + 1]):
            r = order[place]
            score = best[i, split, rules[r, 1]] + best[split, j, rules[r, 2]] + log_p[r]
            if score > -np.inf:
                scores[n], splits[n], used[n] = score, split, r
                n += 1
    return scores[:n], splits[:n], used[:n]


class _Derivations:
    """The derivations of every item of one chart, best first, made only as far as they are asked for."""

    def __init__(self, grammar: Grammar, best: Array, k: int) -> None:
        self._g, self._best, self._k = grammar, best, k
        self._done: dict[Item, list[Derivation]] = {}
        self._heap: dict[Item, list[Derivation]] = {}

    def get(self, item: Item, rank: int) -> Derivation | None:
        """The derivation of this rank, or none."""
        a, i, j = item
        done = self._done.get(item)
        if done is None:
            done = self._done[item] = []
            self._heap[item] = self._start(a, i, j, done)
        heap = self._heap[item]
        while len(done) <= rank:
            if done and done[-1][1] >= 0:
                self._push_successors(a, i, j, done[-1], heap)
            if not heap:
                return None
            negative, rule, split, left, right = heapq.heappop(heap)
            made = (-negative, rule, split, left, right)
            if not done or made != done[-1]:
                done.append(made)
        return done[rank]

    def _start(self, a: int, i: int, j: int, done: list[Derivation]) -> list[Derivation]:
        if j == i + 1:
            done.append((0.0, -1, 0, 0, 0))
            return []
        g = self._g
        scores, splits, rules = _edges(a, i, j, self._best, g.rules, g.log_p, g.order, g.by_parent)
        if len(scores) > self._k:
            keep = np.argpartition(-scores, self._k)[: self._k]
            scores, splits, rules = scores[keep], splits[keep], rules[keep]
        heap = [(-s, r, m, 0, 0) for s, r, m in zip(scores.tolist(), rules.tolist(), splits.tolist(), strict=True)]
        heapq.heapify(heap)
        return heap

    def _push_successors(self, a: int, i: int, j: int, last: Derivation, heap: list[Derivation]) -> None:
        _, rule, split, left, right = last
        _, b, c = self._g.rules[rule].tolist()
        # (left + 1, 0) comes from (left, 0) only, so that nothing is pushed twice.
        for next_left, next_right in ((left, right + 1), (left + 1, right)) if right == 0 else ((left, right + 1),):
            x = self.get((b, i, split), next_left)
            y = self.get((c, split, j), next_right) if x else None
            if x and y:
                score = x[0] + y[0] + float(self._g.log_p[rule])
                heapq.heappush(heap, (-score, rule, split, next_left, next_right))

    def children(self, item: Item, rank: int, words: list[tuple[str, str]]) -> list[Tree]:
        """The subtrees that the derivation hangs below its parent: one, or the rest of a binarised rule."""
        a, i, j = item
        derivation = self.get(item, rank)
        assert derivation is not None
        (labels, _), within = self._g.symbols[a]
        _, rule, split, left, right = derivation
        if rule < 0:
            node: Tree = words[i]
        else:
            _, b, c = self._g.rules[rule].tolist()
            below = self.children((b, i, split), left, words) + self.children((c, split, j), right, words)
            if within is not None:
                return below
            node = (labels[-1], tuple(below))
        for label in reversed(labels[:-1]):
            node = (label, (node,))
        return [node]


def parse(grammar: Grammar, words: list[tuple[str, str]], k: int = 50) -> list[tuple[float, Tree]]:
    """The k best parses of a tagged sentence with their log probabilities, best first; empty if there is none.

    Args:
        words: ``(tag, word)`` pairs.
    """
    fit("parse: k", "int 1", k)
    n = len(words)
    if any(tag not in grammar.tags for tag, _ in words) or n < 2:
        return []
    best = np.full((n + 1, n + 1, len(grammar.symbols)), NEVER)
    for i, (tag, _) in enumerate(words):
        best[i, i + 1, grammar.tags[tag]] = 0.0
    _inside(n, best, grammar.rules, grammar.log_p, grammar.by_left)
    chart = _Derivations(grammar, best, k)
    tops = best[0, n] + grammar.roots
    heap = [(-float(tops[a]), int(a), 0) for a in np.flatnonzero(tops > NEVER)]
    heapq.heapify(heap)
    parses: list[tuple[float, Tree]] = []
    while heap and len(parses) < k:
        negative, a, rank = heapq.heappop(heap)
        parses.append((-negative, ("TOP", tuple(chart.children((a, 0, n), rank, words)))))
        following = chart.get((a, 0, n), rank + 1)
        if following is not None:
            heapq.heappush(heap, (-(following[0] + float(grammar.roots[a])), a, rank + 1))
    return parses
