"""The command line of every package: `python -m septet.<package> <verb> --config FILE --out DIR`."""

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from septet import errors, streams
from septet.config import Settings, validate
from septet.errors import InputError, Interrupted, NotFinite, NotWritten
from septet.files import sweep
from septet.reading import read_mapping


@dataclass(frozen=True)
class Verb:
    """One verb: its configuration model and its function.

    The function receives the checked configuration and the output folder, which may not exist yet: the
    first write creates it, so a rejected job leaves no files.
    """

    model: type[Settings]
    act: Callable[[Any, Path], None]


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask a job to stop; without SIGHUP if nohup ignores it."""
    hangup = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, *hangup]


class StopRequest:
    """Set by SIGTERM, SIGUSR1, SIGHUP or Ctrl-C; the job saves and raises `Interrupted` at the next safe point."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def listen(self) -> None:
        """Install the signal handlers (main thread only)."""
        for number in stop_signals():
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal is not None:
            raise KeyboardInterrupt  # a second Ctrl-C stops at once
        self.signal = number


stop_request = StopRequest()


def main(
    package: str, verbs: Mapping[str, Verb], bench: str | None = None, programs: Mapping[str, str] | None = None
) -> NoReturn:
    """Run the verb that the command line asks for and exit with the codes of `program`.

    Args:
        package: its name below `septet`, for the usage text.
        verbs: verb name -> verb.
        bench: the module with the package's `BENCH` (`septet.bench.Bench`), if it compares its speed with peers.
        programs: verb name -> the module whose `main(arguments)` parses the rest of the command line; its purpose
            is its standard output.
    """
    if sys.argv[1:2] and (module := (programs or {}).get(name := sys.argv[1])):
        program(f"{package} {name}", lambda: importlib.import_module(module).main(sys.argv[2:]))
    program(package, lambda: _verb(package, verbs, bench, programs or {}), output=False)


def program(name: str, function: Callable[[], None], *, output: bool = True) -> NoReturn:
    """Run a command-line program and exit.

    Exit codes: 0 done; 1 internal error (traceback shown); 2 bad input or output folder locked by another run, one
    line, nothing written; 3 a non-finite value; 4 out of disk space or memory; 85 stopped by a signal with the state
    saved: run the same command again; 141 the reader of the output closed the pipe. If the function exits itself, its
    code is kept.

    Args:
        name: prefix of each message.
        function: parses `sys.argv` and does the work.
        output: whether standard output is the purpose of the program (`septet.streams`).
    """
    streams.prepare(output=output)
    try:
        code = _code(name, function)
        if sys.stdout is not None:
            sys.stdout.flush()
    except streams.NotPrinted as error:
        code = errors.EXIT_NO_READER if error.errno == errno.EPIPE else errors.EXIT_NO_ROOM
        if code == errors.EXIT_NO_ROOM:
            streams.log(f"{name}: standard output: {error.strerror}")
    sys.exit(code)


def _code(name: str, function: Callable[[], None]) -> str | int | None:
    """Run the function and return its exit code; user errors are reported in one line."""
    try:
        function()
    except SystemExit as end:
        return end.code
    except InputError as error:
        streams.log(f"{name}: {error}")
        return errors.EXIT_BAD_INPUT
    except (NotFinite, NotWritten) as error:
        streams.log("; ".join([f"{name}: {error}", *getattr(error, "__notes__", [])]))
        return errors.EXIT_NOT_FINITE if isinstance(error, NotFinite) else errors.EXIT_NO_ROOM
    except MemoryError as error:
        streams.log(f"{name}: not enough memory: {error or 'none left'}")
        return errors.EXIT_NO_ROOM
    except Interrupted as interruption:
        streams.log(f"{name}: {interruption}; run the same command again to resume")
        return errors.EXIT_INTERRUPTED
    return 0


def _verb(package: str, verbs: Mapping[str, Verb], bench: str | None, programs: Mapping[str, str]) -> None:
    """Parse the command line, read the configuration and run the verb."""
    parser = argparse.ArgumentParser(prog=f"python -m septet.{package}", allow_abbrev=False)
    commands = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in verbs.items():
        command = commands.add_parser(name, help=(verb.act.__doc__ or "").split("\n")[0], allow_abbrev=False)
        command.add_argument("--config", required=True, help="YAML or JSON file; - reads standard input")
        command.add_argument("--out", required=True, type=Path, help="output folder")
    for name in programs:
        commands.add_parser(name, help=f"python -m {package} {name} --help shows all options.")
    if bench is not None:
        command = commands.add_parser(
            "bench", help="Compare the speed of the package with its peers.", allow_abbrev=False
        )
        command.add_argument("--quick", action="store_true", help="finish within a minute")
        command.add_argument("--json", required=True, type=Path, help="file for the measured rows")
    arguments = parser.parse_args()
    if arguments.verb == "train":  # other verbs have no state to save and stop at once
        stop_request.listen()
    if arguments.verb == "bench" and bench is not None:
        importlib.import_module(bench).BENCH(arguments.quick, arguments.json)  # imports peers
        return
    verb = verbs[arguments.verb]
    where = "standard input" if arguments.config == "-" else arguments.config
    settings = validate(verb.model, read_mapping(arguments.config), where)
    check_writable(arguments.out)
    sweep(arguments.out)
    verb.act(settings, arguments.out)


def check_writable(folder: Path) -> None:
    """Raise InputError unless `folder` is writable or can be created; creates nothing."""
    there = folder.absolute()
    try:
        while not (there.exists() or there.is_symlink()) and there != there.parent:
            there = there.parent
    except OSError as error:  # no permission for a parent folder, or a name that is too long
        found = error.strerror or "none"
        raise InputError(f"--out {folder}", expected="a writable folder", found=found) from None
    if not there.is_dir():
        raise InputError(f"--out {folder}", expected="a folder", found=f"the file {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}", expected="a writable folder", found=f"{there}, which is read-only")
