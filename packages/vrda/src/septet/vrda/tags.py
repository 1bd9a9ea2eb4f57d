"""N-best lists of part-of-speech tags with features, in the manner of Ratnaparkhi (1996) and Collins (2002).

A candidate is a row of tags. Its parts are (place, tag before last, last tag, tag): like the nodes of
parses, each is described once per sentence, and only if it varies within the list.
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.vrda.conllu import Sentence
from septet.vrda.features import Described, Vocabulary
from septet.vrda.tagger import Tagger, k_best

Array = NDArray[Any]


class TagLists(NamedTuple):
    """One sentence with its candidates.

    Attributes:
        sentence: the ``(tag, word)`` pairs of the treebank.
        names: tag of each number.
        tags: numbers of the candidates' tags, shape ``(K, n)``.
        log_p: their log probabilities, best first, shape ``(K,)``.
    """

    sentence: Sentence
    names: list[str]
    tags: Array
    log_p: Array


def tagged(parts: Iterable[tuple[Tagger, list[Sentence]]]) -> list[TagLists]:
    """Lists of all sentences, each from the tagger of its part."""
    return [
        TagLists(sentence, tagger.tags, *k_best(tagger, [word for _, word in sentence]))
        for tagger, sentences in parts
        for sentence in sentences
    ]


def described_tags(vocabulary: Vocabulary, one: TagLists) -> tuple[Described, Array]:
    """The features of one list, with right tags and words for its F to be accuracy; and the log probabilities."""
    number = {name: at for at, name in enumerate(one.names)}
    edge = len(one.names)
    gold = np.array([number.get(tag, -1) for tag, _ in one.sentence])
    count, n = one.tags.shape
    padded = np.full((count, n + 2), edge, dtype=np.int64)
    padded[:, 2:] = one.tags
    base = edge + 1
    part = ((np.arange(n) * base + padded[:, :-2]) * base + padded[:, 1:-1]) * base + padded[:, 2:]
    parts, which = np.unique(part, return_inverse=True)
    table = np.zeros((count, len(parts)), dtype=np.int32)
    table[np.repeat(np.arange(count), n), which.ravel()] = 1
    names, words = [*one.names, "<"], ["<", "<", *(word for _, word in one.sentence), ">", ">"]

    def features(at: int) -> Iterator[Hashable]:
        rest, tag = divmod(int(parts[at]), base)
        rest, last = divmod(rest, base)
        place, before = divmod(rest, base)
        return tag_features(names[before], names[last], names[tag], words[place : place + 5])

    match = (one.tags == gold).sum(axis=1)
    return Described(vocabulary.rows(table, features), match, np.full(count, n), n), one.log_p


def tag_features(before: str, last: str, tag: str, words: list[str]) -> Iterator[Hashable]:
    """The features of `tag` after the tags `before` and `last`; each is a tuple that starts with its template.

    Args:
        words: five, that of `tag` in the middle.
    """
    word2, word1, word, next1, next2 = words
    lower = word.lower()
    yield ("tag tag", last, tag)
    yield ("three tags", before, last, tag)
    yield ("tags word", last, tag, lower)
    yield ("tags next", last, tag, next1.lower())
    yield ("tags before", last, tag, word1.lower())
    yield ("as written", word, tag)
    yield ("word", lower, tag)
    yield ("before", word1.lower(), tag)
    yield ("before 2", word2.lower(), tag)
    yield ("next", next1.lower(), tag)
    yield ("next 2", next2.lower(), tag)
    yield ("before word", word1.lower(), lower, tag)
    yield ("word next", lower, next1.lower(), tag)
    yield ("around", word1.lower(), next1.lower(), tag)
    for length in range(1, min(4, len(lower)) + 1):
        yield ("ending", lower[-length:], tag)
    for length in range(1, min(3, len(lower)) + 1):
        yield ("beginning", lower[:length], tag)
    yield ("next ending", next1[-2:].lower(), tag)
    yield ("before ending", word1[-2:].lower(), tag)
    yield ("shape", word[0].isupper(), word.isupper(), any(map(str.isdigit, word)), "-" in word, word1 == "<", tag)
