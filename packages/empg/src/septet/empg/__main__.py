"""`python -m septet.empg prepare|train|generate|evaluate|bench`."""

import os
from pathlib import Path

from septet.cli import Verb, main
from septet.empg.config import Job, Preparation

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _prepare(config: Preparation, out: Path) -> None:
    """Check a data set, dequantise a model, or train a tiny base."""
    from septet.empg.prepare import prepare

    prepare(config, out)


def _train(config: Job, out: Path) -> None:
    """Run one method on one task, all seeds."""
    from septet.empg.models import without_bars
    from septet.empg.train import train

    without_bars()
    train(config, out)


if __name__ == "__main__":
    main(
        "empg",
        {"prepare": Verb(Preparation, _prepare), "train": Verb(Job, _train)},
        "septet.empg.bench",
        programs={name: f"septet.empg.{name}_command" for name in ("generate", "evaluate")},
    )
