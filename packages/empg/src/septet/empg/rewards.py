"""A user's rewards: functions with the signature of TRL's, found by their dotted name, weighted and added."""

import importlib
import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from septet.empg.config import Reward
from septet.empg.problems import Problem
from septet.errors import InputError
from septet.files import sha256

RESERVED = ("prompt", "completion", "completion_ids")
"""Columns that TRL does not hand to a reward either, for its own arguments have these names."""


class Rewards:
    """The weighted sum of reward functions; a `septet.empg.tasks.Grade`.

    A function is called as TRL's GRPOTrainer calls it: ``function(prompts=, completions=, completion_ids=, **columns)``
    with lists of one entry for each completion. It returns a list of numbers, or None where it has no opinion. For
    chats, prompts and completions are lists of turns. `trainer_state` is None here, `log_extra` and `log_metric` do
    nothing.

    Raises:
        InputError: a name is not that of a function that can be imported.
    """

    def __init__(self, wanted: Sequence[Reward]) -> None:
        self.wanted = list(wanted)
        self.functions = [imported(one.function) for one in wanted]
        self.means: dict[str, float] = {}
        """Mean of each function's numbers over the last call, if there are several functions."""

    @property
    def origin(self) -> str:
        """Names, weights and digests of the functions' files: with another reward it is another job."""
        return "; ".join(
            f"{one.weight:g} {one.function} {_digest(function)}"
            for one, function in zip(self.wanted, self.functions, strict=True)
        )

    def __call__(
        self,
        texts: Sequence[str],
        asked: Sequence[Problem],
        finished: Sequence[bool],
        tokens: Sequence[Sequence[int]] = (),
    ) -> list[float]:
        """Rewards of completions.

        Raises:
            InputError: a function returned something else than a number or None for each completion, or all of them
                returned None for one.
        """
        inputs: dict[str, Any] = {
            name: [problem.row.get(name) for problem in asked]
            for name in dict.fromkeys(name for problem in asked for name in problem.row)
            if name not in RESERVED
        }
        inputs |= {"trainer_state": None} | dict.fromkeys(("log_extra", "log_metric"), lambda *_, **__: None)
        prompts = [list(map(dict, one.chat)) if one.chat else one.prompt for one in asked]
        completions = [
            [{"role": "assistant", "content": text}] if one.chat else text
            for text, one in zip(texts, asked, strict=True)
        ]
        total, seen, self.means = [0.0] * len(texts), [False] * len(texts), {}
        for one, function in zip(self.wanted, self.functions, strict=True):
            ids = [list(row) for row in tokens]
            try:
                returned = function(prompts=prompts, completions=completions, completion_ids=ids, **inputs)
            except Exception as error:
                error.add_note(f"raised by the reward {one.function}")
                raise
            values = _numbers(returned, len(texts), one.function)
            for place, value in enumerate(values):
                if value is not None:
                    total[place] += one.weight * value
                    seen[place] = True
            known = [value for value in values if value is not None]
            if len(self.functions) > 1 and known:
                self.means[f"reward_of_{one.function.rpartition('.')[2]}"] = sum(known) / len(known)
        if not all(seen):
            prompt = prompts[seen.index(False)]
            expected = "a number from one function at least for each completion"
            raise InputError("task.rewards", expected=expected, found=f"None from all, for the prompt {prompt}")
        return total


def imported(name: str) -> Callable[..., Any]:
    """The function of a dotted name, such as ``my_rewards.exact``; the working folder is searched too.

    Raises:
        InputError: there is none, or it is asynchronous.
    """
    module, _, own = name.rpartition(".")
    where = f"reward {name}"
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), own)
    except (ImportError, AttributeError, ValueError) as error:
        expected = "the dotted name of a function that can be imported, such as my_rewards.exact"
        raise InputError(where, expected=expected, found=str(error)) from None
    if not callable(found) or inspect.iscoroutinefunction(found) or inspect.isclass(found):
        raise InputError(where, expected="a function, not asynchronous", found=type(found).__name__)
    return found


def _numbers(returned: Any, count: int, name: str) -> list[float | None]:
    where, expected = f"reward {name}", f"a list of {count} finite numbers or None, one for each completion"
    try:
        values = [None if value is None else float(value) for value in returned]
    except (TypeError, ValueError) as error:
        raise InputError(where, expected=expected, found=f"{returned!r:.100}: {error}") from None
    if len(values) != count:
        raise InputError(where, expected=expected, found=f"{len(values)} values")
    for value in values:
        if value is not None and not math.isfinite(value):
            raise InputError(where, expected=expected, found=value)
    return values


def _digest(function: Callable[..., Any]) -> str:
    try:
        file = inspect.getsourcefile(function)
    except TypeError:  # not written in Python
        return ""
    return sha256(Path(file))[:12] if file and Path(file).is_file() else ""
