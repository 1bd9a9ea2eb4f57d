"""The one-line input error and the exit codes of every command."""

import reprlib

EXIT_BAD_INPUT = 2
EXIT_NOT_FINITE = 3
EXIT_NO_ROOM = 4
EXIT_INTERRUPTED = 85
EXIT_NO_READER = 141  # the exit code that a shell reports after SIGPIPE

_brief = reprlib.Repr()  # the text of a few nested YAML aliases can fill the memory
_brief.maxlevel, _brief.maxlist, _brief.maxdict, _brief.maxstring, _brief.maxother = 3, 10, 10, 200, 200


class InputError(Exception):
    """Bad input, reported in one line: where it is, what was expected, what was found.

    Args:
        where: the file, key or argument at fault, e.g. ``"job.yaml: seeds"``.
        expected: what a good value looks like.
        found: the actual value.
    """

    def __init__(self, where: str, *, expected: str, found: object) -> None:
        text = found if isinstance(found, str) else _brief.repr(found)
        text = text if len(text) <= 200 else text[:197] + "..."
        where = where if len(where) <= 300 else f"{where[:200]}...{where[-97:]}"  # a key can be as long as a file
        super().__init__(" ".join(f"{where}: expected {expected}, found {text}".split()))


class DataUnavailable(InputError):
    """A data set is not available locally and could not be downloaded."""


class Interrupted(Exception):
    """The job was asked to stop, has saved its state and can be run again."""


class NoState(InputError):
    """An object cannot return its state; a stopped job starts again from the beginning."""


class NotFinite(ArithmeticError):
    """A tensor contains a non-finite value; the message names the tensor, the step and the seed."""


class NotWritten(OSError):
    """A file could not be written: no space left, no permission, a disk failure. The old file is unchanged."""
