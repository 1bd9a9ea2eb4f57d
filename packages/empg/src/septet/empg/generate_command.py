"""`python -m septet.empg generate MODEL`: completions by a model of a folder or of the hub, as JSON lines."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from septet.empg.inference import Completer, Options, parse
from septet.empg.rows import prompt_of, read_rows
from septet.errors import InputError


class Generation(Options):
    """What `generate` takes."""

    prompt: list[str] = []
    """A prompt; may be repeated."""
    prompts: Path | None = None
    """File of prompts, JSONL or Parquet, with a column `prompt`: texts, or chats as lists of role and content."""
    chat: bool = False
    """Put each text into the tokenizer's chat template, as the user's turn."""
    limit: int = Field(default=256, ge=1)
    """Most tokens of a completion."""


def main(arguments: Sequence[str]) -> None:
    """Print a JSON object for each completion: prompt, completion, tokens and whether it ended by itself."""
    options = parse("generate", Generation, arguments, "Print completions as JSON lines.")
    asked = [prompt_of(text, "--prompt") for text in options.prompt]
    if options.prompts is not None:
        for number, row in enumerate(read_rows(options.prompts), 1):
            asked.append(prompt_of(row.get("prompt"), f"{options.prompts}: row {number}: prompt"))
    if not asked:
        raise InputError("prompts", expected="prompts, by --prompt or --prompts", found="none")
    completer = Completer(options)
    texts = []
    for prompt in asked:
        chat = [{"role": "user", "content": prompt}] if isinstance(prompt, str) and options.chat else prompt
        texts.append(chat if isinstance(chat, str) else completer.tokenizer.chat(chat))
    for one in completer.complete(texts, options.limit):
        line = {
            "prompt": asked[one.prompt], "completion": one.text, "tokens": len(one.tokens), "finished": one.finished,
        }  # fmt: skip
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
