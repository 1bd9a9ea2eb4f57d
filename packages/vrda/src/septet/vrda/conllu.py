"""UD English EWT: finding the files and reading tagged sentences from CoNLL-U."""

import gzip
import re
import zlib
from pathlib import Path

from septet.data import Source, locate
from septet.errors import InputError

Sentence = list[tuple[str, str]]
"""``(tag, word)`` pairs, as the leaves of a tree."""

COMMIT = "15d613d8447b3478787d4c278730a1e48a945efb"
FILES = {
    "train": (
        "bd47e08c9e18ec12d319e84df2ccdb272ff6de1d0dba5761117d3caf8b358f7b",
        "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
    ),
    "dev": (
        "41086e3afc9ae572f899c9123f874d6d04a52e374a3d2ac7a6667ce48e3bf3e3",
        "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
    ),
    "test": (
        "29c151eee8846d3f3ef7806c126ecac9932af2317c008c6d6b076c5e14950dbe",
        "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
    ),
}
"""SHA-256 of each split: of the gzipped file below `data_dir`, of the released file at the pinned commit."""

# Words have whole numbers; 3-4 is a token of several words, 8.1 a word that is not in the text.
_WORD, _OTHER = re.compile(r"[1-9][0-9]*"), re.compile(r"[0-9]+[-.][0-9]+")


def ewt(folder: Path | None, downloads: Path, split: str) -> dict[str, list[Sentence]]:
    """The documents of one split, below `folder` or from the repository at the pinned commit.

    Raises:
        InputError: the file is missing, has another checksum, or is malformed.
        DataUnavailable: no `folder` was given and the repository did not answer.
    """
    packed, plain = FILES[split]
    name = f"en_ewt-ud-{split}.conllu"
    source = Source(
        name="ud-english-ewt",
        file=f"ud-english-ewt/{name}.gz",
        sha256=packed,
        url=f"https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/{COMMIT}/{name}",
        url_sha256=plain,
    )
    return read_conllu(locate(source, folder, downloads))


def read_conllu(file: Path) -> dict[str, list[Sentence]]:
    """Words with their Penn tags (XPOS) of a CoNLL-U file, gzipped or not: document -> sentences.

    Raises:
        InputError: a line has not ten columns, words are not numbered 1, 2, ..., or a word has no tag; names file and
            line.
    """
    documents: dict[str, list[Sentence]] = {}
    document, sentence = documents.setdefault("", []), list[tuple[str, str]]()
    number = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                line = text.rstrip("\r\n")
                if not line:
                    if sentence:
                        document.append(sentence)
                    sentence = []
                elif line.startswith("# newdoc"):
                    document = documents.setdefault(line.partition("=")[2].strip() or f"line {number}", [])
                elif not line.startswith("#") and (pair := _word(line, len(sentence) + 1, f"{file}:{number}")):
                    sentence.append(pair)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{file}:{number + 1}", expected="a CoNLL-U file", found=str(error)) from None
    if sentence:
        raise InputError(f"{file}:{number}", expected="an empty line after the sentence", found="the end of the file")
    return {name: sentences for name, sentences in documents.items() if sentences}


def _word(line: str, place: int, where: str) -> tuple[str, str] | None:
    """The ``(tag, word)`` of a line that ought to be word `place`; none if it holds no word of the text."""
    columns = line.split("\t")
    if len(columns) != 10:
        raise InputError(where, expected="10 columns with tabs between", found=f"{len(columns)}")
    if _OTHER.fullmatch(columns[0]):
        return None
    if not _WORD.fullmatch(columns[0]) or int(columns[0]) != place:
        raise InputError(where, expected=f"word {place}", found=columns[0])
    word, tag = columns[1], columns[4]
    if not word or tag in ("", "_"):
        raise InputError(where, expected="a word with a tag in column 5", found=f"{word or '(none)'} {tag or '(none)'}")
    return tag, word
