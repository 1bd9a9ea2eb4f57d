"""`python -m septet.vrda prepare|train|bench`."""

from pathlib import Path

from septet.cli import Verb, main
from septet.vrda.config import Job, Preparation


def _prepare(config: Preparation, out: Path) -> None:
    """Make the n-best lists with their features."""
    from septet.vrda.prepare import prepare

    prepare(config, out)


def _train(config: Job, out: Path) -> None:
    """Run one learner on one task, all lambdas and shuffles."""
    from septet.vrda.train import train

    train(config, out)


if __name__ == "__main__":
    main("vrda", {"prepare": Verb(Preparation, _prepare), "train": Verb(Job, _train)}, "septet.vrda.bench")
