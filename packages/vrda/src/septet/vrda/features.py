"""Lexicalised features of candidate parses, in the manner of Charniak and Johnson (2005).

The candidates of one sentence share most of their nodes. A node with three labels above it is
described once per sentence, however many candidates hold it, and not at all when every candidate
holds it: what does not vary within a list cannot change a ranking.
"""

from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from septet.vrda.treebank import PUNCTUATION, Tree

Array = NDArray[Any]

_VERBS = ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ")
_NOUNS = ("NN", "NNS", "NNP", "NNPS", "NML", "NP", "CD", "PRP")
# Where the head child is looked for: side to start from, labels in order of preference.
_HEADS: dict[str, tuple[int, tuple[str, ...]]] = {
    "VP": (0, ("MD", *_VERBS, "VP", "TO", "ADJP", "NP")),
    "NP": (-1, _NOUNS),
    "NML": (-1, _NOUNS),
    "PP": (0, ("IN", "TO", "VBG", "PP")),
    "S": (0, ("VP", "S", "ADJP", "NP")),
    "SBAR": (0, ("IN", "WHNP", "WHADVP", "WHPP", "S")),
    "ADJP": (-1, ("JJ", "JJR", "JJS", "VBN", "ADJP")),
    "ADVP": (-1, ("RB", "RBR", "RBS", "ADVP")),
    "QP": (-1, ("CD",)),
}


class Node(NamedTuple):
    """A subtree at its place in the sentence; equal subtrees of one list are one object."""

    label: str
    children: tuple["Node", ...]
    start: int
    end: int
    head: int
    """Position of the head word."""


Context = tuple[Node, str, str, str]
"""A node and the three labels above it, the nearest first."""


class Described(NamedTuple):
    """One n-best list as numbers.

    Attributes:
        rows: candidates x features (numbers of `Vocabulary`), varying features only.
        match, guess: brackets that are right and brackets in all, per candidate.
        gold: brackets of the gold tree.
    """

    rows: csr_matrix
    match: Array
    guess: Array
    gold: int


