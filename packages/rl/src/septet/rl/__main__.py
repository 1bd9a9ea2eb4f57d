"""`python -m septet.rl train|bench`."""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: one math thread, as torch gets

from septet.cli import Verb, main
from septet.rl.config import Job


def _train(config: Job, out: Path) -> None:
    """Train one method on one task, all seeds in lockstep."""
    from septet.rl.train import train

    train(config, out)


def _bench(quick: bool, file: Path) -> None:
    """Measure environment steps per second, learning included, beside Stable-Baselines3 and CleanRL."""
    from septet.rl.bench import bench

    bench(quick, file)


if __name__ == "__main__":
    main("rl", {"train": Verb(Job, _train)}, _bench)
