"""Starts one training verb again and again without paying for its imports: imports once, forks for each order.

Orders are ``{"config", "out", "log", "die_at"}``. ``die_at`` n: the process sends itself SIGKILL just before its n-th
rename, removal or flush to disk, which is how a save is cut in the middle.
"""

import importlib
import os
import runpy
import signal
import sys

import forks


def run(module: str, order: dict) -> None:
    """The verb `train`, in a child."""
    forks.write_to(order["log"])
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


if __name__ == "__main__":
    package = sys.argv[1]
    importlib.import_module(f"{package}.train")
    forks.serve(lambda order: run(package, order))
