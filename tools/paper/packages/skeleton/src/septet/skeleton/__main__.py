"""`python -m septet.skeleton train|bench`."""

from pathlib import Path

from septet.cli import Verb, main
from septet.skeleton.config import Job


def _train(config: Job, out: Path) -> None:
    """Run one method on one task, all seeds in lockstep."""
    from septet.skeleton.train import train

    train(config, out)


if __name__ == "__main__":
    main("skeleton", {"train": Verb(Job, _train)}, "septet.skeleton.bench")
