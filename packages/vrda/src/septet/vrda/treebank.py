"""Penn trees: reading, cleaning, writing, labelled brackets; and the articles of the CRAFT treebank.

A tree is ``(label, children)``; a leaf is ``(tag, word)``.
"""

import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from septet.errors import InputError

Tree = tuple[str, Any]

PUNCTUATION = frozenset([",", ":", ".", "``", "''"])
"""Tags whose words are no part of any bracket."""

DEEPEST = 250
"""Brackets of a tree inside each other; CRAFT's deepest, cleaned, has 29."""

# Only ASCII white space parts tokens: CRAFT has words with a no-break space inside.
_TOKEN = re.compile(r"\n|[()]|[^() \t\r\n]+")


def read_trees(text: str, where: str) -> Iterator[Tree]:
    """The trees of a Penn file, which may span lines; an outer bracket without label gets ``TOP``.

    Raises:
        InputError: a bracket does not close or open, a leaf has no word, or a word no tag; names
            file and line.
    """
    stack: list[tuple[str, list[Any], int]] = []
    opening, line = False, 1

    def fault(expected: str, found: str) -> InputError:
        return InputError(f"{where}:{line}", expected=expected, found=found)

    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "(":
            if len(stack) >= DEEPEST:
                raise fault(f"at most {DEEPEST} brackets inside each other", "more")
            if opening:
                stack.append(("", [], line))
            elif stack and stack[-1][1] and isinstance(stack[-1][1][0], str):  # a word is an only child
                raise fault("a leaf (TAG word)", f"a bracket after the word in {stack[-1][0]}")
            opening = True
        elif token == ")":
            if opening or not stack:
                raise fault("a labelled bracket", "()" if opening else ") without (")
            label, children, _ = stack.pop()
            if not children:
                raise fault("a leaf (TAG word) or subtrees", f"({label})")
            node = (label or "TOP", children[0] if isinstance(children[0], str) else tuple(children))
            if stack:
                stack[-1][1].append(node)
            else:
                yield node
        elif token == "\n":
            line += 1
        elif opening:
            stack.append((token, [], line))
            opening = False
        elif not stack or stack[-1][1] or not stack[-1][0]:
            raise fault("one word per tagged leaf", f"the stray word {token}")
        else:
            stack[-1][1].append(token)
    if stack or opening:
        start = stack[0][2] if stack else line
        raise InputError(f"{where}:{start}", expected="a closed bracket", found="the end of the file")


def clean(tree: Tree) -> Tree | None:
    """The tree without empty elements, function tags and indices; none if nothing is left."""
    label, children = tree
    if isinstance(children, str):
        return None if label == "-NONE-" else tree
    kept = tuple(child for child in map(clean, children) if child is not None)
    if not kept:
        return None
    label = re.split(r"(?<=.)[-=|]", label)[0]
    # What an empty sister leaves behind, (NP (NP it)), is one bracket, not two.
    return kept[0] if len(kept) == 1 and kept[0][0] == label else (label, kept)


def write_tree(tree: Tree) -> str:
    """The tree in Penn brackets on one line."""
    label, children = tree
    if isinstance(children, str):
        return f"({label} {children})"
    return f"({label} {' '.join(map(write_tree, children))})"


def leaves(tree: Tree) -> list[tuple[str, str]]:
    """The ``(tag, word)`` pairs from left to right."""
    label, children = tree
    if isinstance(children, str):
        return [(label, children)]
    return [leaf for child in children for leaf in leaves(child)]


def brackets(tree: Tree) -> Counter[tuple[str, int, int]]:
    """The labelled brackets ``(label, start, end)``; ``TOP`` and punctuation do not count."""
    found: Counter[tuple[str, int, int]] = Counter()

    def walk(node: Tree, start: int) -> int:
        label, children = node
        if isinstance(children, str):
            return start + (label not in PUNCTUATION)
        end = start
        for child in children:
            end = walk(child, end)
        if label != "TOP":
            found[label, start, end] += 1
        return end

    walk(tree, 0)
    return found


def craft_articles(folder: Path, archive: Path) -> dict[str, dict[str, list[Tree]]]:
    """The cleaned trees of CRAFT: split -> article -> trees.

    Args:
        folder: holds ``craft-ids-{train,dev,test}.txt``.
        archive: ``craft-penn-trees.tar.gz``.

    Raises:
        InputError: the archive is damaged, lacks an article, or holds a malformed tree.
    """
    try:
        with tarfile.open(archive) as tar:
            texts = {
                Path(member.name).stem: file.read().decode("utf-8")
                for member in tar
                if member.name.endswith(".tree") and member.isfile() and (file := tar.extractfile(member)) is not None
            }
    except (tarfile.TarError, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(str(archive), expected="a gzipped tar archive of .tree files", found=str(error)) from None
    splits: dict[str, dict[str, list[Tree]]] = {}
    for split in ("train", "dev", "test"):
        try:
            ids = (folder / f"craft-ids-{split}.txt").read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            where, expected = str(folder / f"craft-ids-{split}.txt"), "the ids of articles"
            raise InputError(where, expected=expected, found=str(error)) from None
        for article in ids:
            if article not in texts:
                raise InputError(str(archive), expected=f"penn/{article}.tree", found="no such member")
        splits[split] = {
            article: [tree for raw in read_trees(texts[article], f"{article}.tree") if (tree := clean(raw)) is not None]
            for article in ids
        }
    return splits
