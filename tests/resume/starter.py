"""Starts one training verb again and again without paying for its imports: imports once, forks for each order.

Reads orders as lines of JSON from standard input: ``{"config", "out", "log", "die_at"}``; answers with the pid of the
child, and when it has ended with its exit code (negative: the signal). ``die_at`` n: the process sends itself
SIGKILL just before its n-th rename, removal or flush to disk, which is how a save is cut in the middle.
"""

import importlib
import json
import os
import runpy
import signal
import sys


def run(module: str, order: dict) -> None:
    """The verb `train`, in a child."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    if order.get("die_at"):
        die_at(order["die_at"])
    sys.argv = ["train", "train", "--config", order["config"], "--out", order["out"]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def die_at(count: int) -> None:
    """Be killed before the `count`-th operation that changes what is on disk."""
    left = [count]

    def deadly(act):
        def wrapped(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*arguments, **options)

        return wrapped

    for name in ("replace", "unlink", "fsync"):
        setattr(os, name, deadly(getattr(os, name)))


def main(module: str) -> None:
    """Serve until standard input ends."""
    importlib.import_module(f"{module}.train")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                run(module, json.loads(line))
            except SystemExit as end:
                sys.stderr.flush()
                os._exit(end.code or 0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
