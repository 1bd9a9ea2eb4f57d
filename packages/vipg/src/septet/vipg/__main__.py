"""`python -m septet.vipg train|bench`."""

from pathlib import Path

from septet.cli import Verb, main
from septet.vipg.config import Job


def _train(config: Job, out: Path) -> None:
    """Train one method on one task, or fit samplers to a known posterior; all seeds in lockstep."""
    from septet.vipg.train import train

    train(config, out)


if __name__ == "__main__":
    main("vipg", {"train": Verb(Job, _train)}, "septet.vipg.bench")