class Vocabulary:
    """Numbers of features, given in order of first sight."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """How many features have been seen."""
        return len(self.numbers)

    def describe(self, gold: Tree, candidates: list[Tree]) -> Described:
        """Features and bracket counts of one list."""
        nodes: dict[Hashable, Node] = {}
        contexts: dict[Hashable, int] = {}
        held: list[Context] = []
        counts = []
        for tree in [gold, *candidates]:
            words: list[tuple[str, str]] = []
            root = _intern(tree, words, nodes)
            found: list[int] = []
            _visit((root, "", "", ""), contexts, held, found)
            counts.append(found)
        table = np.zeros((len(counts), len(held)), dtype=np.int32)
        for row, found in zip(table, counts, strict=True):
            np.add.at(row, found, 1)
        match, guess, golds = _bracket_counts(table, held, words)
        rows = self.rows(table[1:], lambda context: node_features(*held[context], words))
        return Described(rows, match, guess, golds)

    def rows(self, table: Array, features: Callable[[int], Iterator[Hashable]]) -> csr_matrix:
        """Features of candidates that are made of parts: candidates x numbers, what varies only.

        Args:
            table: how often each candidate holds each part, shape ``(candidates, parts)``.
            features: the features of a part.
        """
        varying = np.flatnonzero((table != table[0]).any(axis=0))
        described = [
            [self.numbers.setdefault(name, len(self.numbers)) for name in features(c)] for c in varying.tolist()
        ]
        rows = np.repeat(np.arange(len(varying)), [len(names) for names in described])
        columns = np.array([number for names in described for number in names], dtype=np.int64)
        local, place = np.unique(columns, return_inverse=True)
        per_part = csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, place)), shape=(len(varying), len(local)))
        dense = (csr_matrix(table[:, varying].astype(np.float32)) @ per_part).toarray()
        return differences(dense, local, len(self.numbers))


def differences(counts: Array, columns: Array, width: int) -> csr_matrix:
    """Counts ``(candidates, c)`` of features `columns`, ``(c,)``, less the median of each, in rows of this width.

    Only differences within the list matter: this drops what does not vary and halves the non-zeros of what does.
    """
    sparse = csr_matrix(counts - np.sort(counts, axis=0)[len(counts) // 2])
    return csr_matrix((sparse.data, columns[sparse.indices], sparse.indptr), (len(counts), width))


def _intern(tree: Tree, words: list[tuple[str, str]], nodes: dict[Hashable, Node]) -> Node:
    label, children = tree
    start = len(words)
    if isinstance(children, str):
        words.append((label, children))
        key: Hashable = (label, start)
        kids: tuple[Node, ...] = ()
    else:
        kids = tuple([_intern(child, words, nodes) for child in children])
        key = (label, start, *map(id, kids))
    node = nodes.get(key)
    if node is None:
        head = kids[_head_child(label, kids)].head if kids else start
        node = nodes[key] = Node(label, kids, start, len(words), head)
    return node


def _head_child(label: str, children: tuple[Node, ...]) -> int:
    side, wanted = _HEADS.get(label, (-1, ()))
    places = range(len(children)) if side == 0 else range(len(children) - 1, -1, -1)
    for name in wanted:
        for at in places:
            if children[at].label == name:
                return at
    # Failing a rule: the last child that is no punctuation.
    for at in range(len(children) - 1, -1, -1):
        if children[at].label not in PUNCTUATION:
            return at
    return len(children) - 1


def _visit(context: Context, contexts: dict[Hashable, int], held: list[Context], found: list[int]) -> None:
    node, above, above2, above3 = context
    key = (id(node), above, above2, above3)
    number = contexts.get(key)
    if number is None:
        number = contexts[key] = len(held)
        held.append(context)
    found.append(number)
    for child in node.children:
        _visit((child, node.label, above, above2), contexts, held, found)


def _bracket_counts(table: Array, held: list[Context], words: list[tuple[str, str]]) -> tuple[Array, Array, int]:
    """``(match, guess)`` of each candidate and the number of gold brackets; row 0 of `table` is gold."""
    position = np.concatenate([[0], np.cumsum([tag not in PUNCTUATION for tag, _ in words])])
    kinds: dict[tuple[str, int, int], int] = {}
    context, kind = [], []
    for number, (node, _, _, _) in enumerate(held):
        if node.children and node.label != "TOP":
            bracket = (node.label, int(position[node.start]), int(position[node.end]))
            context.append(number)
            kind.append(kinds.setdefault(bracket, len(kinds)))
    totals = np.zeros((len(table), len(kinds)), dtype=np.int32)
    np.add.at(totals.T, kind, table.T[context])
    guess = totals.sum(axis=1)
    match = np.minimum(totals[1:], totals[0]).sum(axis=1)
    return match, guess[1:], int(guess[0])


def _bucket(length: int) -> int:
    return length if length < 6 else (6 if length < 9 else (7 if length < 14 else 8))


def node_features(node: Node, up: str, up2: str, up3: str, words: list[tuple[str, str]]) -> Iterator[Hashable]:
    """The features of a node below the labels `up`, `up2`, `up3`; each is a tuple that starts with its template."""
    if not node.children:
        tag, word = words[node.start]
        yield ("word", word, tag, up)
        yield ("word2", word, up, up2)
        yield ("word3", word, up, up2, up3)
        yield ("tag3", tag, up, up2, up3)
        return
    label = node.label
    kids = node.children
    names = tuple([kid.label for kid in kids])
    head_tag, head_word = words[node.head]
    yield ("rule", label, names)
    yield ("rule up", label, names, up)
    yield ("rule up2", label, names, up, up2)
    yield ("rule word", label, names, head_word)
    yield ("rule tag", label, names, head_tag, up)
    yield ("up3", label, up, up2, up3)
    yield ("head up", label, head_word, up)
    yield from _children(node, names, words)
    yield from _modifiers(node, words)
    yield from _span(node, up, words)
    if "CC" in names or "CONJP" in names:
        yield from _coordination(node, words)


def _children(node: Node, names: tuple[str, ...], words: list[tuple[str, str]]) -> Iterator[Hashable]:
    """Child n-grams with edges; bigrams also with the head words of both."""
    label = node.label
    padded = ("<", *names, ">")
    for a, b in pairwise(padded):
        yield ("two", label, a, b)
    for a, b, c in zip(padded[:-2], padded[1:-1], padded[2:], strict=True):
        yield ("three", label, a, b, c)
    for left, right in pairwise(node.children):
        yield ("two heads", label, left.label, right.label, words[left.head][1], words[right.head][1])


def _modifiers(node: Node, words: list[tuple[str, str]]) -> Iterator[Hashable]:
    """Pairs of head and modifier, as tags and as words; what a preposition ties together."""
    label, head = node.label, node.head
    head_tag, head_word = words[head]
    for kid in node.children:
        if kid.start <= head < kid.end:
            continue
        tag, word = words[kid.head]
        side = kid.start > head
        near = min(abs(kid.head - head), 4)
        yield ("pair", label, kid.label, side, head_tag, tag)
        yield ("pair far", label, kid.label, side, head_tag, near)
        yield ("pair word", label, kid.label, side, head_word, tag)
        yield ("word pair", label, kid.label, side, head_tag, word)
        yield ("words", side, head_word, word)
        if kid.label == "PP" and len(kid.children) > 1:
            yield ("attached", head_word, word, words[kid.children[-1].head][1])
            yield ("attached tag", head_tag, word, words[kid.children[-1].head][0])


def _span(node: Node, up: str, words: list[tuple[str, str]]) -> Iterator[Hashable]:
    """Length of a node with what stands at its edges."""
    label, length = node.label, _bucket(node.end - node.start)
    before = words[node.start - 1] if node.start else ("<", "<")
    after = words[node.end] if node.end < len(words) else (">", ">")
    first, last = words[node.start], words[node.end - 1]
    yield ("long", label, length, up)
    yield ("long after", label, length, after[0])
    yield ("edges", label, before[0], first[0], last[0], after[0])
    yield ("start", label, before[1], first[0])
    yield ("end", label, last[0], after[1])
    yield ("first", label, first[1])
    yield ("right", label, node.end >= len(words) - 1)


def _coordination(node: Node, words: list[tuple[str, str]]) -> Iterator[Hashable]:
    """Whether what is coordinated is alike: labels, head tags, lengths."""
    parts = [kid for kid in node.children if kid.label not in PUNCTUATION and kid.label not in ("CC", "CONJP")]
    for a, b in pairwise(parts):
        alike = a.label == b.label
        yield ("and", node.label, a.label, b.label)
        yield ("and heads", node.label, alike, words[a.head][0], words[b.head][0])
        difference = max(-4, min(4, (b.end - b.start) - (a.end - a.start)))
        yield ("and long", node.label, alike, difference)
