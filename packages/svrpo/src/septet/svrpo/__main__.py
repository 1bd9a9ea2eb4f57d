"""`python -m septet.svrpo train|bench`."""

from pathlib import Path

from septet.cli import Verb, main
from septet.svrpo.config import Job


def _train(config: Job, out: Path) -> None:
    """Run one method on one task, all seeds in lockstep."""
    from septet.svrpo.train import train

    train(config, out)


if __name__ == "__main__":
    main("svrpo", {"train": Verb(Job, _train)}, "septet.svrpo.bench")
