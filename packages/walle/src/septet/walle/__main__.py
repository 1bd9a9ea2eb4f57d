"""`python -m septet.walle train`."""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: one math thread, as torch gets

from septet.cli import Verb, main
from septet.walle.config import Job


def _train(config: Job, out: Path) -> None:
    """Train the paper's method on one task, all seeds in lockstep."""
    from septet.walle.train import train

    train(config, out)


if __name__ == "__main__":
    main("walle", {"train": Verb(Job, _train)})
