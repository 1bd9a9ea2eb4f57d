"""The `prepare` verb: from trees to n-best lists with features, checked at both ends."""

import gzip
import io
import json
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from septet.data import Source, data_dir, locate
from septet.errors import DataUnavailable, InputError
from septet.files import replacing, sha256, write_text
from septet.progress import Progress
from septet.seeding import stream
from septet.vrda.config import Preparation
from septet.vrda.conllu import FILES, ewt
from septet.vrda.craft_trees import TREES
from septet.vrda.features import Described, Vocabulary
from septet.vrda.generated import SPACE, generated_lists
from septet.vrda.lists import assemble, frequent, write_lists
from septet.vrda.parser import Grammar, estimate, parse
from septet.vrda.tagger import train_tagger
from septet.vrda.tags import described_tags, tagged
from septet.vrda.treebank import Tree, craft_articles, leaves, read_trees

Array = NDArray[Any]
Candidates = tuple[Tree, list[tuple[float, Tree]]]
Take = Callable[[list[Any]], list[Any]]
Splits = dict[str, list[tuple[Described, Array]]]
Sentence = TypeVar("Sentence")
Model = TypeVar("Model")
Train = Callable[[Iterable[Sentence]], Model]
Documents = dict[str, list[Sentence]]

_CRAFT = "https://raw.githubusercontent.com/UCDenver-ccp/CRAFT/2abe82b8bb8089448b84937d5f61d8c218011322"
TREEBANK = {
    "craft-penn-trees.tar.gz": "a5569cd59d38e51af3fac6612f4bf64fb1a64062290402bcf5e4e9b4fbe41346",
    "craft-ids-train.txt": "9215bc144bb67f3f2c93555068e166fe9934d9f941e1df1ae1e842dac15ccae9",
    "craft-ids-dev.txt": "96e26a2a6e818a36b23ed14891ab195616f752c42abc686585b8a1d39bd3bafe",
    "craft-ids-test.txt": "9b86db4128e9314e24bcc1f910fdba01bc08686b1754adcdbe6eb39a730a0f33",
}
READY = {
    "train": "2e8572f1af2e98c76026a20324243fb342f912ef6363964e400841a0a15b014c",
    "dev": "45b9a08c1b29e66bd7f1e220b8e4c243190b03609136bae058bf0427a14604d5",
    "test": "166863a48d5130340574b5cad01dfff78e7b61c3ce686e5f58b86735c45d069c",
}
GENERATED = (2500, 1000)
"""Generated lists where the task takes all there are."""
LENGTHS = range(2, 26)
"""Words of the sentences that are parsed."""


def prepare(config: Preparation, out: Path) -> None:
    """Write OUT/lists.safetensors, with the splits train and test, and OUT/lists.sha256.

    Raises:
        InputError: a file below `data_dir` is missing, damaged, or another one than expected.
    """
    task = config.task
    if config.data_source == "generated":
        splits, known, note = _generate(config, "generated on request")
    else:
        try:
            splits, known, note = _real(config, out)
        except DataUnavailable as reason:
            if config.data_source == "real":
                raise
            print(f"{reason}; using generated lists", file=sys.stderr)
            splits, known, note = _generate(config, "generated, for want of the real data")
    number = frequent((one for one, _ in splits["train"]), known, task.least)
    made = {split: assemble(described, number) for split, described in splits.items()}
    for split, lists in made.items():
        first, best = lists.f_score(lists.starts[:-1]), lists.f_score(lists.target)
        print(f"{split}: {len(lists.gold)} lists, {len(lists.base) / len(lists.gold):.1f} candidates each, ", end="")
        print(f"first best {first:.4f}, oracle {best:.4f}; {lists.features:,} features")
    write_lists(out / "lists.safetensors", made, note)
    write_text(out / "lists.sha256", f"{sha256(out / 'lists.safetensors')}  lists.safetensors\n")


def _generate(config: Preparation, note: str) -> tuple[Splits, int, str]:
    counts = (config.task.train_lists or GENERATED[0], config.task.test_lists or GENERATED[1])
    splits = {
        split: generated_lists(stream(config.root_seed, "generated", split), count)
        for split, count in zip(("train", "test"), counts, strict=True)
    }
    return splits, SPACE, note


def _real(config: Preparation, out: Path) -> tuple[Splits, int, str]:
    """Describe the real lists; training lists come first, so that their features get the first numbers."""
    task, folder = config.task, data_dir(config.data_dir)
    describe: Callable[[Vocabulary, Any], tuple[Described, Array]] = described_parses
    if task.treebank == "ewt":
        train, test = ewt(folder, out / "downloads", "train"), ewt(folder, out / "downloads", task.test_split)
        sources: dict[str, Callable[[Choice], list[Any]]] = {
            "train": lambda choice: choice.take(tagged(jackknife(train_tagger, train))),
            "test": lambda choice: choice.take(tagged([held_out(train_tagger, [train], test)])),
        }
        describe = described_tags
        note = f"ud-english-ewt {FILES['train'][1][:12]}, tags"
    elif task.from_scratch or folder is None:
        articles = treebank(folder, out)
        known = [articles["train"]] if task.test_split == "dev" else [articles["train"], articles["dev"]]
        sources = {
            "train": lambda choice: parsed(jackknife(estimate, articles["train"]), choice, out),
            "test": lambda choice: parsed([held_out(estimate, known, articles[task.test_split])], choice, out),
        }
        note = f"CRAFT treebank {TREEBANK['craft-penn-trees.tar.gz'][:12]}, lists from scratch"
    else:
        sources = {
            "train": lambda choice: ready(folder, "train", choice.take),
            "test": lambda choice: ready(folder, task.test_split, choice.take),
        }
        note = f"craft-50best {READY['train'][:12]}"
    if task.test_split == "dev":
        note += ", tested on dev"
    vocabulary = Vocabulary()
    splits: Splits = {}
    for split, wanted in (("train", task.train_lists), ("test", task.test_lists)):
        chosen = sources[split](Choice(wanted, stream(config.root_seed, "choice", split)))
        progress = Progress(f"vrda features of {split} lists", len(chosen), "lists", out)
        splits[split] = []
        for done, one in enumerate(chosen, 1):
            splits[split].append(describe(vocabulary, one))
            progress.update(done)
        progress.finish()
    return splits, len(vocabulary), note


