"""`python -m septet.rl train|bench|evaluate|watch|videos`."""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: one math thread, as torch gets

from septet.cli import Verb, main
from septet.rl.config import Job


def _train(config: Job, out: Path) -> None:
    """Train one method on one task, all seeds in lockstep."""
    from septet.rl.train import train

    train(config, out)


if __name__ == "__main__":
    programs = {"evaluate": "septet.rl.evaluation", "watch": "septet.rl.watch", "videos": "septet.rl.videos"}
    main("rl", {"train": Verb(Job, _train)}, "septet.rl.bench", programs)
