"""Tokenisers with the same methods: the tiny model's characters, and those of `transformers`.

Any of `ends` ends a completion. One may be `pad`, the filler of arrays, too, so masks are made from lengths, never from
ids.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from septet.errors import InputError


class CharTokenizer:
    """One token per character of a small alphabet; `.` ends a completion, `_` pads."""

    ALPHABET = "0123456789+-=;,#@~._"

    def __init__(self) -> None:
        self._ids = {letter: index for index, letter in enumerate(self.ALPHABET)}
        self.ends: tuple[int, ...] = (self._ids["."],)
        self.pad = self._ids["_"]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text. Raises InputError at a character outside the alphabet."""
        try:
            return [self._ids[letter] for letter in text]
        except KeyError as error:
            raise InputError("text", expected=f"characters of {self.ALPHABET}", found=str(error)) from None

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids without the end."""
        return "".join(self.ALPHABET[index] for index in ids if index not in (*self.ends, self.pad))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Raise InputError: it has no template."""
        raise InputError("prompt", expected="a text, for the tiny model has no chat template", found="a chat")

    def pretrained(self) -> Any:
        """The same tokens in a tokeniser of `transformers`."""
        from tokenizers import Regex, decoders, models, pre_tokenizers
        from tokenizers import Tokenizer as Backend
        from transformers import PreTrainedTokenizerFast

        made: Any = PreTrainedTokenizerFast
        letters = Backend(models.WordLevel(self._ids, unk_token="_"))
        letters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
        letters.decoder = decoders.Fuse()
        return made(tokenizer_object=letters, eos_token=".", pad_token="_", padding_side="left")


class HubTokenizer:
    """A tokeniser of `transformers`.

    Args:
        inner: the tokeniser.
        stops: end tokens beside the tokeniser's own end of text, as words or as ids, such as those of a generation
            config.
        size: tokens that the model has embeddings for; none if that is not known.
        name: the model, for messages.

    Raises:
        InputError: there is no end token, a word is none, or the model has no embedding for a token; `encode` too.
    """

    def __init__(
        self, inner: Any, stops: Sequence[str | int] = (), size: int | None = None, name: str = "tokenizer"
    ) -> None:
        self._inner, self._rows, self._name = inner, size, name
        known = inner.get_vocab()
        own = [] if inner.eos_token_id is None else [inner.eos_token_id]
        ends = [known.get(stop) if isinstance(stop, str) else stop for stop in stops] + own
        if None in ends or not ends:
            expected = "an end token, in the tokenizer or in the generation config"
            raise InputError(f"model {name}", expected=expected, found=f"none of {list(stops)}" if stops else "none")
        self.ends = tuple(dict.fromkeys(int(end) for end in ends if end is not None))
        self.pad = int(self.ends[0] if inner.pad_token_id is None else inner.pad_token_id)
        bare, full = (inner.encode("a", add_special_tokens=special) for special in (False, True))
        starts = [i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare]
        self._before = list(full[: starts[0]]) if starts else []  # such as a token for the beginning of a text
        self._check([*self.ends, self.pad, *self._before])

    def _check(self, ids: list[int]) -> list[int]:
        if self._rows is not None and ids and max(ids) >= self._rows:
            expected = f"token ids below {self._rows}, the size of its embedding"
            raise InputError(f"model {self._name}", expected=expected, found=max(ids))
        return ids

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt; special tokens that it spells out are read as such, and none is put there twice."""
        ids = self._check(list(self._inner.encode(text, add_special_tokens=False)))
        return ids if ids[: len(self._before)] == self._before else [*self._before, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special ones left out."""
        return str(self._inner.decode(list(ids), skip_special_tokens=True))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt of a chat. Raises InputError if there is no template, or it rejects the turns."""
        from jinja2 import TemplateError

        where, turns = f"model {self._name}: chat template", [dict(message) for message in messages]
        if not getattr(self._inner, "chat_template", None):
            raise InputError(where, expected="a template in the tokenizer", found="none")
        try:
            return str(self._inner.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except (TemplateError, ValueError, TypeError, LookupError) as error:
            raise InputError(where, expected="turns that it takes", found=f"{error}, for {turns}") from None

    def pretrained(self) -> Any:
        """The tokeniser itself, to be saved with a model; it pads on the left for generation."""
        self._inner.padding_side = "left"
        if self._inner.pad_token_id is None:
            self._inner.pad_token_id = self.pad
        return self._inner


Tokenizer = CharTokenizer | HubTokenizer