def described_parses(vocabulary: Vocabulary, one: Candidates) -> tuple[Described, Array]:
    """The features of one list of parses, and their log probabilities."""
    gold, parses = one
    return vocabulary.describe(gold, [tree for _, tree in parses]), np.array([log_p for log_p, _ in parses])


@dataclass(frozen=True)
class Choice:
    """The first `wanted` things of a shuffle, or all of them as they stand if that is None."""

    wanted: int | None
    random: np.random.Generator

    def order(self, things: list[Any]) -> list[Any]:
        """All things, in the order in which they are chosen."""
        return things if self.wanted is None else [things[i] for i in self.random.permutation(len(things))]

    def take(self, things: list[Any]) -> list[Any]:
        """The chosen things."""
        return self.order(things)[: self.wanted]


def ready(folder: Path, split: str, take: Take) -> list[Candidates]:
    """The ready lists of one split that `take` picks.

    Raises:
        InputError: the file is missing, has another checksum, or holds a malformed line.
    """
    source = _source("craft-50best", f"craft-50best/{split}.jsonl.gz", READY[split])
    return read_ready(locate(source, folder, folder), take)


def read_ready(file: Path, take: Take) -> list[Candidates]:
    """The lists of a ``.jsonl.gz`` file that `take` picks. Raises InputError with file and line."""
    line, found = 0, []
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line, text in take(list(enumerate(lines, 1))):
                row, where = json.loads(text), f"{file}:{line}"
                parses = [(float(log_p), next(read_trees(tree, where))) for log_p, tree in row["parses"]]
                found.append((next(read_trees(row["gold"], where)), parses))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, StopIteration) as error:
        expected = 'a line {"gold": tree, "parses": [[log p, tree], ...]}'
        raise InputError(f"{file}:{line}", expected=expected, found=repr(error)) from None
    return found


def treebank(folder: Path | None, out: Path) -> dict[str, dict[str, list[Tree]]]:
    """The CRAFT treebank, from `folder` or from its repository at the pinned commit."""
    downloads = out / "downloads"
    if folder is None:
        pack_public(downloads)
        return craft_articles(downloads, downloads / "craft-penn-trees.tar.gz")
    sources = [_source("craft-treebank", f"craft-treebank/{name}", digest) for name, digest in TREEBANK.items()]
    found = [locate(source, folder, downloads) for source in sources]
    return craft_articles(found[0].parent, found[0])


def pack_public(downloads: Path) -> None:
    """Download the 97 articles and the split, check each file, and pack the archive."""

    def fetched(path: str, digest: str) -> Path:
        return locate(_source("craft-treebank", path, digest, f"{_CRAFT}/{path}"), None, downloads)

    for name, digest in TREEBANK.items():
        if name.endswith(".txt"):
            fetched(f"articles/ids/{name}", digest)
    trees = {
        name: fetched(f"structural-annotation/treebank/penn/{name}.tree", digest) for name, digest in TREES.items()
    }
    with replacing(downloads / "craft-penn-trees.tar.gz") as temporary, tarfile.open(temporary, "w:gz") as tar:
        for name, path in trees.items():
            content = path.read_bytes()
            member = tarfile.TarInfo(f"penn/{name}.tree")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _source(name: str, file: str, digest: str, url: str = "") -> Source:
    return Source(name=name, file=file, sha256=digest, url=url, url_sha256=digest)


def jackknife(
    train: Train[Sentence, Model], documents: Documents[Sentence], folds: int = 10
) -> Iterator[tuple[Model, list[Sentence]]]:
    """For each fold what `train` makes of all other documents, and the sentences of the fold."""
    names = list(documents)
    for fold in range(min(folds, len(names))):
        held = names[fold::folds]
        others = {name: documents[name] for name in names if name not in held}
        yield held_out(train, [others], {name: documents[name] for name in held})


def held_out(
    train: Train[Sentence, Model], known: list[Documents[Sentence]], documents: Documents[Sentence]
) -> tuple[Model, list[Sentence]]:
    """What `train` makes of the `known` documents, and the sentences of the others."""
    model = train(sentence for part in known for document in part.values() for sentence in document)
    return model, [sentence for document in documents.values() for sentence in document]


def parsed(parts: Iterable[tuple[Grammar, list[Tree]]], choice: Choice, out: Path) -> list[Candidates]:
    """Lists of the chosen sentences, each from the grammar of its part.

    A sentence without a parse has no list, and the next one of the order takes its place: few lists are few parses.
    """
    sentences = [(grammar, tree) for grammar, trees in parts for tree in trees if len(leaves(tree)) in LENGTHS]
    wanted = len(sentences) if choice.wanted is None else choice.wanted
    progress = Progress("vrda parses", wanted, "lists", out)
    found: list[Candidates] = []
    for grammar, tree in choice.order(sentences):
        if parses := parse(grammar, leaves(tree)):
            found.append((tree, parses))
            progress.update(len(found))
        if len(found) == wanted:
            break
    progress.finish()
    return found
