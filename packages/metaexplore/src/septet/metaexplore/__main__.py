"""`python -m septet.metaexplore train|bench`."""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads it: the products are small

from septet.cli import Verb, main
from septet.metaexplore.config import Job, Study


def _train(config: Job, out: Path) -> None:
    """Train one method on one task, or study the meta signal there; all seeds in lockstep."""
    if isinstance(config.method, Study):
        from septet.metaexplore.study import study

        study(config, out)
    else:
        from septet.metaexplore.train import train

        train(config, out)


if __name__ == "__main__":
    main("metaexplore", {"train": Verb(Job, _train)}, "septet.metaexplore.bench")
