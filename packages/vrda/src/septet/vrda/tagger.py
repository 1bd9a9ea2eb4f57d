"""First-pass tagger: a trigram hidden Markov model with exact k-best Viterbi, in the manner of TnT (Brants 2000).

    p(t_1 .. t_n, w_1 .. w_n) = prod_i p(t_i | t_{i-2}, t_{i-1}) p(w_i | t_i)

Each distribution is backed off to the next shorter history, `p(x | h) = (c(h, x) + strength p(x | h')) / (c(h) +
strength)`. By Bayes `p(w | t) = p(t | w) p(w) / p(t)`, where `p(w)` is the same for all candidates and dropped, and
`p(t | w)` is backed off to what the endings of rare words say.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.arrays import checked
from septet.vrda.conllu import Sentence
from septet.vrda.kernels import jit

Array = NDArray[Any]

RARE = 10
"""Words seen at most so often teach what endings say."""
ENDING = 5
"""Longest ending, in letters."""
HISTORY, WORD, SUFFIX = 16.0, 0.5, 3.0
"""Strength of the back-off for tags after tags, tags of words, tags of endings; chosen on dev."""
TAGS, LEAST = 10, 1e-4
"""At most so many tags of a word are looked at, none less likely than this share of the likeliest."""


@dataclass
class Tagger:
    """What `train_tagger` found.

    Attributes:
        tags: the T tags, in order of their numbers.
        log_next: ``log p(c | a, b)`` at ``[a, b, c]``, shape ``(T + 1, T + 1, T + 1)``; number T is the edge.
        prior: ``p(t)``, shape ``(T,)``.
        words: word -> how often with each tag, shape ``(T,)``.
        endings: ending -> how often rare words that end so have each tag, shape ``(T,)``.
    """

    tags: list[str]
    log_next: Array
    prior: Array
    words: dict[str, Array]
    endings: dict[tuple[str, str], Array]

    def allowed(self, word: str) -> tuple[Array, Array]:
        """The tags to look at for a word, in order of their numbers, and ``log p(t | w) - log p(t)`` of each."""
        p_t = self.prior
        for ending in _endings(word):
            if ending not in self.endings:
                break
            seen = self.endings[ending]
            p_t = (seen + SUFFIX * p_t) / (seen.sum() + SUFFIX)
        if (seen_word := self.words.get(word)) is not None:
            p_t = (seen_word + WORD * p_t) / (seen_word.sum() + WORD)
        best = np.argsort(-p_t, kind="stable")[:TAGS]
        best = np.sort(best[p_t[best] >= LEAST * p_t[best[0]]])
        return best, np.log(p_t[best] / self.prior[best])


def _endings(word: str) -> Iterator[tuple[str, str]]:
    """The shape of a word with none, one, ... of its last letters."""
    capitals = "A" * word[:1].isupper() + "U" * (word.isupper() and len(word) > 1)
    shape = capitals + "0" * any(map(str.isdigit, word)) + "-" * ("-" in word)
    lower = word.lower()
    for length in range(min(ENDING, len(word)) + 1):
        yield shape, lower[len(lower) - length :]


def train_tagger(sentences: Iterable[Sentence]) -> Tagger:
    """Count, and back off."""
    kept = list(sentences)
    tags = sorted({tag for sentence in kept for tag, _ in sentence})
    number = {tag: at for at, tag in enumerate(tags)}
    edge = len(tags)
    counts = np.zeros((edge + 1, edge + 1, edge + 1))
    words: dict[str, Array] = defaultdict(lambda: np.zeros(edge))
    for sentence in kept:
        chain = [edge, edge, *(number[tag] for tag, _ in sentence), edge]
        np.add.at(counts, (chain[:-2], chain[1:-1], chain[2:]), 1.0)
        for tag, word in sentence:
            words[word][number[tag]] += 1.0
    total = sum(words.values(), start=np.zeros(edge))
    endings: dict[tuple[str, str], Array] = defaultdict(lambda: np.zeros(edge))
    for word, seen in words.items():
        if seen.sum() <= RARE:
            for ending in _endings(word):
                endings[ending] += seen

    one = counts.sum(axis=(0, 1)) + 0.1
    p_1 = one / one.sum()
    two = counts.sum(axis=0)
    p_2 = (two + HISTORY * p_1) / (two.sum(axis=1, keepdims=True) + HISTORY)
    p_3 = (counts + HISTORY * p_2) / (counts.sum(axis=2, keepdims=True) + HISTORY)
    return Tagger(tags, np.log(p_3), total / total.sum(), dict(words), dict(endings))


def k_best(tagger: Tagger, words: list[str], k: int = 50) -> tuple[Array, Array]:
    """The k likeliest tag sequences of a sentence.

    Returns:
        Numbers of tags, shape ``(K, n)`` with ``K <= k``, and their log probabilities (without that of the words),
        shape ``(K,)``, best first.
    """
    edge = (np.array([len(tagger.tags)]), np.zeros(1))
    choices = [edge, edge, *(tagger.allowed(word) for word in words), edge, edge]
    starts = np.concatenate([[0], np.cumsum([len(tags) for tags, _ in choices])]).astype(np.int64)
    tags = np.concatenate([tags for tags, _ in choices]).astype(np.int64)
    log_word = np.concatenate([log_p for _, log_p in choices])
    return _viterbi(starts, tags, log_word, tagger.log_next, k)


@checked(log_word="real z", log_next="real E E E", starts="whole p+1 parts z", tags="whole z < E", k="int 1")
@jit
def _viterbi(starts: Array, tags: Array, log_word: Array, log_next: Array, k: int) -> tuple[Array, Array]:
    """Exact k-best Viterbi over pairs of neighbouring tags; the sentence has two edges before and two after it.

    A state at place i is a pair (a, b) of choices for places i - 1 and i; it keeps its k best histories, each with
    the choice z at i - 2 and the rank of the history there. Ties go to the lower choice, then the lower rank. The
    second edge after the sentence costs nothing: its one state gathers all sequences.
    """
    places = starts.shape[0] - 1
    widest = np.max(np.diff(starts))
    score = np.empty((places, widest, widest, k))
    held = np.zeros((places, widest, widest), dtype=np.int64)
    back = np.empty((places, widest, widest, k, 2), dtype=np.int64)
    score[1, 0, 0, 0], held[1, 0, 0] = 0.0, 1
    values = np.empty(widest * k)
    origin = np.empty((widest * k, 2), dtype=np.int64)
    for i in range(2, places):
        first, before, here = starts[i - 2], starts[i - 1], starts[i]
        for b in range(starts[i + 1] - here):
            for a in range(here - before):
                size = 0
                for z in range(before - first):
                    step = log_word[here + b]
                    if i < places - 1:
                        step += log_next[tags[first + z], tags[before + a], tags[here + b]]
                    for rank in range(held[i - 1, z, a]):
                        values[size] = -(score[i - 1, z, a, rank] + step)
                        origin[size, 0], origin[size, 1] = z, rank
                        size += 1
                order = np.argsort(values[:size], kind="mergesort")
                held[i, a, b] = min(k, size)
                for rank in range(held[i, a, b]):
                    score[i, a, b, rank] = -values[order[rank]]
                    back[i, a, b, rank] = origin[order[rank]]
    count = held[places - 1, 0, 0]
    found = np.empty((count, places - 4), dtype=np.int64)
    for row in range(count):
        a, b, rank = 0, 0, row
        for i in range(places - 1, 3, -1):
            z, earlier = back[i, a, b, rank, 0], back[i, a, b, rank, 1]
            found[row, i - 4] = tags[starts[i - 2] + z]
            a, b, rank = z, a, earlier
    return found, score[places - 1, 0, 0, :count].copy()
