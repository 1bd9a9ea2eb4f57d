"""Tokenisers behind one small interface: the tiny model's characters, and those of `transformers`."""

from collections.abc import Sequence
from typing import Any, Protocol

from septet.errors import InputError


class Tokenizer(Protocol):
    """What the trainer needs of a tokeniser."""

    eos: int
    """End of a completion. It may be the padding token too, so masks are made from lengths, never from ids."""
    pad: int
    """Filler of arrays."""
    size: int
    """Number of token ids."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; nothing is added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special ones left out."""
        ...


class CharTokenizer:
    """One token per character of a small alphabet; `.` ends a completion, `_` pads."""

    ALPHABET = "0123456789+-=;,#@~._"

    def __init__(self) -> None:
        self._ids = {letter: index for index, letter in enumerate(self.ALPHABET)}
        self.eos, self.pad, self.size = self._ids["."], self._ids["_"], len(self.ALPHABET)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text. Raises InputError at a character outside the alphabet."""
        try:
            return [self._ids[letter] for letter in text]
        except KeyError as error:
            raise InputError("text", expected=f"characters of {self.ALPHABET}", found=str(error)) from None

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids without the end."""
        return "".join(self.ALPHABET[index] for index in ids if index not in (self.eos, self.pad))


class HubTokenizer:
    """A tokeniser of `transformers`.

    Args:
        inner: the tokeniser.
        stop: the token that ends a completion; none for its own end of text.
    """

    def __init__(self, inner: Any, stop: str | None = None) -> None:
        self._inner = inner
        self.eos = int(inner.convert_tokens_to_ids(stop) if stop else inner.eos_token_id)
        self.pad = int(self.eos if inner.pad_token_id is None else inner.pad_token_id)
        self.size = len(inner)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; special tokens that it spells out are read as such."""
        return list(self._inner.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special ones left out."""
        return str(self._inner.decode(list(ids), skip_special_tokens=True))
