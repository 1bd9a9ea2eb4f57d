"""The one-line input error and the exit codes of every command."""

import reprlib

EXIT_BAD_INPUT = 2
EXIT_NOT_FINITE = 3
EXIT_NO_ROOM = 4
EXIT_INTERRUPTED = 85
EXIT_NO_READER = 141  # what a shell says of a program that SIGPIPE ended

_brief = reprlib.Repr()  # the text of a few nested YAML aliases can fill the memory
_brief.maxlevel, _brief.maxlist, _brief.maxdict, _brief.maxstring, _brief.maxother = 3, 10, 10, 200, 200


class InputError(Exception):
    """Bad input, told in one line: where it is, what it is, what was expected, what was found.

    Args:
        where: the file, key or argument at fault, e.g. ``"job.yaml: seeds"``.
        expected: what a good value looks like.
        found: the value that is there.
    """

    def __init__(self, where: str, *, expected: str, found: object) -> None:
        text = found if isinstance(found, str) else _brief.repr(found)
        text = text if len(text) <= 200 else text[:197] + "..."
        where = where if len(where) <= 300 else f"{where[:200]}...{where[-97:]}"  # a key can be as long as a file
        super().__init__(" ".join(f"{where}: expected {expected}, found {text}".split()))


class DataUnavailable(InputError):
    """A data set is neither on this machine nor to be had from its source."""


class Interrupted(Exception):
    """The job was told to stop, has saved its state and can be run again."""


class NoState(InputError):
    """What is asked for its state cannot say it; a stopped job begins anew."""


class NotFinite(ArithmeticError):
    """A tensor holds a value that is not finite; the message names it, the step and the seed."""


class NotWritten(OSError):
    """The machine did not take a file: no space left, no permission, a disk that fails. The old file is as it was."""
