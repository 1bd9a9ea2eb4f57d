"""A process that has loaded what is slow to load and forks for each order."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def serve(act: Callable[[dict[str, Any]], None]) -> None:
    """Act in a child for each order, a line of JSON on standard input, until that ends.

    Answers with the pid of the child, and when it has ended with its exit code (negative: the signal).
    """
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the orders are not the child's
            code = 0
            try:
                act(json.loads(line))
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def write_to(path: str) -> None:
    """Lead standard output and standard error to the end of a file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
