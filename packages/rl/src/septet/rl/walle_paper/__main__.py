"""`python -m septet.rl.walle_paper train`."""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: one math thread, as torch gets

from septet.cli import Verb, main
from septet.rl.walle_paper.config import Job


def _train(config: Job, out: Path) -> None:
    """Train the paper's method on one task, all seeds in lockstep."""
    from septet.rl.walle_paper.train import train

    train(config, out)


if __name__ == "__main__":
    main("septet.rl.walle_paper", {"train": Verb(Job, _train)})
