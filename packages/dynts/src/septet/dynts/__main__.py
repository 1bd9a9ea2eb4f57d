"""`python -m septet.dynts prepare|train|bench`."""

from pathlib import Path

from septet.cli import Verb, main
from septet.dynts.config import Job, Preparation


def _prepare(config: Preparation, out: Path) -> None:
    """Check the real data and compute headline features."""
    from septet.dynts.upworthy import prepare

    prepare(config, out)


def _train(config: Job, out: Path) -> None:
    """Run one method on one task, all schedules and seeds in lockstep."""
    from septet.dynts.train import train

    train(config, out)


if __name__ == "__main__":
    main("dynts", {"prepare": Verb(Preparation, _prepare), "train": Verb(Job, _train)}, "septet.dynts.bench")
