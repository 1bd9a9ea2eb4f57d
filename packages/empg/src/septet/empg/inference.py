"""A model of a folder or of the hub, without training: what `generate` and `evaluate` share."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field

from septet.config import Settings, field_docstrings, validate
from septet.devices import claim
from septet.empg import models
from septet.empg.engines import Local
from septet.errors import InputError
from septet.seeding import stream


class Options(Settings):
    """Which model, where it computes, and how it is sampled."""

    model: str
    """A folder, a .gguf file, or a name on the hub."""
    revision: str | None = None
    """Commit, branch or tag on the hub."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What it computes in; auto is the type of its files."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it computes; auto takes a GPU if there is one."""
    threads: int = Field(default=1, ge=1)
    """Threads on a processor."""
    samples: int = Field(default=1, ge=1)
    """Completions of each prompt."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Divides the logits; 0 takes the most probable token each time."""
    seed: int = Field(default=0, ge=0)
    """Of the random numbers."""
    rows: int = Field(default=64, ge=1)
    """Most completions that are drawn at a time."""


Given = TypeVar("Given", bound=Options)


@dataclass(frozen=True)
class Completion:
    """One completion of a prompt."""

    prompt: int
    """Index of the prompt."""
    text: str
    tokens: list[int]
    finished: bool
    """Whether it ended by itself."""


class Completer:
    """Draws completions from a model.

    Raises:
        InputError: there is no such model, no such device, or it is not one that can be sampled.
    """

    def __init__(self, options: Options) -> None:
        self.options, name = options, options.model
        if name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).exists():
            folder = Path(name).expanduser()
            if not (folder / "config.json").is_file() and not (folder.suffix == ".gguf" and folder.is_file()):
                found = "a folder without it" if folder.is_dir() else "no such folder"
                expected = "a folder with config.json, a .gguf file, or a name on the hub"
                raise InputError(f"model {name}", expected=expected, found=found)
            name = str(folder)
        torch.set_num_threads(options.threads)
        models.without_bars()
        if options.device != "cpu":
            claim()
        if options.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device", expected="a GPU that torch can use, or cpu", found="none")
        device = torch.device("cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu")
        dtype = "auto" if options.dtype == "auto" else models.DTYPES[options.dtype]
        lm, self.tokenizer = models.pretrained(name, options.revision, dtype)
        models.choose_attention(lm, device)
        self.lm = lm.to(device).eval()
        self._engine = Local(self.lm, self.tokenizer, options.rows)

    def complete(self, prompts: Sequence[str], limit: int) -> list[Completion]:
        """Completions of at most `limit` tokens, those of one prompt next to each other.

        Raises:
            InputError: a prompt has no token, or the model has no positions for prompt and completion.
        """
        options = self.options
        asked = [self.tokenizer.encode(prompt) for prompt in prompts]
        longest, room = max(map(len, asked), default=0), getattr(self.lm.config, "max_position_embeddings", None)
        if isinstance(room, int) and longest + limit > room:
            expected = f"at most {room} tokens of prompt and completion together, the model's positions"
            raise InputError("limit", expected=expected, found=f"{longest} + {limit}")
        uniforms = None
        if options.temperature:
            uniforms = stream(options.seed, "generate").random((len(asked) * options.samples, limit), dtype="float32")
        drawn = self._engine.generate(asked, options.samples, limit, uniforms, options.temperature or 1.0)
        return [
            Completion(row // options.samples, self.tokenizer.decode(tokens), tokens, finished)
            for row, (tokens, finished) in enumerate(zip(drawn.completions(), drawn.finished.tolist(), strict=True))
        ]


def parse(verb: str, options: type[Given], arguments: Sequence[str], purpose: str) -> Given:
    """Parse a command line whose options are the fields of a model: `model` by its place, others as `--name`.

    A field that holds a list may be repeated, and one that is true or false is a switch. Raises InputError.
    """
    parser = argparse.ArgumentParser(prog=f"python -m septet.empg {verb}", description=purpose, allow_abbrev=False)
    described = field_docstrings(options)
    for name, field in options.model_fields.items():
        default = "" if field.is_required() or field.default in (None, [], False) else f" (default {field.default})"
        told: dict[str, Any] = {"help": described.get(name, "").replace("%", "%%") + default}
        if field.annotation is bool:
            told |= {"action": "store_true", "default": None}
        elif name != "model":
            told |= {"metavar": "VALUE", "action": "append" if isinstance(field.default, list) else "store"}
        parser.add_argument(name if name == "model" else f"--{name.replace('_', '-')}", **told)
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    chosen = validate(options, given, "command line")
    if chosen.samples > 1 and not chosen.temperature:
        raise InputError("samples", expected="1 at temperature 0", found=chosen.samples)
    return chosen
