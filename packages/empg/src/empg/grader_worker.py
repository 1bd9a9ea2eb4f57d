"""The process that compares answers by algebra: `python -m empg.grader_worker SECONDS`.

It reads lines ``[gold, answer]`` and answers `1` or `0`. Answers are written by a language model, so they
may ask for anything: the process has a memory limit, no children, and an alarm in its main thread for each
answer; its parent kills it when even the alarm is not heard (a single huge power runs in C).
"""

import json
import logging
import os
import resource
import signal
import sys
from types import FrameType

MEMORY = 1 << 30


class TooLong(BaseException):
    """Time is up; not an Exception, so that no library swallows it."""


def _ring(number: int, frame: FrameType | None) -> None:
    raise TooLong


def main(seconds: float) -> None:
    """Answer until standard input ends."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(2000)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGALRM, _ring)
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    for line in sys.stdin:
        right = False
        try:
            gold, answer = json.loads(line)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            want = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
            got = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
            right = bool(verify(want, got, timeout_seconds=None))
        except (Exception, TooLong):
            right = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(answers, b"1\n" if right else b"0\n")


if __name__ == "__main__":
    main(float(sys.argv[1]))
