"""The process that compares answers by algebra: `python -m septet.empg.grader_worker SECONDS`.

It says `r` when it is ready, reads lines ``[gold, answer]`` and replies `1` (right), `0` (wrong) or `t` (a limit of
time or memory was reached: no judgement). Answers are written by a language model, so they may ask for anything:
the process has a memory limit, no children, and for each answer an alarm by the CPU time that it used, which stands
still while the process is suspended. Where the alarm is not heard, for a single huge power runs in C, the kernel ends
the process by its limit of CPU time.
"""

import json
import logging
import math
import os
import resource
import signal
import sys
import time
from types import FrameType

MEMORY = 1 << 30
DEAF_SECONDS = 2
"""CPU seconds after the alarm at which the kernel ends the process."""


class TooLong(BaseException):
    """Time is up; not an Exception, so that no library swallows it."""


def _ring(number: int, frame: FrameType | None) -> None:
    raise TooLong


def main(seconds: float) -> None:
    """Answer until standard input ends."""
    from septet.empg.answers import same_answer

    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(2000)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGPROF, _ring)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    _, ceiling = resource.getrlimit(resource.RLIMIT_CPU)
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    same_answer(r"\frac{x}{2}+\sqrt{2}", r"0.5x+\frac{2}{\sqrt{2}}")  # first use loads half of sympy
    os.write(replies, b"r\n")
    for line in sys.stdin:
        reply = b"0\n"
        try:
            gold, answer = json.loads(line)
            soft = math.ceil(time.process_time() + seconds) + DEAF_SECONDS
            resource.setrlimit(
                resource.RLIMIT_CPU, (soft if ceiling == resource.RLIM_INFINITY else min(soft, ceiling), ceiling)
            )
            signal.setitimer(signal.ITIMER_PROF, seconds)
            reply = b"1\n" if same_answer(gold, answer) else b"0\n"
            signal.setitimer(signal.ITIMER_PROF, 0)
        except (TooLong, MemoryError):
            reply = b"t\n"
        except Exception:
            reply = b"0\n"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(replies, reply)


if __name__ == "__main__":
    main(float(sys.argv[1]))
